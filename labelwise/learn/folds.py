"""Held-out folds: every class spread evenly, near-duplicates kept together, order of no account."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def assign(strata: Array, groups: Array | None, keys: Array, folds: int, fixed: Array | None = None) -> Array:
    """(n,) fold of every example, 0 .. folds-1.

    strata (n,) int, the class to spread; groups (n,) int, never split; keys (n,) float decide
    who goes where, so that permuting the examples permutes the folds and nothing else. Whole
    groups are dealt, the rarest class first, to the fold that has least of the class, then
    fewest examples. ``fixed`` (n,) are folds that examples have already, -1 for none: they come
    first, and a group goes where one of it is. O(n log n + groups * folds).
    """
    n = len(strata)
    units = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(units, minlength=1)
    counts = np.bincount(strata)
    # a group counts as its rarest class, then its smallest key: neither depends on the order
    leading = np.lexsort((keys, strata, counts[strata], units))[np.concatenate([[0], np.cumsum(sizes)[:-1]])]
    given = np.full(len(sizes), -1)
    np.maximum.at(given, units, -1 if fixed is None else fixed)
    order = np.lexsort((keys[leading], strata[leading], counts[strata[leading]], given < 0))
    have = np.zeros((len(counts), folds))
    total = np.zeros(folds)
    fold_of = np.empty(len(sizes), dtype=np.int64)
    for unit in order:
        stratum = strata[leading[unit]]
        fold = int(given[unit]) if given[unit] >= 0 else int(np.argmin(have[stratum] * (n + 1) + total))
        fold_of[unit] = fold
        have[stratum, fold] += sizes[unit]
        total[fold] += sizes[unit]
    return fold_of[units]


def strata_of(targets: Array) -> Array:
    """(n,) class to spread: the class itself, or the rarest label a text has (0 for none)."""
    if targets.ndim == 1:
        return targets
    frequency = np.where(targets, targets.sum(axis=0), np.iinfo(np.int64).max)
    return np.where(targets.any(axis=1), frequency.argmin(axis=1) + 1, 0)
