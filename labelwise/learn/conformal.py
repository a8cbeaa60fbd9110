"""Sets of answers that hold the truth as often as asked: split conformal prediction.

Calibrate on texts drawn like those it is used on: the random control, or a labelled test split,
with beliefs of a model that was not trained on them. Then a set holds the truth with probability
at least 1 - miss, however wrong the beliefs are; better beliefs give smaller sets. A set of two or
more is an uncertainty that everybody understands; an empty one says: like nothing seen.

lac: sets by the probability itself, the smallest on average (Sadinle, Lei and Wasserman 2019, "Least
Ambiguous Set-Valued Classifiers with Bounded Error Levels"). aps: by the probability of all answers
that are at least as likely, larger but fairer between easy and hard texts (Romano, Sesia and Candès
2020, "Classification with Valid and Adaptive Coverage"). by_class: the promise holds within every
class (Vovk 2012, "Conditional Validity of Inductive Conformal Predictors"). Weights: likelihood
ratios towards the texts it is used on (Tibshirani, Barber, Candès and Ramdas 2019, "Conformal
Prediction Under Covariate Shift").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from labelwise.core import DamagedRecord, InputError, State, unknown

Array = npt.NDArray[Any]
Score = Literal["lac", "aps"]
SLACK = 1e-12  # sums of probabilities in another order differ in the last digits


@dataclass(frozen=True, slots=True, eq=False)
class Sets:
    """Fitted thresholds; what is not known yet is in every set, and ``unknown`` says so.

    scores   (m,) rising nonconformity of the calibration texts, class after class if by class
    weights  (m,) likelihood ratio of each
    starts   (k + 1,) where each class's begin; k = 1 for all classes together
    """

    score: Score
    miss: float
    scores: Array
    weights: Array
    starts: Array

    def thresholds(self, weight: float = 1.0) -> Array:
        """(k,) the largest nonconformity a set may hold, for a text of this likelihood ratio; inf where not known.

        With weights of one it is the ceil((n + 1) (1 - miss))-th smallest of n.
        """
        parts = zip(self.starts[:-1], self.starts[1:], strict=True)
        return np.array([self._threshold(slice(first, last), weight) for first, last in parts])

    def _threshold(self, part: slice, weight: float) -> float:
        mass = np.cumsum(self.weights[part])
        whole = (mass[-1] if len(mass) else 0.0) + weight
        place = int(np.searchsorted(mass, (1.0 - self.miss) * whole * (1 - 1e-12)))
        return float(self.scores[part][place]) if place < len(mass) else math.inf

    @property
    def unknown(self) -> Array:
        """Positions of the classes (or 0, for all together) with too few calibration texts: ceil(1 / miss) - 1."""
        return np.flatnonzero(~np.isfinite(self.thresholds()))

    def sets(self, probs: Array, rng: np.random.Generator | None = None, weights: Array | None = None) -> Array:
        """(n, c) bool for probabilities (n, c): which answers are in the set of each text. O(n c log c).

        ``aps`` draws one uniform number a text, which makes its sets no larger than they need be;
        without rng no set is empty and sets are a little larger. weights (n,) > 0: likelihood ratios of these texts.
        """
        p = np.asarray(probs, dtype=np.float64)
        tie = np.zeros(len(p)) if rng is None else rng.random(len(p))
        if weights is None:
            limits = self.thresholds()[None, :]
        else:
            ratios, place = np.unique(np.asarray(weights, dtype=np.float64), return_inverse=True)
            limits = np.array([self.thresholds(ratio) for ratio in ratios])[place]
        return np.asarray(_nonconformity(self.score, p, tie) <= limits + SLACK)

    def state(self) -> State:
        arrays = {"scores": self.scores, "weights": self.weights, "starts": self.starts}
        return State(arrays, {"score": self.score, "miss": self.miss})


def fit(
    probs: Array,
    truth: Array,
    miss: float = 0.1,
    *,
    score: Score = "lac",
    by_class: bool = False,
    weights: Array | None = None,
    rng: np.random.Generator | None = None,
) -> Sets:
    """Calibrate on probabilities (n, c) whose rows sum to 1 and the truth (n,) of n texts; n may be 0.

    miss in (0, 1): how often a set may lack the truth; weights (n,) > 0: likelihood ratios
    p_target / p_source; rng as in ``Sets.sets``. Raises InputError for a score, a miss or weights
    that are not allowed. O(n c log c).
    """
    if score not in get_args(Score):
        raise unknown("score", score, get_args(Score), "score")
    if not 0 < miss < 1:
        raise InputError(f"miss: {miss!r} is not allowed; give a share between 0 and 1, such as 0.1.")
    p = np.asarray(probs, dtype=np.float64)
    ratio = np.ones(len(p)) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(ratio) != len(p) or not (np.isfinite(ratio) & (ratio > 0)).all():
        raise InputError("weights: give one finite number > 0 for every text.")
    tie = np.zeros(len(p)) if rng is None else rng.random(len(p))
    scores = _nonconformity(score, p, tie)[np.arange(len(p)), truth]
    part = np.asarray(truth) if by_class else np.zeros(len(p), dtype=np.int64)
    order = np.lexsort((scores, part))
    counts = np.bincount(part, minlength=p.shape[1] if by_class else 1)
    return Sets(score, miss, scores[order], ratio[order], np.concatenate([[0], np.cumsum(counts)]))


def restore(state: State) -> Sets:
    """The sets that ``state`` describes; DamagedRecord if something is missing."""
    try:
        arrays = (np.asarray(state.arrays[name]) for name in ("scores", "weights", "starts"))
        return Sets(state.facts["score"], float(state.facts["miss"]), *arrays)
    except KeyError as missing:
        raise DamagedRecord(f"a state of prediction sets lacks {missing}; calibrate again.") from None


def _nonconformity(score: Score, p: Array, tie: Array) -> Array:
    """(n, c) how odd each answer would be. aps: mass of likelier answers, and a share ``tie`` of its own."""
    if score == "lac":
        return np.asarray(1.0 - p)
    order = np.argsort(-p, axis=1, kind="stable")
    falling = np.take_along_axis(p, order, axis=1)
    above = np.cumsum(falling, axis=1) - falling * (1.0 - tie[:, None])
    out = np.empty_like(p)
    np.put_along_axis(out, order, above, axis=1)
    return out
