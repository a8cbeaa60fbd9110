"""When a new search pays, and what an update keeps of the last one.

A search tries every C on every fold. As labels come in bursts, most of it finds again what the last one
found, so in between the C and the folds of the last search stay, and every fold and the whole are solved
to their optimum from where they stood. An update is thus the fit at that C, exact to the solver's tolerance;
only the choice of C is older, and the rule below bounds by how much.

Folds: who was in a fold stays in it, new examples are dealt to the folds that lack them. So a fold's
last solution never saw the labels that it is judged on, and may begin the next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from labelwise.core import Beliefs, Multilabel, stream
from labelwise.learn.folds import assign, strata_of

Array = npt.NDArray[Any]

SURPRISED = 3.0
"""Standard errors of excess surprise that are no chance."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """Of the n examples of the last fit: keys (n,), targets, folds (n,); and the folds' solutions.

    coef (folds, c, r) and intercept (folds, c) float32, rows of all labels, on what ``view`` (``learn.search``)
    shows; None = the vectors as they are. ``searched`` is how many examples the
    last search had, ``changed`` how many came, left or were answered anew since.
    """

    keys: Array
    targets: Array
    folds: Array
    coef: Array
    intercept: Array
    view: Array | None
    searched: int
    changed: int

    def arrays(self) -> dict[str, Array]:
        """Plain arrays from which ``of`` makes an equal value."""
        counts = np.array([self.searched, self.changed])
        names = ("keys", "targets", "folds", "coef", "intercept")
        view = {} if self.view is None else {"view": self.view}
        return {f"fold_{name}": getattr(self, name) for name in names} | {"fold_counts": counts} | view

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> Self | None:
        """What was kept; None if the model was stored without."""
        if "fold_counts" not in arrays:
            return None
        keys, targets, folds, coef, intercept = (
            np.asarray(arrays[f"fold_{name}"]) for name in ("keys", "targets", "folds", "coef", "intercept")
        )
        searched, changed = arrays["fold_counts"].tolist()
        return cls(keys, targets, folds, coef, intercept, arrays.get("view"), searched, changed)

    def dealt(self, targets: Array, groups: Array | None, keys: Array) -> Array:
        """(n,) folds of examples, of which those with known keys keep theirs. O(n log n)."""
        place = self.find(keys)
        fixed = np.where(place >= 0, self.folds[place], -1)
        return assign(strata_of(targets), groups, keys.astype(np.float64), len(self.coef), fixed)

    def find(self, keys: Array) -> Array:
        """(n,) the places of keys among the kept ones, -1 for new ones."""
        order = np.argsort(self.keys, kind="stable")
        at = order[np.minimum(np.searchsorted(self.keys, keys, sorter=order), len(order) - 1)]
        return np.where(self.keys[at] == keys, at, -1)

    def new(self, keys: Array, targets: Array) -> Array:
        """(m,) rows of examples that were not there, or had another answer."""
        place = self.find(keys)
        same = (self.targets[place] == targets).reshape(len(keys), -1).all(axis=1)
        return np.flatnonzero((place < 0) | ~same)


def keys_of(vectors: Array) -> Array:
    """(n,) uint64 hash of each vector (n, d) float32: an example's name from one fit to the next."""
    words = np.ascontiguousarray(vectors, dtype=np.float32).view(np.uint32).astype(np.uint64)
    odd = stream(0, "example keys").integers(2**63, size=words.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    mixed = (words * odd).sum(axis=1, dtype=np.uint64)
    return np.asarray(mixed ^ (mixed >> np.uint64(32)))


def surprised(held_out: Beliefs, before: Array, believed: Beliefs, targets: Array) -> bool:
    """Whether new labels surprise a model more than its own doubts about them explain.

    The excess of a text is its surprise less the entropy of the beliefs about it: 0 on average where they are
    calibrated, however uncertain the texts that were asked about. True if the mean excess of the new exceeds that of
    held-out ones by SURPRISED standard errors.
    """
    old, new = _excess(held_out, before), _excess(believed, targets)
    if not len(old) or not len(new):
        return False
    spread = max(float(old.var()), float(new.var()))
    return float(new.mean() - old.mean()) > SURPRISED * math.sqrt(spread * (1 / len(new) + 1 / len(old)))


def _excess(beliefs: Beliefs, targets: Array) -> Array:
    decisions = 2 if isinstance(beliefs, Multilabel) else max(2, next(iter(beliefs.arrays().values())).shape[1])
    return beliefs.surprise(targets) - beliefs.entropy() * math.log(decisions)
