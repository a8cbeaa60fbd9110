"""What every strategy promises; ROW_WISE adds what those promise that value each text by itself.

Strategies that cluster or measure distances depend on the order of rows through rounding, and on
a sample of a large shard, so they keep PROMISES only. A row-wise strategy's own tests run both.
A strategy may refuse a pool that lacks what it needs (MissingInput), as one does that compares the
opinions of a committee, but not every pool.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from labelwise.core.beliefs import Array
from labelwise.core.checks import ensure
from labelwise.core.checks.scorers import FORMS, pool_of
from labelwise.core.errors import MissingInput
from labelwise.core.pool import Pool, Selection, stack_pools
from labelwise.core.protocols import Strategy
from labelwise.core.streams import stream

CASES = ((1, 0, 1), (1, 3, 2), (7, 3, 3), (40, 12, 4), (40, 400, 5), (150, 20, 6))
"""Sizes, budgets and seeds every promise is tried with: one text, no budget, more than there is."""


def _accepts(strategy: Strategy, pool: Pool) -> bool:
    try:
        strategy.select(pool, 1, stream(0, "accepts"))
    except MissingInput:
        return False
    return True


def _form(strategy: Strategy) -> str:
    """The first form of beliefs that the strategy can choose by."""
    accepted = [form for form in FORMS if _accepts(strategy, pool_of(100, 9, form))]
    ensure(bool(accepted), "it lacks an input (MissingInput) in every pool")
    return accepted[0]


def _pool(strategy: Strategy, n: int, seed: int) -> Pool:
    return pool_of(n, seed, _form(strategy))


def _cases(strategy: Strategy) -> list[tuple[Pool, int, int]]:
    cases = [(_pool(strategy, n, seed), budget, seed) for n, budget, seed in CASES]
    return [case for case in cases if _accepts(strategy, case[0])]


def _select(strategy: Strategy, pool: Pool, budget: int, seed: int) -> Selection:
    return strategy.select(pool, budget, stream(seed, "select"))


def _ids(pool: Pool, selection: Selection) -> list[int]:
    return [int(key) for key in pool.ids[selection.rows]]


def _arrays(pool: Pool) -> dict[str, Array]:
    beliefs = pool.beliefs.arrays() if pool.beliefs else {}
    parts = {
        name: getattr(pool, name) for name in ("ids", "open", "labelled", "costs", "vectors", "groups", "clusters")
    }
    return {**parts, **pool.signals, **beliefs}


def exactly_the_budget_of_distinct_texts(strategy: Strategy) -> None:
    """min(budget, open texts) rows, none twice, for every form of beliefs."""
    others = [pool_of(100, 8, form) for form in FORMS]
    cases = [*_cases(strategy), *((pool, 9, 8) for pool in others if _accepts(strategy, pool))]
    for pool, budget, seed in cases:
        rows = _select(strategy, pool, budget, seed).rows
        want = min(budget, int(pool.open.sum()))
        ensure(len(rows) == want, f"{len(rows)} rows for budget {budget} of {pool.open.sum()} open texts")
        ensure(len(np.unique(rows)) == want, f"rows repeat: {rows}")


def only_open_texts_of_the_pool(strategy: Strategy) -> None:
    """Rows lie within the pool, are open, and so never labelled."""
    for pool, budget, seed in _cases(strategy):
        rows = _select(strategy, pool, budget, seed).rows
        ensure(bool(((rows >= 0) & (rows < len(pool))).all()), f"rows {rows} leave a pool of {len(pool)}")
        ensure(not pool.labelled[rows].any(), "a labelled text was chosen")
        ensure(bool(pool.open[rows].all()), "a text that is not open was chosen")


def scores_chances_and_reasons_are_sound(strategy: Strategy) -> None:
    """Finite scores, propensities in (0, 1], one non-empty reason of one line for each row."""
    for pool, budget, seed in _cases(strategy):
        chosen = _select(strategy, pool, budget, seed)
        ensure(bool(np.isfinite(chosen.scores).all()), "a score is not finite")
        ensure(bool(((chosen.propensity > 0) & (chosen.propensity <= 1)).all()), f"propensity {chosen.propensity}")
        ensure(all(r.strip() and "\n" not in r for r in chosen.reason), "a reason is empty or has several lines")


def equal_generators_choose_equally(strategy: Strategy) -> None:
    """All randomness comes from the generator."""
    for pool, budget, seed in _cases(strategy):
        one, two = (_select(strategy, pool, budget, seed) for _ in range(2))
        same = np.array_equal(one.rows, two.rows) and np.array_equal(one.propensity, two.propensity)
        ensure(same, f"equal generators chose {one.rows} and {two.rows}")


def who_states_chances_draws(strategy: Strategy) -> None:
    """A strategy that states chances below 1 chooses differently with other generators."""
    pool = _pool(strategy, 100, 9)
    several = [_select(strategy, pool, 5, seed) for seed in range(8)]
    if any((chosen.propensity < 1).any() for chosen in several):
        different = {tuple(chosen.rows.tolist()) for chosen in several}
        ensure(len(different) > 1, "eight generators gave one choice, though it states chances below 1")


def near_duplicates_do_not_meet(strategy: Strategy) -> None:
    """No two texts of one group are chosen while texts of other groups are left."""
    for seed in range(4):
        pool = _pool(strategy, 100, seed)
        rows = np.arange(100)
        groups = rows % 12 if seed % 2 else np.where(rows < 80, rows % 4, -1)
        pool = pool.replace(groups=groups)
        apart = len(np.unique(groups[pool.open & (groups >= 0)])) + int((pool.open & (groups < 0)).sum())
        for budget in (5, apart):
            near = groups[_select(strategy, pool, budget, seed).rows]
            near = near[near >= 0]
            ensure(len(near) == len(np.unique(near)), f"near-duplicates met in a batch of {budget}: groups {near}")


def the_pool_is_not_changed(strategy: Strategy) -> None:
    """Read-only arrays do, and every array is afterwards what it was."""
    for pool, budget, seed in _cases(strategy):
        kept = {name: array.copy() for name, array in _arrays(pool).items()}
        for array in _arrays(pool).values():
            array.flags.writeable = False
        _select(strategy, pool, budget, seed)
        strategy.nominate(pool, budget, stream(seed, "select"))
        changed = [name for name, array in _arrays(pool).items() if not np.array_equal(array, kept[name])]
        ensure(not changed, f"the pool's {changed} changed")


def memory_mapped_vectors_do(strategy: Strategy) -> None:
    """Vectors that live in a float16 file give the same choice as those in memory."""
    pool = _pool(strategy, 100, 11)
    vectors: Array = pool.need("vectors")
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "vectors.npy", vectors)
        mapped = np.load(Path(folder) / "vectors.npy", mmap_mode="r")
        there = _select(strategy, pool.replace(vectors=mapped), 8, 11).rows
        del mapped
    ensure(np.array_equal(there, _select(strategy, pool, 8, 11).rows), "memory-mapped vectors changed the choice")


def nominations_are_enough(strategy: Strategy) -> None:
    """A shard sends up distinct open rows, at least min(budget, open texts), and select can choose among them."""
    for pool, budget, seed in _cases(strategy):
        shards = [pool.take(np.arange(i, len(pool), 3)) for i in range(min(3, len(pool)))]
        sent = []
        for shard in shards:
            nomination = strategy.nominate(shard, budget, stream(seed, "select"))
            rows = nomination.rows
            ensure(len(np.unique(rows)) == len(rows) and bool(shard.open[rows].all()), f"nominated {rows}")
            ensure(len(rows) >= min(budget, int(shard.open.sum())), f"{len(rows)} nominated for a budget of {budget}")
            sent.append(shard.take(rows).replace(rest=nomination.rest))
        chosen = _select(strategy, stack_pools(sent), budget, seed)
        ensure(len(chosen) == min(budget, int(pool.open.sum())), f"{len(chosen)} chosen among the nominated")


def the_order_of_rows_does_not_matter(strategy: Strategy) -> None:
    """The same texts are chosen, in the same order, however the pool's rows are arranged."""
    for pool, budget, seed in _cases(strategy):
        order = stream(seed, "order").permutation(len(pool))
        turned = pool.take(order)
        one, two = (
            _ids(pool, _select(strategy, pool, budget, seed)),
            _ids(turned, _select(strategy, turned, budget, seed)),
        )
        ensure(one == two, f"{one} became {two} when the rows were rearranged")


PROMISES: tuple[Callable[[Strategy], None], ...] = (
    exactly_the_budget_of_distinct_texts,
    only_open_texts_of_the_pool,
    scores_chances_and_reasons_are_sound,
    equal_generators_choose_equally,
    who_states_chances_draws,
    near_duplicates_do_not_meet,
    the_pool_is_not_changed,
    memory_mapped_vectors_do,
    nominations_are_enough,
)
ROW_WISE: tuple[Callable[[Strategy], None], ...] = (the_order_of_rows_does_not_matter,)
