"""The calibrator that the number of labels can afford: temperature, then vector scaling, then isotonic.

A richer calibrator is tried once there are labels for it, and kept only if its
cross-validated log-loss on the very data is lower than the simpler one's by more than a standard
error (the rule of Breiman, Friedman, Olshen and Stone 1984, "Classification and Regression Trees").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import Beliefs, Calibration, Calibrator, DamagedRecord, InputError, State, Tags
from labelwise.learn.folds import assign, strata_of
from labelwise.learn.forms import width
from labelwise.learn.isotonic import Isotonic
from labelwise.learn.temperature import Temperature
from labelwise.learn.vector import Vector

Array = npt.NDArray[Any]

MANY = 100_000
"""Beyond so many probabilities two folds suffice: half of the texts tell what all afford, in a third of the time."""


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The calibration that was kept, its ``method``, and what every richer one was worth."""

    method: str
    calibration: Calibration
    gains: dict[str, Any] = field(default_factory=dict)

    def apply(self, beliefs: Beliefs) -> Beliefs:
        """As the kept calibration does."""
        return self.calibration.apply(beliefs)

    def state(self) -> State:
        kept = self.calibration.state()
        return State(kept.arrays, {**kept.facts, "method": self.method, "gains": self.gains})


@dataclass(frozen=True, slots=True)
class Adaptive:
    """Temperature below ``enough`` texts or ``per_class`` texts per class, vector scaling from there if it pays.

    spread: as in ``temperature``; enough, per_class (>= 1): labelled texts, and labelled texts per
    class on average, from which vector scaling is tried; isotonic (>= 2): answers per class from
    which isotonic regression is tried; folds (2..20) of the cross-validation.
    """

    spread: float = 0.5
    enough: int = 500
    per_class: int = 20
    isotonic: int = 1000
    folds: int = 5

    def __post_init__(self) -> None:
        for name, low in (("enough", 1), ("per_class", 1), ("isotonic", 2)):
            if getattr(self, name) < low:
                raise InputError(f"{name}: {getattr(self, name)!r} is not allowed; give a whole number >= {low}.")
        if not 2 <= self.folds <= 20:
            raise InputError(f"folds: {self.folds!r} is not allowed; give a whole number from 2 to 20.")
        Temperature(self.spread)

    def fit(self, beliefs: Beliefs, truth: Any, weights: Array) -> Calibration:
        """The richest calibrator that pays, fitted to all. Folds follow from the data alone, so nothing is random.

        O(folds) fits of every calibrator that is tried.
        """
        n, name = len(beliefs), "temperature"
        each = n / width(beliefs)
        ladder: list[tuple[str, Calibrator]] = []
        if n >= self.enough and each >= self.per_class:
            ladder.append(("vector", Vector(self.spread)))
        if each >= self.isotonic:
            # a fold trains on less, and shall still try it
            ladder.append(("isotonic", Isotonic(self.spread, max(2, self.isotonic // 2))))
        best: Calibrator = Temperature(self.spread)
        gains: dict[str, Any] = {}
        if ladder:
            folds = min(self.folds, n) if n * width(beliefs) <= MANY else 2
            fold = assign(_strata(truth), None, beliefs.confidence(), folds)
            losses = self._held_out(best, beliefs, truth, weights, fold)
            for candidate, calibrator in ladder:
                tried = self._held_out(calibrator, beliefs, truth, weights, fold)
                gain, error = _mean(losses - tried, weights)
                gains[candidate] = {"gain": gain, "error": error}
                if gain > error:
                    best, name, losses = calibrator, candidate, tried
        return Chosen(name, best.fit(beliefs, truth, weights), gains)

    def _held_out(self, calibrator: Calibrator, beliefs: Beliefs, truth: Any, weights: Array, fold: Array) -> Array:
        """(n,) surprise of every text under a calibration fitted to the other folds."""
        losses = np.zeros(len(fold))
        for k in range(int(fold.max()) + 1):
            rest, held = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            fitted = calibrator.fit(beliefs.take(rest), truth[rest], weights[rest])
            losses[held] = fitted.apply(beliefs.take(held)).surprise(truth[held])
        return losses

    def restore(self, state: State) -> Calibration:
        """The calibration that ``state`` describes; DamagedRecord for a method that does not exist."""
        facts = dict(state.facts)
        methods: dict[Any, Calibrator] = {"temperature": Temperature(), "vector": Vector(), "isotonic": Isotonic()}
        method, gains = facts.pop("method", None), facts.pop("gains", {})
        if method not in methods:
            raise DamagedRecord(f"an adaptive calibration's state names the method {method!r}; calibrate again.")
        return Chosen(method, methods[method].restore(State(state.arrays, facts)), gains)


def _strata(truth: Any) -> Array:
    """Classes to spread over folds; texts whose tokens have tags of their own are all alike."""
    return np.zeros(len(truth), dtype=np.int64) if isinstance(truth, Tags) else strata_of(truth)


def _mean(values: Array, weights: Array) -> tuple[float, float]:
    """Weighted mean and its standard error."""
    share = np.asarray(weights, dtype=np.float64) / np.sum(weights, dtype=np.float64)
    mean = float(share @ values)
    return mean, float(np.sqrt(share**2 @ (values - mean) ** 2))
