"""How well a score tells texts outside from those inside, with intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import InputError, WrongMoment

Array = npt.NDArray[Any]


def detection(inside: Array, outside: Array, *, rng: np.random.Generator, resamples: int = 200) -> dict[str, Any]:
    """AUROC, AUPR and FPR at 95 % TPR of scores of n texts inside and m outside; larger = more outside.

    auroc  the chance that a text outside scores above one inside, ties counting half
    aupr   average precision with outside as the positive class; a score that knows nothing has m / (n + m)
    fpr95  the share of texts outside below the score that 95 % of those inside do not exceed: "positive" is
           inside here, as is usual in out-of-distribution detection

    Each is {"value", "lo", "hi"}, a 95 % percentile bootstrap over texts of both kinds (Efron 1979). Raises
    WrongMoment without texts of both kinds, InputError for scores that are not finite. O(r (n + m) log (n + m)).
    """
    inside, outside = (np.asarray(scores, dtype=np.float64) for scores in (inside, outside))
    if not len(inside) or not len(outside):
        raise WrongMoment(f"{len(inside)} texts inside and {len(outside)} outside; both are needed to tell them apart.")
    if not (np.isfinite(inside).all() and np.isfinite(outside).all()):
        raise InputError("scores: nan or inf is not allowed; give finite numbers.")
    draws = [_figures(inside, outside)]
    for _ in range(resamples):
        pair = (scores[rng.integers(len(scores), size=len(scores))] for scores in (inside, outside))
        draws.append(_figures(*pair))
    names = ("auroc", "aupr", "fpr95")
    return {"inside": len(inside), "outside": len(outside)} | {
        name: _interval(np.array(column)) for name, column in zip(names, zip(*draws, strict=True), strict=True)
    }


def _figures(inside: Array, outside: Array) -> tuple[float, float, float]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    scores = np.concatenate([inside, outside])
    truth = np.arange(len(scores)) >= len(inside)
    # an order statistic and no interpolation: at least 95 % are inside, ties included
    limit = np.sort(inside)[int(np.ceil(0.95 * len(inside))) - 1]
    return (
        float(roc_auc_score(truth, scores)),
        float(average_precision_score(truth, scores)),
        float(np.mean(outside <= limit)),
    )


def _interval(draws: Array) -> dict[str, float]:
    value = float(draws[0])
    lo, hi = np.percentile(draws[1:], [2.5, 97.5]) if len(draws) > 1 else (value, value)
    return {"value": value, "lo": min(value, float(lo)), "hi": max(value, float(hi))}
