"""One batch over shards: control, near-duplicates, fallbacks, and what is refused."""

import os
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from labelwise.core import (
    Categorical,
    ContractError,
    InputError,
    Known,
    MissingInput,
    Nomination,
    Pool,
    Streamed,
    WrongMoment,
    stream,
)
from labelwise.core.checks.scorers import pool_of
from labelwise.select import (
    KCenter,
    Margin,
    Mix,
    Power,
    Random,
    Softmax,
    Softrank,
    Then,
    Top,
    TypiClust,
    batch,
    choose,
    picking,
)


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


ROW_WISE = [
    Random(),
    Top(Margin()),
    Power(Margin(), 2.0, 0.2),
    Softmax(Margin()),
    Mix((Power(Margin()), Top(Margin()), Random()), (2, 1, 1)),
    Then(Power(Margin()), Top(Margin()), 2.0),
]


class Lazy(Sequence):
    """Shards built anew each time they are asked for, their beliefs streamed; counts how many live at once."""

    def __init__(self, shards):
        self.shards, self.alive, self.most, self.built = shards, 0, 0, 0
        self.lock = threading.RLock()

    def __len__(self):
        return len(self.shards)

    def __getitem__(self, i):
        said = self.shards[i].beliefs
        streamed = Streamed(len(said), said.take)
        with self.lock:
            self.alive, self.built = self.alive + 1, self.built + 1
            self.most = max(self.most, self.alive)
        weakref.finalize(streamed, self.gone)
        return self.shards[i].replace(beliefs=streamed, vectors=self.shards[i].vectors.copy())

    def gone(self):
        with self.lock:
            self.alive -= 1


def run_on(threads, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))


def chosen_of(shards, chosen):
    return keys(shards, chosen), chosen.propensity.tolist(), list(chosen.reason), chosen.scores.tolist()


@pytest.mark.parametrize("strategy", ROW_WISE, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("grouped", [False, True])
def test_any_number_of_shards_and_any_bound_choose_as_one_array(strategy, grouped, monkeypatch):
    pool = pool_of(700, 11)
    pool = pool.replace(groups=np.where(np.arange(700) % 9 == 0, pool.groups, -1) if grouped else None)
    monkeypatch.setattr(picking, "NOMINEES", 16)
    whole = chosen_of([pool], choose([pool], strategy, 15, 0.2, streams(11)))
    for count in (1, 3, 17):
        for limit in (65_536, 40):
            monkeypatch.setattr(batch, "LIMIT", limit)
            shards = split(pool, count)
            assert chosen_of(shards, choose(shards, strategy, 15, 0.2, streams(11))) == whole


@pytest.mark.parametrize("strategy", [KCenter(), TypiClust(), KCenter(among=60), TypiClust(among=60)], ids=repr)
def test_strategies_that_compare_choose_over_shards_as_over_one_array(strategy, monkeypatch):
    pool = pool_of(500, 12).replace(groups=None, known=None)
    whole = keys([pool], choose([pool], strategy, 12, 0.25, streams(12)))
    for count in (3, 17):
        for limit in (65_536, 100):
            monkeypatch.setattr(batch, "LIMIT", limit)
            shards = split(pool, count)
            assert keys(shards, choose(shards, strategy, 12, 0.25, streams(12))) == whole


@pytest.mark.parametrize("strategy", [*ROW_WISE, KCenter(), TypiClust()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("threads", [1, 3])
def test_no_more_shards_live_at_once_than_there_are_threads(strategy, count, threads, monkeypatch):
    run_on(threads, monkeypatch)
    monkeypatch.setattr(picking, "NOMINEES", 16)
    monkeypatch.setattr(batch, "LIMIT", 60)
    shards = split(pool_of(400, 13), count)
    lazy = Lazy(shards)
    chosen = choose(lazy, strategy, 12, 0.25, streams(13))
    assert lazy.most <= threads
    assert lazy.alive == 0
    assert lazy.built == 2 * count
    run_on(1, monkeypatch)
    assert keys(shards, chosen) == keys(shards, choose(shards, strategy, 12, 0.25, streams(13)))


def test_not_even_where_a_fallback_or_near_duplicates_must_fill_the_batch(monkeypatch):
    run_on(1, monkeypatch)
    for strategy, fallbacks in ((Choosy(), (Choosy(), Random())), (Random(), ())):
        for count in (1, 4):
            lazy = Lazy(split(pool_of(60, 14).replace(groups=np.arange(60) % 4), count))
            assert len(choose(lazy, strategy, 12, 0.25, streams(14), fallbacks)) == 12
            assert (lazy.most, lazy.alive) == (1, 0)


@dataclass(frozen=True)
class Choosy(Random):
    def select(self, pool, budget, rng):
        raise MissingInput("never satisfied")


def test_what_is_nominated_stays_within_the_bound(monkeypatch):
    seen = []

    @dataclass(frozen=True)
    class Watched(Power):
        def nominate(self, pool, budget, rng):
            seen.append(len(pool))
            return super().nominate(pool, budget, rng)

    monkeypatch.setattr(picking, "NOMINEES", 8)
    monkeypatch.setattr(batch, "LIMIT", 200)
    choose(split(pool_of(3000, 15).replace(groups=None), 30), Watched(Margin()), 5, 0.0, streams(15))
    unions = [size for size in seen if size != 100]
    assert len(unions) > 1
    assert max(unions) < 200 + 40


def test_a_strategy_that_nominates_everything_is_not_asked_in_vain(monkeypatch):
    monkeypatch.setattr(batch, "LIMIT", 20)
    calls = []

    @dataclass(frozen=True)
    class Greedy(KCenter):
        def nominate(self, pool, budget, rng):
            calls.append(len(pool))
            return super().nominate(pool, budget, rng)

    choose(split(pool_of(320, 16), 32), Greedy(among=0), 5, 0.0, streams(16))
    assert len(calls) <= 32 + 6  # unions double before they are reduced again


@dataclass(frozen=True)
class Says:
    """A scorer that says one thing about every text, or what the function makes of the rows."""

    value: object = 0.5

    def score(self, pool, rows):
        return self.value(rows) if callable(self.value) else np.full(len(rows), self.value)

    def reason(self, pool, row, score):
        return "said so"


@pytest.mark.parametrize("make", [Top, Power, Softmax, Softrank, lambda s: Mix((Random(), Top(s)), (1, 1))])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "value", [np.nan, np.inf, -np.inf, 1.5, -0.1, lambda rows: np.zeros((len(rows), 1)), lambda rows: [0.5]]
)
def test_scores_that_are_none_name_the_scorer(make, count, value):
    with pytest.raises(ContractError, match=r"Says.*must give one score in \[0, 1\] per row"):
        choose(split(pool_of(40, 17), count), make(Says(value)), 5, 0.2, streams(17))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("make", [Top, Power, Softmax, Softrank])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_scores_are_a_visible_draw(make, count, value):
    pool = pool_of(90, 18).replace(groups=None)
    chosen = choose(split(pool, count), make(Says(value)), 6, 0.0, streams(18))
    assert chosen.fallback == f"all scores are equal ({value:.3g}): the texts were chosen at random"
    assert chosen.propensity == pytest.approx(1 / (pool.open.sum() - np.arange(6)))


@pytest.mark.parametrize(
    "strategy", [*ROW_WISE, Softrank(Margin()), KCenter(), TypiClust()], ids=lambda s: type(s).__name__
)
@pytest.mark.parametrize("count", [1, 3])
def test_one_open_text_is_chosen_for_certain(strategy, count):
    pool = pool_of(30, 19)
    shards = split(pool.replace(open=np.arange(30) == 7), count)
    chosen = choose(shards, strategy, 5, 0.25, streams(19))
    assert keys(shards, chosen) == [int(pool.ids[7])]
    assert chosen.propensity.tolist() == [1.0]


@pytest.mark.parametrize("strategy", [*ROW_WISE, KCenter(), TypiClust()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("groups", [None, np.zeros(50, int)], ids=["ungrouped", "one group"])
def test_identical_texts_make_a_whole_batch(strategy, count, groups):
    pool = Pool.of(
        50, vectors=np.tile(np.eye(4, dtype=np.float32)[0], (50, 1)), groups=groups,
        beliefs=Categorical(np.full((50, 3), 1 / 3)), labelled=np.arange(50) < 3,
    )  # fmt: skip
    chosen = choose(split(pool, count), strategy, 8, 0.25, streams(20))
    assert len(set(keys(split(pool, count), chosen))) == 8
    assert np.isfinite(chosen.scores).all()


@pytest.mark.parametrize("count", [1, 3])
def test_vectors_of_two_encoders_are_refused(count):
    pool = pool_of(40, 21)
    known = Known(np.ones((2, 5), dtype=np.float32))
    with pytest.raises(InputError, match=r"vectors: widths \[\(5,\), \(8,\)\] do not fit together"):
        choose(split(pool.replace(known=known), count), KCenter(), 5, 0.2, streams(21))
    other = pool.replace(vectors=np.ones((40, 5), dtype=np.float32), known=None)
    with pytest.raises(InputError, match="represent labelled and open texts of all shards with one encoder"):
        choose([pool.replace(known=None), other], Random(), 5, 0.2, streams(21))


def test_vectors_that_one_shard_lacks_are_a_visible_fallback():
    shards = split(pool_of(40, 22).replace(known=None), 2)
    shards[1] = shards[1].replace(vectors=None)
    chosen = choose(shards, KCenter(), 5, 0.2, streams(22))
    assert chosen.fallback.startswith("KCenter could not choose: the pool has no vectors")
    assert chosen.fallback.endswith("Random chose instead")


@dataclass(frozen=True)
class Sends(Random):
    """Nominates, or chooses, what ``change`` makes of the rows."""

    change: object = field(default=None)
    late: bool = False

    def nominate(self, pool, budget, rng):
        sent = super().nominate(pool, budget, rng)
        return sent if self.late else Nomination(self.change(pool, sent.rows), sent.rest)

    def select(self, pool, budget, rng):
        chosen = super().select(pool, budget, rng)
        return replace(chosen, rows=self.change(pool, chosen.rows)) if self.late else chosen


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pool, rows: rows * 0 + rows[0], "must choose distinct texts"),
        (lambda pool, rows: rows.astype(float), "must choose distinct texts by their rows"),
        (lambda pool, rows: np.append(np.flatnonzero(pool.labelled)[:1], rows[1:]), "must choose open texts"),
        (lambda pool, rows: np.append(-1, rows[1:]), "must choose open texts"),
        (lambda pool, rows: np.append(len(pool), rows[1:]), "must choose open texts"),
    ],
)
@pytest.mark.parametrize("late", [False, True], ids=["nominate", "select"])
def test_rows_that_cannot_be_chosen_name_the_strategy(change, message, late):
    pool = pool_of(60, 23).replace(groups=None)
    with pytest.raises(ContractError, match=f"Sends.*{message}"):
        choose([pool] if late else split(pool, 3), Sends(change, late), 6, 0.0, streams(23))


def test_too_few_nominees_name_the_strategy():
    with pytest.raises(ContractError, match=r"Sends.*must nominate at least 6 texts, not 2"):
        choose(split(pool_of(60, 24), 2), Sends(lambda pool, rows: rows[:2]), 6, 0.0, streams(24))


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_a_choice_with_scores_that_are_none_names_the_strategy(score):
    @dataclass(frozen=True)
    class Dizzy(Random):
        def select(self, pool, budget, rng):
            chosen = super().select(pool, budget, rng)
            return replace(chosen, scores=chosen.scores + score)

    for count in (1, 3):
        with pytest.raises(ContractError, match=r"Dizzy.*must give finite scores"):
            choose(split(pool_of(40, 25), count), Dizzy(), 6, 0.0, streams(25))


def test_a_part_of_a_mix_that_lacks_an_input_leaves_its_share_and_says_so():
    pool = pool_of(80, 21).replace(beliefs=None)
    for shards in ([pool], split(pool, 3)):
        batch = choose(shards, Mix((Top(Margin()), TypiClust()), (3, 1)), 12, 0.0, streams(21))
        assert len(batch) == 12
        assert "Top left its share to others: the pool has no beliefs" in batch.fallback
        assert all("typical of a cluster" in reason for reason in batch.reason)
        last = choose(shards, Mix((TypiClust(), Top(Margin())), (1, 3)), 12, 0.0, streams(21))
        assert len(set(keys(shards, last))) == 12
    with pytest.raises(MissingInput, match="Top left its share"):
        Mix((Top(Margin()),), (1,)).select(pool, 3, stream(1, "mix"))
