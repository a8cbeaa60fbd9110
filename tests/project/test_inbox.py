"""The generated inbox: what the demo relies on."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict

import pytest

from labelwise.core import InputError, Task, stream
from labelwise.core.text import normalised
from labelwise.project.inbox import GUIDELINES, LABELS, inbox

Row = dict[str, str]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return inbox(stream(7, "inbox"))


def test_six_thousand_rows_no_text_twice(rows: list[Row]) -> None:
    assert len(rows) == 6000
    assert len({normalised(row["text"]) for row in rows}) == 6000
    assert all(set(row) == {"text", "intent", "domain", "lang", "split", "source"} for row in rows)


def test_twelve_intents_with_a_long_tail_and_guidelines(rows: list[Row]) -> None:
    sizes = Counter(row["intent"] for row in rows)
    assert set(sizes) == set(LABELS) == set(GUIDELINES)
    assert len(LABELS) == 12
    assert all(guideline.endswith(".") for guideline in GUIDELINES.values())
    Task("single", LABELS, GUIDELINES)
    assert 30 <= min(sizes.values()) < 0.01 * len(rows)
    assert len(set(sizes.values())) == 12


def test_three_languages_some_messages_switch_between_two(rows: list[Row]) -> None:
    langs = Counter(row["lang"] for row in rows)
    assert {lang for lang in langs if "+" not in lang} == {"en", "de", "es"}
    assert 0.06 < sum(count for lang, count in langs.items() if "+" in lang) / len(rows) < 0.10
    assert {"es+en", "de+en", "en+es", "en+de"} <= set(langs)


def test_every_intent_is_met_in_both_domains_and_in_the_test_split(rows: list[Row]) -> None:
    assert {(row["intent"], row["domain"]) for row in rows} == {(x, d) for x in LABELS for d in ("shop", "bank")}
    assert {row["intent"] for row in rows if row["split"] == "test"} == set(LABELS)
    assert 0.14 < sum(row["split"] == "test" for row in rows) / len(rows) < 0.20


def test_resent_messages_stay_on_one_side_and_keep_their_label(rows: list[Row]) -> None:
    family: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        family[row["source"]].append(row)
    assert 0.06 < (len(rows) - len(family)) / len(rows) < 0.10
    for copies in family.values():
        assert len({(r["split"], r["intent"], r["domain"], r["lang"]) for r in copies}) == 1


def test_resent_messages_resemble_the_first(rows: list[Row]) -> None:
    family: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        family[row["source"]].append(row["text"].lower())
    pairs = [texts[:2] for texts in family.values() if len(texts) > 1 and min(map(len, texts)) > 60]
    shared = [len(_trigrams(a) & _trigrams(b)) / len(_trigrams(a) | _trigrams(b)) for a, b in pairs]
    assert len(shared) > 200
    assert sum(share > 0.6 for share in shared) / len(shared) > 0.95


def _trigrams(text: str) -> set[str]:
    return {text[i : i + 3] for i in range(len(text) - 2)}


def test_texts_are_clean_and_of_many_lengths(rows: list[Row]) -> None:
    texts = [row["text"] for row in rows]
    assert all(text.strip() for text in texts)
    assert not any(unicodedata.category(char) in {"Cc", "Cs", "Co", "Cn"} for text in texts for char in text)
    assert not any(mark in text for text in texts for mark in "[]{}|")
    assert sum(len(text) < 40 for text in texts) > 200
    assert sum(len(text) > 180 for text in texts) > 200


def test_the_generator_alone_decides() -> None:
    assert inbox(stream(1, "inbox"), 500) == inbox(stream(1, "inbox"), 500)
    first, second = inbox(stream(1, "inbox"), 500), inbox(stream(2, "inbox"), 500)
    assert len({row["text"] for row in first} & {row["text"] for row in second}) < 50


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(InputError, match=r"inbox: n = 499 is too small .* at least 500"):
        inbox(stream(1, "inbox"), 499)
