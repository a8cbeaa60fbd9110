"""The report: a pure function from facts (JSON) to one self-contained page.

The facts are canonical and the page only shows them: nothing is computed here that would change a
number, nothing is read from the project, and the same facts give the same bytes. The page holds no
script and asks for nothing: its policy forbids both (see docs/decisions/0005-report.md).

Every part of the facts may be absent; its section then says what is needed to know it, taken from
``facts["missing"]`` under the section's name, or the general sentence below.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from labelwise.core.errors import InputError, WrongMoment
from labelwise.web import charts, formats

if TYPE_CHECKING:
    from jinja2 import Template

VERSION = 1
LONGEST = 600  # characters of one string; keeps a page small whatever the facts hold
ROWS = 300  # rows of one table
METRICS = ("accuracy", "macro_f1", "log_loss", "ece")
NEEDED = {
    "verdict": "A verdict needs a simulation that compares a strategy with random labelling over several seeds.",
    "curves": "A learning curve needs at least two evaluated rounds.",
    "summary": "The comparison needs a simulation of random and at least one other strategy over several seeds.",
    "model": "It needs a trained model and a test split or randomly chosen control labels.",
    "per_class": "It needs control or test labels of every class.",
    "reliability": "It needs a calibrated model and control or test labels.",
    "slices": "It needs texts with a column such as domain or language, and control or test labels in each.",
    "selected": "It needs one selected batch.",
    "cost": "It needs one recorded label.",
    "versions": "It needs one trained model.",
    "protocol": "The facts do not say how the numbers were made.",
}
SECTIONS = {
    "curves": "Curves",
    "summary": "Comparison",
    "model": "Model",
    "per_class": "Classes",
    "reliability": "Calibration",
    "slices": "Parts",
    "selected": "Selection",
    "cost": "Cost",
    "versions": "Versions",
    "protocol": "Protocol",
}
INSIDE_MODEL = frozenset({"per_class", "reliability", "slices"})
# C0 and C1 controls except tab and newline, and lone surrogates: not allowed in HTML or not encodable
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def render(facts: Mapping[str, Any]) -> str:
    """The facts as one HTML page. Raises InputError if they are not JSON of version 1."""
    known = _checked(facts)
    curves, style = _drawable(known.get("curves") or {}), _style()
    return _template().render(
        facts=known,
        style=style,
        # the hash of the only style sheet; nothing else may load, run or style
        policy=f"default-src 'none'; style-src 'sha256-{_digest(style)}'; base-uri 'none'; form-action 'none'",
        needed=_needed(known.get("missing") or {}),
        looks=charts.looks(curves),
        curves=_figures(curves),
        reliability=_reliability((known.get("model") or {}).get("reliability") or []),
        classes=_weakest_first((known.get("model") or {}).get("per_class") or []),
        keys=_keys(known),
        sections=[*SECTIONS.items(), *([("notes", "Notes")] if known.get("notes") else [])],
        rows=ROWS,
        lower=(*formats.LOSSES, "ece"),
    )


def picture(facts: Mapping[str, Any]) -> bytes:
    """The main learning curve as PNG. Raises WrongMoment if there is none yet."""
    known = _checked(facts)
    curves = _drawable(known.get("curves") or {})
    if not curves:
        raise WrongMoment(f"curves: no learning curve to draw yet. {_needed(known.get('missing') or {})['curves']}")
    metric = next(iter(curves))
    subtitle = f"{formats.title(metric)} by number of labels; bands are 95 % intervals"
    if known.get("synthetic"):
        subtitle = f"SYNTHETIC DATA. {subtitle}"
    return charts.png(curves, metric, str(known.get("title") or "Learning curve"), subtitle)


def _checked(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A plain copy: JSON types only, NaN as null, printable and bounded strings."""
    try:
        text = json.dumps(facts)
    except (TypeError, ValueError) as error:
        raise InputError(f"facts: not JSON ({error}); give numbers, strings, lists and mappings only.") from error
    plain = json.loads(text, parse_constant=lambda _: None)
    if not isinstance(plain, dict) or plain.get("version") != VERSION:
        found = plain.get("version") if isinstance(plain, dict) else plain
        raise InputError(f"facts.version: {found!r} is not known; this Labelwise reads version {VERSION}.")
    cleaned: dict[str, Any] = _clean(plain)
    return cleaned


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        shown = UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)
        return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value


def _needed(missing: Mapping[str, str]) -> dict[str, str]:
    """What each section still needs; a part of the model needs at least what the model needs."""
    return {
        section: missing.get(section) or (section in INSIDE_MODEL and missing.get("model")) or sentence
        for section, sentence in NEEDED.items()
    }


def _drawable(curves: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics that have at least one curve, the familiar ones first."""
    order = [*METRICS, *(name for name in curves if name not in METRICS)]
    kept = {name: [curve for curve in curves.get(name) or [] if curve["labels"]] for name in order}
    return {name: series for name, series in kept.items() if series}


def _figures(curves: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One figure per metric; the first is drawn large, and once more narrow for small screens."""
    figures = []
    for place, metric in enumerate(curves):
        title, words = f"{formats.title(metric)} by number of labels", charts.curve_words(curves, metric)
        sizes = {"wide": charts.Size(700, 340), "narrow": charts.Size(290, 250)} if not place else {}
        sizes = sizes or {"small": charts.Size(225, 150)}
        drawings = {
            kind: charts.draw(charts.curve_spec(curves, metric, size), f"curve-{place}-{kind}", title, words)
            for kind, size in sizes.items()
        }
        figures.append({"metric": metric, "drawings": drawings, "table": _table(curves[metric])})
    return figures


def _table(series: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The numbers behind one chart: a row per number of labels, a column per strategy."""
    points = {
        (place, labels): {"value": mean, "lo": lo, "hi": hi}
        for place, curve in enumerate(series)
        for labels, mean, lo, hi in zip(curve["labels"], curve["mean"], curve["lo"], curve["hi"], strict=True)
    }
    every = sorted({labels for _, labels in points})
    return {
        "strategies": [curve["strategy"] for curve in series],
        "rows": [(labels, [points.get((place, labels)) for place in range(len(series))]) for labels in every],
    }


def _keys(facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The few numbers under the verdict: name, value, what stands beside it."""
    cost, keys = facts.get("cost") or {}, []
    if formats.known(cost.get("labels")):
        keys.append(("Labels", formats.count(cost["labels"]), ""))
    if formats.known(cost.get("seconds")):
        keys.append(("People's time", formats.duration(cost["seconds"]), ""))
    # the first named strategy, not the luckiest: choosing the best afterwards would flatter
    first = next((row for row in facts.get("summary") or [] if row["strategy"] != charts.REFERENCE), None)
    if first:
        lo, hi = first.get("saving_interval") or (None, None)
        saved = formats.percent(first.get("saving")) if formats.known(first.get("saving")) else formats.NOT_REACHED
        keys.append(("Labels saved", saved, f"{formats.bounds(lo, hi)} {first['strategy']}".strip()))
    metrics = (facts.get("model") or {}).get("metrics") or {}
    name, words = ("micro_f1", "Entity F1") if "partial_f1" in metrics else ("accuracy", "Accuracy")
    if metrics.get(name) is not None:
        value, _, interval = formats.measured(metrics[name], name).partition(" (")
        keys.append((words, value, f"({interval}" if interval else ""))
    return keys


def _weakest_first(classes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Classes by F1, the unknown ones last."""

    def order(row: Mapping[str, Any]) -> tuple[bool, float]:
        f1 = (row.get("f1") or {}).get("value")
        return (f1 is None, f1 or 0.0)

    return sorted(classes, key=order)


def _reliability(bins: Sequence[Mapping[str, Any]]) -> str:
    """The calibration diagram, or nothing where there are no bins."""
    if not bins:
        return ""
    words = "; ".join(charts.reliability_words(row) for row in bins)
    spec = charts.reliability_spec(bins, charts.Size(290, 260))
    return charts.draw(spec, "calibration", "How often the model was right, by its confidence", words)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _style() -> str:
    return files("labelwise.web").joinpath("report.css").read_text(encoding="utf-8").strip()


@cache
def _template() -> Template:
    from jinja2 import ChainableUndefined, Environment, PackageLoader

    # absent facts are ordinary here, so a chain of absent names is empty and a section tests for it
    environment = Environment(
        loader=PackageLoader("labelwise.web", ""),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(formats.FILTERS)
    environment.globals.update(bounds=formats.bounds, known=formats.known, not_reached=formats.NOT_REACHED)
    return environment.get_template("report.html.j2")
