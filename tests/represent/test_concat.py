"""Encoders side by side."""

from __future__ import annotations

import numpy as np
import pytest

from labelwise.core import DamagedRecord, InputError, State, stream
from labelwise.represent.concat import Concat
from labelwise.represent.hashing import Hashing
from labelwise.represent.static import Static

TEXTS = ["Where is my card?", "the card is late", "ok then", "我的卡在哪里"]
PARTS = (Static(), Hashing(dimensions=8, features=1024))


def test_cosine_is_the_weighted_mean_of_the_parts_cosines() -> None:
    fitted = Concat(PARTS, (2.0, 1.0)).fit(TEXTS, stream(0, "fit"))
    left, right = (part.encode(TEXTS) for part in fitted.parts)
    both = fitted.encode(TEXTS)
    assert both.shape == (4, 264)
    np.testing.assert_allclose(both @ both.T, (4 * left @ left.T + right @ right.T) / 5, atol=1e-5)


def test_no_weights_are_equal_weights() -> None:
    plain, ones = (Concat(PARTS, weights).fit(TEXTS, stream(0, "fit")) for weights in ((), (1.0, 1.0)))
    np.testing.assert_array_equal(plain.encode(TEXTS), ones.encode(TEXTS))


@pytest.mark.parametrize(
    ("parts", "weights", "message"),
    [
        ((), (), r"concat.parts: \(\) names no encoder"),
        (("static",), (), r"concat.parts\[0\]: 'static' is not an encoder"),
        (PARTS, (1.0,), r"concat.weights: \[1.0\] does not fit 2 part"),
        (PARTS, (1.0, 0.0), "one number > 0 for each"),
        (PARTS, (1.0, float("nan")), "one number > 0 for each"),
    ],
)
def test_refuses_a_config_that_does_not_fit(parts: tuple, weights: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Concat(parts, weights)


def test_refuses_the_state_of_another() -> None:
    state = Concat(PARTS).fit(TEXTS, stream(0, "fit")).state()
    with pytest.raises(DamagedRecord, match="weights"):
        Concat(PARTS, (1.0, 2.0)).restore(state)
    with pytest.raises(DamagedRecord, match=r"does not hold 1 part\(s\)"):
        Concat(PARTS[:1]).restore(state)
    with pytest.raises(DamagedRecord, match=r"encoder hashing: the recorded state has encoder = .static."):
        Concat(PARTS[::-1]).restore(State(state.arrays, {**state.facts, "parts": state.facts["parts"]}))
