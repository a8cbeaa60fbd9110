"""One batch: the control first, then what the strategy wants, over any number of shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from labelwise.core import (
    ContractError,
    InputError,
    Known,
    MissingInput,
    Nomination,
    Pool,
    Selection,
    Strategy,
    Streamed,
    WrongMoment,
    from_arrays,
    stack_pools,
)
from labelwise.core.beliefs import Array, Rows
from labelwise.core.threads import side_by_side, threads
from labelwise.select import fields, picking
from labelwise.select.comparing import gather
from labelwise.select.geometry import TypiClust
from labelwise.select.strategies import Random

Streams = Callable[[str], np.random.Generator]
FALLBACKS: tuple[Strategy, ...] = (TypiClust(), Random())
LIMIT = 65_536
"""Nominated texts held at a time: what is more is nominated from once again."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The texts to ask about next, control first; every array has k entries.

    shard, row  where each text is
    arm         "control" (uniformly random) or "strategy"
    scores      what the strategy thought each was worth; 0 for the control
    propensity  control: the chance of being in the control at all (drawn / open);
                strategy: the chance of each pick given those before it (see Selection)
    reason      one short sentence each
    fallback    why something else than the asked strategy chose (empty = it did choose)
    """

    shard: Array
    row: Array
    arm: tuple[str, ...]
    scores: Array
    propensity: Array
    reason: tuple[str, ...]
    fallback: str = ""

    def __len__(self) -> int:
        return len(self.row)


def choose(
    shards: Sequence[Pool],
    strategy: Strategy,
    budget: int,
    control: float,
    streams: Streams,
    fallbacks: Sequence[Strategy] = FALLBACKS,
) -> Batch:
    """Choose min(budget, open texts) texts over all shards.

    ``shards[i]`` may build its pool anew each time (vectors memory-mapped, beliefs streamed): each is
    asked for twice and dropped before the next, first for the control, then to nominate (again for
    every fallback, and where near-duplicates must fill the batch), as many side by side as there are
    threads, at most 4. So memory is that of these shards, of what was asked so far, and of the nominated
    texts: at most LIMIT and a shard's, unless a strategy nominates more. Choosing from one shard needs no nomination.

    ``control`` is the share in [0, 1] drawn uniformly at random before anything else, rounded,
    at least 1 of 2 when it is > 0. It is a simple random sample, so only here two near-duplicates
    can meet; the rest of the batch avoids each other's and the control's near-duplicates as long
    as others remain. ``streams(purpose)`` returns a fresh, equal generator each time, e.g.
    ``lambda purpose: stream(seed, "select", round, purpose)``; purposes are "control" and
    "strategy". When the strategy lacks an input (no model yet), the first of ``fallbacks`` that
    does not chooses, and the batch says so. Raises InputError for a budget < 1 or a share outside
    [0, 1], WrongMoment when no text is open, MissingInput when every fallback lacks an input too,
    ContractError when a strategy or a scorer breaks its promise, InputError when not all vectors
    (those of known texts included) are of one width.
    """
    fields.whole("budget", budget, 1)
    fields.number("control", control, 0.0, 1.0)
    pool = _Shards(shards, _control_size(budget, control), picking.salts(streams("control")).draw)
    size = min(budget, pool.open)
    if not size:
        raise WrongMoment("no text is open: all are labelled, leased or set aside. Add texts, or wait for answers.")
    chosen = [pool.control(_control_size(size, control))]
    drawn = len(chosen[0])
    for together in (False, True):
        # the second time near-duplicates of what was chosen may come: better than too small a batch
        missing = size - sum(len(part) for part in chosen)
        if missing:
            pool.together = together
            chosen.append(_with_fallbacks(pool, (strategy, *fallbacks), missing, streams))
    whole = Selection.join(chosen)
    shard = np.searchsorted(pool.origin, whole.rows, side="right") - 1
    arm = ("control",) * drawn + ("strategy",) * (len(whole) - drawn)
    return Batch(
        shard, whole.rows - pool.origin[shard], arm, whole.scores, whole.propensity, whole.reason, whole.fallback
    )  # fmt: skip


def _control_size(size: int, share: float) -> int:
    least = 1 if share > 0 and size >= 2 else 0
    return max(least, int(share * size + 0.5))


class _Shards:
    """The shards as they are once some texts are taken. Rows are numbered through all of them.

    origin    first row of every shard, and the end
    open      how many texts are open in all
    together  whether near-duplicates of what was taken may be chosen
    """

    def __init__(self, shards: Sequence[Pool], most: int, salt: int) -> None:
        """Look at each shard once, keeping the ``most`` open texts that come first by the control's noise."""
        self.shards, self.most, self.salt = shards, most, salt
        self.open, self.together = 0, False
        self.rows: Rows = np.zeros(0, dtype=np.intp)
        self.known: Known | None = None
        self._taken: list[Pool] = []
        self._first: list[tuple[Rows, Pool]] = []
        self._labelled: list[tuple[Array, Array | None]] = []
        self._shapes: set[tuple[int, ...]] = set()
        sizes = [0]
        for i in range(len(shards)):
            # never a name for the pool here: it would outlive its turn
            sizes.append(sizes[-1] + self._look(shards[i], sizes[-1]))
        self.origin = np.array(sizes)
        if self.known is None and self._shapes and all(vectors is not None for _, vectors in self._labelled):
            ids, vectors = (np.concatenate(parts) for parts in zip(*self._labelled, strict=True))
            # by key and not by place: strategies that cluster would follow the sharding
            self.known = Known(vectors[np.argsort(ids)])

    def _look(self, pool: Pool, start: int) -> int:
        for part in (pool, pool.known):
            if part is not None and part.vectors is not None:
                self._shapes.add(part.vectors.shape[1:])
        if len(self._shapes) > 1:
            raise InputError(
                f"vectors: widths {sorted(self._shapes)} do not fit together; "
                "represent labelled and open texts of all shards with one encoder."
            )
        own = pool.candidates()
        self.open += len(own)
        own = own[picking.smallest(picking.race(pool.ids[own], self.salt), self.most)]
        self._first = [self._foremost([*self._first, (own + start, _bare(pool, own))], self.most)]
        self.known = self.known or pool.known
        done = np.flatnonzero(pool.labelled)
        needed = self.known is None and pool.vectors is not None
        self._labelled.append((pool.ids[done], gather(pool, done) if needed else None))
        return len(pool)

    def _foremost(self, parts: list[tuple[Rows, Pool]], count: int) -> tuple[Rows, Pool]:
        few = stack_pools([part for _, part in parts])
        order = picking.smallest(picking.race(few.ids, self.salt), count)
        return np.concatenate([rows for rows, _ in parts])[order], few.take(order)

    def control(self, count: int) -> Selection:
        """Take ``count`` open texts uniformly at random over all shards."""
        rows, few = self._foremost(self._first, count)
        self.take(rows, few)
        return Selection(rows, np.zeros(count), np.full(count, count / self.open), ("random control",) * count)

    def take(self, rows: Rows, few: Pool) -> None:
        """These texts are asked from now on; ``few`` is the pool of them."""
        self.rows = np.concatenate([self.rows, rows])
        self._taken.append(few)
        if self.known is not None and few.vectors is not None:
            self.known = self.known.awaiting(few.vectors)

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, i: int) -> Pool:
        """One shard; what was taken is closed and, unless ``together``, its near-duplicates are."""
        return self._after(self.shards[i], i)

    def _after(self, pool: Pool, i: int) -> Pool:
        own = self.rows[(self.rows >= self.origin[i]) & (self.rows < self.origin[i + 1])] - self.origin[i]
        near = [picking.near(few, np.arange(0 if self.together else len(few))) for few in self._taken]
        # known already counts what was taken, in all shards
        return picking.asked(pool.replace(known=None), own, np.concatenate(near)).replace(known=self.known)


def _bare(pool: Pool, rows: Rows) -> Pool:
    return pool.replace(beliefs=None, signals={}).take(rows)


def _with_fallbacks(shards: _Shards, strategies: Sequence[Strategy], budget: int, streams: Streams) -> Selection:
    """The choice of the first strategy that has its inputs, saying why those before it had not."""
    why: list[str] = []
    for strategy in strategies:
        try:
            chosen, few = _over_shards(shards, strategy, budget, streams)
        except MissingInput as error:
            why.append(f"{type(strategy).__name__} could not choose: {error}")
            continue
        if why:
            why.append(f"{type(strategy).__name__} chose instead")
        shards.take(chosen.rows, few)
        return replace(chosen, fallback="; ".join([*why, *filter(None, [chosen.fallback])]))
    raise MissingInput("; ".join(why))


def _over_shards(shards: _Shards, strategy: Strategy, budget: int, streams: Streams) -> tuple[Selection, Pool]:
    """What the strategy chooses from the only shard, or from all that the shards nominate; and the pool of that."""
    rows, pool = _nominees(shards, strategy, budget, streams) if len(shards) > 1 else (None, shards[0])
    chosen = _kept(strategy, pool, budget, strategy.select(pool, budget, streams("strategy")))
    few = _bare(pool, chosen.rows)
    return (chosen if rows is None else replace(chosen, rows=rows[chosen.rows])), few


def _nominees(shards: _Shards, strategy: Strategy, budget: int, streams: Streams) -> tuple[Rows, Pool]:
    sent: list[tuple[Rows, Pool]] = []
    limit = LIMIT
    at_once = threads()
    for i in range(len(shards)):
        if i % at_once == 0:
            some = range(i, min(i + at_once, len(shards)))
            told = side_by_side(lambda j: _nominated(strategy, shards[j], budget, streams), some)
        rows, pool = told[i % at_once]
        sent.append((rows + shards.origin[i], pool))
        if sum(len(rows) for rows, _ in sent) > limit:
            rows, union = _stacked(sent)
            kept, pool = _nominated(strategy, union, budget, streams)
            # the weight that shards left behind before goes along with no rows
            sent = [(rows[kept], pool), (rows[:0], union.take(kept[:0]))]
            limit = max(LIMIT, 2 * len(kept))
    return _stacked(sent)


def _stacked(parts: list[tuple[Rows, Pool]]) -> tuple[Rows, Pool]:
    return np.concatenate([rows for rows, _ in parts]), stack_pools([pool for _, pool in parts])


def _nominated(strategy: Strategy, pool: Pool, budget: int, streams: Streams) -> tuple[Rows, Pool]:
    """The rows a pool sends up, and the pool of them, which holds nothing of the whole."""
    nomination: Nomination = strategy.nominate(pool, budget, streams("strategy"))
    _distinct_open(strategy, pool, nomination.rows)
    least = min(budget, int(np.count_nonzero(pool.open)))
    if len(nomination.rows) < least:
        raise ContractError(f"{strategy!r} must nominate at least {least} texts, not {len(nomination.rows)}")
    few = pool.take(nomination.rows).replace(rest=nomination.rest)
    if isinstance(few.beliefs, Streamed):
        few = few.replace(beliefs=from_arrays(few.beliefs.arrays()))
    return nomination.rows, few


def _kept(strategy: Strategy, pool: Pool, budget: int, chosen: Selection) -> Selection:
    """The selection, if it is what a strategy promises."""
    count = min(budget, int(np.count_nonzero(pool.open)))
    _distinct_open(strategy, pool, chosen.rows)
    if len(chosen) != count:
        raise ContractError(f"{strategy!r} must choose {count} distinct texts, not {len(chosen)} ({chosen.rows[:9]})")
    if not ((chosen.propensity > 0) & (chosen.propensity <= 1)).all():
        raise ContractError(f"{strategy!r} must state chances in (0, 1]")
    if not np.isfinite(chosen.scores).all():
        raise ContractError(f"{strategy!r} must give finite scores")
    return chosen


def _distinct_open(strategy: Strategy, pool: Pool, rows: Array) -> None:
    if rows.dtype.kind not in "iu" or len(np.unique(rows)) != len(rows):
        raise ContractError(f"{strategy!r} must choose distinct texts by their rows, not {rows[:9]}")
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(pool) and pool.open[rows].all()):
        raise ContractError(f"{strategy!r} must choose open texts of the pool")
