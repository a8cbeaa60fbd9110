"""Weights that undo how texts were chosen, from the chances recorded when they were.

LURE: Farquhar, Gal and Rainforth (2021), "On Statistical Bias In Active Learning". A pick whose
chance is 1 was not left to chance, and nothing can be estimated from it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LIMIT = 10.0
"""No text counts more than so many random ones: a little bias for a bounded variance."""
STANDS_FOR = 0.5
"""Picks must stand for so much of the pool; chances among a few candidates stand for those alone."""


def lure(propensity: Array, size: int) -> Array:
    """(m,) weights of m picks one after the other from ``size`` texts, each with its chance given those before.

    Their mean is 1 on average, and the weighted mean loss that of all ``size`` texts.
    """
    m, last = np.arange(1, len(propensity) + 1), len(propensity)
    share = (size - last) / np.maximum(size - m, 1)
    return np.asarray(1.0 + share * (1.0 / ((size - m + 1) * propensity) - 1.0))


def bounded(propensity: Array, size: int) -> Array:
    """(m,) ``lure`` weights in [0, LIMIT]; all 0 where the picks cannot speak for the pool.

    That is where a chance is 1 though texts were left over, or where the picks stand for less than
    half of the pool: a sum of 1 / chance estimates how many texts could have been picked.
    """
    left = size - np.arange(len(propensity))
    certain = (propensity >= 1.0) & (left > 1)
    if not len(propensity) or certain.any() or np.mean(1.0 / (left * propensity)) < STANDS_FOR:
        return np.zeros(len(propensity))
    return np.clip(lure(propensity, size), 0.0, LIMIT)


def effective(weights: Array) -> float:
    """How many equally weighted texts these are worth (Kish 1965, "Survey Sampling"); 0 for none."""
    return float(weights.sum() ** 2 / (weights**2).sum()) if weights.any() else 0.0
