"""The report promises: one bounded page, no script, no request, nothing escaped wrongly, the same bytes twice."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import facts
import pytest
from payloads import PAYLOADS

from labelwise.core.errors import InputError, WrongMoment
from labelwise.web import charts, formats, report

VOID = {"meta", "br"}


class Page(HTMLParser):
    """Walks a page: tags, attributes, visible text, and whether every element is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


def everywhere(value: Any, change: Callable[[str], str]) -> Any:
    """The same facts with every string changed, values and names of free-form parts alike."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [everywhere(item, change) for item in value]
    if isinstance(value, dict):
        return {key: everywhere(item, change) for key, item in value.items()}
    return value


def poisoned(payload: str) -> dict[str, Any]:
    """Full facts with a payload behind every string and in every free-form name."""
    bad: dict[str, Any] = everywhere(facts.full(), lambda text: text[:20] + payload)
    for part in (bad["protocol"], bad["cost"]["by_arm"], bad["model"]["metrics"], bad["versions"][0]["metrics"]):
        part[payload] = next(iter(part.values()))
    bad["protocol"]["nested"] = {"use": payload, payload: [payload]}
    bad["curves"][payload] = bad["curves"]["accuracy"][:1]
    return bad


def without(part: str) -> dict[str, Any]:
    """Full facts less one section, with a sentence that says what it needs."""
    known = facts.full()
    inside = known["model"] if part in report.INSIDE_MODEL else known
    del inside[part]
    if part == "selected":
        del known["selection_counts"]
    known["missing"] = {part: f"First do what {part} needs."}
    return known


@pytest.fixture(scope="module")
def html() -> str:
    return report.render(facts.full())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


@pytest.fixture(scope="module")
def benign() -> Page:
    return Page(report.render(poisoned("benign")))


def test_is_well_formed_and_closed(page: Page) -> None:
    assert page.open == []
    assert page.tags["h1"] == 1
    assert page.tags["section"] == len(report.SECTIONS) + 1


def test_asks_for_nothing(html: str, page: Page) -> None:
    assert not re.search(r"https?:|url\(|@import", html)
    links = [value for _, name, value in page.attributes if name in {"src", "href", "srcset", "data", "action"}]
    assert links
    assert all(link.startswith("#") for link in links)
    assert not {"script", "iframe", "img", "link", "object", "embed", "base", "form"} & set(page.tags)


def test_policy_allows_only_its_own_style_sheet(html: str, page: Page) -> None:
    policies = [value for tag, name, value in page.attributes if tag == "meta" and value.startswith("default-src")]
    sheet = re.search("<style>(.*)</style>", html, re.DOTALL)
    assert sheet
    assert policies == [
        f"default-src 'none'; style-src 'sha256-{report._digest(sheet[1])}'; base-uri 'none'; form-action 'none'"
    ]
    assert page.tags["style"] == 1
    assert not [name for _, name, _ in page.attributes if name == "style" or name.startswith("on")]


def test_every_link_and_label_has_its_target_once(page: Page) -> None:
    ids = Counter(value for _, name, value in page.attributes if name == "id")
    assert set(ids.values()) == {1}
    wanted = {value[1:] for _, name, value in page.attributes if name == "href"}
    for _, name, value in page.attributes:
        if name == "aria-labelledby":
            wanted |= set(value.split())
    assert wanted <= set(ids)


def test_every_picture_has_a_title_and_words(page: Page) -> None:
    pictures = [value for tag, name, value in page.attributes if (tag, name, value) == ("svg", "role", "img")]
    assert len(pictures) == page.tags["desc"] == 6
    assert "random: 50.0 % at 50 labels, 83.6 % at 500." in page.text
    assert "margin, 50 labels: 46.0 % (42.9–49.1)" in page.text


def test_same_facts_same_bytes(html: str) -> None:
    assert report.render(json.loads(json.dumps(facts.full()))) == html
    assert report.picture(facts.full()) == report.picture(facts.full())


def test_stays_below_two_megabytes_with_large_facts() -> None:
    known = facts.full()
    labels = list(range(10, 2010, 10))
    value = [place / 2500 for place in labels]
    curves = [{"strategy": f"strategy {place}", "labels": labels, "mean": value, "lo": value, "hi": value}
              for place in range(10)]  # fmt: skip
    known["curves"] = dict.fromkeys(report.METRICS, curves)
    known["model"]["per_class"] *= 100
    known["selected"] = [{**row, "text": "word " * 400} for row in known["selected"] * 40]
    html = report.render(known)
    assert len(html.encode()) < 2_000_000
    assert "The first 300 of 1,000 rows are shown; the facts hold all." in html


def test_shows_every_number_it_was_given(page: Page) -> None:
    for said in (
        "12,480", "26.0 h", "38.2 %", "(21.0–49.0)", "82.1 %", "(80.5–83.8)", "0.513", "(0.471–0.556)", "< 0.001",
        "not reached", "the reference", "0.0042", "model-0007", "promoted", "6.2 s", "temperature 1.34",
        "no model yet: the batch is random", "static (dimensions = 256)", "2026-03-04 10:15 UTC", "random control",
        "The oracle errs on 5 % of answers", "--strategies margin,power", "torn between card arrival and card lost",
    ):  # fmt: skip
        assert said in page.text, said


def test_classes_come_weakest_first(page: Page) -> None:
    section = page.text[page.text.index("Class by class") :]
    assert section.index("verify identity") < section.index("card lost") < section.index("card arrival")


def test_synthetic_data_is_said_everywhere(page: Page) -> None:
    assert page.text.count("Synthetic data") == len(report.SECTIONS) + 1
    assert "(synthetic data)" in page.text
    assert "Synthetic data" not in Page(report.render({**facts.full(), "synthetic": False})).text


@pytest.mark.parametrize("part", sorted(report.SECTIONS))
def test_an_absent_section_says_what_it_needs(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "draw", lambda *_: "<svg></svg>")
    page = Page(report.render(without(part)))
    assert f"Not known yet. First do what {part} needs." in re.sub(r"\s+", " ", page.text)


def test_an_empty_project_says_what_to_do_next() -> None:
    page = Page(report.render(facts.empty()))
    assert page.text.count("Not known yet.") == len(report.SECTIONS) + 1
    assert "Two more rounds are needed: run labelwise advance." in page.text
    assert page.text.count("40 more control labels are needed") == 4
    assert report.NEEDED["versions"] in page.text
    assert page.tags["svg"] == 0


def test_the_barest_facts_say_in_general_what_is_needed() -> None:
    text = Page(report.render({"version": 1})).text
    assert "Labelwise report" in text
    assert all(sentence in text for sentence in report.NEEDED.values())


def test_unknown_numbers_inside_known_parts_render() -> None:
    known = facts.full()
    nan, nothing = float("nan"), {"value": None, "lo": None, "hi": None}
    known["curves"]["accuracy"][0].update(mean=[nan] * 10, lo=[None] * 10, hi=[None] * 10)
    known["curves"]["ece"] = []
    known["summary"] = [{"strategy": "margin", "final": nan, "saving": None}]
    known["model"]["metrics"]["accuracy"] = nothing
    known["model"]["per_class"][0]["f1"] = nothing
    known["model"]["reliability"][0].update(accuracy=None, lo=None, hi=None)
    known["cost"] = {"labels": 0, "seconds": 0.0}
    text = Page(report.render(known)).text
    assert text.count("not reached") == 3
    assert "nan" not in text.lower()
    assert "None" not in text


@pytest.mark.parametrize("chunk", range(0, len(PAYLOADS), 8))
def test_no_payload_becomes_markup(chunk: int, benign: Page) -> None:
    together = " ".join(PAYLOADS[chunk : chunk + 8])
    assert len(together) < report.LONGEST - 20
    html = report.render(poisoned(together))
    attacked = Page(html)
    assert attacked.open == []
    assert attacked.tags == benign.tags
    assert [(tag, name) for tag, name, _ in attacked.attributes] == [(tag, name) for tag, name, _ in benign.attributes]
    for payload in PAYLOADS[chunk : chunk + 8]:
        shown = report.UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", payload)
        assert attacked.text.count(shown) > 100, payload
        assert "<" not in payload or shown not in html


def test_what_utf8_cannot_hold_is_replaced() -> None:
    known = {**facts.empty(), "title": "a\ud800b\x00c\x85d"}
    assert "a\ufffdb\ufffdc\ufffdd" in report.render(known).encode().decode()


def test_pictures_are_png_and_say_when_they_cannot_be_drawn() -> None:
    assert report.picture(facts.full()).startswith(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(WrongMoment, match=r"no learning curve to draw yet\. Two more rounds are needed"):
        report.picture(facts.empty())


@pytest.mark.parametrize(("bad", "said"), [({}, "None is not known"), ({"version": 2}, "2 is not known"),
                                           ({"version": 1, "title": {1, 2}}, "not JSON")])  # fmt: skip
def test_facts_of_another_kind_are_refused(bad: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        report.render(bad)


def test_numbers_read_well() -> None:
    assert formats.measured({"value": 0.8213, "lo": 0.804, "hi": 0.837}) == "82.1 % (80.4–83.7)"
    assert formats.measured({"value": -0.04, "lo": -0.1, "hi": 0.02}) == "−4.0 % (−10.0 to 2.0)"
    assert formats.measured({"value": 0.5132, "lo": None, "hi": 0.556}, "log_loss") == "0.513 (at most 0.556)"
    assert formats.measured({"value": 0.5, "lo": 0.21}) == "50.0 % (at least 21.0)"
    assert formats.measured(0.5) == "50.0 %"
    assert formats.measured(None) == formats.percent(True) == formats.count("7") == "–"
    assert [formats.duration(value) for value in (8.4, 312, 9360, None)] == ["8.4 s", "5.2 min", "2.6 h", "–"]
    assert [formats.p_value(value) for value in (0.0312, 0.0004, None)] == ["0.031", "< 0.001", "–"]
    assert [formats.title(name) for name in ("macro_f1", "test_set")] == ["Macro F1", "Test set"]
    assert formats.moment("last week") == "last week"
    assert formats.setting([True, None, {"use": "linear", "c": 0.10}, {}]) == "yes, none, linear (c = 0.1), none"


def test_strategies_differ_in_more_than_colour() -> None:
    known = charts.looks({"accuracy": [{"strategy": name} for name in ("random", *"abcdefghijklmno")]})
    assert len(known) == charts.SERIES
    assert len({(look.dash, look.shape) for look in known}) == charts.SERIES
    assert known[0].colour == charts.GREY


def test_every_colour_of_a_drawing_has_a_dark_counterpart(html: str) -> None:
    style, _, body = html.partition("</style>")
    drawn = set(re.findall(r'(fill|stroke)="(#\w+)"', body))
    for kind, colour in drawn | {(kind, colour) for kind in ("fill", "stroke") for colour in charts.COLOURS}:
        assert f'[{kind}="{colour}"]' in style


def chromium(page: Path, *options: str) -> str:
    """What the page looks like after it was opened, as markup."""
    browser = shutil.which("chromium")
    if browser is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
             "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=4000",
             f"--user-data-dir={page.parent / 'profile'}", "--dump-dom")  # fmt: skip
    opened = subprocess.run([browser, *flags, *options, page.as_uri()], capture_output=True, text=True, timeout=120)
    return opened.stdout


@pytest.mark.real
@pytest.mark.parametrize("chunk", range(0, len(PAYLOADS), 8))
def test_a_browser_executes_no_payload(chunk: int, tmp_path: Path) -> None:
    """Opened with and without its policy: escaping alone must hold, the policy is the second wall."""
    html = report.render(poisoned(" ".join(PAYLOADS[chunk : chunk + 8])))
    place = tmp_path / "report.html"
    for shown in (html, re.sub(r"<meta http-equiv[^>]*>", "", html)):
        place.write_text(shown, encoding="utf-8")
        seen = chromium(place)
        assert "<title>XSSED" not in seen
        assert re.search(r"<title>Banking questions", seen)
        assert "evil.example" not in {value for _, name, value in Page(seen).attributes if name in {"src", "href"}}


@pytest.mark.real
@pytest.mark.parametrize("width", [320, 400, 800, 1200])
def test_nothing_is_wider_than_the_screen(width: int, tmp_path: Path) -> None:
    """The page is framed by one that measures it, since it runs no script itself."""
    framed = report.render(poisoned(" unbreakable" * 3 + "x" * 200)).replace("&", "&amp;").replace('"', "&quot;")
    place = tmp_path / "frame.html"
    place.write_text(
        f'<body><iframe style="width:{width}px;height:900px;border:0" srcdoc="{framed}"></iframe><script>'
        "onload = () => "
        "document.body.append('WIDE=' + document.querySelector('iframe').contentDocument.documentElement.scrollWidth)"
        "</script></body>",
        encoding="utf-8",
    )
    found = re.search(r"WIDE=(\d+)", chromium(place))
    assert found
    assert int(found[1]) <= width
