"""Words, character n-grams and their reduction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.feature_extraction.text import CountVectorizer

from labelwise.core import DamagedRecord, InputError, State, WrongMoment, stream
from labelwise.represent import hashing, ngrams
from labelwise.represent.hashing import Hashing

TEXTS = ["Where is my card?", "the card is late, the card!", "ภาษาไทย ไม่ยาก", "我的卡 在哪里？", "ok", "", "a_b 12 x-y"]


def per_text(found: tuple[np.ndarray, np.ndarray], n: int) -> list[dict[int, int]]:
    counts: list[dict[int, int]] = [{} for _ in range(n)]
    for value, owner in zip(*found, strict=True):
        counts[owner][int(value)] = counts[owner].get(int(value), 0) + 1
    return counts


@pytest.mark.parametrize("size", [2, 3, 4])
def test_character_ngrams_are_those_of_scikit_learn(size: int) -> None:
    texts = ["where is my card?", "banana bandana", "long-winded: yes"]
    found = per_text(ngrams.characters(ngrams.letters(texts), size, within_words=True), len(texts))
    theirs = CountVectorizer(analyzer="char_wb", ngram_range=(size, size)).fit_transform(texts).toarray()
    for row, counts in zip(theirs, found, strict=True):
        assert sorted(counts.values()) == sorted(row[row > 0])


@pytest.mark.parametrize("size", [1, 2, 3])
def test_words_keep_signs_and_every_script(size: int) -> None:
    pattern = r"[^\W]+(?:[\u0e00-\u0e7f]*)|[^\w\s]"
    texts = [text for text in TEXTS if "ภ" not in text and "_" not in text]
    counter = CountVectorizer(token_pattern=pattern, ngram_range=(size, size))
    theirs = counter.fit_transform(texts).toarray()
    found = per_text(ngrams.words(ngrams.letters(texts), size), len(texts))
    for row, counts in zip(theirs, found, strict=True):
        assert sorted(counts.values()) == sorted(row[row > 0])


def test_marks_belong_to_their_word() -> None:
    hashes, _ = ngrams.words(ngrams.letters(["ไม่ยาก हिन्दी"]), 1)
    assert len(hashes) == 2


def test_equal_ngrams_hash_alike_wherever_they_stand() -> None:
    found = per_text(ngrams.words(ngrams.letters(["card one", "another  card", "card"]), 1), 3)
    assert set(found[0]) & set(found[1]) == set(found[2])


def test_no_ngram_reaches_into_the_next_text() -> None:
    alone = per_text(ngrams.words(ngrams.letters(["late"]), 2), 1)
    assert alone == [{}]
    assert per_text(ngrams.words(ngrams.letters(["late", "card"]), 2), 2) == [{}, {}]


@pytest.mark.parametrize("n", [0, 1, 3, 40])
def test_a_small_sample_gives_fewer_directions_padded_with_zeros(n: int) -> None:
    sample = [f"text number {i} of {i * i}" for i in range(n)]
    fitted = Hashing(dimensions=64, features=1024).fit(sample, stream(0, "fit"))
    vectors = fitted.encode(sample)
    assert vectors.shape == (n, 64)
    assert not vectors[:, n:].any()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_basis_preserves_the_cosines_it_spans() -> None:
    texts = [text for text in TEXTS if text] * 2
    config = Hashing(dimensions=32, features=2**16)
    fitted = config.fit(texts, stream(0, "fit"))
    rows = hashing._weighted(hashing._counted(config, texts), fitted.idf, fitted.known).toarray()
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    vectors = fitted.encode(texts)
    np.testing.assert_allclose(vectors @ vectors.T, rows @ rows.T, atol=1e-4)


def test_a_projection_keeps_similar_texts_similar() -> None:
    config = Hashing(dimensions=512, reduce="projection", features=2**12)
    fitted = config.fit(TEXTS, stream(0, "fit"))
    a, b, c = fitted.encode(["the card is late", "the card is late!", "nothing of that kind"])
    assert a @ b > 0.8 > 0.4 > a @ c
    assert "basis" not in fitted.state().arrays


def test_the_sample_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "SAMPLE", 50)
    counts, frequency, read = hashing._sampled(Hashing(), ["same words"] * 500, stream(0, "fit"))
    assert counts.shape[0] == read == frequency.max() == 50
    monkeypatch.setattr(hashing, "ENTRIES", 1)
    monkeypatch.setattr(hashing, "SAMPLE", 5000)
    assert hashing._sampled(Hashing(), ["same words"] * 5000, stream(0, "fit"))[2] == 1024
    monkeypatch.setattr(hashing, "KNOWN", 3)
    assert hashing._frequent(np.array([5, 1, 9, 2, 9]), 2).tolist() == [0, 2, 4]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dimensions": 0}, "hashing.dimensions: 0 is not possible; choose 1 to 4096"),
        ({"words": (2, 1)}, r"hashing.words: \[2, 1\] is not a range of lengths; write"),
        ({"characters": (1, 3)}, "with 2 <= shortest <= longest <= 8"),
        ({"characters": (3,)}, "hashing.characters"),
        ({"features": 1000}, "choose a power of two from 1024"),
        ({"reduce": "svg"}, "Did you mean 'svd'"),
    ],
)
def test_a_config_that_cannot_be_used_is_refused(given: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Hashing(**given)


def test_refuses_other_and_incomplete_states() -> None:
    config = Hashing(dimensions=8, features=1024)
    state = config.fit(TEXTS, stream(0, "fit")).state()
    with pytest.raises(DamagedRecord, match="features = 1024, but here it is 2048"):
        Hashing(dimensions=8, features=2048).restore(state)
    with pytest.raises(DamagedRecord, match="lacks 'idf'"):
        config.restore(State({}, state.facts))
    cut = State({**state.arrays, "basis": state.arrays["basis"][:-1]}, state.facts)
    with pytest.raises(DamagedRecord, match="do not fit"):
        config.restore(cut)
    with pytest.raises(WrongMoment, match="not fitted yet"):
        config.encode(["a"])


@pytest.mark.real
def test_question_types_are_learnable(real_data: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    rows = pq.read_table(real_data / "trec.parquet", columns=["text", "label", "split"]).to_pydict()
    train = [i for i, split in enumerate(rows["split"]) if split == "train"]
    texts, labels = [rows["text"][i] for i in train], np.array([rows["label"][i] for i in train])
    vectors = Hashing(dimensions=64).fit(texts[:3000], stream(0, "fit")).encode(texts)
    model = LogisticRegression(C=10, max_iter=300).fit(vectors[:1000], labels[:1000])
    assert model.score(vectors[1000:], labels[1000:]) > 0.6  # the most frequent type: .23
