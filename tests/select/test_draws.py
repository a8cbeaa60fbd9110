"""Drawing: frequencies are Plackett-Luce, stated chances are exact, sharding changes nothing."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.core import Categorical, ContractError, Pool, stack_pools, stream
from labelwise.core.checks.scorers import pool_of
from labelwise.select import Margin, Mix, Power, Random, Softmax, Softrank, Then, Top, choose, picking


def torn(scores, **parts):
    """A pool whose margin scores are these."""
    scores = np.asarray(scores, dtype=np.float64)
    return Pool.of(beliefs=Categorical(np.stack([1 - scores / 2, scores / 2], axis=1)), **parts)


def plackett_luce(order, races, groups):
    """The chance of each pick given those before it, by the definition: a mixture of draws, pick after pick."""
    left, chances = set(range(len(groups))), []
    for pick in order:
        chances.append(sum(share * weights[pick] / sum(weights[i] for i in left) for share, weights in races))
        left -= {i for i in left if i == pick or (groups[pick] >= 0 and groups[i] == groups[pick])}
    return chances


SCORES = np.array([0.9, 0.6, 0.3, 0.1])
RACES = {
    Power(Margin(), 2.0, 0.1): [(0.9, SCORES**2), (0.1, np.ones(4))],
    Power(Margin(), 4.0, 0.6): [(0.4, SCORES**4), (0.6, np.ones(4))],
    Softmax(Margin(), 3.0, 0.2): [(0.8, np.exp(3 * (SCORES - 1))), (0.2, np.ones(4))],
    Softrank(Margin(), 1.0): [(1.0, 1.0 / np.arange(1, 5))],
    Random(): [(1.0, np.ones(4))],
}
GROUPS = {"alone": np.full(4, -1), "near": np.array([7, -1, 7, -1])}


@pytest.mark.parametrize(("strategy", "races"), RACES.items(), ids=lambda v: type(v).__name__)
@pytest.mark.parametrize("groups", GROUPS.values(), ids=list(GROUPS))
def test_orders_come_as_often_as_plackett_luce_says(strategy, races, groups):
    pool, times = torn(SCORES, groups=groups), 500
    drawn = {}
    for seed in range(times):
        rows = tuple(strategy.select(pool, 2, stream(seed, "draw")).rows.tolist())
        drawn[rows] = drawn.get(rows, 0) + 1
    possible = [p for p in permutations(range(4), 2) if groups[p[0]] < 0 or groups[p[0]] != groups[p[1]]]
    expected = np.array([times * np.prod(plackett_luce(pair, races, groups)) for pair in possible])
    seen = np.array([drawn.pop(pair, 0) for pair in possible])
    assert not drawn
    assert ((seen - expected) ** 2 / expected).sum() < 31.26  # chi-square, 11 degrees of freedom, p = 0.001


@pytest.mark.parametrize(("strategy", "races"), RACES.items(), ids=lambda v: type(v).__name__)
@pytest.mark.parametrize("groups", GROUPS.values(), ids=list(GROUPS))
def test_stated_chances_are_exactly_plackett_luce(strategy, races, groups):
    pool = torn(SCORES, groups=groups)
    for seed in range(20):
        chosen = strategy.select(pool, 3, stream(seed, "draw"))
        assert chosen.propensity == pytest.approx(plackett_luce(chosen.rows, races, groups), rel=1e-5)


def test_orders_of_three_come_as_often_as_the_stated_chances_say():
    """The whole order, mixture and near-duplicates together, with noise given directly: no generator per draw."""
    groups, scores, explore = np.array([-1, 4, -1, 4, -1]), np.array([0.9, 0.7, 0.5, 0.2, 0.05]), 0.3
    rng, times, keys = stream(1, "orders"), 4_000, np.arange(5, dtype=np.uint64)
    pool, weights = Pool.of(5, groups=groups, ids=keys), picking.grained(scores**2)
    seen, chance = {}, {}
    for _ in range(times):
        races = [
            picking.Race(weights, 0.0, picking.salts(rng), 1 - explore),
            picking.Race(np.ones(5), 0.0, picking.salts(rng), explore),
        ]
        rows, stated = picking.draw(pool, np.arange(5), races, 3, (rng.random(3) < explore).astype(int))
        order = tuple(rows.tolist())
        seen[order], chance[order] = seen.get(order, 0) + 1, float(stated.prod())
    every = [p for p in permutations(range(5), 3) if not {1, 3} <= set(p)]
    assert set(seen) <= set(every)
    definition = [(1 - explore, weights), (explore, np.ones(5))]
    expected = np.array([np.prod(plackett_luce(order, definition, groups)) for order in every])
    assert expected.sum() == pytest.approx(1.0)
    assert [chance[order] for order in every if order in seen] == pytest.approx(
        [c for order, c in zip(every, expected, strict=True) if order in seen]
    )
    counts = np.array([seen.get(order, 0) for order in every])
    assert len(every) == 42  # 60 orders of three of five, less the 18 in which both near-duplicates are
    assert ((counts - times * expected) ** 2 / (times * expected)).sum() < 74.7  # 41 degrees of freedom, p = 0.001


def test_exploration_is_a_share_of_the_picks_however_sure_the_model_is():
    scores = np.full(4000, 1e-4)
    scores[:20] = 0.5
    drawn = [Power(Margin(), 2.0, 0.25).select(torn(scores), 8, stream(seed, "sure")).rows for seed in range(50)]
    assert np.mean(np.concatenate(drawn) < 20) == pytest.approx(0.75, abs=0.07)


def test_near_duplicates_come_back_with_fresh_noise_and_exact_chances():
    pool = torn([0.9, 0.8, 0.2, 0.1], groups=np.array([3, 3, 3, 3]))
    chosen = Power(Margin(), 1.0, 0.0).select(pool, 4, stream(1, "draw"))
    weights = np.array([0.9, 0.8, 0.2, 0.1])[chosen.rows]
    assert sorted(chosen.rows) == [0, 1, 2, 3]
    assert chosen.propensity[0] == pytest.approx(weights[0] / 2.0, rel=1e-5)
    assert chosen.propensity[1:] == pytest.approx(weights[1:] / np.cumsum(weights[:0:-1])[::-1], rel=1e-5)


def test_weight_left_behind_lowers_the_chances():
    pool = torn(SCORES)
    for strategy, rest in ((Power(Margin()), (5.0, 9.0)), (Random(), 9.0), (Softrank(Margin()), 9.0)):
        alone, with_rest = (strategy.select(p, 2, stream(2, "draw")) for p in (pool, pool.replace(rest=rest)))
        assert (alone.rows == with_rest.rows).all()
        assert (alone.propensity > with_rest.propensity).all()
    chosen = Power(Margin(), 2.0, 0.1).select(pool.replace(rest=(5.0, 9.0)), 1, stream(2, "draw"))
    score = SCORES[chosen.rows[0]]
    assert chosen.propensity[0] == pytest.approx(0.9 * score**2 / (5.0 + (SCORES**2).sum()) + 0.1 / 13, rel=1e-5)


def lure_weights(chances, n):
    """Farquhar, Gal and Rainforth 2021, "On Statistical Bias In Active Learning": R_LURE = mean(weights * loss)."""
    m = np.arange(1, len(chances) + 1)
    return 1 + (n - len(m)) / (n - m) * (1 / ((n - m + 1) * chances) - 1)


def test_lure_with_these_chances_is_unbiased_and_covers_and_the_naive_mean_does_not():
    """A small benchmarks/propensities.py: 300 rounds of 60 labels on 500 texts, chosen over two shards."""
    rng, n, m, times = stream(3, "risk"), 500, 60, 300
    scores = rng.beta(1, 3, n)
    losses = (rng.random(n) < scores / 2).astype(float)
    shards, estimates, naive, held = [torn(scores[:200]), torn(scores[200:], ids=np.arange(200, n))], [], [], 0
    for seed in range(times):
        batch = choose(shards, Power(Margin(), 1.0, 0.1), m, 0.0, lambda purpose, seed=seed: stream(seed, purpose))
        found = losses[batch.row + 200 * batch.shard]
        weighted = found * lure_weights(batch.propensity, n)
        estimates.append(weighted.mean())
        naive.append(found.mean())
        held += abs(estimates[-1] - losses.mean()) <= 1.96 * weighted.std() / np.sqrt(m)
    assert abs(np.mean(estimates) - losses.mean()) < 3.3 * np.std(estimates) / np.sqrt(times)
    assert np.mean(naive) - losses.mean() > 10 * np.std(naive) / np.sqrt(times)
    assert 0.9 <= held / times <= 0.99


def in_shards(strategy, pool, budget, seed, shard_of):
    """The two-phase choice, written out: nominate, stack, select."""
    sent, rows = [], []
    for shard in np.unique(shard_of):
        own = np.flatnonzero(shard_of == shard)
        nomination = strategy.nominate(pool.take(own), budget, stream(seed, "shards"))
        up = np.union1d(own[nomination.rows], own[pool.labelled[own]])
        sent.append(pool.take(up).replace(rest=nomination.rest))
        rows.append(up)
    stacked = stack_pools(sent)
    chosen = strategy.select(stacked, budget, stream(seed, "shards"))
    return stacked, np.concatenate(rows)[chosen.rows], chosen


BY_SCORE = [
    Random(),
    Top(Margin()),
    Power(Margin(), 2.0, 0.05),
    Softmax(Margin(), 4.0, 0.1),
    Mix((Power(Margin()), Top(Margin()), Random()), (2, 1, 1)),
    Then(Power(Margin()), Top(Margin()), 2.0),
]


@pytest.mark.parametrize("strategy", BY_SCORE, ids=lambda s: type(s).__name__)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 200),
    budget=st.integers(0, 15),
    shards=st.integers(1, 6),
    equal=st.booleans(),
)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_a_choice_over_shards_is_the_choice_over_the_whole(strategy, seed, n, budget, shards, equal):
    pool = pool_of(n, seed)
    rare = np.arange(n) % 7 == 0  # at most NOMINEES open texts with near-duplicates in a shard
    pool = pool.replace(groups=np.where(rare, pool.groups, -1))
    if equal:
        pool = pool.replace(beliefs=Categorical(np.full((n, 2), 0.5)))
    shard_of = stream(seed, "of").integers(shards, size=n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(picking, "NOMINEES", 32)
        stacked, rows, chosen = in_shards(strategy, pool, budget, seed, shard_of)
        whole = strategy.select(pool, budget, stream(seed, "shards"))
    assert rows.tolist() == whole.rows.tolist()
    assert chosen.propensity.tolist() == whole.propensity.tolist()  # equal to the last bit
    assert chosen.fallback == whole.fallback
    assert len(stacked) <= len(pool)


def test_shards_leave_most_of_a_large_pool_behind(monkeypatch):
    monkeypatch.setattr(picking, "NOMINEES", 10)
    pool, shard_of = pool_of(600, 1), np.arange(600) % 3
    for strategy in BY_SCORE[:4]:
        stacked, _, _ = in_shards(strategy, pool, 5, 1, shard_of)
        assert stacked.open.sum() <= 3 * 2 * (2 * 10 + 1)  # two races, each alone and with near-duplicates


def test_softrank_over_shards_ranks_the_best_as_the_whole_pool_does(monkeypatch):
    monkeypatch.setattr(picking, "NOMINEES", 60)
    pool, shard_of = pool_of(500, 4), np.arange(500) % 4
    pool = pool.replace(groups=None)
    _, rows, chosen = in_shards(Softrank(Margin(), 3.0), pool, 6, 4, shard_of)
    whole = Softrank(Margin(), 3.0).select(pool, 6, stream(4, "shards"))
    assert rows.tolist() == whole.rows.tolist()
    assert chosen.propensity == pytest.approx(whole.propensity, rel=1e-4)


def test_equal_scores_are_said_to_have_been_drawn_at_random():
    pool = Pool.of(beliefs=Categorical(np.full((8, 2), 0.5)))
    for strategy in (Top(Margin()), Power(Margin()), Softmax(Margin()), Softrank(Margin())):
        chosen = strategy.select(pool, 3, stream(1, "equal"))
        assert chosen.fallback == "all scores are equal (1): the texts were chosen at random"
        assert chosen.propensity == pytest.approx([1 / 8, 1 / 7, 1 / 6])
        assert strategy.select(pool, 8, stream(1, "equal")).fallback == ""


def test_a_scorer_that_leaves_0_to_1_is_named():
    class Wild(Margin):
        def score(self, pool, rows):
            return super().score(pool, rows) - 5.0

    with pytest.raises(ContractError, match="must give one score in \\[0, 1\\] per row"):
        Power(Wild()).select(torn(SCORES), 2, stream(1, "x"))


def test_a_rest_of_several_strategies_is_refused_by_one():
    with pytest.raises(ContractError, match="belongs to several"):
        Random().select(torn(SCORES).replace(rest=(1.0, 2.0)), 2, stream(1, "x"))
    for rest in (3.0, (1.0,), (1.0, (2.0, 3.0))):
        with pytest.raises(ContractError, match="is not a weight and a number of texts"):
            Power(Margin()).select(torn(SCORES).replace(rest=rest), 2, stream(1, "x"))
