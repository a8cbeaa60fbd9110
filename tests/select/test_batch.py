"""One batch over shards: control, near-duplicates, fallbacks, and what is refused."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from labelwise.core import ContractError, InputError, MissingInput, Pool, WrongMoment, stream
from labelwise.core.checks.scorers import pool_of
from labelwise.select import KCenter, Margin, Mix, Power, Random, Softmax, Softrank, Then, Top, TypiClust, choose


def streams(seed):
    return lambda purpose: stream(seed, "select", purpose)


def split(pool, count):
    return [pool.take(np.arange(i, len(pool), count)) for i in range(count)]


def keys(shards, batch, arm=None):
    return [
        int(shards[s].ids[r]) for s, r, a in zip(batch.shard, batch.row, batch.arm, strict=True) if arm in (None, a)
    ]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "strategy", [Top(Margin()), Power(Margin()), TypiClust(), Mix((KCenter(), Random()), (1, 1))], ids=repr
)
def test_a_batch_is_open_distinct_and_complete(count, strategy):
    shards = split(pool_of(120, 1), count)
    batch = choose(shards, strategy, 20, 0.2, streams(1))
    assert len(batch) == 20
    assert batch.arm == ("control",) * 4 + ("strategy",) * 16
    assert len(set(keys(shards, batch))) == 20
    assert all(shards[s].open[r] for s, r in zip(batch.shard, batch.row, strict=True))
    assert batch.fallback == ""
    assert set(batch.reason[:4]) == {"random control"}


def test_the_control_does_not_depend_on_the_strategy_or_the_shards():
    pool = pool_of(150, 2)
    first = choose([pool], Top(Margin()), 20, 0.25, streams(2))
    for shards in ([pool], split(pool, 4)):
        other = choose(shards, Random(), 20, 0.25, streams(2))
        assert keys(shards, other, "control") == keys([pool], first, "control")
        assert other.propensity[:5] == pytest.approx(np.full(5, 5 / pool.open.sum()))


def test_the_control_is_uniform():
    pool, times = pool_of(30, 3), 800
    counts = np.zeros(30)
    for seed in range(times):
        counts[choose([pool], Random(), 4, 0.5, streams(seed)).row[:2]] += 1
    assert counts[~pool.open].sum() == 0
    expected = times * 2 / pool.open.sum()
    spread = ((counts[pool.open] - expected) ** 2 / expected).sum()
    assert spread < 2 * pool.open.sum()  # far beyond the 0.999 quantile of chi-square


@pytest.mark.parametrize(
    ("budget", "share", "control"), [(20, 0.0, 0), (2, 0.01, 1), (1, 0.3, 0), (10, 0.25, 3), (10, 1.0, 10)]
)
def test_the_size_of_the_control(budget, share, control):
    batch = choose([pool_of(60, 4)], Random(), budget, share, streams(4))
    assert batch.arm.count("control") == control
    assert len(batch) == budget


@pytest.mark.parametrize("strategy", [Top(Margin()), Power(Margin()), KCenter(), TypiClust()], ids=repr)
def test_the_strategy_avoids_near_duplicates_of_the_control_in_every_shard(strategy):
    pool = pool_of(90, 5).replace(groups=np.arange(90) % 30, open=np.ones(90, bool), labelled=np.zeros(90, bool))
    for count in (1, 4):
        shards = split(pool, count)
        batch = choose(shards, strategy, 20, 0.25, streams(5))
        groups = [int(shards[s].groups[r]) for s, r in zip(batch.shard, batch.row, strict=True)]
        assert not set(groups[:5]) & set(groups[5:])
        assert len(set(groups[5:])) == 15


def test_near_duplicates_fill_a_batch_that_would_be_too_small():
    pool = pool_of(40, 6).replace(groups=np.arange(40) % 3)
    batch = choose(split(pool, 2), Power(Margin()), 12, 0.25, streams(6))
    assert len(batch) == 12
    assert batch.fallback == ""


@pytest.mark.parametrize("count", [1, 3])
def test_a_budget_beyond_the_pool_takes_all_that_is_open(count):
    shards = split(pool_of(40, 7), count)
    batch = choose(shards, Mix((Power(Margin()), Top(Margin())), (1, 1)), 500, 0.2, streams(7))
    assert sorted(keys(shards, batch)) == sorted(int(i) for shard in shards for i in shard.ids[shard.open])


def test_without_a_model_the_batch_says_who_chose_instead():
    pool = pool_of(60, 8).replace(beliefs=None)
    batch = choose(split(pool, 2), Top(Margin()), 10, 0.2, streams(8))
    assert batch.fallback.startswith("Top could not choose: the pool has no beliefs")
    assert batch.fallback.endswith("TypiClust chose instead")
    assert "typical" in batch.reason[-1]
    bare = choose([pool.replace(vectors=None)], Top(Margin()), 10, 0.2, streams(8))
    assert bare.fallback.endswith("the encoder has represented every text.; Random chose instead")
    with pytest.raises(MissingInput, match="KCenter could not choose"):
        choose([Pool.of(5)], Top(Margin()), 2, 0.0, streams(8), fallbacks=[KCenter()])


def test_a_shard_the_model_has_not_seen_counts_as_no_model():
    shards = split(pool_of(60, 9), 2)
    shards[1] = shards[1].replace(beliefs=None)
    assert "could not choose" in choose(shards, Then(Random(), Top(Margin())), 10, 0.0, streams(9)).fallback


def test_nothing_open_and_nonsense_are_refused():
    closed = Pool.of(4, open=np.zeros(4, bool))
    for shards in ([closed], [closed, closed], []):
        with pytest.raises(WrongMoment, match="no text is open"):
            choose(shards, Random(), 3, 0.1, streams(1))
    with pytest.raises(InputError, match="budget: 0 is not allowed; give a whole number >= 1"):
        choose([Pool.of(4)], Random(), 0, 0.1, streams(1))
    with pytest.raises(InputError, match=r"control: 1.5 is not allowed; give a number from 0 to 1"):
        choose([Pool.of(4)], Random(), 2, 1.5, streams(1))


@dataclass(frozen=True)
class Broken(Random):
    change: str = ""

    def select(self, pool, budget, rng):
        chosen = super().select(pool, budget, rng)
        if self.change == "repeat":
            return replace(chosen, rows=chosen.rows * 0 + chosen.rows[0])
        if self.change == "closed":
            return replace(chosen, rows=np.flatnonzero(~pool.open)[: len(chosen)])
        return replace(chosen, propensity=chosen.propensity * 0)


@pytest.mark.parametrize("change", ["repeat", "closed", "chance"])
def test_a_strategy_that_breaks_its_promise_stops_the_batch(change):
    with pytest.raises(ContractError, match=r"Broken.*must"):
        choose([Pool.of(20, open=np.arange(20) < 10)], Broken(change), 4, 0.0, streams(1))


def test_slots_follow_the_largest_remainder():
    parts = (Random(), Random(), Random())
    assert Mix(parts, (0.5, 0.3, 0.2)).slots(7) == [4, 2, 1]
    assert Mix(parts, (1, 1, 1)).slots(4) == [2, 1, 1]
    assert Mix(parts, (0, 1, 0)).slots(5) == [0, 5, 0]
    assert all(sum(Mix(parts, (0.15, 0.6, 0.25)).slots(budget)) == budget for budget in range(60))


def test_parts_that_draw_do_not_draw_the_same():
    chosen = Mix((Random(), Random()), (1, 1)).select(Pool.of(1000), 100, stream(1, "mix"))
    order = np.argsort(Random().select(Pool.of(1000), 1000, stream(1, "mix")).rows)[chosen.rows]
    assert order[50:].mean() > 300  # equal noise would put all of them among the first 100


def test_then_chooses_among_what_the_first_lets_through():
    pool = pool_of(200, 3)
    passed = Top(Margin()).select(pool, 30, stream(1, "x")).rows
    chosen = Then(Top(Margin()), KCenter(), 3.0).select(pool, 10, stream(2, "x"))
    assert set(chosen.rows) <= set(passed)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Top(3), "scorer: 3 is not a scorer"),
        (lambda: Power(Margin(), beta=-1), "beta: -1 is not allowed; give a number from 0 to 100"),
        (lambda: Softmax(Margin(), explore=1.5), "explore: 1.5 is not allowed; give a number from 0 to 1"),
        (lambda: Softrank(Margin(), beta="2"), "beta: '2' is not allowed"),
        (lambda: Then(Random(), None), "second: None is not a strategy"),
        (lambda: Then(Random(), Random(), 0.5), "factor: 0.5 is not allowed"),
        (lambda: Mix((), ()), "parts: \\(\\) is not allowed; give a list of at least one"),
        (
            lambda: Mix((Random(),), (1, 2)),
            "shares: \\[1, 2\\] is not allowed; give one share >= 0 for each of the 1 parts",
        ),
        (lambda: Mix([Random(), 4], [1, 2]), "parts\\[1\\]: 4 is not a strategy"),
        (lambda: Mix([Random()], [0]), "at least one of them > 0"),
        (lambda: KCenter(trim=0.7), "trim: 0.7 is not allowed; give a number from 0 to 0.5"),
        (lambda: TypiClust(max_clusters=0), "max_clusters: 0 is not allowed; give a whole number >= 1"),
        (lambda: TypiClust(neighbours=True), "neighbours: True is not allowed"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_allowed(make, message):
    with pytest.raises(InputError, match=message):
        make()
