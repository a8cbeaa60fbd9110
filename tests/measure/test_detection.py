"""AUROC, AUPR and FPR95 against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.core import InputError, WrongMoment, stream
from labelwise.measure.detection import detection

scores = st.lists(st.integers(0, 6), min_size=1, max_size=30).map(lambda values: np.array(values) / 6)


@given(scores, scores)
@settings(max_examples=40, deadline=None)
def test_figures_are_what_they_are_defined_as(inside, outside):
    found = detection(inside, outside, rng=stream(0, "d"), resamples=0)
    pairs = [(o > i) + 0.5 * (o == i) for i in inside for o in outside]
    assert found["auroc"]["value"] == pytest.approx(np.mean(pairs))
    limit = min(t for t in inside if np.mean(inside <= t) >= 0.95 - 1e-12)
    assert found["fpr95"]["value"] == pytest.approx(np.mean(outside <= limit))
    # average precision: precision at every threshold, weighted by the recall it adds
    total = 0.0
    for t in np.unique(np.concatenate([inside, outside])):
        precision = (outside >= t).sum() / ((outside >= t).sum() + (inside >= t).sum())
        total += precision * np.mean(outside == t)
    assert found["aupr"]["value"] == pytest.approx(total)
    assert all(found[name]["lo"] == found[name]["value"] for name in ("auroc", "aupr", "fpr95"))


def test_intervals_hold_the_truth_of_two_normals():
    """Shifted by 1, the chance that one lies above the other is Phi(1 / sqrt 2) = .760."""
    rng = stream(1, "normals")
    found = detection(rng.normal(size=800), rng.normal(size=800) + 1, rng=stream(2, "d"))
    assert found["auroc"]["lo"] < 0.760 < found["auroc"]["hi"]
    assert found["auroc"]["hi"] - found["auroc"]["lo"] < 0.07
    assert found["fpr95"]["lo"] < 0.741 < found["fpr95"]["hi"]
    assert (found["inside"], found["outside"]) == (800, 800)


def test_bad_input_is_refused():
    one = np.ones(3)
    for pair in ((one, one[:0]), (one[:0], one)):
        with pytest.raises(WrongMoment, match="both are needed"):
            detection(*pair, rng=stream(0, "d"))
    with pytest.raises(InputError, match="nan or inf"):
        detection(one, np.array([1.0, np.nan]), rng=stream(0, "d"))
