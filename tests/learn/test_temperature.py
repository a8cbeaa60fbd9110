import numpy as np
import pytest

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
from labelwise.learn.temperature import Temperature


def stated(n, c, sharpness, seed=0):
    """Overstated probabilities, and truths drawn from the honest ones."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((n, c))
    honest, over = np.exp(logits), np.exp(sharpness * logits)
    honest, over = honest / honest.sum(1, keepdims=True), over / over.sum(1, keepdims=True)
    truth = (honest.cumsum(1) < rng.random((n, 1))).sum(1)
    return over, truth


def test_it_finds_the_temperature_that_was_put_in():
    probs, truth = stated(5000, 5, 2.5)
    found = Temperature().fit(Categorical(probs), truth, np.ones(5000))
    assert found.temperature == pytest.approx(2.5, rel=0.1)


def test_it_stays_near_one_with_little_to_learn_from():
    probs, truth = stated(5, 3, 3.0)
    loose, tight = (Temperature(spread).fit(Categorical(probs), truth, np.ones(5)) for spread in (10, 0.05))
    assert abs(np.log(tight.temperature)) < 0.05
    assert abs(np.log(tight.temperature)) < abs(np.log(loose.temperature))


def test_scale_of_weights_is_of_no_account():
    probs, truth = stated(100, 3, 2.0)
    one, other = (Temperature().fit(Categorical(probs), truth, np.full(100, w)) for w in (1.0, 50.0))
    assert one.temperature == pytest.approx(other.temperature, rel=1e-3)


def test_each_member_of_a_committee_is_tempered_alike():
    probs, truth = stated(300, 3, 3.0)
    committee = Committee((Categorical(probs), Categorical(probs[:, ::-1].copy())))
    calibration = Temperature().fit(committee, truth, np.ones(300))
    alone = calibration.apply(committee.members[0])
    assert np.array_equal(calibration.apply(committee).members[0].probs, alone.probs)


def test_tokens_are_tempered_one_by_one():
    probs, truth = stated(300, 3, 3.0)
    tagged = Tagged(probs, np.arange(0, 301, 3))
    calibration = Temperature().fit(tagged, Tags(truth, tagged.offsets), np.ones(100))
    assert calibration.temperature > 1.5
    assert np.array_equal(calibration.apply(tagged).probs, calibration.apply(Categorical(probs)).probs)


def test_classes_almost_ruled_out_stay_finite_and_in_order():
    probs = np.array([[1 - 2e-30, 1e-30, 1e-30], [0.0, 1.0, 0.0], [0.2, 0.3, 0.5]])
    for temperature in (0.05, 0.5, 20.0):
        after = Temperature().restore(State({}, {"temperature": temperature})).apply(Categorical(probs))
        assert np.isfinite(after.probs).all()
        assert (after.hard() == Categorical(probs).hard()).all()


def test_float32_stays_float32_and_half_becomes_it():
    probs, truth = stated(50, 3, 2.0)
    for given, expected in ((np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float64)):
        beliefs = Multilabel(probs.astype(given))
        after = Temperature().fit(beliefs, np.eye(3, dtype=bool)[truth], np.ones(50)).apply(beliefs)
        assert after.probs.dtype == expected


def test_refusals():
    with pytest.raises(InputError, match=r"spread: 0 .* from 0.01 to 10"):
        Temperature(spread=0)
    with pytest.raises(DamagedRecord, match="calibrate again"):
        Temperature().restore(State({}, {}))
    with pytest.raises(ContractError, match="str"):
        Temperature().restore(State({}, {"temperature": 2.0})).apply("no beliefs")
