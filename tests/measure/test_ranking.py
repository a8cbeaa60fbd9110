"""Rankings of labels as scikit-learn has them, ties and empty rows included."""

import numpy as np
import pytest
from sklearn import metrics as oracle

from labelwise.core import Multilabel, stream
from labelwise.measure.metrics import evaluate
from labelwise.measure.ranking import ranking


@pytest.mark.parametrize("levels", [3, 1000])
@pytest.mark.parametrize("c", [2, 7])
def test_each_text_agrees_with_scikit_learn(levels, c):
    rng = np.random.default_rng(levels + c)
    probs = rng.integers(0, levels, (120, c)) / levels
    truth = rng.random((120, c)) < 0.4
    truth[0], truth[1] = True, False
    found = ranking(probs, truth)
    for row in range(120):
        y, p = truth[row : row + 1], probs[row : row + 1]
        assert found["lrap"][row] == pytest.approx(oracle.label_ranking_average_precision_score(y, p))
        assert found["ranking_loss"][row] == pytest.approx(oracle.label_ranking_loss(y, p))
        assert found["coverage_error"][row] == pytest.approx(oracle.coverage_error(y, p))


def test_evaluate_reports_them_with_weights():
    rng = np.random.default_rng(0)
    probs, weights = rng.random((60, 4)), rng.uniform(0.5, 2, 60)
    truth = rng.random((60, 4)) < probs
    found = evaluate(Multilabel(probs), truth, list("abcd"), weights=weights, rng=stream(0))["metrics"]
    wanted = oracle.label_ranking_average_precision_score(truth, probs, sample_weight=weights)
    assert found["lrap"]["value"] == pytest.approx(wanted)
    assert found["lrap"]["lo"] < wanted < found["lrap"]["hi"]


def test_thresholds_decide_f1_but_not_the_ranking():
    probs, truth = np.array([[0.3, 0.1], [0.2, 0.4]] * 10), np.array([[True, False], [False, True]] * 10)
    plain, tuned = (
        evaluate(Multilabel(probs, t), truth, ["a", "b"], rng=stream(0))["metrics"]
        for t in (None, np.array([0.25, 0.25]))
    )
    assert (plain["macro_f1"]["value"], tuned["macro_f1"]["value"]) == (0.0, 1.0)
    assert plain["lrap"] == tuned["lrap"]
