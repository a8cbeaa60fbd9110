"""Vectors are kept in half precision and worked with in single."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

LARGEST = 65504.0
REBASED = np.float32(2.0**112)
"""From the exponent's offset in half precision (15) to that in single (127)."""


def single(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The values as float32, bit for bit as ``astype`` gives them; float32 ones as they are.

    For float16 several times faster than NumPy, which converts them one by one: the bits move to their place
    in whole vectors, and one product rebases the exponents, of subnormal numbers as well. O(n).
    """
    if values.dtype != np.float16 or not values.size:
        return np.asarray(values, dtype=np.float32)
    bits = np.ascontiguousarray(values).view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= ~0x70000000  # what the shift made of the sign, but for the sign itself
    out = bits.view(np.float32)
    out *= REBASED
    # infinity and NaN have no place of their own in what was moved
    return out if out.min() >= -LARGEST and out.max() <= LARGEST else values.astype(np.float32)
