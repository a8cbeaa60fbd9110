"""The linear classifier with scikit-learn's face, for pipelines and notebooks.

This module needs scikit-learn at import and is imported by nothing else that ``labelwise`` starts.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d, validate_data

from labelwise.core import Calibration, Examples, Kind, Multilabel, Task
from labelwise.learn.linear import Linear, LinearModel
from labelwise.learn.temperature import Temperature, Tempered

Array = npt.NDArray[Any]


class LinearClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """``Linear`` with ``Temperature``: logistic regression, C by held-out log-loss, calibrated out of fold.

    grid, folds: as ``Linear``'s, made for rows of unit norm; calibrate: fit a temperature on the
    held-out beliefs; warm_start: begin at the last fit, which makes the next faster, not different;
    random_state decides the folds. y (n,) is one class per row, y (n, c) of 0 and 1 any number.

    After ``fit``: ``classes_``, ``model_`` (a ``LinearModel``), ``calibration_``, ``n_features_in_``.
    Weights act relative to their mean, so a weight of 2 for all changes nothing, while every row
    twice is more data: less is then taken back by the penalty.
    """

    def __init__(
        self,
        grid: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0, 1000.0),
        folds: int = 5,
        calibrate: bool = True,
        warm_start: bool = False,
        random_state: Any = None,
    ) -> None:
        self.grid = grid
        self.folds = folds
        self.calibrate = calibrate
        self.warm_start = warm_start
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit X (n, d), dense and finite. ValueError for what scikit-learn refuses, and for fewer than 2 classes."""
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32), multi_output=True)
        check_classification_targets(y)
        weights = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        kept = weights > 0
        trainer = Linear(tuple(self.grid), self.folds)
        classes, targets, kind = _targets(y)
        task = Task(kind, tuple(map(repr, classes.tolist())))
        before = getattr(self, "model_", None) if self.warm_start else None
        examples = Examples(task, targets[kept], weights[kept], X[kept])
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31))
        model = trainer.fit(examples, before, rng)
        calibration: Calibration = Tempered(1.0)
        if self.calibrate and model.held_out is not None:
            calibration = Temperature().fit(model.held_out, examples.targets, examples.weights)
        self.classes_, self.model_, self.calibration_ = classes, model, calibration
        return self

    def predict_proba(self, X: Any) -> Array:
        """(m, c) float64: rows sum to 1 for one class per row, each label's own for any number. O(m d c)."""
        check_is_fitted(self)
        beliefs = self.calibration_.apply(
            self.model_.believe(validate_data(self, X, reset=False, dtype=(np.float64, np.float32)))
        )
        probs = np.asarray(next(iter(beliefs.arrays().values())), dtype=np.float64)
        return probs if isinstance(beliefs, Multilabel) else probs / probs.sum(axis=1, keepdims=True)

    def predict_log_proba(self, X: Any) -> Array:
        """(m, c) log of ``predict_proba``."""
        return np.log(self.predict_proba(X))

    def predict(self, X: Any) -> Array:
        """(m,) the likeliest class, or (m, c) 0 and 1 for any number of classes."""
        probs = self.predict_proba(X)
        if self.model_.facts["kind"] == "multi":
            return (probs > 0.5).astype(np.int64)
        return np.asarray(self.classes_[probs.argmax(axis=1)])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def fitted(model: LinearModel, calibration: Calibration, labels: tuple[str, ...]) -> LinearClassifier:
    """A classifier that needs no ``fit``: it answers as the model does."""
    classifier = LinearClassifier()
    classifier.model_, classifier.calibration_ = model, calibration
    classifier.classes_, classifier.n_features_in_ = np.array(labels), int(model.facts["dimensions"])
    return classifier


def _targets(y: Array) -> tuple[Array, Array, Kind]:
    """(classes (c,), targets as ``Task.targets`` makes them, kind of task)."""
    if type_of_target(y) == "multilabel-indicator":
        return np.arange(y.shape[1]), np.asarray(y, dtype=bool), "multi"
    classes, targets = np.unique(column_or_1d(y, warn=True), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"LinearClassifier needs at least 2 classes; y has {len(classes)} class: {classes.tolist()}.")
    return classes, targets.astype(np.int64), "single"
