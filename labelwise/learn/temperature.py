"""One number that makes a model as sure as it is right: temperature scaling.

Guo, Pleiss, Sun and Weinberger (2017), "On Calibration of Modern Neural Networks", with a
log-normal prior that keeps the temperature near 1 while there is little to learn it from
(methods b.1). Fit it on held-out beliefs, best on the random control stream: on actively chosen
labels it comes out too high. One number cannot change which answer is preferred, nor mend one
class that is off while others are not; with a few hundred labels nothing richer is earned.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import (
    Beliefs,
    Calibration,
    Categorical,
    Committee,
    ContractError,
    DamagedRecord,
    InputError,
    Multilabel,
    State,
    Tagged,
    from_arrays,
)

Array = npt.NDArray[Any]
COLDEST, HOTTEST = 0.05, 20.0
TINY = 1e-12


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
        """Minimise  sum_i w_i surprise_i(T) + (ln T)^2 / (2 spread^2)  with weights (n,) of mean one.

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

        exact = {name: a.astype(np.float64) if a.dtype.kind == "f" else a for name, a in beliefs.arrays().items()}
        precise = from_arrays(exact)

        def loss(temperature: float) -> float:
            return float(share @ _tempered(precise, temperature).surprise(truth))

        found = minimize_scalar(
            lambda log_t: n * loss(math.exp(log_t)) + log_t**2 / (2 * self.spread**2),
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
    if isinstance(beliefs, Committee):
        return Committee(tuple(_form(member, temperature) for member in beliefs.members))
    if isinstance(beliefs, Categorical | Multilabel | Tagged):
        return _form(beliefs, temperature)
    raise ContractError(f"temperature cannot calibrate {type(beliefs).__name__}")


def _form(beliefs: Categorical | Multilabel | Tagged, temperature: float) -> Categorical | Multilabel | Tagged:
    change: Callable[[Array, float], Array] = _sigmoid if isinstance(beliefs, Multilabel) else _softmax
    probs = change(beliefs.probs, temperature).astype(np.result_type(beliefs.probs.dtype, np.float32))
    return Tagged(probs, beliefs.offsets) if isinstance(beliefs, Tagged) else type(beliefs)(probs)


def _softmax(probs: Array, temperature: float) -> Array:
    # each answer's probabilities side by side: sums over answers are then many times faster
    logits = np.array(probs.T, dtype=np.result_type(probs, np.float32), order="C")
    np.log(np.maximum(logits, TINY, out=logits), out=logits)
    logits /= temperature
    logits -= logits.max(axis=0, initial=-np.inf)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=0)
    return logits.T


def _sigmoid(probs: Array, temperature: float) -> Array:
    p = np.clip(probs.astype(np.float64), TINY, 1 - TINY)
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * (np.log(p) - np.log1p(-p)) / temperature)))
