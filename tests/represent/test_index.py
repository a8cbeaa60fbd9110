"""The index against comparing every pair, and against a dict that is told the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.core import ContractError, DamagedRecord, InputError, State, stream
from labelwise.represent import index as module
from labelwise.represent.common import unit
from labelwise.represent.index import MOST, NONE, PROBES, SMALL, Index, cells_for

D = 16


def _clustered(n: int, seed: int, d: int = 32, centres: int = 200) -> Any:
    rng = stream(seed, "index")
    middle = unit(rng.standard_normal((centres, d)).astype(np.float32))
    return unit(middle[rng.integers(centres, size=n)] + 0.15 * rng.standard_normal((n, d)).astype(np.float32))


def _keys(n: int, seed: int = 0) -> Any:
    return stream(seed, "keys").integers(2**64 - 1, size=n, dtype=np.uint64)


def _exact(queries: Any, vectors: Any, k: int) -> Any:
    return np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :k]


def _recall(found: Any, wanted: Any) -> float:
    return float(np.mean([len(set(f) & set(w)) / len(w) for f, w in zip(found.tolist(), wanted.tolist(), strict=True)]))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_few_texts_are_found_as_by_comparing_all(dtype: Any) -> None:
    vectors, keys = _clustered(600, 1).astype(dtype), _keys(600)
    index = Index.fit(vectors, stream(0, "fit"))
    index.add(keys, vectors)
    # what is stored is rounded to float16
    full = vectors.astype(np.float16).astype(np.float32)
    queries = vectors[:50].astype(np.float32)
    found, near = index.search(queries, 7)
    wanted = -np.sort(-(queries @ full.T), axis=1)[:, :7]
    np.testing.assert_allclose(near, wanted, atol=1e-5)
    told = {int(key): row for row, key in enumerate(keys)}
    rows = np.array([[told[int(key)] for key in line] for line in found])
    np.testing.assert_allclose(np.take_along_axis(queries @ full.T, rows, axis=1), near, atol=1e-5)
    assert all(len(set(line)) == 7 for line in rows.tolist())
    assert (rows[:, 0] == np.arange(50)).all()


def test_nine_of_ten_are_found_among_many() -> None:
    vectors, keys = _clustered(20_000, 2), np.arange(20_000, dtype=np.uint64)
    index = Index.fit(vectors, stream(0, "fit"))
    index.add(keys, vectors)
    wanted = _exact(vectors[:200], vectors, 10)
    few = _recall(index.search(vectors[:200], 10, probes=1)[0], wanted)
    usual = _recall(index.search(vectors[:200], 10)[0], wanted)
    every = _recall(index.search(vectors[:200], 10, probes=MOST)[0], wanted)
    assert few < usual
    assert usual >= 0.9
    assert every >= 0.99
    # the cells are those of the lists: with one probe every text finds itself in its own
    cells = index.cells(vectors)
    assert len(np.unique(cells)) > 400
    nearest = index.search(vectors[:200], 1, probes=1)[0][:, 0].astype(np.int64)
    assert (cells[nearest] == cells[:200]).all()


def test_adding_bit_by_bit_is_building_at_once_and_shards_are_one_index(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, keys = _clustered(3_000, 3), _keys(3_000)
    empty = Index.fit(vectors[:1_000], stream(0, "fit"), cells=64)
    once, parts = Index.restore(empty.state()), Index.restore(empty.state())
    once.add(keys, vectors)
    monkeypatch.setattr(module, "CHUNK", 100)
    for start in range(0, 3_000, 700):
        parts.add(keys[start : start + 700], vectors[start : start + 700])
    want, near = once.search(vectors[:40], 5, probes=8)
    got, also = parts.search(vectors[:40], 5, probes=8)
    np.testing.assert_array_equal(want, got)
    np.testing.assert_allclose(near, also, atol=1e-6)
    halves = [Index.restore(empty.state()) for _ in range(2)]
    for half, rows in zip(halves, (slice(0, 1_300), slice(1_300, None)), strict=True):
        half.add(keys[rows], vectors[rows])
    found, close = (
        np.concatenate(p, axis=1) for p in zip(*[h.search(vectors[:40], 5, 8) for h in halves], strict=True)
    )
    order = np.argsort(-close, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(np.take_along_axis(found, order, axis=1), want)


def test_what_is_removed_is_never_found_again() -> None:
    vectors, keys = _clustered(2_000, 4), _keys(2_000)
    index = Index.fit(vectors, stream(0, "fit"), cells=32)
    index.add(keys, vectors)
    gone = keys[::3]
    assert index.remove(gone) == len(gone)
    assert index.remove(gone) == 0
    assert len(index) == 2_000 - len(gone)
    for again in (index, Index.restore(index.state())):
        found, _ = again.search(vectors, 2_000, probes=32)
        assert not np.isin(found, gone).any()
        assert ((found != NONE).sum(axis=1) == len(again)).all()


def test_missing_texts_are_marked() -> None:
    index = Index.fit(_clustered(50, 5), stream(0, "fit"))
    keys, near = index.search(_clustered(3, 6), 4)
    assert (keys == NONE).all()
    assert (near == -np.inf).all()
    index.add(np.array([2**64 - 2, 2**63], dtype=np.uint64), _clustered(2, 7))
    keys, near = index.search(_clustered(2, 7), 3)
    assert keys[:, 0].tolist() == [2**64 - 2, 2**63]
    assert (keys[:, 2] == NONE).all()
    assert (near[:, 2] == -np.inf).all()
    assert np.isfinite(near[:, :2]).all()
    assert index.search(_clustered(3, 6)[:0], 3)[0].shape == (0, 3)


def test_a_stored_index_answers_the_same() -> None:
    vectors, keys = _clustered(1_500, 8), _keys(1_500)
    index = Index.fit(vectors, stream(0, "fit"), cells=40)
    index.add(keys, vectors)
    state = index.state()
    again = Index.restore(State({name: a.copy() for name, a in state.arrays.items()}, dict(state.facts)))
    for one, other in zip(index.search(vectors[:60], 5), again.search(vectors[:60], 5), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(index.cells(vectors), again.cells(vectors))
    same = Index.fit(vectors, stream(0, "fit"), cells=40)
    same.add(keys, vectors)
    assert same.state().facts == state.facts
    # what is stored for a text is two bytes a number, and little else
    assert state.arrays["index"].nbytes < 1_500 * (2 * 32 + 30) + 40 * (4 * 32 + 100)


def _broken(state: State, change: str) -> State:
    data, facts = state.arrays["index"].copy(), dict(state.facts)
    if change == "a flipped bit":
        data[len(data) // 2] ^= 1
    elif change == "cut short":
        data = data[:-9]
    elif change == "foreign bytes":
        data = np.zeros(64, dtype=np.uint8)
        facts["digest"] = module._digest(data)
    elif change == "other facts":
        facts["texts"] = 7
    elif change == "another type":
        data = data.astype(np.float32)
    return State({} if change == "nothing" else {"index": data}, facts)


@pytest.mark.parametrize(
    "change", ["a flipped bit", "cut short", "foreign bytes", "other facts", "another type", "nothing"]
)
def test_a_damaged_state_is_refused(change: str) -> None:
    index = Index.fit(_clustered(100, 9), stream(0, "fit"))
    with pytest.raises(DamagedRecord, match="build the index again"):
        Index.restore(_broken(index.state(), change))


def test_what_does_not_fit_is_refused() -> None:
    vectors = _clustered(20, 10)
    index = Index.fit(vectors, stream(0, "fit"))
    keys = np.arange(20, dtype=np.uint64)
    for bad_keys, bad in (
        (keys[:-1], vectors),
        (keys // 2, vectors),
        (np.where(keys == 3, NONE, keys), vectors),
        (keys, vectors[:, 1:]),
        (keys, np.where(vectors == vectors[4, 4], np.nan, vectors)),
    ):
        with pytest.raises(ContractError, match="index: "):
            index.add(bad_keys, bad)
    assert len(index) == 0
    for act in (
        lambda: Index.fit(vectors[:0], stream(0, "fit")),
        lambda: Index.fit(vectors, stream(0, "fit"), cells=MOST + 1),
        lambda: index.search(vectors, 0),
        lambda: index.search(vectors, 1, probes=0),
    ):
        with pytest.raises(InputError, match="index: "):
            act()


def test_equal_and_empty_texts_have_a_place() -> None:
    for vectors in (np.zeros((40, D)), np.tile(unit(np.ones((1, D), np.float32)), (40, 1))):
        index = Index.fit(vectors, stream(0, "fit"))
        index.add(np.arange(40, dtype=np.uint64), vectors)
        keys, near = index.search(vectors[:2], 40)
        assert (np.sort(keys, axis=1) == np.arange(40)).all()
        assert np.isfinite(near).all()


def test_the_number_of_cells_follows_the_pool() -> None:
    assert [cells_for(n) for n in (1, SMALL, 20_000, 1_000_000, 10**8)] == [PROBES, PROBES, 512, 2048, MOST]
    assert Index.fit(_clustered(5, 11), stream(0, "fit"))._inner.nlist == 5


POINTS = _clustered(40, 12, D, 5)
STEP = st.tuples(st.sampled_from(["add", "remove"]), st.lists(st.integers(0, 11), max_size=6, unique=True),
                 st.integers(0, 28))  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=10))
def test_adding_and_removing_in_any_order_is_a_dict(steps: list[tuple[str, list[int], int]]) -> None:
    index = Index.fit(POINTS, stream(0, "fit"), cells=4)
    model: dict[int, int] = {}
    for what, some, offset in steps:
        keys = np.array(some, dtype=np.uint64) * np.uint64(2**60)
        if what == "add":
            index.add(keys, POINTS[[key + offset for key in some]])
            model |= {int(key): row + offset for key, row in zip(keys, some, strict=True)}
        else:
            assert index.remove(keys) == sum(int(key) in model for key in keys)
            model = {key: row for key, row in model.items() if key not in keys.tolist()}
        assert len(index) == len(model)
    found, near = index.search(POINTS[:3], 12, probes=4)
    for query, line, close in zip(POINTS[:3], found, near, strict=True):
        got = {int(key): s for key, s in zip(line, close, strict=True) if key != NONE}
        assert got.keys() == model.keys()
        np.testing.assert_allclose(
            [got[key] for key in model], [POINTS[row] @ query for row in model.values()], atol=2e-3
        )
