"""What strategies share that compare texts with one another: candidates, tiers, what is known.

A text's noise decides who takes part: the first ``among`` open texts by noise are a uniform sample
of the pool, whether they are found in one array or shard by shard, and so is what a score likes
best. Both phases therefore see the same candidates in the same order, and the choice over shards is
the choice over one array. One text of every near-duplicate group takes part (copies would pass for
a dense region); the others only when nothing else is left. Memory: one float32 copy of the
candidates' vectors; never (n, n).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from labelwise.core import InputError, Nomination, Pool, Scorer, Selection
from labelwise.core.beliefs import Floats, Rows
from labelwise.core.halves import single
from labelwise.core.threads import one_thread
from labelwise.select import fields, picking

Vectors = npt.NDArray[np.float32]

AMONG = 8192
KEEN = 4
"""One in KEEN as many candidates as ``among`` come in for their score."""


def gather(pool: Pool, rows: Rows) -> Vectors:
    """(m, d) float32 vectors of some rows. MissingInput without vectors."""
    return np.ascontiguousarray(single(pool.need("vectors")[rows]))


def known_vectors(pool: Pool) -> Vectors:
    """(m, d) float32 vectors of all that was asked. InputError if another encoder made them."""
    if pool.known is None:
        return gather(pool, np.flatnonzero(pool.labelled))
    width = pool.need("vectors").shape[1]
    if pool.known.vectors.shape[1] != width:
        raise InputError(
            f"known.vectors: width {pool.known.vectors.shape[1]} is not that of the pool's vectors ({width}); "
            "represent labelled and open texts with one encoder."
        )
    return np.asarray(pool.known.vectors, dtype=np.float32)


def squared(one: Vectors, other: Vectors) -> Vectors:
    """(m, k) squared distances between rows. O(m k d)."""
    apart = one @ other.T
    apart *= -2.0
    apart += np.einsum("ij,ij->i", one, one)[:, None]
    apart += np.einsum("ij,ij->i", other, other)[None, :]
    return np.asarray(np.maximum(apart, 0.0, out=apart))


class Tiered(picking.Counting, ABC):
    """Chooses among candidates; one text of every near-duplicate group comes before all others."""

    @abstractmethod
    def _candidates(self, pool: Pool, order: Rows, budget: int) -> tuple[Rows, int]:
        """Which of the rows take part, in the order of their noise, and how many of them are a uniform sample."""

    @abstractmethod
    def pick(self, pool: Pool, rows: Rows, sample: int, budget: int, rng: np.random.Generator) -> Selection:
        """``budget`` of ``rows``, from 1 to all, best first; the first ``sample`` rows are the uniform sample."""

    def nominate(self, pool: Pool, budget: int, rng: np.random.Generator) -> Nomination:
        """The candidates, and enough of their near-duplicates to fill a batch."""
        with one_thread():
            first, others = self._tiers(pool, picking.salts(rng))
            rows = np.concatenate([self._candidates(pool, first, budget)[0], others[: max(0, budget - len(first))]])
            return Nomination(np.sort(rows), self.left(pool, rows))

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        with one_thread():
            first, others = self._tiers(pool, picking.salts(rng))
            count = min(budget, len(first))
            if not count:
                return Selection.join([])
            chosen = self.pick(pool, *self._candidates(pool, first, budget), count, rng)
            missing = min(budget - len(chosen), len(others))
            if missing:
                rest = picking.asked(pool, chosen.rows, chosen.rows[:0])
                more = self.pick(rest, *self._candidates(rest, others, budget), missing, rng)
                chosen = Selection.join([chosen, more])
            return chosen

    def _tiers(self, pool: Pool, salt: picking.Salts) -> tuple[Rows, Rows]:
        rows = pool.candidates()
        order = rows[np.argsort(picking.race(pool.ids[rows], salt.ties), kind="stable")]
        return picking.apart(order, pool.groups)


@dataclass(frozen=True)
class Comparing(Tiered):
    """Chooses among at most ``among`` open texts at random, and the best by a scorer where it has one; 0 = all."""

    among: int = field(default=AMONG, kw_only=True)

    def __post_init__(self) -> None:
        fields.whole("among", self.among, 0)

    @property
    def keen(self) -> Scorer | None:
        """The scorer whose best take part besides the random sample."""
        return None

    def _candidates(self, pool: Pool, order: Rows, budget: int) -> tuple[Rows, int]:
        """The candidates in the order of their noise, sample first, and the size of the sample."""
        count = max(self.among, budget) if self.among else len(order)
        if len(order) <= count or self.keen is None or pool.beliefs is None:
            return order[:count], min(count, len(order))
        scores: Floats = picking.scores_of(self.keen, pool, order[count:])
        best = picking.smallest(-scores, max(count // KEEN, budget))
        return np.concatenate([order[:count], order[count:][np.sort(best)]]), count


@dataclass(frozen=True)
class Scored(Comparing):
    """Compares texts, and weighs them by a scorer where it has one."""

    scorer: Scorer | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scorer is not None:
            fields.scorer("scorer", self.scorer)

    @property
    def keen(self) -> Scorer | None:
        return self.scorer
