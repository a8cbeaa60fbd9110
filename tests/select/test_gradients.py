"""Gradient strategies equal their plain definitions; the faults of other libraries are planted and caught."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.core import Categorical, Committee, Known, MissingInput, Multilabel, Pool, Tagged, stream
from labelwise.core.beliefs import Streamed
from labelwise.core.checks.scorers import FORMS, believed, pool_of
from labelwise.select import Badge, Bait, choose
from labelwise.select.gradients import _centred, narrowing, residuals, seeding


def unit(n, d, seed):
    vectors = stream(seed, "unit").normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def outer(one, other):
    """The gradients themselves, (m, c * d): what a strategy never forms."""
    return np.einsum("ik,ij->ikj", one, other).reshape(len(one), -1).astype(np.float64)


def literal_residual(said, i):
    if isinstance(said, Committee):
        return literal_residual(said.mean(), i)
    if isinstance(said, Multilabel):
        return np.array([float(p > 0.5) - p for p in said.probs[i]])
    if isinstance(said, Categorical):
        return np.eye(said.probs.shape[1])[said.probs[i].argmax()] - said.probs[i]
    tokens = said.probs[said.offsets[i] : said.offsets[i + 1]]
    if not len(tokens):
        return np.zeros(said.probs.shape[1])
    margins = [np.diff(np.sort(token)[-2:])[0] for token in tokens]
    return literal_residual(Categorical(tokens), int(np.argmin(margins)))


@pytest.mark.parametrize("form", FORMS)
def test_residuals_are_the_preferred_answer_minus_its_probabilities(form):
    said = believed(form, 40, 3)
    rows = stream(1, "rows").permutation(40)[:25]
    expected = np.array([literal_residual(said, row) for row in rows])
    assert residuals(said, rows) == pytest.approx(expected, abs=1e-6)
    streamed = Streamed(40, lambda part: said.take(np.arange(40)[part]))
    assert (residuals(streamed, rows) == residuals(said, rows)).all()
    assert residuals(said, rows[:0]).shape == (0, expected.shape[1])


def test_residuals_of_many_texts_come_block_by_block(monkeypatch):
    said = believed("spans", 50, 1)
    whole = residuals(said, np.arange(50))
    monkeypatch.setattr("labelwise.select.gradients.BLOCK", 7)
    assert (residuals(said, np.arange(50)) == whole).all()


@given(seed=st.integers(0, 10_000), n=st.integers(1, 30), c=st.integers(1, 5), copies=st.booleans())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_seeding_is_k_means_plus_plus_over_the_outer_products(seed, n, c, copies):
    rng = stream(seed, "seeding")
    one, other = rng.normal(size=(n, c)).astype(np.float32), unit(n, 4, seed)
    if copies:
        one, other = one[rng.integers(max(n // 3, 1), size=n)], other[rng.integers(min(n, 2), size=n)]
    picks, distances, chances, chosen = seeding(one, other, min(n, 8), rng)
    assert len(set(picks.tolist())) == len(picks) == min(n, 8)
    gradients = outer(one, other)
    longest = np.linalg.norm(gradients, axis=1).max()
    assert distances[0] == pytest.approx(longest, rel=1e-5)
    for i in range(1, chosen):
        apart = np.linalg.norm(gradients[:, None] - gradients[picks[:i]], axis=2).min(axis=1)
        assert distances[i] == pytest.approx(apart[picks[i]], rel=5e-3)
        assert chances[i] == pytest.approx(apart[picks[i]] ** 2 / (apart**2).sum(), rel=2e-3)
    if chosen < len(picks):  # only copies are left
        apart = np.linalg.norm(gradients[:, None] - gradients[picks[:chosen]], axis=2).min(axis=1)
        assert apart.max() < 0.01 * longest
        left = n - np.arange(chosen, len(picks))
        assert chances[chosen:] == pytest.approx(1 / left)


def test_the_second_pick_comes_as_often_as_its_squared_distance_says():
    one, other, times = stream(1, "one").normal(size=(7, 3)).astype(np.float32), unit(7, 4, 1), 2000
    gradients = outer(one, other)
    first = np.linalg.norm(gradients, axis=1).argmax()
    masses = ((gradients - gradients[first]) ** 2).sum(axis=1)
    rng = stream(2, "draws")
    second = [seeding(one, other, 2, rng)[0] for _ in range(times)]
    assert {int(picks[0]) for picks in second} == {first}
    seen = np.bincount([picks[1] for picks in second], minlength=7)
    expected = times * masses / masses.sum()
    assert seen[first] == 0
    others = np.arange(7) != first
    assert ((seen - expected)[others] ** 2 / expected[others]).sum() < 20.5  # chi-square, 5 df, p = 0.001
    twice = times * masses**2 / (masses**2).sum()  # squared once too often
    assert ((seen - twice)[others] ** 2 / twice[others]).sum() > 100


def test_gradients_are_longer_the_less_confident_the_model():
    said, vectors = believed("single", 300, 5), unit(300, 6, 5)
    lengths = np.linalg.norm(outer(residuals(said, np.arange(300)), vectors), axis=1)
    assert np.corrcoef(lengths, said.confidence())[0, 1] < -0.7
    faulty = np.linalg.norm(outer(-said.probs, vectors), axis=1)  # what small-text 1.4.1 computes
    assert np.corrcoef(faulty, said.confidence())[0, 1] > 0.3


def test_the_origin_is_no_centre():
    """A short gradient is far from two long ones that are close together; a ghost at the origin would hide it."""
    vectors = np.array([[1, 0], [1, 0], [1, 0]], dtype=np.float32)
    said = np.array([[0.5, -0.5], [0.499, -0.499], [0.01, -0.01]], dtype=np.float32)
    seconds = [seeding(said, vectors, 2, stream(seed, "ghost"))[0][1] for seed in range(30)]
    assert seconds.count(2) == 30  # scikit-activeml 1.0.1 weighs 0.0001 where it is 0.24


@pytest.mark.parametrize("centre", [True, False])
def test_repeated_points_are_chosen_once_each(centre):
    rows = np.repeat(np.arange(6), 5)
    pool = Pool.of(vectors=unit(6, 3, 1)[rows], beliefs=believed("single", 6, 1).take(rows))
    for seed in range(20):
        chosen = Badge(centre=centre).select(pool, 10, stream(seed, "copies"))
        assert len(set(chosen.rows.tolist())) == 10
        assert set(rows[chosen.rows[:6]]) == set(range(6))
        assert chosen.fallback == "after 6 texts no gradient differed from theirs: the others were chosen at random"


def test_centring_is_what_keeps_a_shared_direction_from_passing_for_agreement():
    sides = np.repeat([1.0, -1.0], 20)
    vectors = np.stack([np.ones(40), 0.05 * sides, 0.001 * np.arange(40)], axis=1)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    said = Categorical(np.tile([[0.5, 0.5]], (40, 1)))
    pool = Pool.of(vectors=vectors, beliefs=said)
    pairs = [Badge().select(pool, 2, stream(seed, "sides")).rows for seed in range(40)]
    assert np.mean([sides[one] != sides[two] for one, two in pairs]) > 0.95


def test_centring_takes_off_the_mean_of_the_sample_and_leaves_empty_texts_empty():
    texts = unit(9, 3, 1) * (np.arange(9) != 4)[:, None]
    centred = texts.copy()
    _centred(centred, 6)
    assert centred == pytest.approx((texts - texts[:6].mean(axis=0)) * (np.arange(9) != 4)[:, None], abs=1e-6)


def literal_bait(texts, fisher, inverse, budget):
    """Greedy forward and backward by the trace itself, every inverse computed anew."""

    def trace(picks):
        seen = np.linalg.inv(inverse) + sum(np.outer(texts[i], texts[i]) for i in picks)
        return np.trace(np.linalg.inv(seen) @ fisher)

    picks, before = [], []
    for _ in range(min(2 * budget, len(texts))):
        before.append(trace(picks))
        picks.append(min(set(range(len(texts))) - set(picks), key=lambda i: trace([*picks, i])))
    shares = {pick: 1 - trace(picks[: i + 1]) / before[i] for i, pick in enumerate(picks)}
    while len(picks) > budget:
        picks.remove(min(picks, key=lambda i: trace([j for j in picks if j != i])))
    return picks, [shares[pick] for pick in picks]


@pytest.mark.parametrize(("seed", "n", "budget"), [(1, 25, 5), (2, 25, 1), (3, 9, 6), (4, 40, 8), (5, 3, 3)])
def test_narrowing_is_forward_and_backward_greedy_on_the_trace(seed, n, budget):
    rng = stream(seed, "bait")
    texts = (rng.uniform(0, 0.5, (n, 1)) * unit(n, 5, seed)).astype(np.float32)
    known = rng.normal(size=(6, 5))
    fisher, inverse = texts.T.astype(np.float64) @ texts / n, np.linalg.inv(0.05 * np.eye(5) + known.T @ known / 9)
    picks, shares = narrowing(texts, fisher, inverse, budget)
    expected, gains = literal_bait(texts.astype(np.float64), fisher, inverse, budget)
    assert picks.tolist() == expected
    assert shares == pytest.approx(gains, rel=1e-3)


def test_bait_reads_the_information_of_what_is_known():
    pool = pool_of(60, 4)
    keep = pool.candidates()
    known = pool.known.awaiting(unit(3, 8, 1))
    chosen = Bait(ridge=0.2, among=0).select(pool.replace(known=known, groups=None), 6, stream(1, "bait"))
    sure = np.concatenate([known.beliefs.confidence(), np.full(3, 0.5)])
    weighted = known.vectors.astype(np.float64) * np.sqrt(sure * (1 - sure))[:, None]
    best = pool.beliefs.take(keep).confidence()
    texts = pool.vectors[keep].astype(np.float64) * np.sqrt(best * (1 - best))[:, None]
    inverse = np.linalg.inv(0.2 * np.eye(8) + weighted.T @ weighted)
    expected, _ = literal_bait(texts, texts.T @ texts / len(keep), inverse, 6)
    assert set(chosen.rows.tolist()) == set(keep[expected].tolist())
    assert (chosen.scores > 0).all()


def test_bait_avoids_what_was_labelled():
    vectors = np.repeat(np.eye(2, dtype=np.float32), 10, axis=0)
    pool = Pool.of(vectors=vectors, beliefs=Categorical(np.full((20, 2), 0.5)))
    asked = Known(np.tile(np.eye(2, dtype=np.float32)[0], (8, 1)))
    assert Bait().select(pool.replace(known=asked), 1, stream(1, "b")).rows[0] >= 10


@pytest.mark.parametrize("strategy", [Badge(), Badge(centre=False), Bait()], ids=repr)
@pytest.mark.parametrize("among", [0, 40])
def test_a_choice_over_shards_is_the_choice_over_the_whole(strategy, among):
    strategy = type(strategy)(**{**vars(strategy), "among": among})
    pool = pool_of(200, 3)
    assert pool.open.sum() > 2 * 40

    def streams(purpose):
        return stream(3, purpose)

    whole = choose([pool], strategy, 12, 0.2, streams)
    parts = [pool.take(np.arange(i, 200, 3)) for i in range(3)]
    several = choose(parts, strategy, 12, 0.2, streams)
    ids = [int(parts[shard].ids[row]) for shard, row in zip(several.shard, several.row, strict=True)]
    assert ids == pool.ids[whole.row].tolist()
    assert several.propensity == pytest.approx(whole.propensity, rel=1e-6)
    assert whole.fallback == several.fallback == ""


SURE = Categorical(np.tile(np.eye(3)[:1], (30, 1)))
DEGENERATE = {
    "one": Pool.of(vectors=unit(1, 3, 1), beliefs=believed("single", 1, 1)),
    "identical": Pool.of(vectors=np.tile(unit(1, 3, 1), (40, 1)), beliefs=believed("single", 40, 1)),
    "empty-texts": Pool.of(vectors=np.zeros((9, 3), np.float32), beliefs=believed("single", 9, 1)),
    "one-empty-text": Pool.of(vectors=unit(9, 3, 1) * (np.arange(9) > 0)[:, None], beliefs=believed("multi", 9, 1)),
    "no-tokens": Pool.of(vectors=unit(4, 3, 1), beliefs=Tagged(np.zeros((0, 3)), np.zeros(5, int))),
    "one-class": Pool.of(vectors=unit(8, 3, 1), beliefs=Categorical(np.ones((8, 1)))),
    "sure": Pool.of(vectors=unit(30, 3, 1), beliefs=SURE),
    "one-open": Pool.of(vectors=unit(30, 3, 1), labelled=np.arange(30) < 29, beliefs=SURE),
    "none-open": Pool.of(vectors=unit(12, 3, 1), labelled=np.ones(12, bool), beliefs=believed("single", 12, 1)),
    "none": Pool.of(vectors=np.zeros((0, 3), np.float32), beliefs=Categorical(np.zeros((0, 3)))),
    "one-group": Pool.of(vectors=unit(50, 3, 1), groups=np.zeros(50, int), beliefs=believed("spans", 50, 1)),
}


@pytest.mark.parametrize("strategy", [Badge(), Badge(centre=False), Bait()], ids=repr)
@pytest.mark.parametrize("pool", DEGENERATE.values(), ids=DEGENERATE)
def test_degenerate_pools_give_as_many_as_there_are(strategy, pool):
    for budget in (0, 1, 5, 200):
        chosen = strategy.select(pool, budget, stream(1, "edge"))
        assert len(set(chosen.rows.tolist())) == len(chosen) == min(budget, int(pool.open.sum()))
        assert np.isfinite(chosen.scores).all()
        assert ((chosen.propensity > 0) & (chosen.propensity <= 1)).all()


@pytest.mark.parametrize("strategy", [Badge(), Bait()], ids=repr)
@pytest.mark.parametrize("name", ["sure", "empty-texts", "one-class", "no-tokens"])
def test_nothing_to_learn_is_said_and_chosen_at_random(strategy, name):
    chosen = [strategy.select(DEGENERATE[name], 3, stream(seed, "sure")) for seed in range(9)]
    n = len(DEGENERATE[name])
    for one in chosen:
        assert one.fallback.startswith("the model is sure of every candidate, or they have no content")
        assert one.propensity == pytest.approx(1 / (n - np.arange(3)))
    assert len({tuple(one.rows.tolist()) for one in chosen}) > 3


def test_texts_that_are_all_the_same_are_told_apart_by_what_the_model_says():
    chosen = Badge().select(DEGENERATE["identical"], 3, stream(1, "same"))
    sure = DEGENERATE["identical"].beliefs
    assert chosen.fallback == ""
    assert chosen.rows[0] == np.square(residuals(sure, np.arange(40))).sum(axis=1).argmax()


@pytest.mark.parametrize("strategy", [Badge(), Bait()], ids=repr)
@pytest.mark.parametrize("missing", ["vectors", "beliefs"])
def test_a_missing_part_is_named(strategy, missing):
    with pytest.raises(MissingInput, match=f"no {missing}"):
        strategy.select(pool_of(9, 1).replace(**{missing: None}), 2, stream(1, "x"))


def test_reasons_carry_their_numbers():
    pool = pool_of(30, 2)
    badge, bait = (strategy.select(pool, 2, stream(1, "why")) for strategy in (Badge(), Bait()))
    assert badge.reason[0].startswith("most to learn from, torn between '")
    assert badge.reason[1].endswith(f"unlike those before it (distance {badge.scores[1]:.2f})")
    assert badge.reason[1].numbers == {"distance": badge.scores[1]}
    assert bait.reason[0].numbers == {"narrowing": bait.scores[0]}
