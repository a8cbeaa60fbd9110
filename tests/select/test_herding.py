"""Herding is the greedy choice of its objective, and survives every degenerate pool."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.core import InputError, Known, MissingInput, Pool, Reason, stream
from labelwise.core.beliefs import Categorical
from labelwise.core.checks.scorers import pool_of
from labelwise.select import Herding, Margin, choose, herding
from labelwise.select.herding import bandwidth_of, gaussian, greedy_cover


def unit(n, d, seed):
    vectors = stream(seed, "unit").normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def certain(values):
    """Beliefs whose margin score is ``values``."""
    first = 1 - np.asarray(values) / 2
    return Categorical(np.stack([first, 1 - first], axis=1))


def plain(targets, candidates, weights, known, h2, budget):
    """The definition in float64: all gains anew for every pick."""
    t, c, k = (np.asarray(part, dtype=np.float64) for part in (targets, candidates, known))
    kernel = np.exp(-((t[:, None] - c[None]) ** 2).sum(axis=2) / h2)
    covered = np.exp(-((t[:, None] - k[None]) ** 2).sum(axis=2) / h2).max(axis=1, initial=0)
    picks, gains, shares = [], [], []
    for _ in range(budget):
        gain = (weights[:, None] * np.maximum(kernel - covered[:, None], 0)).mean(axis=0)
        gain[picks] = -1
        picks.append(int(gain.argmax()))
        gains.append(gain[picks[-1]])
        shares.append(np.maximum(kernel[:, picks[-1]] - covered, 0).mean())
        covered = np.maximum(covered, kernel[:, picks[-1]])
    return picks, gains, shares


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), known=st.sampled_from([0, 1, 12]), h2=st.sampled_from([0.02, 0.3, 2.0]))
def test_it_is_the_greedy_choice(seed, known, h2):
    texts, weights = unit(90, 5, seed), stream(seed, "weights").random(60)
    weights[:9] = 0
    given_ = (texts[:60], texts[:78], weights, texts[78 : 78 + known])
    cover, (picks, gains, shares) = greedy_cover(*given_, gaussian(h2), 15), plain(*given_, h2, 15)
    assert cover.picks.tolist() == picks
    assert cover.gains == pytest.approx(gains, abs=2e-6)
    assert cover.shares == pytest.approx(shares, abs=2e-6)


def test_blocks_change_nothing(monkeypatch):
    texts = unit(300, 6, 1)
    whole = greedy_cover(texts[:200], texts, np.ones(200), texts[:3], gaussian(0.4), 30)
    monkeypatch.setattr(herding, "BLOCK", (17, 23))
    parts = greedy_cover(texts[:200], texts, np.ones(200), texts[:3], gaussian(0.4), 30)
    assert parts.picks.tolist() == whole.picks.tolist()
    assert parts.gains == pytest.approx(whole.gains, abs=1e-6)


def test_copies_tie_and_the_first_wins():
    texts = np.tile(unit(6, 4, 2), (5, 1))
    cover = greedy_cover(texts, texts, np.ones(30), texts[:0], gaussian(0.5), 8)
    assert sorted(cover.picks[:6]) == list(range(6))
    assert (cover.gains[:6] > 0).all()
    assert cover.gains[6:].tolist() == [0, 0]  # nothing is left to gain
    assert cover.picks[6:].tolist() == [6, 7]


def test_the_bandwidth_shares_the_pool_out():
    tight = np.repeat(np.eye(4, dtype=np.float32), 25, axis=0)
    assert bandwidth_of(tight, 1, 1) == pytest.approx(0.75, abs=0.02)  # but for the sample
    assert bandwidth_of(tight, 4, 1) == pytest.approx(0.0, abs=1e-6)
    texts = unit(500, 6, 3)
    widths = [bandwidth_of(texts, balls, 1) for balls in (1, 10, 100, 10**6)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == pytest.approx(0.0, abs=1e-6)


def test_without_labels_it_asks_once_in_every_crowd_and_the_largest_first():
    sizes = (50, 30, 20)
    centres = np.repeat(np.eye(3, 8, dtype=np.float32), sizes, axis=0)
    vectors = centres + 0.05 * unit(100, 8, 4)
    chosen = Herding(bandwidth=50.0).select(Pool.of(vectors=vectors), 3, stream(4, "h"))
    assert np.searchsorted([50, 80], chosen.rows, side="right").tolist() == [0, 1, 2]
    assert (np.diff(chosen.scores) < 0).all()
    assert [round(reason.numbers["texts"], -1) for reason in chosen.reason] == [50, 30, 20]
    assert chosen.reason[0].endswith(" texts that nothing labelled resembles")
    assert chosen.fallback == ""


@pytest.mark.parametrize("shared", [False, True])
def test_what_was_asked_is_covered(shared):
    vectors = np.repeat(np.eye(2, 8, dtype=np.float32), (60, 40), axis=0) + 0.05 * unit(100, 8, 5)
    labelled = np.arange(100) == 3
    pool = Pool.of(vectors=vectors, labelled=labelled)
    if shared:  # another shard holds the labelled text
        pool = Pool.of(vectors=vectors, known=Known(vectors[3:4]))
    assert Herding().select(pool, 1, stream(5, "h")).rows[0] >= 60


def test_a_scorer_says_what_is_worth_covering():
    vectors = np.repeat(np.eye(2, 8, dtype=np.float32), (60, 40), axis=0) + 0.05 * unit(100, 8, 6)
    pool = Pool.of(vectors=vectors, beliefs=certain(np.where(np.arange(100) < 60, 0.1, 0.9)), labels=("x", "y"))
    chosen = Herding(Margin(), bandwidth=50.0).select(pool, 2, stream(6, "h"))
    assert chosen.rows[0] >= 60 > chosen.rows[1]
    assert chosen.reason[0] == f"stands for about {chosen.reason[0].numbers['texts']:.0f} texts, " + Margin().reason(
        pool, int(chosen.rows[0]), 0.9
    )
    assert {"texts", "gain", "margin"} <= set(chosen.reason[0].numbers)


@pytest.mark.parametrize("score", [0.0, 0.4])
def test_equal_scores_are_said_and_leave_coverage(score):
    vectors = unit(60, 4, 7)
    pool = Pool.of(vectors=vectors, beliefs=certain(np.full(60, score)))
    chosen = Herding(Margin()).select(pool, 6, stream(7, "h"))
    assert chosen.rows.tolist() == Herding().select(pool, 6, stream(7, "h")).rows.tolist()
    assert chosen.fallback.startswith("all scores are equal (0")


def test_the_best_by_score_take_part_beyond_the_sample():
    wanted = np.arange(2000) == 1234
    pool = Pool.of(vectors=unit(2000, 3, 8), beliefs=certain(np.where(wanted, 1.0, 0.01)))
    rows = [Herding(Margin(), among=50).nominate(pool, 5, stream(seed, "h")).rows for seed in range(4)]
    assert all(1234 in sent for sent in rows)
    assert all(55 <= len(sent) <= 65 for sent in rows)


@pytest.mark.parametrize("strategy", [Herding(among=64), Herding(Margin(), among=64)], ids=repr)
@pytest.mark.parametrize("n", [60, 400])
def test_over_shards_it_chooses_as_over_one_array(strategy, n):
    pool = pool_of(n, 9)
    shards = [pool.take(np.arange(i, n, 3)) for i in range(3)]
    whole, parts = (
        choose(given_, strategy, 12, 0.2, lambda purpose: stream(9, purpose)) for given_ in ([pool], shards)
    )
    ids = [int(shards[s].ids[row]) for s, row in zip(parts.shard, parts.row, strict=True)]
    assert ids == pool.ids[whole.row].tolist()
    assert parts.scores == pytest.approx(whole.scores)
    assert parts.reason == whole.reason


POOLS = {
    "one": Pool.of(vectors=unit(1, 3, 1)),
    "identical": Pool.of(vectors=np.tile(unit(1, 3, 1), (40, 1))),
    "empty-texts": Pool.of(vectors=np.zeros((9, 3), np.float32)),
    "one-open": Pool.of(vectors=unit(30, 3, 1).astype(np.float16), labelled=np.arange(30) < 29),
    "none-open": Pool.of(vectors=unit(12, 3, 1), labelled=np.ones(12, bool)),
    "none": Pool.of(vectors=np.zeros((0, 3), np.float32)),
    "one-group": Pool.of(vectors=unit(50, 3, 1), groups=np.zeros(50, int)),
}


@pytest.mark.parametrize("strategy", [Herding(), Herding(Margin()), Herding(bandwidth=0.001, among=0)], ids=repr)
@pytest.mark.parametrize("name", POOLS)
def test_degenerate_pools_give_as_many_as_there_are(strategy, name, capfd):
    pool = POOLS[name].replace(beliefs=Categorical(np.ones((len(POOLS[name]), 1))))
    for budget in (0, 1, 5, 200):
        chosen = strategy.select(pool, budget, stream(1, "edge"))
        assert len(set(chosen.rows.tolist())) == len(chosen) == min(budget, int(pool.open.sum()))
        assert np.isfinite(chosen.scores).all()
        if name in ("identical", "empty-texts") and budget == 5:
            assert "covers the pool: 4 of 5 texts were chosen at random" in chosen.fallback
    assert capfd.readouterr() == ("", "")  # faiss prints warnings past Python


@dataclass(frozen=True)
class Mute:
    """A scorer whose reasons carry no numbers."""

    def score(self, pool, rows):
        return np.linspace(0, 1, len(pool))[rows]

    def reason(self, pool, row, score):
        return "far down"


def test_plain_reasons_do():
    chosen = Herding(Mute()).select(Pool.of(vectors=unit(30, 3, 1)), 3, stream(1, "h"))
    assert all(isinstance(reason, Reason) and reason.endswith(", far down") for reason in chosen.reason)


def test_what_is_missing_or_wrong_is_said():
    with pytest.raises(MissingInput, match="no vectors"):
        Herding().select(Pool.of(5), 2, stream(1, "x"))
    with pytest.raises(MissingInput, match="no beliefs"):
        Herding(Margin()).select(Pool.of(vectors=unit(5, 3, 1)), 2, stream(1, "x"))
    for wrong, field in (({"bandwidth": 0}, "bandwidth"), ({"scorer": "margin"}, "scorer"), ({"among": -1}, "among")):
        with pytest.raises(InputError, match=f"^{field}: "):
            Herding(**wrong)
