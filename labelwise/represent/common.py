"""What every encoder shares: how a text is read, how a row is scaled, and what an unfitted one answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import DamagedRecord, State, WrongMoment
from labelwise.core.text import normalised

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

CHARACTERS = 20_000
"""What is read of a text, in code points: beyond it a single text could hold up a shard."""

ROWS = 1024
"""Texts per step: enough to make the vectorised parts pay, few enough to stay in the cache."""

NOTHING = 1e-6
"""A row shorter than this is rounding error, not a direction."""


def readable(text: str) -> str:
    """The text as encoders read it: cut to CHARACTERS, normalised, without lone surrogates.

    Texts that are one text by ``core.text.text_id`` (and within the cap) thus get one vector.
    Half a surrogate pair stands for nothing and cannot be written as UTF-8, so it is dropped.
    """
    return normalised(text[:CHARACTERS]).encode("utf-8", "ignore").decode("utf-8")


def batches(texts: Sequence[str], size: int = ROWS) -> Iterator[tuple[int, list[str]]]:
    """(start, readable texts) of consecutive stretches of at most ``size`` texts."""
    for start in range(0, len(texts), size):
        yield start, [readable(text) for text in texts[start : start + size]]


def unit(vectors: Floats) -> Floats:
    """Rows scaled to unit norm (n, d) float32; a row shorter than NOTHING becomes all zeros."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > NOTHING)
    return np.asarray(vectors * scale[:, None].astype(np.float32), dtype=np.float32)


def same_facts(state: State, expected: Mapping[str, Any], encoder: str) -> None:
    """Refuse a state whose facts are not those of this encoder: DamagedRecord naming the first difference."""
    for name, value in expected.items():
        found = state.facts.get(name)
        if found != value:
            raise DamagedRecord(
                f"encoder {encoder}: the recorded state has {name} = {found!r}, but here it is {value!r}. "
                "Restore with the configuration and packages it was fitted with, or fit and encode again."
            )


class Unfitted:
    """The answers of an encoder that has not seen a pool yet."""

    def encode(self, texts: Sequence[str]) -> Array:
        """Raises WrongMoment: only what ``fit`` or ``restore`` returned can encode."""
        raise WrongMoment(f"{self!r} is not fitted yet: call fit(sample, rng) and use the encoder it returns.")

    def state(self) -> State:
        """Raises WrongMoment: nothing has been learned."""
        raise WrongMoment(f"{self!r} has learned nothing yet: call fit(sample, rng) and use the encoder it returns.")
