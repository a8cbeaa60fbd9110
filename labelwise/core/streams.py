"""Randomness: one independent generator per purpose, and noise that does not depend on sharding."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """An independent generator for one purpose, e.g. ``stream(7, "select", 3)``.

    The same arguments give the same numbers on every machine; different purposes give
    streams that share nothing. Nothing else in Labelwise is random.
    """
    text = "\x1f".join(f"{'str' if isinstance(part, str) else 'int'}:{part}" for part in (int(seed), *purpose))
    words = np.frombuffer(hashlib.sha256(text.encode()).digest(), dtype=np.uint32)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words.tolist())))


def uniform_of(keys: npt.NDArray[np.uint64], salt: int) -> npt.NDArray[np.float64]:
    """Uniform noise in (0, 1) that belongs to a text, not to its place in an array.

    ``keys`` (n,) are the texts' 64-bit keys and ``salt`` is one draw of the purpose's
    generator. Shards that draw the same salt agree on the noise of every text, so a choice
    made shard by shard equals the choice over the whole pool. SplitMix64 (Steele, Lea and
    Flood 2014, "Fast splittable pseudorandom number generators"). O(n).
    """
    z = keys.astype(np.uint64)
    spare = np.empty_like(z)
    with np.errstate(over="ignore"):
        z ^= np.uint64(salt)
        z += np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
            z ^= np.right_shift(z, np.uint64(shift), out=spare)
            z *= np.uint64(factor)
    z >>= np.uint64(12)
    # 52 bits and a half are exact; with 53 the largest would round to 1
    noise = z.astype(np.float64)
    noise += 0.5
    noise *= 2.0**-52
    return noise
