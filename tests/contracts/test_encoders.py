"""The encoders keep their promises, and the suite catches encoders that do not."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from labelwise.core import ContractError, State
from labelwise.core.checks import check, promises
from labelwise.represent.concat import Concat
from labelwise.represent.hashing import Hashing
from labelwise.represent.static import Static

SMALL = Hashing(dimensions=16, features=1024)


@pytest.mark.parametrize("promise", promises("encoders"))
@pytest.mark.parametrize(
    "encoder",
    [
        Static(),
        Static(centre=False),
        SMALL,
        Hashing(dimensions=16, features=1024, reduce="projection"),
        Concat((Static(), SMALL), (1.0, 0.5)),
    ],
    ids=repr,
)
def test_keeps_its_promises(encoder: Any, promise: str) -> None:
    promises("encoders")[promise](encoder)


@dataclass
class Sound:
    """A toy encoder that keeps every promise; the faulty ones below differ in one respect."""

    learned: dict[str, Any] = field(default_factory=dict, repr=False)
    dimensions: int = 8

    def fit(self, sample: Sequence[str], rng: np.random.Generator) -> Sound:
        return type(self)({"shift": float(rng.integers(5))})

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        out = np.zeros((len(texts), 8), dtype=np.float32)
        for row, text in enumerate(texts):
            if text.strip():
                digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
                out[row] = np.frombuffer(digest, np.uint8) + self.learned["shift"]
                out[row] /= np.linalg.norm(out[row])
        return out

    def state(self) -> State:
        return State({}, dict(self.learned))

    def restore(self, state: State) -> Sound:
        return type(self)(dict(state.facts))


class Doubles(Sound):
    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return super().encode(texts).astype(np.float64)


class Unscaled(Sound):
    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return super().encode(texts) * np.float32(1.5)


class CentresOnTheBatch(Sound):
    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = super().encode(texts)
        moved = np.where(rows.any(axis=1, keepdims=True), rows - rows.mean(axis=0) / 2, 0) if len(rows) else rows
        return (moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9)).astype(np.float32)


class FollowsItsOwnDice(Sound):
    def fit(self, sample: Sequence[str], rng: np.random.Generator) -> Sound:
        return type(self)({"shift": float(np.random.default_rng().integers(2**20))})


class FitsInPlace(Sound):
    def fit(self, sample: Sequence[str], rng: np.random.Generator) -> Sound:
        self.learned["shift"] = float(len(sample) * 7)
        return self


class Forgets(Sound):
    def restore(self, state: State) -> Sound:
        return type(self)({"shift": state.facts["shift"] + 40.0})


class RemembersObjects(Sound):
    def state(self) -> State:
        return State({"words": np.array([None], dtype=object)}, dict(self.learned))


class Shrinks(Sound):
    def fit(self, sample: Sequence[str], rng: np.random.Generator) -> Sound:
        fitted = super().fit(sample, rng)
        fitted.dimensions = min(8, len(sample))
        return fitted


class SaysTheSame(Sound):
    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.where(super().encode(texts).any(axis=1, keepdims=True), 8**-0.5, 0).astype(np.float32).repeat(8, 1)


class AsciiOnly(Sound):
    def encode(self, texts: Sequence[str]) -> np.ndarray:
        if any("\ud800" <= letter <= "\udfff" for text in texts for letter in text):
            raise UnicodeError("only what can be written")
        return super().encode(texts)


def test_a_sound_toy_keeps_every_promise() -> None:
    assert check("encoders", Sound()) == list(promises("encoders"))


@pytest.mark.parametrize(
    ("faulty", "promise"),
    [
        (Doubles, "gives_one_float32_row_per_text"),
        (Unscaled, "has_rows_of_unit_norm_or_zero"),
        (SaysTheSame, "tells_texts_apart"),
        (CentresOnTheBatch, "does_not_look_at_other_texts"),
        (FollowsItsOwnDice, "is_decided_by_sample_and_generator"),
        (FitsInPlace, "does_not_change_by_fitting"),
        (Forgets, "comes_back_from_its_state"),
        (RemembersObjects, "has_a_state_of_arrays_and_facts"),
        (AsciiOnly, "survives_odd_texts"),
    ],
)
def test_a_faulty_encoder_is_caught(faulty: type[Sound], promise: str) -> None:
    with pytest.raises(ContractError, match=promise):
        check("encoders", faulty())


def test_dimensions_that_shrink_are_caught() -> None:
    with pytest.raises(ContractError, match="became 0 on 0 texts"):
        promises("encoders")["keeps_its_dimensions_when_fitted"](Shrinks())
