"""A slope and an offset for every class: vector scaling, and Platt scaling where labels answer for themselves.

Guo, Pleiss, Sun and Weinberger (2017), "On Calibration of Modern Neural Networks"; Platt (1999),
"Probabilistic Outputs for Support Vector Machines". It begins where ``temperature`` ends: slopes
and offsets refine the tempered beliefs under normal priors around 1 and 0, so that a class with
few or no labels stays as the temperature leaves it. Unlike a temperature it can turn
an answer, where a class was favoured throughout.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import Beliefs, Calibration, Committee, DamagedRecord, InputError, Multilabel, State
from labelwise.learn.forms import TINY, changed, rows, scaled, width
from labelwise.learn.temperature import Temperature

Array = npt.NDArray[Any]
STEEPEST = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Scaled:
    """A fitted slope and offset (c,) of every class, on log-probabilities (on log-odds for several labels)."""

    slopes: Array
    offsets: Array
    facts: dict[str, Any] = field(default_factory=dict)

    def apply(self, beliefs: Beliefs) -> Beliefs:
        """The same form, member by member of a committee. Raises ContractError for a form it does not know. O(n c)."""
        if (self.slopes == 1.0).all() and not self.offsets.any():
            return beliefs
        return changed(beliefs, lambda probs, several: scaled(probs, several, self.slopes, self.offsets))

    def state(self) -> State:
        return State({"slopes": self.slopes, "offsets": self.offsets}, self.facts)


@dataclass(frozen=True, slots=True)
class Vector:
    """Fits a slope and an offset per class, after a temperature.

    spread (0.01..10): the prior of the temperature, as in ``temperature``; slope, offset
    (0.01..10): standard deviations of the priors of a class's slope around 1 and offset around
    0; smaller trusts the tempered beliefs more.
    """

    spread: float = 0.5
    slope: float = 0.25
    offset: float = 1.0

    def __post_init__(self) -> None:
        for name in ("spread", "slope", "offset"):
            if not 0.01 <= getattr(self, name) <= 10:
                raise InputError(f"{name}: {getattr(self, name)!r} is not allowed; give a number from 0.01 to 10.")

    def fit(self, beliefs: Beliefs, truth: Any, weights: Array) -> Calibration:
        """Minimise  sum_i w_i surprise_i + |a - 1|^2 / (2 slope^2) + |c|^2 / (2 offset^2)  for slopes a, offsets c.

        They act on tempered beliefs; weights (n,) are as in ``temperature``. Of several labels per text
        each is fitted for itself, to the sum of its own surprise. A committee is fitted by its mean. If
        the temperature alone is no worse on these data, it stays alone. O(n c) per iteration.
        """
        from scipy.optimize import minimize

        tempered = Temperature(self.spread).fit(beliefs, truth, weights)
        facts = dict(tempered.state().facts)
        c, heat = width(beliefs), float(facts["temperature"])
        alone = Scaled(np.full(c, 1.0 / heat), np.zeros(c), facts)
        if len(beliefs) == 0:
            return alone
        share = np.asarray(weights, dtype=np.float64) / np.sum(weights, dtype=np.float64)
        objective = _Objective(self, beliefs, truth, weights, heat)
        found = minimize(
            objective,
            np.concatenate([np.ones(c), np.zeros(c)]),
            jac=True,
            method="L-BFGS-B",
            bounds=[(1 / STEEPEST, STEEPEST)] * c + [(-STEEPEST, STEEPEST)] * c,
            options={"maxiter": 300, "ftol": 1e-7},
        )
        richer = Scaled(found.x[:c] / heat, found.x[c:], facts)
        before = float(share @ alone.apply(beliefs).surprise(truth))
        after = float(share @ richer.apply(beliefs).surprise(truth))
        return Scaled(richer.slopes, richer.offsets, {**facts, "log_loss_after": after}) if after < before else alone

    def restore(self, state: State) -> Calibration:
        """The calibration that ``state`` describes; DamagedRecord if something is missing."""
        try:
            return Scaled(np.asarray(state.arrays["slopes"]), np.asarray(state.arrays["offsets"]), dict(state.facts))
        except KeyError as missing:
            raise DamagedRecord(f"a vector scaling's state lacks {missing}; calibrate again.") from None


class _Objective:
    """Value and gradient at slopes and offsets, flattened (2 c,)."""

    def __init__(self, priors: Vector, beliefs: Beliefs, truth: Any, weights: Array, heat: float) -> None:
        p, self.truth, share = rows(beliefs, truth, weights)
        share_of_texts = np.asarray(weights, dtype=np.float64) / np.sum(weights, dtype=np.float64)
        self.several = isinstance(beliefs.mean() if isinstance(beliefs, Committee) else beliefs, Multilabel)
        p = np.clip(p, TINY, 1 - TINY if self.several else 1.0)
        self.logits = (np.log(p) - np.log1p(-p) if self.several else np.log(p)) / heat
        size = 1.0 / float(share_of_texts @ share_of_texts)
        self.weights = share[:, None] * size
        c = p.shape[1]
        self.centre = np.repeat([1.0, 0.0], c)
        self.precision = np.repeat([priors.slope**-2, priors.offset**-2], c)

    def __call__(self, flat: Array) -> tuple[float, Array]:
        slopes, offsets = np.split(flat, 2)
        z = self.logits * slopes + offsets
        if self.several:
            losses = np.logaddexp(0, z) - z * self.truth
            p = 0.5 * (1.0 + np.tanh(0.5 * z))
        else:
            z -= z.max(axis=1, keepdims=True)
            p = np.exp(z)
            total = p.sum(axis=1, keepdims=True)
            losses = np.log(total) - (z * self.truth).sum(axis=1, keepdims=True)
            p /= total
        slack = (p - self.truth) * self.weights
        away = flat - self.centre
        loss = float((losses * self.weights).sum() + 0.5 * (self.precision * away**2).sum())
        gradient = np.concatenate([(slack * self.logits).sum(axis=0), slack.sum(axis=0)])
        return loss, gradient + self.precision * away
