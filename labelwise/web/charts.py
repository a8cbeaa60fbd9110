"""Charts of a report: Vega-Lite specifications drawn to still SVG and PNG, without a browser and without script.

Colours are fixed hex values in the drawing; ``report.css`` re-colours them by attribute for dark
screens, so one drawing serves both. Series differ in colour, dash and shape, never in colour alone.

Known trade-off: specifications are plain Vega-Lite data, not Altair objects: importing
Altair takes as long as drawing a whole report, and its objects would end as this data anyway.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree

from labelwise.web import formats

Spec = dict[str, Any]
Facts = Mapping[str, Any]

INK, SOFT, LINE, GREY = "#1F2933", "#52606D", "#E1E5EA", "#6B7280"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#B45C93", "#8C6A00")
DASHES = ((1, 0), (9, 2), (2, 2), (7, 2, 2, 2))
SHAPES = (
    "M1,0A1,1,0,1,1,-1,0A1,1,0,1,1,1,0Z",
    "M-0.9,-0.9H0.9V0.9H-0.9Z",
    "M0,-1.1L1.1,0.9H-1.1Z",
    "M0,-1.2L1.2,0L0,1.2L-1.2,0Z",
    "M0,1.1L1.1,-0.9H-1.1Z",
)
REFERENCE = "random"
POINTS = 20  # more marks than this on one curve hide the line and swell the file
UNUSED = frozenset({"class", "role", "pointer-events", "font-family"})  # of Vega's attributes in a page of ours
SERIES = 12  # more curves than this cannot be told apart


class Look(NamedTuple):
    """How one strategy is drawn, in every chart and in the key beside them."""

    name: str
    colour: str
    dash: tuple[int, ...]
    shape: str


class Size(NamedTuple):
    """The plotting area in pixels, without axes."""

    width: int
    height: int


def looks(curves: Facts) -> list[Look]:
    """One look per strategy that occurs in any metric, in order of appearance; random is grey and dashed."""
    names = list(dict.fromkeys(str(curve["strategy"]) for series in curves.values() for curve in series))[:SERIES]
    drawn, place = [], 0
    for name in names:
        if name == REFERENCE:
            drawn.append(Look(name, GREY, (5, 4), SHAPES[0]))
            continue
        turn, colour = divmod(place, len(COLOURS))
        drawn.append(Look(name, COLOURS[colour], DASHES[turn % len(DASHES)], SHAPES[colour]))
        place += 1
    return drawn


def _rows(series: Sequence[Facts], metric: str, known: Sequence[Look]) -> list[dict[str, Any]]:
    """The curves as long rows; the reference first so that it is drawn beneath, and a sentence for each point."""
    places = {look.name: place for place, look in enumerate(known)}
    rows = []
    for curve in sorted(series, key=lambda curve: curve["strategy"] != REFERENCE):
        if curve["strategy"] not in places:
            continue
        points = list(zip(curve["labels"], curve["mean"], curve["lo"], curve["hi"], strict=True))
        step = -(-len(points) // POINTS) or 1
        for place, (labels, mean, lo, hi) in enumerate(points):
            if mean is None:
                continue
            said = formats.measured({"value": mean, "lo": lo, "hi": hi}, metric)
            rows.append(
                {
                    "key": f"s{places[curve['strategy']]}",
                    "labels": labels,
                    "mean": mean,
                    "lo": mean if lo is None else lo,
                    "hi": mean if hi is None else hi,
                    "said": f"{curve['strategy']}, {formats.count(labels)} labels: {said}",
                    "marked": (len(points) - 1 - place) % step == 0,
                }
            )
    return rows


def _config() -> Spec:
    axis = {
        "aria": False, "domainColor": LINE, "gridColor": LINE, "tickColor": LINE, "ticks": False, "labelPadding": 8,
        "labelColor": SOFT, "titleColor": SOFT, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal",
        "titlePadding": 10,
    }  # fmt: skip
    legend = {
        "title": None, "orient": "top", "labelColor": INK, "labelFontSize": 13, "labelLimit": 220, "symbolSize": 110,
        "symbolOpacity": 1, "symbolStrokeWidth": 0, "columnPadding": 24, "padding": 0, "offset": 16,
    }  # fmt: skip
    return {
        "background": None,
        "view": {"stroke": None},
        "axis": axis,
        "axisY": {"domain": False, "minExtent": 36},
        "axisX": {"grid": False, "labelFlush": False},
        "legend": legend,
    }


def _axis(metric: str) -> Spec:
    if metric in formats.LOSSES:
        return {"tickCount": 5}
    return {"tickCount": 5, "labelExpr": "format(datum.value * 100, '.4~g') + ' %'"}


def curve_spec(curves: Facts, metric: str, size: Size, legend: bool = False) -> Spec:
    """Lines with bands of one metric against the number of labels.

    Strategies' names reach Vega as data and are looked up by key, never pasted into an expression.
    """
    known = looks(curves)
    keys = [f"s{place}" for place in range(len(known))]

    def scaled(values: Sequence[Any]) -> Spec:
        shown = {"labelExpr": "names[datum.label]"} if legend else None
        return {"field": "key", "type": "nominal", "scale": {"domain": keys, "range": list(values)}, "legend": shown}

    colour, dash, shape = (scaled(values) for values in zip(*(look[1:] for look in known), strict=True))
    x = {
        "field": "labels", "type": "quantitative", "title": "labels", "scale": {"nice": False, "zero": False},
        "axis": {"tickCount": max(4, size.width // 90), "tickMinStep": 1, "format": ",d"},
    }  # fmt: skip
    scale = {"zero": False, "padding": 6}
    y: Spec = {"field": "mean", "type": "quantitative", "title": None, "scale": scale, "axis": _axis(metric)}
    band = {"mark": {"type": "area", "opacity": 0.14, "aria": False},
            "encoding": {"y": y | {"field": "lo"}, "y2": {"field": "hi"}, "color": colour}}  # fmt: skip
    line = {"mark": {"type": "line", "strokeWidth": 2.25, "aria": False},
            "encoding": {"y": y, "color": colour, "strokeDash": dash | {"legend": None}}}  # fmt: skip
    point = {"mark": {"type": "point", "filled": True, "size": 34, "opacity": 1},
             "transform": [{"filter": "datum.marked"}],
             "encoding": {"y": y, "color": colour, "shape": shape, "description": {"field": "said"}}}  # fmt: skip
    return {
        **size._asdict(), "config": _config(), "data": {"values": _rows(curves[metric], metric, known)},
        "params": [{"name": "names", "value": {key: look.name for key, look in zip(keys, known, strict=True)}}],
        "encoding": {"x": x}, "layer": [band, line, point],
    }  # fmt: skip


def reliability_spec(bins: Sequence[Facts], size: Size) -> Spec:
    """How often the model was right against how sure it was, over the number of texts in each bin."""
    rows = [{**row, "said": reliability_words(row)} for row in bins if row.get("accuracy") is not None]
    unit: Spec = {"scale": {"domain": [0, 1]}, "axis": _axis("accuracy") | {"grid": True}, "type": "quantitative"}
    x = unit | {"field": "confidence", "title": None, "axis": unit["axis"] | {"labels": False}}
    y = unit | {"field": "accuracy", "title": "was right"}
    ideal = {"data": {"values": [{"at": 0}, {"at": 1}]},
             "mark": {"type": "line", "color": GREY, "strokeDash": [5, 4], "strokeWidth": 1.5, "aria": False},
             "encoding": {"x": x | {"field": "at"}, "y": y | {"field": "at"}}}  # fmt: skip
    whisker = {"mark": {"type": "rule", "color": COLOURS[0], "strokeWidth": 2, "opacity": 0.45, "aria": False},
               "encoding": {"x": x, "y": y | {"field": "lo"}, "y2": {"field": "hi"}}}  # fmt: skip
    point = {"mark": {"type": "point", "filled": True, "color": COLOURS[0], "size": 60, "opacity": 1},
             "encoding": {"x": x, "y": y, "description": {"field": "said"}}}  # fmt: skip
    counts = {"mark": {"type": "bar", "color": COLOURS[0], "opacity": 0.55, "width": 12},
              "width": size.width, "height": 56,
              "encoding": {"x": x | {"title": "model's confidence", "axis": unit["axis"] | {"grid": False}},
                           "y": {"field": "n", "type": "quantitative", "title": "texts", "axis": {"tickCount": 2}},
                           "description": {"field": "said"}}}  # fmt: skip
    upper = {**size._asdict(), "layer": [ideal, whisker, point]}
    return {"config": _config(), "data": {"values": rows}, "spacing": 14, "vconcat": [upper, counts]}


def reliability_words(row: Facts) -> str:
    """One bin of the calibration diagram as a sentence."""
    right = formats.measured({"value": row["accuracy"], "lo": row.get("lo"), "hi": row.get("hi")})
    return f"confidence {formats.percent(row['confidence'])}: right {right}, {formats.count(row['n'])} texts"


def curve_words(curves: Facts, metric: str) -> str:
    """The learning curves in words, for those who do not see the drawing."""
    sentences = []
    for curve in curves[metric][:SERIES]:
        if curve["labels"]:
            first, last = (formats.metric(curve["mean"][end], metric) for end in (0, -1))
            sentences.append(
                f"{curve['strategy']}: {first} at {formats.count(curve['labels'][0])} labels, "
                f"{last} at {formats.count(curve['labels'][-1])}."
            )
    return " ".join(sentences)


def draw(spec: Spec, name: str, title: str, words: str) -> str:
    """A specification as inline SVG: named and described for screen readers, points with hover titles.

    Vega's own roles are removed because one picture with a title and a description reads better
    than some hundred anonymous paths; numbers are rounded to a hundredth of a pixel.
    """
    import vl_convert

    root = ElementTree.fromstring(vl_convert.vegalite_to_svg(spec))  # noqa: S314 - drawn above, no stranger's markup
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        _tidy(element)
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-labelledby": f"{name}-title {name}-words"}
    for place, (tag, text) in enumerate((("title", title), ("desc", words))):
        label = ElementTree.Element(tag, {"id": f"{name}-{'words' if place else 'title'}"})
        label.text = text
        root.insert(place, label)
    return ElementTree.tostring(root, encoding="unicode")


def _tidy(element: ElementTree.Element) -> None:
    for child in list(element):
        if child.get("class") in {"background", "foreground"}:
            element.remove(child)
    said = element.attrib.pop("aria-label", None)
    element.attrib = {
        key: re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", value)
        for key, value in element.attrib.items()
        if key not in UNUSED and not key.startswith("aria-")
    }
    if said and element.tag == "path":
        ElementTree.SubElement(element, "title").text = said


def png(curves: Facts, metric: str, title: str, subtitle: str) -> bytes:
    """The learning curve on a white card with its own key, at twice the size for sharp screens."""
    import vl_convert

    spec = curve_spec(curves, metric, Size(720, 360), legend=True)
    spec["title"] = {"text": title, "subtitle": subtitle, "anchor": "start", "frame": "group", "offset": 18,
                     "color": INK, "fontSize": 18, "subtitleColor": SOFT, "subtitleFontSize": 13,
                     "subtitlePadding": 6, "limit": 720}  # fmt: skip
    spec["padding"] = 24
    spec["config"]["background"] = "#FFFFFF"
    return bytes(vl_convert.vegalite_to_png(spec, scale=2))
