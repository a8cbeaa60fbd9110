"""What is unlike anything labelled goes its own way: junk stays out, what may be a new class comes in.

Uncertainty alone cannot tell a new topic from an empty phrase: the model is unsure of both, and of the junk in
a pool it can go on being unsure for as many batches as one pays for.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from labelwise.core import Nomination, Pool, Reason, Selection, Strategy
from labelwise.core.beliefs import Array, Floats, Rows
from labelwise.core.pool import Rest
from labelwise.select import fields, picking
from labelwise.select.comparing import Vectors, gather, known_vectors
from labelwise.select.contextual import SAME, Signal, nearest
from labelwise.select.herding import Herding
from labelwise.select.scorers import blockwise
from labelwise.select.strategies import Mix, Random

SAMPLE = 4096
"""Texts that others are compared with to see whether they are alone."""


@dataclass(frozen=True)
class Routed:
    """``base`` chooses without the junk, and some slots go to what may be a new class.

    signal      name of the pool's signal for how far outside a text is, from 0 to 1, the share of labelled texts
                that look less outside; "outside" is there once a model is
    near, far   above ``near`` a text is outside, above ``far`` it is far outside
    neighbours  how many similar texts make a text one of a group
    new         share of a batch for texts that are outside and of a group: the group may be a new class; texts that
                stand for it are taken as ``herding`` does
    audit       share for a random sample of the junk: what is far outside and of no group

    A text is of a group when its k-th nearest text among those outside is nearer than any text asked about so
    far, and nearer than is usual: than the median of such distances in a sample of as many other texts. What is
    outside but neither junk nor of a group is left to ``base``. Without the signal ``base`` chooses alone. Junk
    is asked about only where nothing else is left. O(n outside (4096 + known) d) besides ``base``.
    """

    base: Strategy
    signal: str = "outside"
    near: float = 0.95
    far: float = 0.99
    neighbours: int = 5
    new: float = 0.1
    audit: float = 0.02

    def __post_init__(self) -> None:
        fields.strategy("base", self.base)
        Signal(self.signal)
        fields.number("near", self.near, 0.0, 1.0)
        fields.number("far", self.far, self.near, 1.0)
        fields.whole("neighbours", self.neighbours, 1)
        fields.number("new", self.new, 0.0, 1.0)
        fields.number("audit", self.audit, 0.0, 1.0 - self.new)

    def composed(self, pool: Pool, rng: np.random.Generator) -> Strategy:
        """What chooses from this pool: ``base`` alone where nobody knows what is outside, in all shards alike."""
        if self.signal not in pool.signals or pool.vectors is None:
            return self.base
        rows = pool.candidates()
        # reasons and the other shards' texts ask for few values; here those of all open texts are needed at once
        outside = np.zeros(len(pool))
        outside[rows] = Signal(self.signal).score(pool, rows)
        rows = rows[np.argsort(picking.race(pool.ids[rows], picking.salts(rng).ties), kind="stable")]
        beyond = rows[outside[rows] > self.near]
        grouped = beyond[self._of_groups(pool, beyond, rows[outside[rows] <= self.near])]
        junk = np.setdiff1d(beyond[outside[beyond] > self.far], grouped)
        new = _Only(Herding(), grouped, "perhaps a new class: ", outside)
        audit = _Only(Random(), junk, "a sample of the junk: unlike anything labelled, and alone: ", outside)
        # slots that a part cannot fill go to the next: those of new classes must not become an audit
        shares = (self.audit, self.new, 1.0 - self.new - self.audit)
        return Mix((audit, new, _Without(self.base, junk)), shares)

    def _of_groups(self, pool: Pool, beyond: Rows, inside: Rows) -> Array:
        """(m,) whether each text outside is one of a group; both in the order of their noise."""
        # copies of one text are no group
        others, usual = (picking.apart(rows, pool.groups)[0][:SAMPLE] for rows in (beyond, inside))
        usual = usual[: len(others)]
        if len(others) <= self.neighbours:
            return np.zeros(len(beyond), dtype=bool)
        known, sample, typical = known_vectors(pool), gather(pool, others), np.inf
        if len(usual) > self.neighbours:
            texts = gather(pool, usual)
            typical = float(np.median(blockwise(usual, lambda part: self._apart(gather(pool, part), texts))))

        def of_group(part: Rows) -> Floats:
            texts = gather(pool, part)
            apart = self._apart(texts, sample)
            alone = nearest(texts, known, 1)[1][:, 0] if len(known) else np.inf
            return np.asarray((apart < alone) & (apart < typical), dtype=np.float64)

        return blockwise(beyond, of_group) > 0

    def _apart(self, texts: Vectors, others: Vectors) -> Floats:
        """(m,) distance to the k-th nearest of the others, of which the text itself is none."""
        found = nearest(texts, others, self.neighbours + 1)[1]
        return np.where(found[:, 0] <= SAME, found[:, -1], found[:, -2])

    def nominate(self, pool: Pool, budget: int, rng: np.random.Generator) -> Nomination:
        """What any part sends up."""
        routing, choosing = rng.spawn(2)
        return self.composed(pool, routing).nominate(pool, budget, choosing)

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        routing, choosing = rng.spawn(2)
        return self.composed(pool, routing).select(pool, budget, choosing)


def _open(pool: Pool, rows: Rows, *, only: bool) -> Pool:
    """The pool with ``only`` these rows open, or with them closed."""
    chosen = np.zeros(len(pool), dtype=bool)
    chosen[rows] = True
    return pool.replace(open=pool.open & (chosen if only else ~chosen))


def _different(pool: Pool) -> int:
    """How many open texts are not near-duplicates of one another."""
    return len(picking.apart(pool.candidates(), pool.groups)[0])


@dataclass(frozen=True)
class _Only:
    """``base`` among some rows, saying what they are; it may leave slots to others."""

    base: Strategy
    rows: Rows = field(repr=False)
    what: str
    outside: Floats = field(repr=False)

    def left(self, pool: Pool, sent: Array) -> Rest:
        return (
            self.base.left(_open(pool, self.rows, only=True), sent) if isinstance(self.base, picking.Weighing) else 0.0
        )

    def nominate(self, pool: Pool, budget: int, rng: np.random.Generator) -> Nomination:
        return self.base.nominate(_open(pool, self.rows, only=True), budget, rng)

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        mine = _open(pool, self.rows, only=True)
        chosen = self.base.select(mine, min(budget, int(mine.open.sum())), rng)
        pairs = zip(chosen.rows, chosen.reason, strict=True)
        return replace(chosen, reason=tuple(self._reason(int(row), why) for row, why in pairs), fallback="")

    def _reason(self, row: int, why: str) -> Reason:
        value = float(self.outside[row])
        return Reason(f"{self.what}{why} (outside {value:.2f})", **{**getattr(why, "numbers", {}), "outside": value})


@dataclass(frozen=True)
class _Without:
    """``base`` without some rows, as long as there are others enough."""

    base: Strategy
    rows: Rows = field(repr=False)

    def _others(self, pool: Pool, budget: int) -> Pool:
        others = _open(pool, self.rows, only=False)
        return others if _different(others) >= min(budget, _different(pool)) else pool

    def left(self, pool: Pool, sent: Array) -> Rest:
        return (
            self.base.left(_open(pool, self.rows, only=False), sent) if isinstance(self.base, picking.Weighing) else 0.0
        )

    def nominate(self, pool: Pool, budget: int, rng: np.random.Generator) -> Nomination:
        return self.base.nominate(self._others(pool, budget), budget, rng)

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        return self.base.select(self._others(pool, budget), budget, rng)
