"""How numbers and settings read in a report. Every function takes a JSON value or None and returns plain text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

UNKNOWN = "–"
NOT_REACHED = "not reached"
MINUS = "\N{MINUS SIGN}"
LOSSES = frozenset({"log_loss", "brier", "squared_ece", "aurc", "coverage_error"})
TITLES = {
    "ece": "Calibration error", "classwise_ece": "Calibration error by class", "macro_f1": "Macro F1", "f1": "F1",
    "squared_ece": "Squared calibration error, without bias", "aurc": "Risk-coverage area", "log_loss": "Log loss",
    "alc": "ALC", "micro_f1": "Micro F1", "partial_f1": "F1 in part", "lrap": "Label ranking precision",
}  # fmt: skip
KINDS = {"single": "one label per text", "multi": "several labels per text", "spans": "labelled spans"}


def known(value: object) -> bool:
    """Whether a value is a number; a template's undefined, None and booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _signed(text: str) -> str:
    return MINUS + text[1:] if text.startswith("-") else text


def count(value: Any) -> str:
    """12480 -> "12,480"."""
    return _signed(f"{value:,.0f}") if known(value) else UNKNOWN


def decimal(value: Any, digits: int = 3) -> str:
    """0.4137 -> "0.414"."""
    return _signed(f"{value:,.{digits}f}") if known(value) else UNKNOWN


def percent(value: Any) -> str:
    """0.8213 -> "82.1 %"."""
    return f"{decimal(100 * value, 1)} %" if known(value) else UNKNOWN


def bounds(lo: Any, hi: Any, name: str = "") -> str:
    """(0.804, 0.837) -> "(80.4–83.7)"; a censored end is said in words; nothing known gives nothing."""

    def short(value: Any) -> str:
        return decimal(value) if name in LOSSES else decimal(100 * value, 1)

    if known(lo) and known(hi):
        dash = " to " if min(lo, hi) < 0 else "–"
        return f"({short(lo)}{dash}{short(hi)})"
    if known(lo):
        return f"(at least {short(lo)})"
    return f"(at most {short(hi)})" if known(hi) else ""


def metric(value: Any, name: str = "") -> str:
    """A metric's value in its own unit: losses as decimals, everything else in percent."""
    return decimal(value) if name in LOSSES else percent(value)


def measured(estimate: Any, name: str = "") -> str:
    """{"value": .821, "lo": .804, "hi": .837} -> "82.1 % (80.4–83.7)"; a bare number is accepted too."""
    if known(estimate):
        return metric(estimate, name)
    if not isinstance(estimate, Mapping) or not known(estimate.get("value")):
        return UNKNOWN
    return f"{metric(estimate['value'], name)} {bounds(estimate.get('lo'), estimate.get('hi'), name)}".rstrip()


def p_value(value: Any) -> str:
    """0.0312 -> "0.031"; very small ones are not given more digits than they deserve."""
    if not known(value):
        return UNKNOWN
    return "< 0.001" if value < 0.001 else decimal(value)


def duration(seconds: Any) -> str:
    """9240 -> "2.6 h"; 312 -> "5.2 min"; 8.4 -> "8.4 s"."""
    if not known(seconds):
        return UNKNOWN
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} s"


def moment(value: Any) -> str:
    """ "2026-03-04T10:15:00Z" -> "2026-03-04 10:15 UTC"; what is no ISO time is shown as it is."""
    try:
        return f"{datetime.fromisoformat(str(value)):%Y-%m-%d %H:%M %Z}".strip()
    except ValueError:
        return str(value)


def title(name: Any) -> str:
    """A fact's name as a heading: "macro_f1" -> "Macro F1", "test_set" -> "Test set"."""
    text = str(name)
    return TITLES.get(text, text[:1].upper() + text[1:].replace("_", " "))


def kind(name: Any) -> str:
    """What a kind of task asks of an annotator, in words."""
    return KINDS.get(str(name), str(name))


def setting(value: Any) -> str:
    """A setting of the protocol on one line; a component reads as its name and its arguments."""
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        arguments = ", ".join(f"{key} = {setting(value[key])}" for key in value if key != "use")
        if "use" not in value:
            return arguments or "none"
        return f"{value['use']} ({arguments})" if arguments else str(value["use"])
    if isinstance(value, list):
        return ", ".join(setting(item) for item in value) or "none"
    return str(value)


FILTERS = {
    "count": count,
    "decimal": decimal,
    "percent": percent,
    "metric": metric,
    "measured": measured,
    "p_value": p_value,
    "duration": duration,
    "heading": title,
    "kind": kind,
    "moment": moment,
    "setting": setting,
}
