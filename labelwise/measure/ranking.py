"""How well probabilities rank the labels of each text, whatever the thresholds.

Tsoumakas, Katakis and Vlahavas (2010), "Mining Multi-label Data"; ties count against the ranking.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def ranking(probs: Array, truth: Array) -> dict[str, Array]:
    """(n,) each, from probabilities (n, c) and truth (n, c) bool. O(n c log c).

    lrap            mean over true labels of the share of true ones among those ranked as high or higher; in (0, 1]
    coverage_error  how far down the ranking all true labels are found; in [0, c], 0 for a text without labels
    ranking_loss    share of pairs of a true and another label that are in the wrong order; in [0, 1]

    A text with no label or with all has nothing to rank: lrap 1, ranking_loss 0.
    """
    n, c = probs.shape
    row = np.arange(n)[:, None]
    order = np.argsort(-probs, axis=1, kind="stable")
    sorted_probs, hit = probs[row, order], truth[row, order].astype(np.float64)
    # the last place of every run of equal probabilities
    last = np.ones((n, c), dtype=bool)
    last[:, :-1] = sorted_probs[:, :-1] != sorted_probs[:, 1:]
    place = np.where(last, np.arange(c), c)
    rank = np.minimum.accumulate(place[:, ::-1], axis=1)[:, ::-1] + 1.0
    found = np.cumsum(hit, axis=1)[row, rank.astype(np.intp) - 1]
    true, other = hit.sum(axis=1), c - hit.sum(axis=1)
    precision = (hit * found / rank).sum(axis=1) / np.maximum(true, 1)
    wrong = (hit * (rank - found)).sum(axis=1) / np.maximum(true * other, 1)
    nothing = (true == 0) | (other == 0)
    return {
        "lrap": np.where(nothing, 1.0, precision),
        "coverage_error": (hit * rank).max(axis=1, initial=0.0),
        "ranking_loss": np.where(nothing, 0.0, wrong),
    }
