"""The texts nearest to some vectors: through an index where the pool has one, else by comparing all."""

from __future__ import annotations

import numpy as np

from labelwise.core import InputError, Pool
from labelwise.core.beliefs import Rows
from labelwise.core.pool import Neighbours
from labelwise.core.threads import one_thread
from labelwise.select.comparing import Vectors, gather

BLOCK = 8192
STEP = 2048
"""Texts compared at a time, which bounds memory where there are many queries."""
QUERIES = 256
GRAIN = 2.0**20
"""Similarities closer than 1/GRAIN are equal, and then ids decide: rounding depends on how texts are sharded."""


def nearest(pool: Pool, queries: Vectors, k: int, rows: Rows | None = None) -> tuple[Rows, Vectors]:
    """Of each query (q, d) the k nearest among ``rows`` (default: all open ones), and their cosines, nearest first.

    Both (q, k); where there are fewer than k, row -1 and similarity 0. An index knows nothing of what
    was closed since it was built: it is asked for more until k usable rows are found or it has no
    more; what an approximate one misses stays missing. Without one exact, O(q n d), memory of a block.
    """
    rows = pool.candidates() if rows is None else rows
    found, cosines = np.full((len(queries), k), -1, dtype=np.intp), np.zeros((len(queries), k), dtype=np.float32)
    if not len(queries) or not len(rows) or not k:
        return found, cosines
    width = pool.need("vectors").shape[1]
    if queries.shape[1] != width:
        raise InputError(
            f"queries of width {queries.shape[1]} cannot be compared with the pool's vectors ({width}); "
            "represent all texts with one encoder."
        )
    queries = np.asarray(queries, dtype=np.float32)
    # to find few rows among many, an index would have to be asked for most of what it has
    if pool.neighbours is None or len(rows) <= max(2 * k, BLOCK):
        with one_thread():
            near, values = _compared(pool, queries, min(k, len(rows)), rows)
        found[:, : near.shape[1]], cosines[:, : near.shape[1]] = near, values
    else:
        _searched(pool.neighbours, queries, rows, len(pool), found, cosines)
    return found, cosines


def _compared(pool: Pool, queries: Vectors, k: int, rows: Rows) -> tuple[Rows, Vectors]:
    order = np.argsort(pool.ids[rows], kind="stable")
    rank = np.empty(len(rows), dtype=np.int64)
    rank[order] = np.arange(len(rows))
    best: list[tuple[Rows, Vectors]] = []
    for first in range(0, len(queries), QUERIES):
        some = queries[first : first + QUERIES]
        # places among the ids, cosines and what orders them: closeness first, then the id
        places, values, keys = (np.zeros((len(some), 0), dtype) for dtype in (np.intp, np.float32, np.int64))
        for start in range(0, len(rows), STEP):
            near, at = some @ gather(pool, rows[start : start + STEP]).T, rank[start : start + STEP]
            if keys.shape[1] == k:
                # most texts are nearer to no query than the k it has
                may = (near >= values.min(axis=1, keepdims=True) - np.float32(2 / GRAIN)).any(axis=0)
                near, at = near[:, may], at[may]
            key = (np.rint(near * GRAIN).astype(np.int64) << 32) - at
            places, values, keys = (
                np.concatenate(pair, axis=1)
                for pair in ((places, np.broadcast_to(at, near.shape)), (values, near), (keys, key))
            )
            if keys.shape[1] > k:
                keep = np.argpartition(keys, -k, axis=1)[:, -k:]
                places, values, keys = (np.take_along_axis(part, keep, axis=1) for part in (places, values, keys))
        sort = np.argsort(-keys, axis=1)
        best.append((np.take_along_axis(places, sort, axis=1), np.take_along_axis(values, sort, axis=1)))
    return rows[order[np.concatenate([b[0] for b in best])]], np.concatenate([b[1] for b in best])


def _searched(index: Neighbours, queries: Vectors, rows: Rows, n: int, found: Rows, cosines: Vectors) -> None:
    k, usable = found.shape[1], np.zeros(n, dtype=bool)
    usable[rows] = True
    pending, fetch = np.arange(len(queries)), -(-2 * k * n // len(rows))
    while len(pending):
        fetch = min(fetch, n)
        near, values = index.search(queries[pending], fetch)
        hits = (near >= 0) & usable[near]
        first = np.argsort(~hits, axis=1, kind="stable")[:, :k]
        good = np.take_along_axis(hits, first, axis=1)
        found[pending] = np.where(good, np.take_along_axis(near, first, axis=1), -1)
        cosines[pending] = np.where(good, np.take_along_axis(values, first, axis=1), 0.0)
        pending = pending[(hits.sum(axis=1) < k) & (near[:, -1] >= 0) & (fetch < n)]
        fetch *= 2


def similarity(texts: Vectors, others: Vectors) -> Vectors:
    """(m,) cosine of each text to the most similar of the others, -1 if there are none. O(m k d), memory of a block."""
    near = np.full(len(texts), -1.0, dtype=np.float32)
    for start in range(0, len(others), QUERIES):
        np.maximum(near, (texts @ others[start : start + QUERIES].T).max(axis=1), out=near)
    return near
