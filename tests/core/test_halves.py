"""Half to single precision, as NumPy does it."""

from __future__ import annotations

import numpy as np
import pytest

from labelwise.core.halves import single

ALL = np.arange(65536, dtype=np.uint16).view(np.float16)


def test_every_half_becomes_the_single_that_numpy_makes_of_it() -> None:
    finite = ALL[np.isfinite(ALL)]
    np.testing.assert_array_equal(single(finite).view(np.uint32), finite.astype(np.float32).view(np.uint32))


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_so(odd: float) -> None:
    values = np.array([[1.0, odd], [-0.5, 2.0]], dtype=np.float16)
    np.testing.assert_array_equal(single(values), values.astype(np.float32))


def test_any_layout_and_type() -> None:
    table = ALL[:60000].reshape(200, 300)[:, :100]
    np.testing.assert_array_equal(single(table), table.astype(np.float32))
    np.testing.assert_array_equal(single(table.T[::-1, ::3]), table.T[::-1, ::3].astype(np.float32))
    assert single(np.zeros((0, 3), np.float16)).shape == (0, 3)
    ready = np.ones((2, 2), dtype=np.float32)
    assert single(ready) is ready
    assert single(np.ones(3)).dtype == np.float32
