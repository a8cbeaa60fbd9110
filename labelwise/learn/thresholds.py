"""From how likely a label is to whether it is given: a threshold for each label of a multi-label task.

At 0.5 a rare label is hardly ever given, although F1 asks for it much earlier (Lipton, Elkan and Naryanaswamy 2014,
"Optimal Thresholding of Classifiers to Maximize F1 Measure"). The threshold of the best F1 on held-out beliefs
is noisy where a label has few positives, so it is drawn towards 0.5 there, in log-odds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import Beliefs, Committee, Multilabel

Array = npt.NDArray[Any]

TRUST = 5.0  # as many positives pull the threshold half-way from 0.5
NEAREST = 1e-4  # no threshold comes nearer to 0 or 1


def best_thresholds(beliefs: Beliefs, truth: Array, weights: Array) -> Array:
    """(c,) float64 in (0, 1) from calibrated held-out beliefs about n texts, truth (n, c) bool and weights (n,).

    With k positives the share k / (k + 5) of the way, in log-odds, from 0.5 to where F1 is best; 0.5 for a label
    without any. O(c n log n).
    """
    form = beliefs.mean() if isinstance(beliefs, Committee) else beliefs
    probs = next(iter(form.arrays().values())).astype(np.float64)
    out = np.full(probs.shape[1], 0.5)
    for label in range(probs.shape[1]):
        positives = int(truth[:, label].sum())
        if positives:
            best = np.clip(_best(probs[:, label], truth[:, label], weights), NEAREST, 1 - NEAREST)
            odds = positives / (positives + TRUST) * (np.log(best) - np.log1p(-best))
            out[label] = 1 / (1 + np.exp(-odds))
    return out


def _best(probs: Array, truth: Array, weights: Array) -> float:
    """Half-way between the last probability that the best F1 gives the label and the first it does not."""
    order = np.argsort(-probs, kind="stable")
    falling = probs[order]
    hits, given = np.cumsum((weights * truth)[order]), np.cumsum(weights[order])
    last = np.flatnonzero(np.append(np.diff(falling) != 0, True))  # texts of equal probability are given together
    at = int(np.argmax(hits[last] / (given[last] + hits[-1])))
    below = falling[last[at] + 1] if last[at] + 1 < len(falling) else 0.0
    return float((falling[last[at]] + below) / 2)


def with_thresholds(beliefs: Beliefs, thresholds: Array | None) -> Beliefs:
    """The same beliefs, answering by these thresholds where they are about several labels."""
    if thresholds is None:
        return beliefs
    if isinstance(beliefs, Committee):
        members = beliefs.members
        return Committee(tuple(replace(m, thresholds=thresholds) if isinstance(m, Multilabel) else m for m in members))
    return replace(beliefs, thresholds=thresholds) if isinstance(beliefs, Multilabel) else beliefs
