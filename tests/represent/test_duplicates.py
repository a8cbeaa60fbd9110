"""Near-duplicate groups on planted pairs, hostile pools and real titles."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from labelwise.core import InputError, stream
from labelwise.represent import duplicates
from labelwise.represent.duplicates import BANDS, groups, signatures


def grouped(texts: list[str]) -> list[int]:
    return groups(signatures(texts), texts).tolist()


def vocabulary(seed: int, size: int = 3000) -> list[str]:
    rng = stream(seed, "words")
    return ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(3, 9))) for _ in range(size)]


def sentences(n: int, seed: int, least: int, most: int) -> list[str]:
    rng, known = stream(seed, "sentences"), np.array(vocabulary(seed))
    return [" ".join(rng.choice(known, rng.integers(least, most))) for _ in range(n)]


def test_a_number_a_typo_and_a_word_do_not_make_another_text() -> None:
    texts = [
        "Your login code is 481516, do not share it",
        "The parcel has not arrived and nobody answers the phone",
        "Your login code is 2342, do not share it",
        "The parcel has not arived and nobody answers the phone",
        "Something else altogether",
        "The parcel has not arrived and nobody answers the phone!",
    ]
    assert grouped(texts) == [0, 1, 0, 1, -1, 1]


def test_short_texts_stay_apart() -> None:
    texts = [
        "ok",
        "yes",
        "no",
        "nope",
        "5",
        "7",
        "?",
        "!",
        "👍",
        "",
        " ",
        "okay",
        "a",
        "b",
        "12",
        "13",
        "room 5",
        "room 7",
    ]
    assert set(grouped(texts)) == {-1}
    assert grouped(["ok", "yes", "OK", "ok "]) == [0, -1, 0, 0]


def test_empty_pools_and_single_texts() -> None:
    assert grouped([]) == []
    assert grouped(["alone"]) == [-1]
    assert grouped(["", ""]) == [-1, -1]


def test_shards_and_order_change_nothing() -> None:
    texts = sentences(300, 1, 3, 12)
    texts += [text + "s" for text in texts[::3]]
    whole = signatures(texts)
    stacked = np.concatenate([signatures(texts[:7]), signatures(texts[7:7]), signatures(texts[7:])])
    np.testing.assert_array_equal(whole, stacked)
    first = groups(whole, texts)
    np.testing.assert_array_equal(first, groups(whole, texts))
    assert (first >= 0).sum() > 150
    assert all(first[row] == row for row in set(first[first >= 0]))


@pytest.mark.parametrize(
    ("words", "kind", "recall"),
    [
        ((6, 20), "typo", 0.995),
        ((6, 20), "two typos", 0.97),
        ((6, 20), "number", 0.995),
        ((6, 20), "word", 0.99),
        ((3, 5), "typo", 0.82),  # of three or four words, one typo changes a fifth of the 3-grams
        ((3, 5), "number", 0.95),
        ((3, 5), "word", 0.8),
    ],
)
def test_planted_pairs_are_found_and_nothing_else(words: tuple[int, int], kind: str, recall: float) -> None:
    n = 1500
    base = sentences(n, 2, *words)
    rng = stream(2, "edits")

    def typo(text: str) -> str:
        place = int(rng.integers(len(text)))
        return text[:place] + "q" + text[place + 1 :]

    def edited(text: str) -> tuple[str, str]:
        if kind == "number":
            return f"{text} {rng.integers(10_000)}", f"{text} {rng.integers(10_000)}"
        if kind == "word":
            return text, f"{text} {base[int(rng.integers(n))].split()[0]}"
        return text, typo(text) if kind == "typo" else typo(typo(text))

    left, right = zip(*map(edited, base), strict=True)
    texts = [*left, *right]
    found = groups(signatures(texts), texts)
    assert ((found[:n] >= 0) & (found[:n] == found[n:])).mean() > recall
    rows = np.flatnonzero(found >= 0)
    assert (found[rows] % n == rows % n).all()  # no text joined with anything but its own pair


def test_one_long_common_prefix_does_not_cost_a_square() -> None:
    prefix = " ".join(vocabulary(3)[:12])
    texts = [f"{prefix} {tail}" for tail in sentences(10_000, 3, 5, 6)]
    texts += [text + "x" for text in texts[:500]]
    prints = signatures(texts)
    start = time.process_time()
    found = groups(prints, texts)
    assert time.process_time() - start < 20  # 55 million pairs would take minutes
    assert ((found[:500] >= 0) & (found[:500] == found[10_000:])).mean() > 0.99


def test_identical_texts_are_one_group_at_little_cost() -> None:
    texts = ["the same text in every row"] * 20_000
    assert set(grouped(texts)) == {0}


def test_exact_similarity() -> None:
    pairs = np.array([[0, 1], [0, 2], [1, 1]])
    texts = ["abcd", "abce", "zzz"]
    # " abcd " and " abce " have 4 3-grams each and share 2
    np.testing.assert_allclose(duplicates._similarities(pairs, texts), [2 / 6, 0, 1])


def test_refuses_signatures_of_other_texts_and_impossible_thresholds() -> None:
    with pytest.raises(InputError, match=rf"shape \(1, {BANDS}\) do not belong to 2 texts"):
        groups(signatures(["a"]), ["a", "b"])
    with pytest.raises(InputError, match=r"duplicates\.threshold: 0 is not a similarity"):
        groups(signatures(["a"]), ["a"], threshold=0)


@pytest.mark.real
def test_real_titles_form_many_small_groups(real_data: Path) -> None:
    texts = list(dict.fromkeys(pq.read_table(real_data / "reddit_titles.parquet")["text"].to_pylist()[:20_000]))
    found = groups(signatures(texts), texts)
    sizes = np.unique(found[found >= 0], return_counts=True)[1]
    assert 0.005 < (found >= 0).mean() < 0.1
    assert sizes.max() < 200
