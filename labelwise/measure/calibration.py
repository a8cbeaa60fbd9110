"""How far beliefs may be taken at their word: calibration errors, selective risk, and a gate.

The calibration error in bins (``metrics``: ece) is never negative, so noise alone makes it about
sqrt(bins / n). Kumar, Liang and Ma (2019), "Verified Uncertainty Calibration", subtract from
every bin's squared gap the variance of its observed frequency; what remains is right on average.
The gate rests on that error and on the pivotal bootstrap, which takes the noise of resampling out
a second time, so that honest beliefs do not fail it because texts are few.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

TOLERANCE = 0.05
"""A calibration error credibly above this fails the gate."""
LEAST = 100
"""Below so many texts (five bins) the gate does not know."""


def equal_bins(values: Array, n: int) -> Array:
    """(m,) bin of every value: min(15, n / 20) bins of equal mass over n texts, at least one. O(m log m)."""
    bins = max(1, min(15, n // 20))
    place = np.empty(len(values), dtype=np.int64)
    place[np.argsort(values, kind="stable")] = np.arange(len(values)) * bins // max(len(values), 1)
    return place


def squared_error(said: Array, true: Array, bins: Array, weights: Array) -> float:
    """Squared calibration error without bias (Kumar, Liang and Ma 2019); may fall a little below 0. O(m).

    said (m,) probabilities, true (m,) of 0 and 1, bins (m,), weights (m,) >= 0. Per bin
    (said - true)^2 - true (1 - true) / (size - 1), averaged by mass; the size is Kish's, and a bin
    of size one or less, which tells no variance, counts with its gap.
    """
    sums = [np.bincount(bins, values) for values in (weights, weights**2, weights * said, weights * true)]
    mass, squares, sure, right = (part[sums[0] > 0].astype(np.float64) for part in sums)
    size, sure, right = mass**2 / squares, sure / mass, right / mass
    noise = np.where(size > 1 + 1e-9, right * (1 - right) / np.maximum(size - 1, 1e-9), 0.0)
    return float(mass @ ((sure - right) ** 2 - noise) / mass.sum())


def classwise_error(probs: Array, truth: Array, draws: Array) -> Array:
    """(r,) mean over classes of each one's calibration error, for r weightings of the texts (r, n). O(r n c).

    probs, truth (n, c); min(15, n / 20) bins of equal mass of each class's own probability
    (Nixon et al. 2019, "Measuring Calibration in Deep Learning").
    """
    from scipy.sparse import csr_array

    n, c = probs.shape
    bins = np.stack([equal_bins(probs[:, k], n) for k in range(c)], axis=1)
    m = int(bins.max()) + 1
    gaps = (probs - truth).astype(np.float32)
    place = (bins + m * np.arange(c)).ravel()
    columns = np.repeat(np.arange(n), c)
    order = np.argsort(place, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=c * m))])
    summed = csr_array((gaps.ravel()[order], columns[order], starts), shape=(c * m, n))
    total = draws.sum(axis=1, dtype=np.float64)
    out = np.empty(len(draws))
    for start in range(0, len(draws), 64):  # so that the dense product stays small
        part = summed @ np.ascontiguousarray(draws[start : start + 64].T, dtype=np.float32)
        out[start : start + 64] = np.abs(part).sum(axis=0, dtype=np.float64)
    return np.asarray(out / np.maximum(total, np.finfo(float).tiny) / c)


def selective_risk(confidence: Array, wrong: Array, draws: Array) -> Array:
    """(r,) area under the risk-coverage curve, for r weightings of the texts (r, n). O(n log n + r n).

    The error rate among texts at least as sure as each text, averaged over texts (Geifman, Uziel
    and El-Yaniv 2019, "Bias-Reduced Uncertainty Estimation"): 0 if all errors come last and are none.
    """
    order = np.argsort(-confidence, kind="stable")
    falling = confidence[order]
    # equally sure texts are kept or passed on together
    last = len(falling) - 1 - np.searchsorted(falling[::-1], falling, side="left")
    out = np.empty(len(draws))
    for i, draw in enumerate(draws):
        weights = draw[order].astype(np.float64)
        mass, errors = np.cumsum(weights), np.cumsum(weights * wrong[order])
        risk = errors[last] / np.maximum(mass[last], np.finfo(float).tiny)
        out[i] = weights @ risk / max(mass[-1], np.finfo(float).tiny)
    return out


def gate(n: int, error: Array, basis: str, tolerance: float = TOLERANCE) -> dict[str, Any]:
    """Whether beliefs may be taken at their word: {"passes": True, False or None, "why", "tolerance", ...}.

    error (r,) ``squared_error`` of the sample, then of its resamples. Fails if the lower end of the
    pivotal interval (95 %, Davison and Hinkley 1997, "Bootstrap Methods and their Application") lies above
    tolerance^2; None, not known, below LEAST texts.
    """
    if n < LEAST:
        why = f"calibration is not known yet: {n} of at least {LEAST} labelled texts ({basis})"
        return {"passes": None, "tolerance": tolerance, "why": why}
    lo, hi = (2 * error[0] - np.percentile(error[1:], q) for q in (97.5, 2.5)) if len(error) > 1 else (0.0, error[0])
    value, lo, hi = (float(np.sqrt(max(0.0, squared))) for squared in (error[0], lo, hi))
    fails = lo > tolerance
    told = f"{value:.3f} (95 % interval {lo:.3f} to {hi:.3f}, {n} texts, {basis})"
    why = f"calibration error {told} is {'credibly' if fails else 'not credibly'} above {tolerance:g}"
    return {"passes": not fails, "tolerance": tolerance, "why": why, "value": value, "lo": lo, "hi": hi}
