"""Streams choose what their definitions say, however the pool is cut into chunks."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.core import Categorical, InputError, MissingInput, Pool, stream, uniform_of
from labelwise.core.checks.scorers import FORMS, pool_of
from labelwise.select import Margin, Power, SieveStreaming, Vessal, WeightedReservoir, picking
from labelwise.select.gradients import residuals


def unit(n, d, seed):
    vectors = stream(seed, "unit").normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def passed(streaming, pool, size):
    """The stream after all of the pool came by in chunks of one size."""
    for at in range(0, len(pool), size):
        streaming.offer(pool.take(np.arange(at, min(at + size, len(pool)))))
    return streaming


MAKERS = {
    "reservoir": lambda seed: WeightedReservoir(6, Margin(), 2.0, stream(seed, "s")),
    "sieve": lambda seed: SieveStreaming(6),
    "scored-sieve": lambda seed: SieveStreaming(6, 0.2, Margin()),
    "vessal": lambda seed: Vessal(6, 150, stream(seed, "s"), width=16),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", [1, 2])
def test_chunks_do_not_matter(make, form, seed):
    pool = pool_of(150, seed, form)
    whole = passed(make(seed), pool, 150).chosen()
    assert 1 <= len(whole) <= 6
    for size in (1, 31):
        streaming = passed(make(seed), pool, size)
        parts = streaming.chosen()
        assert parts.ids.tolist() == whole.ids.tolist()
        if not isinstance(streaming, WeightedReservoir):  # whose chances forget near-duplicates that left; see below
            assert parts.propensity == pytest.approx(whole.propensity, rel=1e-5)
        assert parts.scores == pytest.approx(whole.scores, rel=1e-4)
        assert [str(reason).split("(")[0] for reason in parts.reason] == [r.split("(")[0] for r in whole.reason]


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_only_open_texts_are_kept_and_near_duplicates_do_not_meet(make):
    for seed in range(5):
        pool = pool_of(150, seed).replace(groups=np.arange(150) % 40)
        kept = passed(make(seed), pool, 20).chosen()
        rows = [int(np.flatnonzero(pool.ids == key)[0]) for key in kept.ids]
        assert pool.open[rows].all()
        assert len({row % 40 for row in rows}) == len(rows)
        assert ((kept.propensity > 0) & (kept.propensity <= 1)).all()
        assert np.isfinite(kept.scores).all()
        assert all(reason.strip() and "\n" not in reason for reason in kept.reason)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_empty_streams_chunks_and_texts_do(make):
    assert len(make(1).chosen()) == 0
    pool = pool_of(30, 1).replace(groups=None)
    closed = pool.replace(open=np.zeros(30, bool))
    assert len(passed(make(1), closed, 7).chosen()) == 0
    same = pool.replace(vectors=np.tile(unit(1, 8, 1), (30, 1)))
    assert len(passed(make(1), same, 7).chosen()) <= 6
    nothing = pool.replace(vectors=np.zeros((30, 8)), beliefs=Categorical(np.tile([1.0, 0.0], (30, 1))))
    assert len(passed(make(1), nothing, 7).chosen()) in (0, 6)


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 200),
    budget=st.integers(1, 15),
    size=st.integers(1, 60),
    beta=st.sampled_from([0.0, 1.0, 4.0]),
    groups=st.booleans(),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_reservoir_draws_what_power_draws_from_the_whole_pool(seed, n, budget, size, beta, groups):
    pool = pool_of(n, seed)
    pool = pool if groups else pool.replace(groups=None)
    kept = passed(WeightedReservoir(budget, Margin(), beta, stream(seed, "r")), pool, size).chosen()
    whole = Power(Margin(), beta, explore=0.0).select(pool, budget, stream(seed, "r"))
    assert kept.ids.tolist() == pool.ids[whole.rows].tolist()
    assert kept.scores.tolist() == whole.scores.tolist()
    assert kept.reason == whole.reason
    if groups:
        assert (kept.propensity <= whole.propensity + 1e-12).all()
    else:
        assert kept.propensity.tolist() == whole.propensity.tolist()


def test_a_reservoir_counts_the_near_duplicates_of_what_it_holds():
    pool = pool_of(120, 3).replace(groups=np.arange(120) % 9)
    for budget in (9, 30):  # no group ever leaves
        kept = passed(WeightedReservoir(budget, Margin(), 2.0, stream(3, "r")), pool, 10).chosen()
        whole = Power(Margin(), 2.0, explore=0.0).select(pool, budget, stream(3, "r"))
        assert kept.ids.tolist() == pool.ids[whole.rows].tolist()
        assert kept.propensity == pytest.approx(whole.propensity, rel=1e-12)


def test_a_reservoir_remembers_no_more_than_two_budgets():
    streaming = passed(WeightedReservoir(5, Margin(), 2.0, stream(1, "r")), pool_of(900, 1), 90)
    assert len(streaming._first) == 5
    assert len(streaming._others) <= 5


def value(vectors, noise):
    return 0.5 * np.linalg.slogdet(np.eye(len(vectors)) + vectors @ vectors.T / noise)[1]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("budget", "eps"), [(3, 0.1), (4, 0.3), (1, 0.05)])
def test_a_sieve_reaches_half_of_the_best_value(seed, budget, eps):
    rng = stream(seed, "sieve")
    vectors = (rng.uniform(0.1, 1, (12, 1)) * unit(12, 3, seed)).astype(np.float64)
    pool = Pool.of(vectors=vectors.astype(np.float32))
    kept = passed(SieveStreaming(budget, eps, noise=0.2), pool, 5).chosen()
    best = max(value(vectors[list(some)], 0.2) for some in combinations(range(12), budget))
    reached = value(vectors[kept.ids.astype(int)], 0.2)
    assert kept.scores.sum() == pytest.approx(reached, rel=1e-4)
    assert best * (1 + 1e-6) >= reached >= (0.5 - eps) * best


def literal_sieves(vectors, budget, eps, noise):
    """Badanidiyuru 2014, algorithm 3: text by text, sieves made when a text is the best alone so far."""
    most, sieves = 0.0, {}
    for at in range(len(vectors)):
        most = max(most, value(vectors[[at]], noise))
        live = [j for j in range(-200, 400) if most <= (1 + eps) ** j <= 2 * budget * most]
        sieves = {j: sieves.get(j, []) for j in live}
        for j, kept in sieves.items():
            so_far = value(vectors[kept], noise) if kept else 0.0
            gain = value(vectors[[*kept, at]], noise) - so_far
            if len(kept) < budget and gain >= ((1 + eps) ** j / 2 - so_far) / (budget - len(kept)):
                kept.append(at)
    return max(sieves.values(), key=lambda kept: value(vectors[kept], noise) if kept else 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_sieves_are_the_published_ones(seed):
    lengths = stream(seed, "lengths").uniform(0.05, 1, (60, 1))
    vectors = (lengths * unit(60, 4, seed)).astype(np.float32)
    kept = passed(SieveStreaming(5, 0.1, noise=0.1), Pool.of(vectors=vectors), 13).chosen()
    assert kept.ids.tolist() == literal_sieves(vectors.astype(np.float64), 5, 0.1, 0.1)


def test_a_scorer_says_which_texts_a_sieve_should_cover():
    scores = np.where(np.arange(60) < 30, 0.02, 0.9)
    pool = Pool.of(vectors=unit(60, 5, 1), beliefs=Categorical(np.stack([1 - scores / 2, scores / 2], axis=1)))
    assert (passed(SieveStreaming(6, scorer=Margin()), pool, 9).chosen().ids >= 30).all()
    assert (passed(SieveStreaming(6), pool, 9).chosen().ids < 30).any()


def literal_vessal(gradients, noise, budget):
    """Methods h, text by text, with every matrix in full."""
    n, width = gradients.shape
    inverse, mean, kept, chances = 100.0 * np.eye(width), np.zeros((width, width)), [], []
    for t, g in enumerate(gradients):
        mean = t / (t + 1) * mean + np.outer(g, g) / (t + 1)
        rate = (budget - len(kept)) / (n - t) / np.trace(mean @ inverse)
        chance = min(1.0, rate * (g @ inverse @ g))
        if noise[t] < chance:
            kept.append(t)
            chances.append(chance)
            inverse = np.linalg.inv(np.linalg.inv(inverse) + np.outer(g, g))
    return kept, chances


@pytest.mark.parametrize("seed", range(6))
def test_vessal_is_volume_sampling_text_by_text(seed):
    pool = pool_of(120, seed).replace(groups=None, open=np.ones(120, bool))
    streaming = Vessal(10, 120, stream(seed, "v"), width=12)
    gradients = streaming._projected(residuals(pool.beliefs, np.arange(120)), pool.vectors.astype(np.float32))
    noise = uniform_of(pool.ids, picking.salts(stream(seed, "v")).draw)
    kept = passed(streaming, pool, 50).chosen()
    expected, chances = literal_vessal(gradients, noise, 10)
    assert kept.ids.tolist() == pool.ids[expected].tolist()
    assert kept.propensity == pytest.approx(chances, rel=1e-6)


def test_projected_gradients_keep_the_products_of_gradients():
    one, other = stream(1, "one").normal(size=(12, 4)).astype(np.float32), unit(12, 9, 1)
    exact = (one @ one.T) * (other @ other.T)
    errors = []
    for seed in range(60):
        near = Vessal(1, 1, stream(seed, "p"), width=64)._projected(one, other)
        errors.append(near @ near.T - exact)
    deviation = np.std(errors, axis=0) / np.sqrt(60)
    assert (np.abs(np.mean(errors, axis=0)) < 5 * deviation + 1e-5).all()
    assert np.std(errors) < 0.35 * np.abs(np.diag(exact)).mean()


def test_vessal_spends_its_budget_and_states_true_chances():
    pool = pool_of(300, 5).replace(groups=None, open=np.ones(300, bool))
    first, counts, stated = 0, [], 0.0
    for seed in range(80):
        kept = passed(Vessal(20, 300, stream(seed, "v"), width=16), pool, 100).chosen()
        counts.append(len(kept))
        first += int(pool.ids[0] in kept.ids)
    assert max(counts) <= 20
    assert np.mean(counts) > 14
    stated = 20 / 300  # the first text is all there is: its gradient is the mean
    assert abs(first / 80 - stated) < 4 * np.sqrt(stated * (1 - stated) / 80)


def test_vessal_prefers_what_is_unlike_what_it_kept():
    """One direction is 40 times as common; kept texts of it make further ones of it less likely."""
    vectors = np.tile(np.eye(2, dtype=np.float32)[:1], (410, 1))
    vectors[np.arange(410) % 41 == 40] = [0, 1]
    pool = Pool.of(vectors=vectors, beliefs=Categorical(np.full((410, 2), 0.5)))
    kept = [passed(Vessal(20, 410, stream(seed, "v"), width=64), pool, 50).chosen().ids for seed in range(20)]
    rare = np.mean(np.concatenate(kept) % 41 == 40)
    assert rare > 3 / 41


def test_a_missing_part_or_a_wrong_value_is_named():
    with pytest.raises(MissingInput, match="no vectors"):
        SieveStreaming(3).offer(Pool.of(4))
    with pytest.raises(MissingInput, match="no beliefs"):
        Vessal(3, 9, stream(1, "x")).offer(Pool.of(vectors=unit(4, 3, 1)))
    with pytest.raises(InputError, match="expected: 2"):
        Vessal(3, 2, stream(1, "x"))
    with pytest.raises(InputError, match="eps: "):
        SieveStreaming(3, 0.7)
    with pytest.raises(InputError, match="budget: 0 is not allowed"):
        WeightedReservoir(0, Margin(), 1.0, stream(1, "x"))
