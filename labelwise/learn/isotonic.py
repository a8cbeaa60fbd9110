"""Any rising correction per class: isotonic regression, for projects with very many labels.

Zadrozny and Elkan (2002), "Transforming Classifier Scores into Accurate Multiclass Probability
Estimates": every class against the rest, then rows renormalised. Like ``vector`` it begins where
``temperature`` ends. A step function fitted to few labels is noise, so a class with fewer than
``least`` true or false answers keeps its tempered probability, and a share of that probability is
kept in all: no class is ruled out, and no order within a class is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import Beliefs, Calibration, DamagedRecord, InputError, State
from labelwise.learn.forms import TINY, changed, rows, scaled, width
from labelwise.learn.temperature import Temperature

Array = npt.NDArray[Any]
KEPT = 0.02
"""Share of the tempered probability in the corrected one."""


@dataclass(frozen=True, slots=True, eq=False)
class Stepped:
    """Fitted corrections: those of class k are knots[starts[k]:starts[k + 1]], with ``heights`` there; none = as is."""

    temperature: float
    knots: Array
    heights: Array
    starts: Array
    facts: dict[str, Any] = field(default_factory=dict)

    def apply(self, beliefs: Beliefs) -> Beliefs:
        """The same form, member by member of a committee. Raises ContractError for a form it does not know.

        O(n c log k) for k knots a class.
        """
        return beliefs if self.temperature == 1.0 and not len(self.knots) else changed(beliefs, self._change)

    def _change(self, probs: Array, several: bool) -> Array:
        p = scaled(probs, several, 1.0 / self.temperature) if self.temperature != 1.0 else probs
        if not len(self.knots):
            return p
        out = np.array(p, dtype=np.float64, order="F")
        for k, (first, last) in enumerate(zip(self.starts[:-1], self.starts[1:], strict=True)):
            if last > first:
                heights = np.interp(out[:, k], self.knots[first:last], self.heights[first:last])
                out[:, k] = (1 - KEPT) * heights + KEPT * out[:, k]
        return out if several else out / np.maximum(out.sum(axis=1, keepdims=True), TINY)

    def state(self) -> State:
        arrays = {"knots": self.knots, "heights": self.heights, "starts": self.starts}
        return State(arrays, {**self.facts, "temperature": self.temperature})


@dataclass(frozen=True, slots=True)
class Isotonic:
    """Fits a rising correction for every class that has enough answers, after a temperature.

    spread (0.01..10): the prior of the temperature, as in ``temperature``; least (>= 2): true, and
    false, answers a class must have to be corrected.
    """

    spread: float = 0.5
    least: int = 1000

    def __post_init__(self) -> None:
        if not 0.01 <= self.spread <= 10:
            raise InputError(f"spread: {self.spread!r} is not allowed; give a number from 0.01 to 10.")
        if self.least < 2:
            raise InputError(f"least: {self.least!r} is not allowed; give a whole number of at least 2.")

    def fit(self, beliefs: Beliefs, truth: Any, weights: Array) -> Calibration:
        """Weighted least squares under the order of the tempered beliefs. O(n c log n).

        Weights (n,) act relative to their mean. A committee is fitted by its mean. If the temperature
        alone has no higher log-loss on these data, it stays alone.
        """
        facts = dict(Temperature(self.spread).fit(beliefs, truth, weights).state().facts)
        heat, c = float(facts.pop("temperature")), width(beliefs)
        alone = Stepped(heat, np.zeros(0), np.zeros(0), np.zeros(c + 1, dtype=np.int64), facts)
        if len(beliefs) == 0:
            return alone
        p, actual, share = rows(alone.apply(beliefs), truth, weights)
        curves = [_rising(p[:, k], actual[:, k], share, self.least) for k in range(c)]
        starts = np.concatenate([[0], np.cumsum([len(knots) for knots, _ in curves])])
        knots, heights = (np.concatenate([curve[i] for curve in curves]) for i in (0, 1))
        richer = Stepped(heat, knots, heights, starts, facts)
        each = np.asarray(weights, dtype=np.float64) / np.sum(weights, dtype=np.float64)
        before, after = (float(each @ found.apply(beliefs).surprise(truth)) for found in (alone, richer))
        if not after < before:
            return alone
        return Stepped(heat, knots, heights, starts, {**facts, "log_loss_after": after})

    def restore(self, state: State) -> Calibration:
        """The calibration that ``state`` describes; DamagedRecord if something is missing."""
        facts = dict(state.facts)
        try:
            knots, heights, starts = (np.asarray(state.arrays[name]) for name in ("knots", "heights", "starts"))
            return Stepped(float(facts.pop("temperature")), knots, heights, starts, facts)
        except KeyError as missing:
            raise DamagedRecord(f"an isotonic calibration's state lacks {missing}; calibrate again.") from None


def _rising(p: Array, actual: Array, weights: Array, least: int) -> tuple[Array, Array]:
    """Ends of the flat stretches of the rising fit, and their heights; nothing for a class with too few answers."""
    from scipy.optimize import isotonic_regression

    positive = int(actual.sum())
    if min(positive, len(actual) - positive) < least:
        return np.zeros(0), np.zeros(0)
    # equal beliefs get one height
    at, place = np.unique(p, return_inverse=True)
    total = np.bincount(place, weights)
    mean = np.bincount(place, weights * actual) / total
    found = isotonic_regression(mean, weights=total)
    first, last = found.blocks[:-1], found.blocks[1:] - 1
    ends = np.unique(np.concatenate([first, last]))
    return at[ends], found.x[ends]
