"""Randomness: reproducible for ever, independent by purpose, tied to texts and not to places."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.core import stream, uniform_of

MASK = 2**64 - 1


@pytest.mark.parametrize(
    ("seed", "purpose", "first"),
    [
        (0, (), [2068781970, 1975161673, 2379334512]),
        (7, ("select", 3), [3092381910, 175007395, 33060890]),
        (-1, ("oracle", 0, "naïve"), [1750356239, 2425499298, 102826948]),
    ],
)
def test_first_numbers_never_change(seed, purpose, first):
    assert stream(seed, *purpose).integers(2**32, size=3).tolist() == first


def test_noise_of_a_text_never_changes():
    keys = np.array([0, 1, 2**63, 2**64 - 1], dtype=np.uint64)
    assert uniform_of(keys, 7).tolist() == [
        0.3898297483912715,
        0.7398170143550825,
        0.3900763829859245,
        0.535104757493082,
    ]


def test_equal_arguments_give_equal_streams_and_a_seed_may_be_a_numpy_number():
    assert stream(3, "select", 1).random(4).tolist() == stream(np.int64(3), "select", 1).random(4).tolist()


def test_every_argument_decides():
    calls = [
        (0,),
        (1,),
        (-1,),
        (0, "a"),
        (0, "b"),
        (0, "a", 1),
        (0, "a", 2),
        (0, "a", "1"),
        (0, 1),
        (0, "1"),
        (0, "a1"),
    ]
    assert len({stream(*call).integers(2**63) for call in calls}) == len(calls)


def test_streams_of_different_purposes_share_nothing():
    draws = np.array([stream(0, "round", number).standard_normal(500) for number in range(60)])
    correlation = np.corrcoef(draws)[np.triu_indices(60, 1)]
    # 1770 independent correlations of 500 draws: standard deviation 1/sqrt(500), largest about 3.5 of them
    assert correlation.std() == pytest.approx(500**-0.5, rel=0.1)
    assert np.abs(correlation).max() < 5 * 500**-0.5
    assert len(np.unique(draws)) == draws.size


def farthest(sample):
    """Kolmogorov's distance of a sample from the uniform distribution."""
    ordered, n = np.sort(sample), len(sample)
    return max(np.max(np.arange(1, n + 1) / n - ordered), np.max(ordered - np.arange(n) / n))


@pytest.mark.parametrize("salt", [0, 1, 2**63 - 1, 123456789])
@pytest.mark.parametrize("step", [1, 2**40])
def test_noise_is_uniform_even_for_keys_that_count(salt, step):
    n = 20_000
    noise = uniform_of(np.arange(n, dtype=np.uint64) * np.uint64(step), salt)
    assert farthest(noise) < 1.95 / np.sqrt(n)  # exceeded by one uniform sample in a thousand
    assert len(np.unique(noise)) == n
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 4 / np.sqrt(n)


def test_other_salts_give_other_noise():
    keys = np.arange(5_000, dtype=np.uint64)
    assert abs(np.corrcoef(uniform_of(keys, 1), uniform_of(keys, 2))[0, 1]) < 4 / np.sqrt(5_000)


@given(st.lists(st.integers(0, MASK), min_size=1, max_size=30), st.integers(0, 2**63 - 1), st.data())
def test_noise_depends_on_the_text_and_not_on_shards_or_order(keys, salt, data):
    array = np.array(keys, dtype=np.uint64)
    whole = uniform_of(array, salt)
    order = np.array(data.draw(st.permutations(range(len(keys)))))
    cut = data.draw(st.integers(0, len(keys)))
    assert np.array_equal(uniform_of(array[order], salt), whole[order])
    assert np.array_equal(np.concatenate([uniform_of(array[:cut], salt), uniform_of(array[cut:], salt)]), whole)


def key_of(mixed):
    """The key that SplitMix64 turns into these 64 bits."""

    def unshifted(value, shift):
        out = value
        for _ in range(64 // shift):
            out = value ^ (out >> shift)
        return out

    z = unshifted(mixed, 31)
    for shift, factor in ((27, 0x94D049BB133111EB), (30, 0xBF58476D1CE4E5B9)):
        z = unshifted(z * pow(factor, -1, 2**64) & MASK, shift)
    return (z - 0x9E3779B97F4A7C15) & MASK


def test_noise_is_never_0_nor_1_not_even_at_the_ends():
    lowest, highest = uniform_of(np.array([key_of(0), key_of(MASK)], dtype=np.uint64), 0)
    assert 0 < lowest < 1e-15
    assert 1 - 1e-15 < highest < 1


def test_noise_leaves_its_keys_alone():
    keys = np.arange(5, dtype=np.uint64)
    uniform_of(keys, 3)
    assert keys.tolist() == [0, 1, 2, 3, 4]
