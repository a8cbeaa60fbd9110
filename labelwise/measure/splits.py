"""Which texts are in the pool and which judge the models: no near-duplicate ever sits on both sides."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import uniform_of

Array = npt.NDArray[Any]

SPLITS = ("pool", "test", "val")


def divide(declared: Array, groups: Array, keys: Array, holdout: float, salt: int, previous: Array) -> Array:
    """(n,) int8 positions in SPLITS.

    declared (n,) positions in SPLITS as the source said; groups (n,) near-duplicate group or -1;
    keys (n,) uint64 of the texts; holdout in [0, 1) is the share drawn as test split when the source
    declares none; previous (n,) the earlier decision or -1. A text once placed stays there: labels
    already bought must not move between training and test. A new text joins its near-duplicates, on
    the test side if any of them is there. O(n log n).
    """
    fresh = declared.astype(np.int8)
    if not (declared == SPLITS.index("test")).any():
        # a group is drawn by its smallest key, so that the order of rows decides nothing
        owner = np.arange(len(groups))
        grouped = np.flatnonzero(groups >= 0)
        grouped = grouped[np.argsort(keys[grouped])]
        _, first, inverse = np.unique(groups[grouped], return_index=True, return_inverse=True)
        owner[grouped] = grouped[first[inverse]]
        undeclared = declared == SPLITS.index("pool")
        drawn = undeclared & (uniform_of(keys, salt)[owner] < holdout)
        fresh[drawn] = SPLITS.index("test")
        fresh[undeclared] = _joined(fresh, groups, previous)[undeclared]
    return np.where(previous >= 0, previous, fresh).astype(np.int8)


def _joined(fresh: Array, groups: Array, previous: Array) -> Array:
    """New texts take the side on which their group was placed before."""
    out = fresh.copy()
    for side in (SPLITS.index("pool"), SPLITS.index("test")):
        placed = np.unique(groups[(groups >= 0) & (previous == side)])
        out[np.isin(groups, placed)] = side
    return out


def leaks(splits: Array, groups: Array) -> int:
    """How many test texts have a near-duplicate in the pool (only possible when the source declared the splits)."""
    in_pool = np.unique(groups[(groups >= 0) & (splits == SPLITS.index("pool"))])
    return int((np.isin(groups, in_pool) & (splits == SPLITS.index("test"))).sum())
