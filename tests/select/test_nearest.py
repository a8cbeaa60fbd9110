"""Nearest open texts equal a brute-force ranking, with and without an index."""

import numpy as np
import pytest

from labelwise.core import InputError, MissingInput, Pool, stream
from labelwise.select.nearest import nearest, similarity


def unit(n, d, seed):
    vectors = stream(seed, "unit").normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class Index:
    """Finds among all texts, closed ones too, as real indexes do; knows only the first ``holds``."""

    def __init__(self, vectors, holds=None):
        self.vectors, self.holds, self.asked = vectors.astype(np.float32), holds or len(vectors), []

    def search(self, queries, k):
        self.asked.append((len(queries), k))
        near = queries @ self.vectors[: self.holds].T
        order = np.argsort(-near, axis=1, kind="stable")[:, :k]
        rows, values = np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf, dtype=np.float32)
        rows[:, : order.shape[1]], values[:, : order.shape[1]] = order, np.take_along_axis(near, order, axis=1)
        return rows, values


def literal(vectors, queries, k, rows):
    found = []
    for query in queries:
        order = sorted(rows, key=lambda row: -float(vectors[row].astype(np.float64) @ query.astype(np.float64)))
        found.append(([int(row) for row in order] + [-1] * k)[:k])
    return found


@pytest.mark.parametrize("k", [1, 4, 30, 90])
@pytest.mark.parametrize("indexed", [False, True])
def test_the_nearest_open_texts_are_found(k, indexed, monkeypatch):
    monkeypatch.setattr("labelwise.select.nearest.BLOCK", 7)
    monkeypatch.setattr("labelwise.select.nearest.QUERIES", 3)
    vectors, queries = unit(80, 6, 1), unit(8, 6, 2)
    index = Index(vectors) if indexed else None
    pool = Pool.of(vectors=vectors, open=np.arange(80) % 3 > 0, neighbours=index)
    rows, near = nearest(pool, queries, k)
    assert rows.tolist() == literal(vectors, queries, k, pool.candidates())
    assert np.allclose(near, np.where(rows < 0, 0, np.einsum("qd,qkd->qk", queries, vectors[rows])), atol=1e-6)
    assert (not index) or bool(index.asked) == (k < 27)


def test_an_index_is_asked_again_for_those_whose_neighbours_are_closed(monkeypatch):
    monkeypatch.setattr("labelwise.select.nearest.BLOCK", 7)
    vectors = unit(100, 5, 3)
    queries = np.stack([vectors[0], -vectors[0]])
    near = np.argsort(-(vectors @ vectors[0]))
    index = Index(vectors)
    pool = Pool.of(vectors=vectors, open=~np.isin(np.arange(100), near[:40]), neighbours=index)
    rows, _ = nearest(pool, queries, 3)
    assert rows.tolist() == literal(vectors, queries, 3, pool.candidates())
    assert index.asked == [(2, 10), (1, 20), (1, 40), (1, 80)]


def test_an_index_that_holds_too_few_leaves_gaps(monkeypatch):
    monkeypatch.setattr("labelwise.select.nearest.BLOCK", 7)
    vectors = unit(60, 5, 4)
    pool = Pool.of(vectors=vectors, open=np.arange(60) > 0, neighbours=Index(vectors, holds=3))
    rows, near = nearest(pool, vectors[:1], 5)
    assert sorted(rows[0].tolist()) == [-1, -1, -1, 1, 2]
    assert (near[rows < 0] == 0).all()


def test_only_the_given_rows_are_found():
    vectors = unit(30, 4, 5)
    rows, _ = nearest(Pool.of(vectors=vectors), vectors[:2], 3, np.array([9, 4, 7, 21]))
    assert rows.tolist() == literal(vectors, vectors[:2], 3, [9, 4, 7, 21])


def test_equal_texts_are_ordered_by_id_not_by_row():
    vectors, ids = np.tile(unit(1, 4, 6), (20, 1)).astype(np.float16), stream(6, "ids").permutation(20)
    rows, _ = nearest(Pool.of(vectors=vectors, ids=ids.astype(np.uint64)), unit(1, 4, 6), 6)
    assert ids[rows[0]].tolist() == list(range(6))


def test_nothing_to_find_is_no_error():
    pool = Pool.of(vectors=unit(3, 4, 7), open=np.zeros(3, bool))
    assert nearest(pool, unit(2, 4, 8), 2)[0].tolist() == [[-1, -1]] * 2
    assert nearest(pool, unit(0, 4, 8), 2)[0].shape == (0, 2)
    assert nearest(pool.replace(open=~pool.open), unit(2, 4, 8), 0)[0].shape == (2, 0)


def test_vectors_of_another_encoder_and_none_are_named():
    with pytest.raises(InputError, match="width 5 cannot be compared with the pool's vectors \\(4\\)"):
        nearest(Pool.of(vectors=unit(3, 4, 9)), unit(1, 5, 9), 1)
    with pytest.raises(MissingInput, match="no vectors"):
        nearest(Pool.of(3), unit(1, 5, 9), 1)


def test_similarity_is_to_the_most_similar():
    texts, others = unit(9, 4, 10), unit(700, 4, 11)
    assert np.allclose(similarity(texts, others), (texts @ others.T).max(axis=1), atol=1e-6)
    assert similarity(texts, others[:0]).tolist() == [-1.0] * 9
