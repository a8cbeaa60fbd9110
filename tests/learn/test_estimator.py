"""What is offered as a scikit-learn estimator passes scikit-learn's own checks, and is the trainer underneath."""

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from labelwise.core import Examples, InputError, Task, stream
from labelwise.learn.estimator import LinearClassifier
from labelwise.learn.linear import Linear

REASONS = {
    "check_sample_weight_equivalence_on_dense_data": (
        "weights act relative to their mean, and rows are dealt to folds: a row twice is more data than weight 2"
    ),
}


# Two candidates for C are a search like five.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([LinearClassifier((1.0, 100.0))], expected_failed_checks=lambda _: REASONS)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def blobs(n=90, k=3, seed=0):
    rng = stream(seed, "blobs")
    y = np.arange(n) % k
    x = rng.normal(size=(k, 8))[y] + 0.7 * rng.normal(size=(n, 8))
    return x / np.linalg.norm(x, axis=1, keepdims=True), y


def test_it_is_the_trainer():
    x, y = blobs()
    names = np.array(["b", "a", "c"])[y]
    found = LinearClassifier(calibrate=False, random_state=0).fit(x, names)
    assert found.classes_.tolist() == ["a", "b", "c"]
    task = Task("single", ("a", "b", "c"))
    known = Examples(task, task.targets(names.tolist()), np.ones(len(y)), x)
    model = Linear((found.model_.facts["c"],)).fit(known, None, stream(0, "fit"))
    np.testing.assert_allclose(found.predict_proba(x), model.believe(x).probs, atol=1e-4)
    np.testing.assert_allclose(found.predict_log_proba(x), np.log(found.predict_proba(x)))


def test_calibration_is_fitted_out_of_fold_and_changes_no_answer():
    x, y = blobs(seed=3)
    plain, calibrated = (LinearClassifier(calibrate=c, random_state=0).fit(x, y) for c in (False, True))
    assert plain.calibration_.temperature == 1.0
    assert calibrated.calibration_.temperature != 1.0
    assert (plain.predict(x) == calibrated.predict(x)).all()


def test_a_warm_start_begins_at_the_last_fit_also_after_a_new_class(monkeypatch):
    x, y = blobs(k=4)
    starts = []
    fit = Linear.fit
    monkeypatch.setattr(
        Linear, "fit", lambda self, known, start, rng: starts.append(start) or fit(self, known, start, rng)
    )
    warm, cold = LinearClassifier(warm_start=True, random_state=0), LinearClassifier(random_state=0)
    before = warm.fit(x[y < 3], y[y < 3]).model_
    warm.fit(x, y)
    cold.fit(x, y).fit(x, y)
    assert starts == [None, before, None, None]
    np.testing.assert_allclose(warm.predict_proba(x), cold.predict_proba(x), atol=1e-3)


def test_weights_count_and_a_row_without_weight_is_not_there():
    x, y = blobs()
    weights = np.where(np.arange(90) < 30, 0.0, 1.0)
    rest, none = (LinearClassifier(random_state=0).fit(*data) for data in ((x[30:], y[30:]), (x, y, weights)))
    np.testing.assert_array_equal(rest.predict_proba(x), none.predict_proba(x))
    heavy = LinearClassifier(random_state=0).fit(x, y, np.where(y == 0, 5.0, 1.0))
    assert (
        heavy.predict_proba(x)[:, 0].mean() > LinearClassifier(random_state=0).fit(x, y).predict_proba(x)[:, 0].mean()
    )


def test_any_number_of_labels():
    x, y = blobs()
    table = np.column_stack([y == 0, y > 0, np.zeros(90, dtype=bool)]).astype(int)
    found = LinearClassifier(random_state=0).fit(x, table)
    assert (found.predict(x)[:, :2] == table[:, :2]).mean() > 0.9
    assert found.predict_proba(x)[0, 2] < 0.1


def test_it_goes_through_cross_validation_and_refuses_clearly():
    x, y = blobs()
    assert cross_val_score(LinearClassifier((10.0,), random_state=0), x, y, cv=3).mean() > 0.8
    with pytest.raises(ValueError, match="at least 2 classes; y has 1 class"):
        LinearClassifier().fit(x, np.zeros(90))
    with pytest.raises(InputError, match=r"grid: \[-1\.0\]"):
        LinearClassifier((-1.0,)).fit(x, y)
