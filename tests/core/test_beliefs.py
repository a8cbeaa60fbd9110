"""Beliefs against their definitions, written out for one text at a time."""

from __future__ import annotations

import math
import os
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.core import (
    Beliefs,
    Categorical,
    Committee,
    ContractError,
    Multilabel,
    Streamed,
    Tagged,
    Tags,
    from_arrays,
    stack,
    stream,
)
from labelwise.learn.logistic import probabilities

FORMS = ("categorical", "multilabel", "tagged", "committee", "tagged committee")
FLOATS = (np.float16, np.float32, np.float64)


def believed(form, n, c, seed, dtype=np.float64):
    rng = stream(seed, "beliefs", form, n, c)
    if form == "categorical":
        return Categorical(rng.dirichlet(np.full(c, 0.4), n).astype(dtype))
    if form == "multilabel":
        return Multilabel(rng.random((n, c)).astype(dtype))
    lengths = rng.integers(0, 4, n) * (rng.random(n) < 0.7)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    if form == "tagged":
        return Tagged(rng.dirichlet(np.full(c, 0.4), int(offsets[-1])).astype(dtype), offsets)
    if form == "committee":
        return Committee(tuple(Categorical(rng.dirichlet(np.full(c, 0.4), n).astype(dtype)) for _ in range(3)))
    return Committee(
        tuple(Tagged(rng.dirichlet(np.ones(c), int(offsets[-1])).astype(dtype), offsets) for _ in range(2))
    )


def equal(one, other):
    assert type(one) is type(other)
    mine, theirs = one.arrays(), other.arrays()
    assert list(mine) == list(theirs)
    return all(np.array_equal(mine[name], theirs[name]) for name in mine)


beliefs = st.builds(
    believed, st.sampled_from(FORMS), st.integers(0, 9), st.integers(1, 5), st.integers(0, 99), st.sampled_from(FLOATS)
)


def log(p):
    return math.log(p) if p > 0 else 0.0


def lead(row):
    first, second = sorted(row, reverse=True)[:2] if len(row) > 1 else (1.0, 0.0)
    return first - second


def spread(row):
    return -sum(p * log(p) for p in row) / math.log(max(len(row), 2))


def coin(p):
    return -(p * log(p) + (1 - p) * log(1 - p)) / math.log(2)


def by_hand(about):
    """(margin, entropy, confidence) of every text, from the definitions."""
    form = about.mean() if isinstance(about, Committee) else about
    rows = form.probs.astype(float).tolist()
    if isinstance(form, Categorical):
        return [(lead(row), spread(row), max(row)) for row in rows]
    if isinstance(form, Multilabel):
        return [
            (min(abs(2 * p - 1) for p in row), np.mean([coin(p) for p in row]), np.mean([max(p, 1 - p) for p in row]))
            for row in rows
        ]
    out = []
    for start, end in pairwise(form.offsets):
        tokens = rows[start:end]
        out.append(
            (min(map(lead, tokens)), np.mean([spread(t) for t in tokens]), min(map(max, tokens)))
            if tokens
            else (1.0, 0.0, 1.0)
        )
    return out


@given(beliefs)
def test_margin_entropy_and_confidence_are_what_they_are_defined_to_be(about):
    expected = np.array(by_hand(about)).reshape(-1, 3)
    for values, wanted in zip((about.margin(), about.entropy(), about.confidence()), expected.T, strict=True):
        assert values.shape == (len(about),)
        assert values.dtype == np.float64
        assert ((values >= 0) & (values <= 1)).all()
        np.testing.assert_allclose(values, wanted, atol=2e-3)  # float16 rows sum to 1 only so far


@given(beliefs, st.integers(0, 99))
def test_surprise_is_minus_log_p(about, seed):
    form = about.mean() if isinstance(about, Committee) else about
    rng = stream(seed, "truth")
    p = form.probs.astype(float)
    if isinstance(form, Multilabel):
        truth = rng.random(p.shape) < 0.5
        expected = [np.mean([-math.log(q if t else 1 - q) for q, t in zip(*row, strict=True)])
                    for row in zip(np.clip(p, 1e-12, 1 - 1e-12), truth, strict=True)]  # fmt: skip
    else:
        truth = rng.integers(0, p.shape[1], len(p))
        tokens = [-math.log(max(row[t], 1e-12)) for row, t in zip(p, truth, strict=True)]
        expected = tokens
        if isinstance(form, Tagged):
            pieces = [tokens[a:b] for a, b in pairwise(form.offsets)]
            expected = [np.mean(piece) if piece else 0.0 for piece in pieces]
            truth = Tags(truth, form.offsets)
    np.testing.assert_allclose(about.surprise(truth), expected, rtol=1e-6, atol=1e-9)


def test_the_impossible_surprises_finitely():
    assert Categorical(np.array([[1.0, 0.0]])).surprise(np.array([1])) == pytest.approx([-math.log(1e-12)])
    assert Multilabel(np.array([[1.0]])).surprise(np.array([[False]])) == pytest.approx([-math.log(1e-12)], rel=1e-3)


@given(beliefs)
def test_hard_is_the_likeliest_answer_in_the_form_of_targets(about):
    form = about.mean() if isinstance(about, Committee) else about
    if isinstance(form, Multilabel):
        assert np.array_equal(about.hard(), form.probs > 0.5)
    else:
        hard = about.hard().codes if isinstance(form, Tagged) else about.hard()
        assert [row[k] for row, k in zip(form.probs, hard, strict=True)] == [max(row) for row in form.probs]


@given(beliefs)
def test_arrays_give_the_beliefs_back(about):
    assert equal(from_arrays(about.arrays()), about)
    assert isinstance(about, Beliefs)


@given(beliefs, st.data())
def test_taken_rows_are_the_same_texts(about, data):
    some = st.lists(st.integers(0, len(about) - 1), max_size=12) if len(about) else st.just([])
    rows = np.array(data.draw(some), dtype=np.intp)
    taken = about.take(rows)
    assert len(taken) == len(rows)
    for face in ("margin", "entropy", "confidence"):
        assert np.array_equal(getattr(taken, face)(), getattr(about, face)()[rows])
    assert equal(taken, stack([about.take(rows[:0]), *(about.take(rows[i : i + 1]) for i in range(len(rows)))]))


@given(beliefs, st.data())
def test_shards_stack_to_the_whole(about, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(about)), max_size=3)))
    bounds = [0, *cuts, len(about)]
    parts = [about.take(np.arange(a, b)) for a, b in pairwise(bounds)]
    assert equal(stack(parts), about.take(np.arange(len(about))))


def test_a_mask_takes_like_rows():
    for form in FORMS:
        about = believed(form, 6, 3, 1)
        mask = np.array([True, False, False, True, True, False])
        assert equal(about.take(mask), about.take(np.flatnonzero(mask)))


def test_a_committee_answers_with_its_mean_in_double_precision():
    one, two = Categorical(np.array([[1.0, 0.0]], np.float16)), Categorical(np.array([[0.5, 0.5]], np.float16))
    mean = Committee([one, two]).mean()
    assert mean.probs.dtype == np.float64
    assert mean.probs.tolist() == [[0.75, 0.25]]
    many = Committee(tuple(Categorical(np.array([[k / 12, 1 - k / 12]])) for k in range(12)))
    assert [m.probs[0, 0] for m in from_arrays(many.arrays()).members] == [k / 12 for k in range(12)]


HALVES = np.array([[0.5, 0.5], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Categorical(np.ones(3)), r"Categorical needs probabilities of shape \(n, c\) with c >= 1, not \(3,\)"),
        (lambda: Multilabel(np.ones((1, 1, 1))), "Multilabel needs probabilities of shape"),
        (lambda: Categorical(np.ones((3, 0))), r"with c >= 1, not \(3, 0\)"),
        (lambda: Categorical(np.array([[0.5, np.nan]])), r"Categorical needs finite probabilities in \[0, 1\]"),
        (lambda: Multilabel(np.array([[1.1]])), "Multilabel needs finite probabilities"),
        (lambda: Multilabel(np.array([[-0.1]])), "Multilabel needs finite probabilities"),
        (lambda: Categorical(np.array([[0.6, 0.6]])), "Categorical needs rows that sum to 1"),
        (lambda: Tagged(np.array([[0.6, 0.6]]), np.array([0, 1])), "Tagged needs rows that sum to 1"),
        (lambda: Tagged(HALVES, np.array([0, 1])), "Tagged needs offsets"),
        (lambda: Tagged(HALVES, np.array([1, 2])), "Tagged needs offsets"),
        (lambda: Tagged(HALVES, np.array([0, 2, 1, 2])), "Tagged needs offsets"),
        (lambda: Tagged(HALVES, np.zeros(0, int)), "Tagged needs offsets"),
        (lambda: Tagged(HALVES, np.array([[0, 2]])), "Tagged needs offsets"),
        (lambda: Committee(()), "Committee needs at least one member"),
        (lambda: Committee((Categorical(HALVES), Multilabel(HALVES))), "all of one form and shape"),
        (lambda: Committee((Categorical(HALVES), Categorical(HALVES[:1]))), "all of one form and shape"),
        (lambda: Committee((Tagged(HALVES, np.array([0, 1, 2])), Tagged(HALVES, np.array([0, 2, 2])))), "one form"),
        (lambda: from_arrays({"probs": HALVES}), r"arrays \['probs'\] are no beliefs"),
        (lambda: from_arrays({}), r"arrays \[\] are no beliefs"),
        (lambda: from_arrays({"tagged": HALVES}), r"arrays \['tagged'\] are no beliefs"),
        (lambda: from_arrays({"0/probs": HALVES}), "are no beliefs"),
        (lambda: stack([]), "only beliefs of one form"),
        (lambda: stack([Categorical(HALVES), Multilabel(HALVES)]), "only beliefs of one form"),
        (lambda: stack([Categorical(HALVES), Categorical(np.ones((1, 1)))]), "number of columns"),
        (lambda: stack([Committee((Categorical(HALVES),)), Committee((Categorical(HALVES),) * 2)]), "one form"),
        (lambda: stack([Committee((Categorical(HALVES),)), Committee((Multilabel(HALVES),))]), "one form"),
    ],
)  # fmt: skip
def test_what_is_no_belief_is_refused(make, message):
    with pytest.raises(ContractError, match=message):
        make()


def torn_apart(n, c, seed=5):
    return stream(seed, "torn").dirichlet(np.full(c, 0.4), n).astype(np.float32)


@pytest.mark.parametrize("c", [1, 2, 3, 20])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_margin_of_many_rows_is_exactly_that_of_each(c, dtype, order):
    probs = np.asarray(torn_apart(20_000, c), dtype=dtype, order=order)
    probs[:5] = 1 / c  # two equal leaders
    top = np.sort(probs.astype(np.float64), axis=1)
    expected = top[:, -1] - top[:, -2] if c > 1 else np.ones(len(probs))
    assert np.array_equal(Categorical(probs).margin(), np.clip(expected, 0, 1))


@pytest.mark.parametrize("face", ["margin", "entropy", "confidence"])
def test_streamed_beliefs_do_not_depend_on_the_number_of_threads(face, monkeypatch):
    weights, vectors = stream(1, "w").normal(size=(7, 16)), stream(1, "v").normal(size=(50_001, 16)).astype(np.float32)

    def tell(rows):
        return Categorical(probabilities(weights, np.zeros(7), vectors[rows], "softmax"))

    told = []
    for threads in ("1", "2", "3"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        told.append(getattr(Streamed(len(vectors), tell), face)())
    blocks = [getattr(block, face)() for block in Streamed(len(vectors), tell).blocks()]
    assert all(np.array_equal(each, np.concatenate(blocks)) for each in told)


def test_an_error_in_a_block_is_the_error_of_the_whole():
    def tell(rows):
        if rows.start:
            raise ZeroDivisionError("in a thread")
        return Categorical(np.full((rows.stop - rows.start, 2), 0.5))

    with pytest.raises(ZeroDivisionError, match="in a thread"):
        Streamed(3 * 8192, tell).margin()


def test_streamed_beliefs_take_masks_rows_and_slices_like_any():
    probs = torn_apart(30_000, 3)
    streamed, held = Streamed(30_000, Categorical(probs).take), Categorical(probs)
    mask = np.arange(30_000) % 3 > 0
    for rows in (mask, np.flatnonzero(mask), np.array([5, 3, 29_999]), np.arange(30_000)):
        taken = streamed.take(rows)
        assert len(taken) == len(held.take(rows))
        assert np.array_equal(taken.margin(), held.take(rows).margin())
        assert np.array_equal(taken.take(np.array([2, 0])).probs, held.take(rows).probs[[2, 0]])
    assert Streamed(0, held.take).margin().tolist() == []
