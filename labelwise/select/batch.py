"""One batch: the control first, then what the strategy wants, over any number of shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from labelwise.core import ContractError, Known, MissingInput, Pool, Selection, Strategy, WrongMoment, stack_pools
from labelwise.core.beliefs import Array, Rows
from labelwise.select import fields, picking
from labelwise.select.comparing import gather
from labelwise.select.geometry import TypiClust
from labelwise.select.strategies import Random

Streams = Callable[[str], np.random.Generator]
FALLBACKS: tuple[Strategy, ...] = (TypiClust(), Random())


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

    ``control`` is the share in [0, 1] drawn uniformly at random before anything else, rounded,
    at least 1 of 2 when it is > 0. It is a simple random sample, so only here two near-duplicates
    can meet; the rest of the batch avoids each other's and the control's near-duplicates as long
    as others remain. ``streams(purpose)`` returns a fresh, equal generator each time, e.g.
    ``lambda purpose: stream(seed, "select", round, purpose)``; purposes are "control" and
    "strategy". When the strategy lacks an input (no model yet), the first of ``fallbacks`` that
    does not chooses, and the batch says so. Raises InputError for a budget < 1 or a share outside
    [0, 1], WrongMoment when no text is open, MissingInput when every fallback lacks an input too,
    ContractError when a strategy breaks its promise.
    """
    fields.whole("budget", budget, 1)
    fields.number("control", control, 0.0, 1.0)
    size = min(budget, sum(int(np.count_nonzero(pool.open)) for pool in shards))
    if not size:
        raise WrongMoment("no text is open: all are labelled, leased or set aside. Add texts, or wait for answers.")
    origin = np.cumsum([0, *(len(pool) for pool in shards)])
    shards = _informed(shards)
    chosen = [_control(shards, origin, _control_size(size, control), streams)]
    drawn = len(chosen[0])
    for together in (False, True):
        # the second time near-duplicates of what was chosen may come: better than too small a batch
        missing = size - sum(len(part) for part in chosen)
        if missing:
            rest = _after(shards, origin, Selection.join(chosen).rows, together)
            chosen.append(_with_fallbacks(rest, origin, (strategy, *fallbacks), missing, streams))
    whole = Selection.join(chosen)
    shard = np.searchsorted(origin, whole.rows, side="right") - 1
    arm = ("control",) * drawn + ("strategy",) * (len(whole) - drawn)
    return Batch(
        shard, whole.rows - origin[shard], arm, whole.scores, whole.propensity, whole.reason, whole.fallback
    )  # fmt: skip


def _informed(shards: Sequence[Pool]) -> Sequence[Pool]:
    """The shards, each knowing what is labelled in any of them."""
    if any(pool.known is not None or pool.vectors is None for pool in shards):
        return shards
    vectors = np.concatenate([gather(pool, np.flatnonzero(pool.labelled)) for pool in shards])
    return [pool.replace(known=Known(vectors)) for pool in shards]


def _control_size(size: int, share: float) -> int:
    least = 1 if share > 0 and size >= 2 else 0
    return max(least, int(share * size + 0.5))


def _control(shards: Sequence[Pool], origin: Array, count: int, streams: Streams) -> Selection:
    """``count`` open texts uniformly at random over all shards; rows are numbered through the shards."""
    salt = picking.salts(streams("control")).draw
    rows, arrival = [], []
    for pool, start in zip(shards, origin[:-1], strict=True):
        own = pool.candidates()
        rows.append(own + start)
        arrival.append(picking.race(pool.ids[own], salt))
    every = np.concatenate(rows)
    first = every[np.argsort(np.concatenate(arrival), kind="stable")[:count]]
    chance = np.full(count, count / len(every))
    return Selection(first, np.zeros(count), chance, ("random control",) * count)


def _after(shards: Sequence[Pool], origin: Array, rows: Rows, together: bool) -> list[Pool]:
    """The shards once these rows are taken; unless ``together``, their near-duplicates are closed everywhere."""
    own = [rows[(rows >= low) & (rows < high)] - low for low, high in pairwise(origin)]
    pairs = list(zip(shards, own, strict=True))
    groups = np.concatenate([picking.near(pool, taken[:0] if together else taken) for pool, taken in pairs])
    if any(pool.vectors is None for pool in shards):
        return [picking.asked(pool, taken, groups) for pool, taken in pairs]
    awaited = np.concatenate([gather(pool, taken) for pool, taken in pairs])
    return [picking.asked(pool, taken, groups, awaited) for pool, taken in pairs]


def _with_fallbacks(
    shards: Sequence[Pool], origin: Array, strategies: Sequence[Strategy], budget: int, streams: Streams
) -> Selection:
    """The choice of the first strategy that has its inputs, saying why those before it had not."""
    why: list[str] = []
    for strategy in strategies:
        try:
            chosen = _over_shards(shards, origin, strategy, budget, streams)
        except MissingInput as error:
            why.append(f"{type(strategy).__name__} could not choose: {error}")
            continue
        if why:
            why.append(f"{type(strategy).__name__} chose instead")
        return replace(chosen, fallback="; ".join([*why, *filter(None, [chosen.fallback])]))
    raise MissingInput("; ".join(why))


def _over_shards(shards: Sequence[Pool], origin: Array, strategy: Strategy, budget: int, streams: Streams) -> Selection:
    """Every shard nominates, the strategy chooses among the nominated; one shard needs no nomination."""
    if len(shards) == 1:
        return _kept(strategy, shards[0], budget, strategy.select(shards[0], budget, streams("strategy")))
    sent, rows = [], []
    for pool, start in zip(shards, origin[:-1], strict=True):
        nomination = strategy.nominate(pool, budget, streams("strategy"))
        sent.append(pool.take(nomination.rows).replace(rest=nomination.rest))
        rows.append(nomination.rows + start)
    nominated = stack_pools(sent)
    chosen = _kept(strategy, nominated, budget, strategy.select(nominated, budget, streams("strategy")))
    return replace(chosen, rows=np.concatenate(rows)[chosen.rows])


def _kept(strategy: Strategy, pool: Pool, budget: int, chosen: Selection) -> Selection:
    """The selection, if it is what a strategy promises."""
    count = min(budget, int(np.count_nonzero(pool.open)))
    if len(chosen) != count or len(np.unique(chosen.rows)) != count:
        raise ContractError(f"{strategy!r} must choose {count} distinct texts, not {len(chosen)} ({chosen.rows[:9]})")
    if count and not (chosen.rows.min() >= 0 and chosen.rows.max() < len(pool) and pool.open[chosen.rows].all()):
        raise ContractError(f"{strategy!r} must choose open texts of the pool")
    if not ((chosen.propensity > 0) & (chosen.propensity <= 1)).all():
        raise ContractError(f"{strategy!r} must state chances in (0, 1]")
    return chosen
