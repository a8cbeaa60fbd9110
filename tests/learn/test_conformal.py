import json
import math

import numpy as np
import pytest
from scipy.stats import binom

from labelwise.core import DamagedRecord, InputError, State
from labelwise.learn import conformal


def drawn(n, c=5, seed=0, sharpness=2.0, lean=0.0):
    """Overconfident probabilities (beliefs are wrong on purpose), and the truth."""
    rng = np.random.default_rng(seed)
    logits = 1.2 * rng.standard_normal((n, c)) + lean * (np.arange(c) == 0)
    honest, said = (np.exp(s * logits) for s in (1.0, sharpness))
    honest, said = (p / p.sum(1, keepdims=True) for p in (honest, said))
    return said, (honest.cumsum(1) < rng.random((n, 1))).sum(1).clip(max=c - 1)


def test_lac_is_its_definition():
    p, truth = drawn(99)
    made = conformal.fit(p, truth, 0.1)
    scores = np.sort(1 - p[np.arange(99), truth])
    assert made.thresholds() == [scores[math.ceil(100 * 0.9) - 1]]
    fresh, _ = drawn(50, seed=1)
    assert np.array_equal(made.sets(fresh), 1 - fresh <= made.thresholds()[0])


def test_aps_is_its_definition():
    p, truth = drawn(40, 4)
    u = np.random.default_rng(5).random(40)
    wanted = []
    for row, y, tie in zip(p, truth, u, strict=True):
        wanted.append(sum(q for q in row if q > row[y]) + tie * row[y])
    made = conformal.fit(p, truth, 0.2, score="aps", rng=np.random.default_rng(5))
    np.testing.assert_allclose(made.scores, np.sort(wanted), atol=1e-12)


@pytest.mark.parametrize("score", ["lac", "aps"])
@pytest.mark.parametrize("miss", [0.05, 0.2])
def test_sets_hold_the_truth_as_often_as_promised(score, miss):
    """Over many calibrations, one new text each: a binomial share of 1 - miss, and less than 1 / (n + 1) more."""
    held, repeats, n = 0, 2000, 60
    p, truth = drawn(repeats * (n + 1))
    rng = np.random.default_rng(1)
    for i in range(repeats):
        rows = slice(i * (n + 1), i * (n + 1) + n)
        new = slice(rows.stop, rows.stop + 1)
        made = conformal.fit(p[rows], truth[rows], miss, score=score, rng=rng)
        held += bool(made.sets(p[new], rng)[0, truth[new][0]])
    assert binom.ppf(1e-4, repeats, 1 - miss) <= held <= binom.ppf(1 - 1e-4, repeats, 1 - miss + 1 / (n + 1))


def test_by_class_the_promise_holds_within_every_class():
    p, truth = drawn(4000, lean=2.0)
    fresh, answers = drawn(20_000, seed=1, lean=2.0)

    def worst(by_class):
        inside = conformal.fit(p, truth, 0.1, by_class=by_class).sets(fresh)
        return min(inside[answers == k, k].mean() for k in range(5))

    assert worst(False) < 0.8
    assert worst(True) > 0.84  # the rarest class has some 100 calibration texts: 3 standard errors of .02 below .9


def test_weights_carry_the_promise_to_texts_drawn_otherwise():
    p, truth = drawn(60_000, sharpness=1.0)
    odd = np.arange(60_000) % 2 == 1  # beliefs about these are far too sure, and they are asked about more often
    p[odd] = p[odd] ** 4 / (p[odd] ** 4).sum(axis=1, keepdims=True)
    ratio = np.where(odd, 6.0, 0.5)
    there = np.random.default_rng(2).choice(40_000, 20_000, p=ratio[:40_000] / ratio[:40_000].sum())
    fitted = slice(40_000, 60_000)
    for weights, low, high in ((None, 0.0, 0.88), (ratio[fitted], 0.89, 0.91)):
        made = conformal.fit(p[fitted], truth[fitted], 0.1, weights=weights)
        inside = made.sets(p[there], weights=None if weights is None else ratio[there])
        assert low <= inside[np.arange(len(there)), truth[there]].mean() <= high


def test_too_few_texts_are_not_known_and_everything_is_in_the_set():
    p, truth = drawn(8)
    few = conformal.fit(p, truth, 0.1)
    assert few.unknown.tolist() == [0]
    assert few.sets(p).all()
    p, truth = drawn(9)
    assert conformal.fit(p, truth, 0.1).unknown.tolist() == []
    truth = np.repeat([0, 1, 3], [9, 8, 3])
    by_class = conformal.fit(drawn(20)[0], truth, 0.1, by_class=True)
    assert by_class.unknown.tolist() == [1, 2, 3, 4]
    assert by_class.sets(drawn(20)[0])[:, 1:].all()
    assert conformal.fit(np.zeros((0, 3)), np.zeros(0, dtype=int)).unknown.tolist() == [0]


def test_without_chance_no_aps_set_is_empty_and_none_is_smaller():
    p, truth = drawn(500)
    made = conformal.fit(p, truth, 0.3, score="aps")
    assert made.sets(p).any(axis=1).all()
    assert made.sets(p)[np.arange(500), p.argmax(axis=1)].all()


def test_what_is_stored_does_the_same():
    p, truth = drawn(200)
    made = conformal.fit(p, truth, 0.1, score="aps", by_class=True)
    state = made.state()
    json.dumps(state.facts)
    assert np.array_equal(conformal.restore(state).sets(p), made.sets(p))
    with pytest.raises(DamagedRecord, match="calibrate again"):
        conformal.restore(State({}, {"score": "lac", "miss": 0.1}))


def test_refusals():
    p, truth = drawn(10)
    with pytest.raises(InputError, match=r"miss: 1\.5 .* between 0 and 1"):
        conformal.fit(p, truth, 1.5)
    with pytest.raises(InputError, match="raps"):
        conformal.fit(p, truth, score="raps")
    with pytest.raises(InputError, match="weights"):
        conformal.fit(p, truth, weights=np.zeros(10))
