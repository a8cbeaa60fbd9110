"""What all strategies share: noise, keeping near-duplicates apart, drawing with known chances.

Noise belongs to a text (``uniform_of``), and every phase of a selection draws the same salts
first from an equal generator. So a choice made shard by shard is the choice over the whole pool.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from labelwise.core import ContractError, Pool, Scorer, uniform_of
from labelwise.core.beliefs import Array, Floats, Rows
from labelwise.core.pool import Rest

NOMINEES = 4096
"""How many open texts a shard sends up at least, if it has them."""

GRAIN = 2.0**24
"""Weights are whole multiples of 1/GRAIN: sums up to 2**29 are exact in any order of adding."""


class Salts(NamedTuple):
    """Three independent salts: for the draw, for a second draw among what it left, for ties."""

    draw: int
    again: int
    ties: int


@runtime_checkable
class Weighing(Protocol):
    """A strategy that can tell the weight of open texts that were not sent up."""

    def left(self, pool: Pool, sent: Array) -> Rest: ...


class Counting:
    """The weight of a text is 1: for strategies that draw evenly, or by rank."""

    def left(self, pool: Pool, sent: Array) -> float:
        """Number of open rows that were not sent up."""
        return float(len(np.setdiff1d(pool.candidates(), sent)))


def salts(rng: np.random.Generator) -> Salts:
    """The first thing every phase draws."""
    return Salts(*(int(salt) for salt in rng.integers(2**63, size=3)))


def race(ids: Array, salt: int) -> Floats:
    """(m,) arrival times, exponential with rate 1, that belong to the texts; the earliest wins."""
    return -np.log(uniform_of(ids, salt))


def grained(weights: Floats) -> Floats:
    """Weights rounded up to multiples of 1/GRAIN, so none is 0 and sums do not depend on sharding."""
    return np.asarray(np.maximum(np.ceil(weights * GRAIN), 1.0) / GRAIN)


def apart(order: Rows, groups: Array | None) -> tuple[Rows, Rows]:
    """Split an order (m,) into the first text of every near-duplicate group, and all the others.

    ``groups`` is indexed by the entries of ``order``; both parts keep the order. O(m log m).
    """
    if groups is None:
        return order, order[:0]
    group = groups[order]
    first = group < 0
    grouped = np.flatnonzero(~first)
    first[grouped[np.unique(group[grouped], return_index=True)[1]]] = True
    return order[first], order[~first]


def groups_of(pool: Pool, rows: Rows) -> Array | None:
    """(m,) near-duplicate groups of some rows; None if nobody has grouped the pool."""
    return None if pool.groups is None else pool.groups[rows]


def scores_of(scorer: Scorer, pool: Pool, rows: Rows) -> Floats:
    """(m,) the scorer's values; ContractError if they are not one number in [0, 1] per row."""
    scores = np.asarray(scorer.score(pool, rows), dtype=np.float64)
    if scores.shape != rows.shape or not ((scores >= 0) & (scores <= 1)).all():
        raise ContractError(f"{scorer!r} must give one score in [0, 1] per row")
    return scores


def tied(scores: Floats, budget: int) -> str:
    """Why a choice by these scores is a choice by chance; empty if it is not."""
    if 0 < budget < len(scores) and scores.min() == scores.max():
        return f"all scores are equal ({scores[0]:.3g}): the texts were chosen at random"
    return ""


def rest_of(pool: Pool) -> float:
    """The weight left behind in the shards, for a strategy that keeps a single count."""
    if isinstance(pool.rest, tuple):
        raise ContractError(f"pool.rest {pool.rest!r} belongs to several strategies, not to one")
    return float(pool.rest)


def best(pool: Pool, ordered: Rows, budget: int, *, worst: int | None = None) -> Rows:
    """Rows to send up: the best of those that stand alone and the best of those with near-duplicates.

    Both halves are max(budget, NOMINEES) long, so that what stays behind cannot be chosen, and
    no near-duplicate of a chosen text stays behind uncounted, as long as a shard has no more
    than NOMINEES open texts with near-duplicates. The ``worst`` row goes up as well: it lets the
    final choice see whether all scores are equal.
    """
    count = max(budget, NOMINEES)
    extra = ordered[:0] if worst is None else np.array([worst], dtype=np.intp)
    groups = groups_of(pool, ordered)
    alone = np.ones(len(ordered), dtype=bool) if groups is None else groups < 0
    return np.unique(np.concatenate([ordered[alone][:count], ordered[~alone][:count], extra]))


def draw(pool: Pool, rows: Rows, weights: Floats, budget: int, salt: Salts) -> tuple[Rows, Floats]:
    """Draw min(budget, m) of m rows one after the other, each with a chance in proportion to its weight.

    A drawn text closes its near-duplicates: they leave the draw as if drawn, and come back, with
    fresh noise, only when nothing else is left. Returns positions in ``rows`` in the order drawn
    and the exact chance of each given those before it: its weight over all weight still open,
    ``pool.rest`` included. Exponential race = Gumbel-top-k = Plackett-Luce (Efraimidis and
    Spirakis 2006, "Weighted random sampling with a reservoir"; Kool, van Hoof and Welling 2019,
    "Stochastic Beams and Where to Find Them"). O(m log m).
    """
    rest, groups = rest_of(pool), groups_of(pool, rows)
    order = np.argsort(race(pool.ids[rows], salt.draw) / weights, kind="stable")
    picks = apart(order, groups)[0][:budget]
    chance = _chances(weights[picks], _masses(weights, groups)[picks], weights.sum() + rest)
    more = min(budget, len(rows)) - len(picks)
    if more > 0:
        others = np.setdiff1d(order, picks)
        late = others[np.argsort(race(pool.ids[rows[others]], salt.again) / weights[others], kind="stable")][:more]
        chance = np.concatenate([chance, _chances(weights[late], weights[late], weights[others].sum() + rest)])
        picks = np.concatenate([picks, late])
    return picks, chance


def _chances(weights: Floats, masses: Floats, total: float) -> Floats:
    return weights / (total - (np.cumsum(masses) - masses))


def _masses(weights: Floats, groups: Array | None) -> Floats:
    """(m,) the weight that leaves the draw with each row: its own, or that of its whole group."""
    if groups is None:
        return weights
    _, group = np.unique(groups, return_inverse=True)
    return np.where(groups < 0, weights, np.bincount(group, weights)[group]) if len(groups) else weights


def asked(pool: Pool, rows: Rows, near: Array, awaited: Array | None = None) -> Pool:
    """The pool after these rows were chosen: they count as labelled; they and the groups ``near`` are closed.

    Counting them as labelled keeps strategies that spread out from covering the same ground.
    ``awaited`` are the vectors of what was chosen in all shards, where these rows are only some of it.
    """
    still, marked, known = pool.open.copy(), pool.labelled.copy(), pool.known
    still[rows], marked[rows] = False, True
    if pool.groups is not None and len(near):
        still &= ~np.isin(pool.groups, near)
    if known is not None and pool.vectors is not None:
        known = known.awaiting(pool.vectors[rows] if awaited is None else awaited)
    return pool.replace(open=still, labelled=marked, known=known)


def near(pool: Pool, rows: Rows) -> Array:
    """The near-duplicate groups that these rows belong to."""
    groups = np.zeros(0, dtype=np.intp) if pool.groups is None else pool.groups[rows]
    return groups[groups >= 0]
