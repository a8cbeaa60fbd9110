"""Near-duplicates: texts that differ in a number, a typo or a word are one group.

Two steps, so that shards can be worked on apart. ``signatures`` condenses every text to
BANDS hashes of MinHash minima over its character 3-grams (Broder 1997; banding after Indyk and
Motwani 1998); ``groups`` compares texts that share AGREEING bands by the exact Jaccard similarity of
their 3-gram sets and joins those at or above the threshold.

Known trade-offs: a bucket of m texts proposes at most 2m pairs (each text with its neighbour in
the order of the next band, and with the bucket's first), never m**2, so in a pool of texts with
one long common prefix some pairs may be missed. Groups are transitive: their ends may be less
alike than the threshold. In a text of three or four words one typo may already fall below it.
Planted pairs, recall and precision: tests/represent/test_duplicates.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import InputError
from labelwise.represent import ngrams
from labelwise.represent.common import batches, readable

Array = npt.NDArray[Any]

BANDS = 16
PER_BAND = 4
AGREEING = 2
"""Bands a pair must share to be compared. With 16 bands of 4 minima: a pair of similarity .7 with
probability .93, .8 with .997, .9 with 1; .5 with .26 and .3 with .007, which spares most vain comparisons."""

SIZE = 3
LETTERS = 12
"""From so many letters on, numbers are details: every run of digits counts as one zero."""

PAIRS = 8192
"""Pairs compared per step; bounds the memory of the exact check."""


def signatures(texts: Sequence[str]) -> npt.NDArray[np.uint32]:
    """(n, BANDS) band hashes; equal for equal texts whatever shard they are in; zeros for an empty text.

    O(characters * BANDS * PER_BAND).
    """
    out = np.zeros((len(texts), BANDS), dtype=np.uint32)
    for start, batch in batches(texts):
        hashes, owners = _shingles(batch)
        if not len(hashes):
            continue
        short = (hashes >> np.uint64(32)).astype(np.uint32)
        first = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
        for band in range(BANDS):
            total = np.full(len(first), band + 1, dtype=np.uint64)
            for k in range(band * PER_BAND, (band + 1) * PER_BAND):
                least = np.minimum.reduceat((short ^ XORS[k]) * FACTORS[k], first)
                total = ngrams.mixed(total + least)
            out[start + owners[first], band] = (total >> np.uint64(32)).astype(np.uint32)
    return out


def _constants(purpose: int) -> npt.NDArray[np.uint32]:
    numbers = np.arange(1, BANDS * PER_BAND + 1, dtype=np.uint64) + np.uint64(purpose << 32)
    return (ngrams.mixed(numbers) >> np.uint64(32)).astype(np.uint32)


XORS = _constants(1)
FACTORS = _constants(2) | np.uint32(1)


def groups(signatures: Array, texts: Sequence[str], threshold: float = 0.7) -> npt.NDArray[np.int64]:
    """(n,) the smallest row of each text's group, or -1 for a text that is alone.

    ``signatures`` (n, BANDS) are those of all shards, stacked in the order of ``texts``. O(n log n)
    and at most 2n comparisons per band. Raises InputError if the two differ in length or form,
    or if ``threshold`` is not in (0, 1].
    """
    n = len(texts)
    if signatures.shape != (n, BANDS):
        raise InputError(
            f"duplicates: signatures of shape {signatures.shape} do not belong to {n} texts; "
            f"pass the stacked signatures(texts) of every shard, of shape ({n}, {BANDS})."
        )
    if not 0.0 < threshold <= 1.0:
        raise InputError(f"duplicates.threshold: {threshold!r} is not a similarity; choose a number in (0, 1].")
    if not n:
        return np.zeros(0, dtype=np.int64)
    labels = np.arange(n)
    filled = np.flatnonzero(signatures.any(axis=1))
    for band in range(BANDS):
        pairs = _candidates(signatures[filled], band, filled)
        pairs = pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]]
        pairs = pairs[(signatures[pairs[:, 0]] == signatures[pairs[:, 1]]).sum(axis=1) >= AGREEING]
        if len(pairs):
            labels = _merged(labels, pairs[_similarities(pairs, texts) >= threshold])
    sizes = np.bincount(labels, minlength=n)
    return np.where(sizes[labels] > 1, labels, -1)


def _candidates(signatures: Array, band: int, rows: Array) -> Array:
    """(m, 2) distinct pairs of rows in one bucket of this band: neighbours, and each with the first."""
    order = np.lexsort((signatures[:, (band + 1) % BANDS], signatures[:, band]))
    keys = signatures[order, band]
    same = np.flatnonzero(keys[1:] == keys[:-1]) + 1
    heads = np.maximum.accumulate(np.where(np.r_[True, keys[1:] != keys[:-1]], np.arange(len(keys)), 0))
    nearer = np.stack([order[same - 1], order[same]], axis=1)
    first = np.stack([order[heads[same]], order[same]], axis=1)[heads[same] < same - 1]
    return np.asarray(rows[np.concatenate([nearer, first])])


def _merged(labels: Array, pairs: Array) -> Array:
    """Labels after joining the pairs' groups; a label stays the smallest row of its group."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(labels)
    edges = coo_matrix((np.ones(len(pairs), np.int8), (labels[pairs[:, 0]], labels[pairs[:, 1]])), shape=(n, n))
    component = connected_components(edges, directed=False)[1]
    _, smallest = np.unique(component, return_index=True)
    return np.asarray(smallest[component[labels]])


def _similarities(pairs: Array, texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """(m,) Jaccard similarity of the 3-gram sets of each pair of rows."""
    from scipy.sparse import csr_matrix

    out = np.zeros(len(pairs))
    for start in range(0, len(pairs), PAIRS):
        rows, local = np.unique(pairs[start : start + PAIRS], return_inverse=True)
        hashes, owners = _shingles([readable(texts[row]) for row in rows])
        keys = (owners.astype(np.uint64) << np.uint64(31)) | (hashes >> np.uint64(33))
        keys.sort()  # np.unique hashes instead, and is ten times slower on these keys
        keys = keys[np.r_[True, keys[1:] != keys[:-1]][: len(keys)]]
        ends = np.searchsorted(keys >> np.uint64(31), np.arange(len(rows) + 1))
        columns = (keys & np.uint64(2**31 - 1)).astype(np.int32)
        sets = csr_matrix((np.ones(len(keys), np.int32), columns, ends), shape=(len(rows), 2**31 - 1))
        left, right = local.reshape(-1, 2).T
        common = np.asarray(sets[left].multiply(sets[right]).sum(axis=1)).ravel()
        sizes = np.diff(ends)
        out[start : start + PAIRS] = common / np.maximum(sizes[left] + sizes[right] - common, 1)
    return out


def _shingles(batch: Sequence[str]) -> tuple[Array, Array]:
    """3-gram hashes and owners of readable texts; in texts with LETTERS letters all numbers are alike."""
    text = ngrams.letters(batch)
    digit = text.kind == ngrams.DIGIT
    wordy = np.bincount(text.owner[text.kind == ngrams.WORD], minlength=text.n) >= LETTERS
    alike = digit & wordy[text.owner]
    repeated = alike & np.r_[False, alike[:-1]]
    codes = np.where(alike, ord("0"), text.codes).astype(np.uint32)
    plain = ngrams.Letters(text.n, codes, text.owner, text.kind).keep(~repeated)
    return ngrams.characters(plain, SIZE, within_words=False)
