"""What all strategies share: noise, keeping near-duplicates apart, drawing with known chances.

Noise belongs to a text (``uniform_of``), and every phase of a selection draws the same salts
first from an equal generator. So a choice made shard by shard is the choice over the whole pool.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        return float(len(behind(pool, sent)))


def salts(rng: np.random.Generator) -> Salts:
    """The first thing every phase draws."""
    return Salts(*(int(salt) for salt in rng.integers(2**63, size=3)))


def race(ids: Array, salt: int) -> Floats:
    """(m,) arrival times, exponential with rate 1, that belong to the texts; the earliest wins."""
    noise = uniform_of(ids, salt)
    return np.negative(np.log(noise, out=noise), out=noise)


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


def best(pool: Pool, rows: Rows, keys: Floats, budget: int, ties: Floats | None = None) -> Rows:
    """Rows to send up: those of the smallest keys among rows that stand alone and among those with near-duplicates.

    Both halves are max(budget, NOMINEES) long, so that what stays behind cannot be chosen, and
    no near-duplicate of a chosen text stays behind uncounted, as long as a shard has no more
    than NOMINEES open texts with near-duplicates. The largest key goes up as well: where keys are
    scores, it lets the final choice see whether all are equal. O(m).
    """
    if not len(rows):
        return rows
    groups, count = groups_of(pool, rows), max(budget, NOMINEES)
    alone = np.ones(len(rows), dtype=bool) if groups is None else groups < 0
    parts = (np.flatnonzero(alone), np.flatnonzero(~alone))
    sent = [part[smallest(keys[part], count, None if ties is None else ties[part])] for part in parts]
    return np.unique(rows[np.concatenate([*sent, [keys.argmax()]])])


def behind(pool: Pool, sent: Rows) -> Rows:
    """Open rows that were not sent up, ascending. O(n)."""
    left = pool.open.copy()
    left[sent] = False
    return np.flatnonzero(left)


def reasons(scorer: Scorer, pool: Pool, rows: Rows, scores: Floats) -> tuple[str, ...]:
    """Why each row was wanted; beliefs are worked out once for all of them."""
    few = pool.take(rows)
    return tuple(scorer.reason(few, i, float(score)) for i, score in enumerate(scores))


class Race(NamedTuple):
    """A draw by ``weights`` (m,), with ``rest`` left behind in the shards, that decides a ``share`` of the picks."""

    weights: Floats
    rest: float
    salt: Salts
    share: float = 1.0


def draw(pool: Pool, rows: Rows, races: Sequence[Race], budget: int, turns: Array | None = None) -> tuple[Rows, Floats]:
    """Draw min(budget, m) of m rows one after the other; pick i follows races[turns[i]], all the first if None.

    A drawn text closes its near-duplicates: they leave the draw as if drawn, and come back, with
    fresh noise, only when nothing else is left. Returns positions in ``rows`` in the order drawn
    and the exact chance of each given those before it: over the races, the sum of share * its
    weight / all weight still open, ``rest`` included. What one race has drawn leaves the others as
    well; as the noise of one tells nothing about another's and an exponential race has no memory,
    what remains is again a race in proportion to the weights. Exponential race = Gumbel-top-k =
    Plackett-Luce (Efraimidis and Spirakis 2006, "Weighted random sampling with a reservoir"; Kool,
    van Hoof and Welling 2019, "Stochastic Beams and Where to Find Them"). O(m + budget log budget).
    """
    ids, groups = pool.ids[rows], groups_of(pool, rows)
    turns = np.zeros(min(budget, len(rows)), dtype=np.intp) if turns is None else turns
    orders = [first(race(ids, each.salt.draw) / each.weights, groups, budget) for each in races]
    picks = _merged(orders, groups, turns)
    chance = _chances(races, picks, groups, np.arange(len(rows)))
    more = min(budget, len(rows)) - len(picks)
    if more > 0:
        others = np.setdiff1d(np.arange(len(rows)), picks)
        orders = [
            others[first(race(ids[others], each.salt.again) / each.weights[others], None, more)] for each in races
        ]
        late = _merged(orders, None, turns[len(picks) :])
        chance = np.concatenate([chance, _chances(races, late, None, others)])
        picks = np.concatenate([picks, late])
    return picks, chance


def first(keys: Floats, groups: Array | None, count: int, ties: Floats | None = None) -> Rows:
    """The ``count`` positions with the smallest keys (m,), ascending, one for each near-duplicate group. O(m)."""
    size = 2 * count + 64
    while True:
        head = smallest(keys, size, ties)
        found = apart(head, groups)[0][:count]
        if len(found) == count or len(head) == len(keys):
            return found
        size *= 8


def smallest(keys: Floats, count: int, ties: Floats | None = None) -> Rows:
    """The ``count`` positions with the smallest keys (m,), then ties, ascending. O(m + count log count)."""
    head = np.arange(len(keys))
    if count < len(keys):
        head = np.flatnonzero(keys <= np.partition(keys, count)[count])
    order = np.argsort(keys[head], kind="stable") if ties is None else np.lexsort((ties[head], keys[head]))
    return head[order[:count]]


def _merged(orders: Sequence[Rows], groups: Array | None, turns: Array) -> Rows:
    """Each turn takes the next of its order whose near-duplicates are not yet taken, until all are."""
    if len(orders) == 1:
        return orders[0]
    names = [np.where(groups[o] < 0, -1 - o, groups[o]) if groups is not None else o for o in orders]
    ahead = [zip(o.tolist(), name.tolist(), strict=True) for o, name in zip(orders, names, strict=True)]
    picks: list[int] = []
    gone: set[int] = set()
    for turn in turns[: len(orders[0])].tolist():
        pick, name = next((pick, name) for pick, name in ahead[turn] if name not in gone)
        picks.append(pick)
        gone.add(name)
    return np.array(picks, dtype=np.intp)


def _chances(races: Sequence[Race], picks: Rows, groups: Array | None, among: Rows) -> Floats:
    leaving, when = _leaving(groups, picks)
    chance = np.zeros(len(picks))
    for weights, rest, _, share in races:
        gone = np.cumsum(np.bincount(when, weights[leaving], minlength=len(picks)))
        before = np.concatenate([[0.0], gone[:-1]])[: len(picks)]
        chance += share * weights[picks] / (weights[among].sum() + rest - before)
    return np.minimum(chance, 1.0)  # shares of 1 may add up to a rounding more


def _leaving(groups: Array | None, picks: Rows) -> tuple[Rows, Rows]:
    """What leaves the draw, and with which pick: the picks themselves and all of their near-duplicates."""
    if groups is None:
        return picks, np.arange(len(picks))
    near, alone = np.flatnonzero(groups[picks] >= 0), np.flatnonzero(groups[picks] < 0)
    near = near[np.argsort(groups[picks[near]])]
    members = np.flatnonzero(np.isin(groups, groups[picks[near]])) if len(near) else near
    when = near[np.searchsorted(groups[picks[near]], groups[members])]
    return np.concatenate([members, picks[alone]]), np.concatenate([when, alone])


def asked(pool: Pool, rows: Rows, near: Array) -> Pool:
    """The pool after these rows were chosen: they count as labelled; they and the groups ``near`` are closed.

    Counting them as labelled keeps strategies that spread out from covering the same ground.
    """
    still, marked, known = pool.open.copy(), pool.labelled.copy(), pool.known
    still[rows], marked[rows] = False, True
    if pool.groups is not None and len(near):
        still &= ~np.isin(pool.groups, near)
    if known is not None and pool.vectors is not None:
        known = known.awaiting(pool.vectors[rows])
    return pool.replace(open=still, labelled=marked, known=known)


def near(pool: Pool, rows: Rows) -> Array:
    """The near-duplicate groups that these rows belong to."""
    groups = np.zeros(0, dtype=np.intp) if pool.groups is None else pool.groups[rows]
    return groups[groups >= 0]
