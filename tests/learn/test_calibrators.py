"""Vector scaling, isotonic regression, and the choice between them."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from labelwise.core import (
    Categorical,
    Committee,
    ContractError,
    DamagedRecord,
    InputError,
    Multilabel,
    State,
    Tagged,
    Tags,
)
from labelwise.learn.adaptive import Adaptive
from labelwise.learn.isotonic import KEPT, Isotonic
from labelwise.learn.temperature import Temperature
from labelwise.learn.vector import Vector


def softmax(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def favoured(n, c=4, offset=1.5, seed=0):
    """Beliefs that favour class 0 throughout, and truths drawn without that favour."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.standard_normal((n, c))
    truth = (softmax(logits).cumsum(1) < rng.random((n, 1))).sum(1).clip(max=c - 1)
    return Categorical(softmax(logits + offset * (np.arange(c) == 0))), truth


def loss(calibration, beliefs, truth):
    return calibration.apply(beliefs).surprise(truth).mean()


def test_vector_is_the_optimum_of_its_definition():
    beliefs, truth = favoured(80, 3)
    weights = np.random.default_rng(1).uniform(0.2, 3, 80)
    made = Vector(slope=0.4, offset=0.8).fit(beliefs, truth, weights)
    heat = made.state().facts["temperature"]
    share = weights / weights.sum()

    def penalised(flat):
        a, c = flat[:3], flat[3:]
        p = softmax(np.log(beliefs.probs) / heat * a + c)
        data = -(share * np.log(p[np.arange(80), truth])).sum() / (share**2).sum()
        return data + ((a - 1) ** 2).sum() / (2 * 0.4**2) + (c**2).sum() / (2 * 0.8**2)

    oracle = minimize(penalised, np.concatenate([np.ones(3), np.zeros(3)]), method="BFGS").x
    np.testing.assert_allclose(made.slopes * heat, oracle[:3], atol=2e-3)
    np.testing.assert_allclose(made.offsets, oracle[3:], atol=2e-3)


def test_platt_scaling_is_the_optimum_label_by_label():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, (60, 2))
    truth = rng.random((60, 2)) < p**2
    made = Vector().fit(Multilabel(p), truth, np.ones(60))
    heat, logit = made.state().facts["temperature"], np.log(p / (1 - p))
    for k in range(2):

        def penalised(flat, k=k):
            z = logit[:, k] / heat * flat[0] + flat[1]
            data = np.logaddexp(0, np.where(truth[:, k], -z, z)).sum()
            return data + (flat[0] - 1) ** 2 / (2 * 0.25**2) + flat[1] ** 2 / 2

        oracle = minimize(penalised, np.array([1.0, 0.0]), method="BFGS").x
        np.testing.assert_allclose([made.slopes[k] * heat, made.offsets[k]], oracle, atol=2e-3)


def test_vector_mends_a_class_that_a_temperature_cannot():
    beliefs, truth = favoured(4000)
    half = np.arange(2000)
    rest = beliefs.take(np.arange(2000, 4000)), truth[2000:]
    honest = favoured(4000, offset=0.0)[0].take(np.arange(2000, 4000)).surprise(truth[2000:]).mean()
    by = {c: loss(c.fit(beliefs.take(half), truth[half], np.ones(2000)), *rest) for c in (Temperature(), Vector())}
    assert by[Vector()] < honest + 0.01 < by[Temperature()] - 0.05


@pytest.mark.parametrize("calibrator", [Vector(), Isotonic(least=20), Adaptive(enough=50, per_class=5, isotonic=20)])
def test_a_class_never_seen_is_not_ruled_out(calibrator):
    rng = np.random.default_rng(0)
    probs = rng.dirichlet([2, 2, 2, 0.05], 300)
    beliefs, truth = Categorical(probs), rng.integers(3, size=300)
    after = calibrator.fit(beliefs, truth, np.ones(300)).apply(beliefs)
    assert after.probs[:, 3].mean() > 0.1 * probs[:, 3].mean()


def test_isotonic_is_that_of_scikit_learn():
    beliefs, truth = favoured(400, 3)
    weights = np.random.default_rng(1).uniform(0.2, 3, 400)
    made = Isotonic(spread=0.01, least=20).fit(beliefs, truth, weights)
    p = Temperature(0.01).fit(beliefs, truth, weights).apply(beliefs).probs
    wanted = np.column_stack(
        [IsotonicRegression().fit(p[:, k], truth == k, weights).predict(p[:, k]) for k in range(3)]
    )
    wanted = (1 - KEPT) * wanted + KEPT * p
    np.testing.assert_allclose(made.apply(beliefs).probs, wanted / wanted.sum(1, keepdims=True), atol=1e-9)


def test_isotonic_leaves_a_class_with_few_answers_as_the_temperature_leaves_it():
    beliefs, truth = favoured(300, 3)
    assert (truth == 1).sum() < 150
    alone, tempered = (c.fit(beliefs, truth, np.ones(300)) for c in (Isotonic(least=150), Temperature()))
    np.testing.assert_allclose(alone.apply(beliefs).probs, tempered.apply(beliefs).probs, atol=1e-12)


def test_isotonic_bends_what_no_slope_can():
    rng = np.random.default_rng(0)
    p = rng.random((6000, 1))
    truth = rng.random((6000, 1)) < np.where(p < 0.5, 0.1, 0.9)
    half = np.arange(3000)
    by = [c.fit(Multilabel(p[half]), truth[half], np.ones(3000)) for c in (Vector(), Isotonic(least=500))]
    step, curve = (loss(c, Multilabel(p[3000:]), truth[3000:]) for c in reversed(by))
    assert step < curve - 0.02


@pytest.mark.parametrize(
    ("n", "c", "offset", "method"),
    [
        (499, 4, 1.5, "temperature"),
        (800, 4, 1.5, "vector"),
        (800, 60, 1.5, "temperature"),
        (800, 4, 0.0, "temperature"),
    ],
)
def test_adaptive_takes_what_labels_afford_and_what_pays(n, c, offset, method):
    beliefs, truth = favoured(n, c, offset)
    assert Adaptive().fit(beliefs, truth, np.ones(n)).state().facts["method"] == method


def test_adaptive_goes_up_to_isotonic_and_is_then_what_it_chose():
    rng = np.random.default_rng(0)
    p = rng.random((3000, 1))
    truth = rng.random((3000, 1)) < np.where(p < 0.5, 0.1, 0.9)
    made = Adaptive().fit(Multilabel(p), truth, np.ones(3000))
    assert made.method == "isotonic"
    assert set(made.gains) == {"vector", "isotonic"}
    alone = Isotonic(least=500).fit(Multilabel(p), truth, np.ones(3000))
    assert np.array_equal(made.apply(Multilabel(p)).probs, alone.apply(Multilabel(p)).probs)


def test_adaptive_follows_from_the_data_alone_and_takes_tokens_with_their_text():
    beliefs, truth = favoured(1200)
    tagged = Tagged(beliefs.probs, np.arange(0, 1201, 2))
    tags = Tags(truth, tagged.offsets)
    one, other = (Adaptive().fit(tagged, tags, np.ones(600)) for _ in range(2))
    assert one.method == "vector"
    assert one.state().facts == other.state().facts
    committee = Adaptive().fit(Committee((beliefs, beliefs)), truth, np.ones(1200))
    assert committee.method == "vector"


def test_refusals():
    for wrong, match in (
        (lambda: Vector(slope=0), "slope: 0 .* 0.01 to 10"),
        (lambda: Isotonic(least=1), "least: 1 .* at least 2"),
        (lambda: Isotonic(spread=99), "spread: 99"),
        (lambda: Adaptive(enough=0), "enough: 0 .* >= 1"),
        (lambda: Adaptive(folds=1), "folds: 1 .* 2 to 20"),
        (lambda: Adaptive(spread=0), "spread: 0"),
    ):
        with pytest.raises(InputError, match=match):
            wrong()
    for calibrator in (Vector(), Isotonic(), Adaptive()):
        with pytest.raises(DamagedRecord, match="calibrate again"):
            calibrator.restore(State({}, {}))
    fitted = Vector().fit(*favoured(200), np.ones(200))
    with pytest.raises(ContractError, match="str"):
        fitted.apply("no beliefs")
