"""Covering strategies equal their plain definitions; they and the clustering ones survive every degenerate pool."""

import math

import numpy as np
import pytest

from labelwise.core import InputError, MissingInput, Pool, stream
from labelwise.core.beliefs import Categorical, Streamed
from labelwise.core.checks.scorers import FORMS, believed, pool_of
from labelwise.select import (
    ClusterMargin,
    Determinant,
    FacilityLocation,
    KMeans,
    Margin,
    ProbCover,
    Then,
    Top,
    choose,
    covering,
)
from labelwise.select.covering import cosine, largest_volume, pure_radius, within
from labelwise.select.geometry import clusters
from labelwise.select.herding import greedy_cover


def unit(n, d, seed):
    vectors = stream(seed, "unit").normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def certain(values):
    """Beliefs whose margin score is ``values``."""
    first = 1 - np.asarray(values) / 2
    return Categorical(np.stack([first, 1 - first], axis=1))


def distances(one, other):
    return np.linalg.norm(one[:, None].astype(np.float64) - other[None].astype(np.float64), axis=2)


@pytest.mark.parametrize("purity", [0.0, 0.5, 0.9, 0.95, 1.0])
def test_the_radius_is_the_largest_that_is_pure_enough(purity, monkeypatch):
    monkeypatch.setattr(covering, "BLOCK", 64)
    texts = unit(150, 4, 1)
    cells = clusters(texts, 5, 1)
    apart, same = distances(texts, texts), cells[:, None] == cells[None, :]

    def pure(radius):
        return np.mean([same[i, apart[i] < radius].all() for i in range(150)])

    radius = pure_radius(texts, cells, purity)
    assert pure(radius - 1e-4) >= purity
    assert purity == 0 or pure(radius + 1e-4) < purity
    assert pure_radius(texts, np.zeros(150, int), 0.95) == 2.0  # one class: a ball may hold everything


@pytest.mark.parametrize(("known", "budget"), [(0, 12), (7, 12), (0, 100)])
def test_prob_cover_is_the_published_rule(known, budget):
    texts, radius = unit(120, 4, 2), 0.45
    edges = distances(texts, texts[known:]) < radius
    edges[(distances(texts, texts[:known]) < radius).any(axis=1)] = False
    covered = []
    picks = []
    for _ in range(budget):
        degree = edges.sum(axis=0)
        if not degree.any():
            break
        picks.append(int(degree.argmax()))
        covered.append(degree.max() / 120)
        edges[edges[:, picks[-1]]] = False
    cover = greedy_cover(texts, texts[known:], np.ones(120), texts[:known], within(radius), budget)
    assert cover.picks[: len(picks)].tolist() == picks
    assert cover.gains[: len(picks)] == pytest.approx(covered)
    assert not cover.gains[len(picks) :].any()
    assert len(set(cover.picks.tolist())) == budget


def test_prob_cover_asks_every_crowd_and_then_says_it_is_done():
    crowds = np.repeat(np.eye(3, 8, dtype=np.float32), (50, 30, 20), axis=0) + 0.02 * unit(100, 8, 3)
    pool = Pool.of(vectors=crowds, labels=("a", "b", "c"))
    chosen = ProbCover(purity=1.0).select(pool, 5, stream(3, "p"))
    assert np.searchsorted([50, 80], chosen.rows[:3], side="right").tolist() == [0, 1, 2]
    assert chosen.scores == pytest.approx([0.5, 0.3, 0.2, 0, 0])
    assert chosen.reason[0].startswith("first to cover about 50 texts within distance 1.")
    assert chosen.fallback == "what was asked covers the pool: 2 of 5 texts were chosen at random"


def test_prob_cover_knows_how_many_classes_there_are():
    assert covering._classes(Pool.of(3, labels=("a", "b", "c"))) == 3
    assert covering._classes(Pool.of(3, labels=("a",))) == 2
    assert covering._classes(Pool.of(3)) == covering.CLASSES
    whole = believed("single", 3, 1)
    assert covering._classes(Pool.of(beliefs=Streamed(3, whole.take), n=3)) == 4
    assert [covering._classes(Pool.of(beliefs=believed(form, 3, 1))) for form in FORMS] == [4, 3, 3, 4]


def served(similarity, weights, budget, covered):
    """Facility location by the definition, all gains anew for every pick."""
    picks = []
    for _ in range(budget):
        gain = weights @ np.maximum(similarity - covered[:, None], 0)
        gain[picks] = -1
        picks.append(int(gain.argmax()))
        covered = np.maximum(covered, similarity[:, picks[-1]])
    return picks, float(weights @ covered)


@pytest.mark.parametrize("known", [0, 5])
def test_facility_location_is_the_greedy_choice(known):
    texts, weights = unit(120, 6, 4), stream(4, "w").random(120)
    similarity = (1 + texts.astype(np.float64) @ texts.T) / 2
    covered = similarity[:, :known].max(axis=1, initial=0)
    cover = greedy_cover(texts, texts, weights, texts[:known], cosine(), 15)
    picks, _ = served(similarity, weights, 15, covered)
    assert cover.picks.tolist() == picks


def test_stochastic_greed_with_all_candidates_is_greed_and_with_few_nearly_as_good():
    texts = unit(300, 6, 5)
    pool = Pool.of(vectors=texts)
    exact = FacilityLocation().select(pool, 20, stream(5, "f"))
    everyone = FacilityLocation(stochastic=1e-9).select(pool, 20, stream(5, "f"))
    few = FacilityLocation(stochastic=0.1).select(pool, 20, stream(5, "f"))
    assert everyone.rows.tolist() == exact.rows.tolist()
    assert few.rows.tolist() != exact.rows.tolist()
    assert few.scores.sum() > 0.95 * exact.scores.sum()


def test_fass_is_a_filter_and_a_facility_location():
    texts, values = unit(200, 5, 6), stream(6, "v").permutation(200) / 200
    pool = Pool.of(vectors=texts, beliefs=certain(values))
    chosen = Then(Top(Margin()), FacilityLocation(), factor=5).select(pool, 8, stream(6, "f"))
    passed = np.argsort(-values)[:40]
    similarity = (1 + texts[passed].astype(np.float64) @ texts[passed].T) / 2
    picks, _ = served(similarity, np.ones(40), 8, np.zeros(40))
    assert chosen.rows.tolist() == passed[picks].tolist()


@pytest.mark.parametrize("alpha", [0.0, 1.0, 5.0])
def test_the_determinant_grows_as_fast_as_it_can(alpha):
    texts, scores = unit(40, 9, 7), stream(7, "s").random(40)
    scores[0] = 1.0  # at alpha 0 all texts tie for the first pick, and the first in order wins
    q = np.exp(alpha * scores)
    kernel = q[:, None] * (texts.astype(np.float64) @ texts.T) * q[None, :]
    picks, last = [], 0.0
    chosen, new = largest_volume(texts, 2 * alpha * scores, 8)
    for pick, part in zip(chosen, new, strict=True):
        logdet = [np.linalg.slogdet(kernel[np.ix_([*picks, i], [*picks, i])])[1] for i in range(40)]
        logdet = [-np.inf if i in picks else value for i, value in enumerate(logdet)]
        assert int((np.array(logdet) >= max(logdet) - 1e-6).argmax()) == pick
        assert logdet[pick] - last == pytest.approx(2 * alpha * scores[pick] + math.log(part), abs=1e-4)
        picks.append(int(pick))
        last = logdet[pick]


@pytest.mark.parametrize(("scorer", "how"), [(None, "chosen at random"), (Margin(), "the best by score")])
def test_past_the_rank_the_score_goes_on_and_the_batch_says_so(scorer, how):
    values = stream(8, "v").random(60)
    pool = Pool.of(vectors=unit(60, 4, 8), beliefs=certain(values))
    chosen = Determinant(scorer).select(pool, 10, stream(8, "d"))
    assert chosen.fallback == f"4 texts span all there is: the other 6 are {how}"
    if scorer:
        left = np.setdiff1d(np.arange(60), chosen.rows[:4])
        assert chosen.rows[4:].tolist() == left[np.argsort(-values[left])][:6].tolist()


def test_a_scorer_weighs():
    values = np.where(np.arange(90) < 60, 0.05, 0.95)
    vectors = np.repeat(np.eye(2, 8, dtype=np.float32), (60, 30), axis=0) + 0.3 * unit(90, 8, 9)
    pool = Pool.of(vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True), beliefs=certain(values))
    for kind in (FacilityLocation, Determinant, KMeans):
        plain, weighed = (kind(scorer).select(pool, 6, stream(9, "w")).rows for scorer in (None, Margin()))
        assert (weighed >= 60).sum() > (plain >= 60).sum(), kind


SCORED = [FacilityLocation(Margin()), Determinant(Margin()), KMeans(Margin()), ClusterMargin()]
ALL = [ProbCover(), FacilityLocation(), FacilityLocation(stochastic=0.1), Determinant(), KMeans(), *SCORED]


@pytest.mark.parametrize("strategy", SCORED, ids=repr)
@pytest.mark.parametrize("score", [0.0, 0.4])
def test_equal_scores_are_said(strategy, score):
    pool = Pool.of(vectors=unit(60, 8, 7), beliefs=certain(np.full(60, score)))
    chosen = strategy.select(pool, 6, stream(7, "h"))
    assert chosen.fallback.startswith("all scores are equal (0")


@pytest.mark.parametrize("kind", [ProbCover, FacilityLocation, Determinant, KMeans, ClusterMargin])
@pytest.mark.parametrize("n", [60, 400])
def test_over_shards_they_choose_as_over_one_array(kind, n):
    strategy, pool = kind(among=64), pool_of(n, 9)
    if kind not in (ProbCover, ClusterMargin):
        strategy = kind(Margin(), among=64)
    shards = [pool.take(np.arange(i, n, 3)) for i in range(3)]
    whole, parts = (choose(given, strategy, 12, 0.2, lambda purpose: stream(9, purpose)) for given in ([pool], shards))
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


@pytest.mark.parametrize("strategy", ALL, ids=repr)
@pytest.mark.parametrize("name", POOLS)
def test_degenerate_pools_give_as_many_as_there_are(strategy, name, capfd):
    pool = POOLS[name].replace(beliefs=Categorical(np.ones((len(POOLS[name]), 1))))
    for budget in (0, 1, 5, 200):
        chosen = strategy.select(pool, budget, stream(1, "edge"))
        assert len(set(chosen.rows.tolist())) == len(chosen) == min(budget, int(pool.open.sum()))
        assert np.isfinite(chosen.scores).all()
        if name in ("identical", "empty-texts") and budget == 5:
            assert chosen.fallback
    assert capfd.readouterr() == ("", "")  # faiss prints warnings past Python


@pytest.mark.parametrize("strategy", ALL, ids=repr)
def test_what_is_missing_is_said(strategy):
    with pytest.raises(MissingInput, match=r"no (vectors|beliefs)"):
        strategy.select(Pool.of(5), 2, stream(1, "x"))


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (ProbCover, {"purity": 1.1}),
        (FacilityLocation, {"stochastic": 0.9}),
        (FacilityLocation, {"scorer": "margin"}),
        (Determinant, {"alpha": -1}),
        (KMeans, {"scorer": 3}),
        (ClusterMargin, {"factor": 0.5}),
        (ClusterMargin, {"clusters": -1}),
        (ClusterMargin, {"scorer": None}),
    ],
)
def test_wrong_fields_are_named(kind, wrong):
    with pytest.raises(InputError, match=f"^{next(iter(wrong))}: "):
        kind(**wrong)
