"""One number that makes a model as sure as it is right: temperature scaling.

Guo, Pleiss, Sun and Weinberger (2017), "On Calibration of Modern Neural Networks", with a
log-normal prior that keeps the temperature near 1 while there is little to learn it from.
Fit it on held-out beliefs, best on the random control stream: on actively chosen
labels it comes out too high. One number cannot change which answer is preferred, nor mend one
class that is off while others are not: see ``vector``, ``isotonic`` and ``adaptive``, which begin with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import Beliefs, Calibration, DamagedRecord, InputError, State, from_arrays
from labelwise.learn.forms import changed, scaled

Array = npt.NDArray[Any]
COLDEST, HOTTEST = 0.05, 20.0


@dataclass(frozen=True, slots=True)
class Tempered:
    """A fitted temperature: > 1 makes beliefs flatter, < 1 sharper, 1 leaves them untouched."""

    temperature: float
    facts: dict[str, Any] = field(default_factory=dict)

    def apply(self, beliefs: Beliefs) -> Beliefs:
        """The same form with tempered probabilities, float32 or float64 as given (float16 becomes float32).

        Every member of a committee is tempered alike, so that their disagreement stays visible.
        Raises ContractError for a form it does not know. O(n c).
        """
        return beliefs if self.temperature == 1.0 else _tempered(beliefs, self.temperature)

    def state(self) -> State:
        return State({}, {**self.facts, "temperature": self.temperature})


@dataclass(frozen=True, slots=True)
class Temperature:
    """Fits one temperature in [0.05, 20].

    spread (0.01..10): standard deviation of the prior on ln T; smaller trusts T = 1 more.
    """

    spread: float = 0.5

    def __post_init__(self) -> None:
        if not 0.01 <= self.spread <= 10:
            raise InputError(f"spread: {self.spread!r} is not allowed; give a number from 0.01 to 10.")

    def fit(self, beliefs: Beliefs, truth: Any, weights: Array) -> Calibration:
        """Minimise  sum_i w_i surprise_i(T) + (ln T)^2 / (2 spread^2)  with weights (n,) that sum to Kish's size.

        That is n for equal weights, less for unequal ones: (sum w)^2 / sum w^2 (Kish 1965, "Survey Sampling").

        Truth is in the form of ``beliefs.hard()``. A text counts once however many labels or
        tokens it has, because its decisions are not independent. A committee gets the T that
        suits the mean of its tempered members. If no T beats 1 on these data, or there are
        none, T = 1. O(n c) per evaluation, about 20 of them.
        """
        from scipy.optimize import minimize_scalar

        n = len(beliefs)
        if n == 0:
            return Tempered(1.0, {"n": 0})
        share = np.asarray(weights, dtype=np.float64) / np.sum(weights, dtype=np.float64)
        size = 1.0 / float(share @ share)

        exact = {name: a.astype(np.float64) if a.dtype.kind == "f" else a for name, a in beliefs.arrays().items()}
        precise = from_arrays(exact)

        def loss(temperature: float) -> float:
            return float(share @ _tempered(precise, temperature).surprise(truth))

        found = minimize_scalar(
            lambda log_t: size * loss(math.exp(log_t)) + log_t**2 / (2 * self.spread**2),
            bounds=(math.log(COLDEST), math.log(HOTTEST)),
            method="bounded",
            options={"xatol": 1e-4},
        )
        before, temperature = float(share @ beliefs.surprise(truth)), math.exp(float(found.x))
        after = loss(temperature)
        if not after < before:
            temperature, after = 1.0, before
        return Tempered(temperature, {"n": n, "log_loss_before": before, "log_loss_after": after})

    def restore(self, state: State) -> Calibration:
        """The calibration that ``state`` describes; DamagedRecord without a temperature."""
        facts = dict(state.facts)
        if "temperature" not in facts:
            raise DamagedRecord("a temperature's state lacks 'temperature'; calibrate again.")
        return Tempered(float(facts.pop("temperature")), facts)


def _tempered(beliefs: Beliefs, temperature: float) -> Beliefs:
    return changed(beliefs, lambda probs, several: scaled(probs, several, 1.0 / temperature))
