import numpy as np
import pytest

from labelwise.core import Categorical, Multilabel, stream
from labelwise.measure import calibration, weighting
from labelwise.measure.metrics import evaluate


def drawn(n, c=4, seed=0, sharpness=1.0):
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.standard_normal((n, c))
    honest, said = (np.exp(s * logits) for s in (1.0, sharpness))
    honest, said = (p / p.sum(1, keepdims=True) for p in (honest, said))
    return said, (honest.cumsum(1) < rng.random((n, 1))).sum(1).clip(max=c - 1)


def binned(values, n):
    return np.array_split(np.argsort(values, kind="stable"), max(1, min(15, n // 20)))


@pytest.mark.parametrize("n", [1, 37, 240])
def test_errors_are_those_of_their_definitions(n):
    p, truth = drawn(n - n % 12 or 1)
    n = len(p)
    metrics = evaluate(Categorical(p), truth, list("abcd"), rng=stream(0), resamples=0)["metrics"]
    sure, right = p.max(axis=1), (p.argmax(axis=1) == truth).astype(float)
    squared = 0.0
    for part in binned(sure, n):
        acc, conf = right[part].mean(), sure[part].mean()
        squared += len(part) / n * ((conf - acc) ** 2 - (acc * (1 - acc) / (len(part) - 1) if len(part) > 1 else 0))
    assert metrics["squared_ece"]["value"] == pytest.approx(squared)
    by_class = [
        sum(len(part) / n * abs((truth[part] == k).mean() - p[part, k].mean()) for part in binned(p[:, k], n))
        for k in range(4)
    ]
    assert metrics["classwise_ece"]["value"] == pytest.approx(np.mean(by_class), abs=1e-6)
    order = np.argsort(-sure)
    assert metrics["aurc"]["value"] == pytest.approx(np.mean(np.cumsum(1 - right[order]) / np.arange(1, n + 1)))


def test_weights_count_as_copies():
    p, truth = drawn(120)
    copies = np.random.default_rng(1).integers(1, 4, 120)
    said, wrong = p.max(axis=1), (p.argmax(axis=1) != truth).astype(float)
    twice = np.repeat(np.arange(120), copies)
    one = calibration.selective_risk(said, wrong, copies[None, :].astype(float))
    other = calibration.selective_risk(said[twice], wrong[twice], np.ones((1, len(twice))))
    assert one == pytest.approx(other)
    bins = np.zeros(120, dtype=int)
    size = copies.sum() ** 2 / (copies**2).sum()
    acc, conf = np.average(1 - wrong, weights=copies), np.average(said, weights=copies)
    wanted = (conf - acc) ** 2 - acc * (1 - acc) / (size - 1)
    assert calibration.squared_error(said, 1 - wrong, bins, copies) == pytest.approx(wanted)


def test_equally_sure_texts_are_kept_or_passed_on_together():
    wrong = np.array([1.0, 0.0, 0.0, 0.0])
    assert calibration.selective_risk(np.full(4, 0.5), wrong, np.ones((1, 4))) == pytest.approx(0.25)


def test_the_squared_error_is_right_on_average_where_ece_is_not():
    """Honest beliefs, 200 texts: ECE is about sqrt(bins / n) of noise, the squared error about 0."""
    ece, squared = [], []
    for seed in range(200):
        p, truth = drawn(200, seed=seed)
        metrics = evaluate(Categorical(p), truth, list("abcd"), rng=stream(0), resamples=0)["metrics"]
        ece.append(metrics["ece"]["value"])
        squared.append(metrics["squared_ece"]["value"])
    assert np.mean(ece) > 0.05
    assert abs(np.mean(squared)) < 3 * np.std(squared) / np.sqrt(200)


def test_the_gate_lets_honest_beliefs_pass_and_stops_false_ones():
    fails = dict.fromkeys((1.0, 3.0), 0)
    for sharpness in fails:
        for seed in range(25):
            p, truth = drawn(300, seed=seed, sharpness=sharpness)
            gate = evaluate(Categorical(p), truth, list("abcd"), rng=stream(seed), resamples=100)["gate"]
            fails[sharpness] += not gate["passes"]
    assert fails[1.0] <= 3
    assert fails[3.0] >= 23


def test_the_gate_does_not_know_with_too_few_texts_and_says_why():
    p, truth = drawn(99, sharpness=5.0)
    gate = evaluate(Categorical(p), truth, list("abcd"), rng=stream(0))["gate"]
    assert gate["passes"] is None
    assert "99 of at least 100 labelled texts" in gate["why"]
    p, truth = drawn(500, sharpness=5.0)
    gate = evaluate(Categorical(p), truth, list("abcd"), rng=stream(0), basis="test split")["gate"]
    assert gate["passes"] is False
    assert "500 texts, test split) is credibly above 0.05" in gate["why"]
    assert 0.05 < gate["lo"] < gate["value"] < gate["hi"]


def test_several_labels_per_text():
    rng = np.random.default_rng(0)
    p = rng.random((300, 3))
    truth = rng.random((300, 3)) < p
    report = evaluate(Multilabel(p), truth, list("abc"), rng=stream(0))
    assert report["gate"]["passes"]
    assert 0 < report["metrics"]["classwise_ece"]["value"] < 0.15


def test_weights_from_chances_estimate_the_pool():
    """Texts are picked one after the other by how often a model errs on them; the weighted errors are the pool's."""
    rng = np.random.default_rng(0)
    worth = rng.beta(1, 3, 300) + 0.05
    wrong = (rng.random(300) < worth).astype(float)
    estimates = []
    for _ in range(200):
        left, chances, picks = np.arange(300), [], []
        for _ in range(40):
            q = worth[left] / worth[left].sum()
            pick = rng.choice(len(left), p=q)
            chances.append(q[pick])
            picks.append(left[pick])
            left = np.delete(left, pick)
        estimates.append((weighting.lure(np.array(chances), 300) * wrong[picks]).mean())
        naive = wrong[picks].mean()
    assert abs(np.mean(estimates) - wrong.mean()) < 4 * np.std(estimates) / np.sqrt(200)
    assert naive > wrong.mean()


def test_picks_that_speak_for_no_pool_weigh_nothing():
    even = 1 / (200 - np.arange(20))
    assert weighting.bounded(even, 200) == pytest.approx(np.ones(20))
    assert not weighting.bounded(np.ones(20), 200).any()
    among_ten_candidates = 1 / (30.0 - np.arange(20))
    assert not weighting.bounded(among_ten_candidates, 200).any()
    rare = np.array([1 / 200, 1 / 199, 1e-5, 1 / 197])
    assert weighting.bounded(rare, 200).max() == weighting.LIMIT
    assert weighting.bounded(np.ones(1), 1) == pytest.approx([1.0])
    assert len(weighting.bounded(np.zeros(0), 10)) == 0


def test_effective_size_is_kishs():
    assert weighting.effective(np.full(7, 3.0)) == pytest.approx(7)
    assert weighting.effective(np.array([1.0, 1.0, 0.0])) == pytest.approx(2)
    assert weighting.effective(np.zeros(3)) == 0.0
