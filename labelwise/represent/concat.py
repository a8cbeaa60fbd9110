"""Several encoders side by side: what one does not see, another may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labelwise.core import DamagedRecord, Encoder, InputError, State
from labelwise.represent.common import Floats, Unfitted, same_facts, unit


@dataclass(frozen=True)
class Concat(Unfitted):
    """Config of a weighted concatenation: each part's unit vector times its weight, unit norm overall.

    Squared weights are shares of the similarity: the cosine of two texts is the mean of the
    parts' cosines, weighted by them. No weights: all 1. Raises InputError without parts, for a
    part that is no encoder, and for weights that are not one number > 0 per part.
    """

    parts: tuple[Encoder, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        object.__setattr__(self, "weights", tuple(float(w) for w in self.weights))
        if not self.parts:
            raise InputError('concat.parts: () names no encoder; give at least one, e.g. { use = "static" }.')
        for i, part in enumerate(self.parts):
            if not isinstance(part, Encoder):
                raise InputError(f'concat.parts[{i}]: {part!r} is not an encoder; write e.g. {{ use = "static" }}.')
        fitting = len(self.weights) in (0, len(self.parts)) and all(0 < w < np.inf for w in self.weights)
        if not fitting:
            raise InputError(
                f"concat.weights: {list(self.weights)!r} does not fit {len(self.parts)} part(s); "
                "give one number > 0 for each, or leave it out for equal weights."
            )

    @property
    def dimensions(self) -> int:
        return sum(self.blocks)

    @property
    def blocks(self) -> tuple[int, ...]:
        """The width of each part: a trainer may weigh them anew (``Examples.blocks``)."""
        return tuple(part.dimensions for part in self.parts)

    def fit(self, sample: Sequence[str], rng: np.random.Generator) -> _Fitted:
        """Fit every part on the same sample, each with a generator of its own."""
        parts = tuple(part.fit(sample, own) for part, own in zip(self.parts, rng.spawn(len(self.parts)), strict=True))
        return _Fitted(self, parts)

    def restore(self, state: State) -> _Fitted:
        """The encoder of a recorded state; DamagedRecord if parts are missing, others, or damaged themselves."""
        same_facts(state, {"encoder": "concat", "weights": list(self.weights)}, "concat")
        facts = state.facts.get("parts")
        if not isinstance(facts, list) or len(facts) != len(self.parts):
            raise DamagedRecord(f"encoder concat: the state does not hold {len(self.parts)} part(s); fit again.")
        parts = []
        for i, (part, own) in enumerate(zip(self.parts, facts, strict=True)):
            prefix = f"{i}/"
            arrays = {name.removeprefix(prefix): a for name, a in state.arrays.items() if name.startswith(prefix)}
            parts.append(part.restore(State(arrays, own)))
        return _Fitted(self, tuple(parts))


@dataclass(frozen=True, eq=False)
class _Fitted:
    """Fitted parts side by side."""

    config: Concat
    parts: tuple[Encoder, ...]

    @property
    def dimensions(self) -> int:
        return self.config.dimensions

    def fit(self, sample: Sequence[str], rng: np.random.Generator) -> _Fitted:
        return self.config.fit(sample, rng)

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, sum of the parts' dimensions) float32, unit norm; a part that sees nothing gives zeros."""
        weights = self.config.weights or (1.0,) * len(self.parts)
        vectors = [part.encode(texts) * np.float32(weight) for part, weight in zip(self.parts, weights, strict=True)]
        return unit(np.concatenate(vectors, axis=1))

    def state(self) -> State:
        states = [part.state() for part in self.parts]
        arrays = {f"{i}/{name}": array for i, s in enumerate(states) for name, array in s.arrays.items()}
        facts = {"encoder": "concat", "weights": list(self.config.weights), "parts": [dict(s.facts) for s in states]}
        return State(arrays, facts)

    def restore(self, state: State) -> _Fitted:
        return self.config.restore(state)
