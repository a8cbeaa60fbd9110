"""Semi-supervision: what a text shares with its neighbours in the pool counts, the rest is noise.

Averaging every vector with those of its nearest neighbours in the pool (Wu et al. 2019,
"Simplifying Graph Convolutional Networks") lets each label speak for its neighbourhood, as
self-training on neighbours that agree does (Schröder and Heyer 2024, "Self-Training for
Sample-Efficient Active Learning for Text Classification with Pre-Trained Language Models").
Here the averaging is replaced by its best linear approximation on a sample of the pool,

    B = (S + ridge * mean variance * I)^-1 D,   S = cov(x), D = cov(x, mean of x's neighbours),

and the base learns on ``x B``. A linear map folds into the coefficients: the model is as fast as
its base. It knows no label, so the held-out beliefs stay honest as they are, where pseudo-labels
would have to be made anew in every fold.

Whether it helps is judged by held-out log-loss on true labels, of the control texts if they
suffice, in every fit anew; if it does not, the model is that of the base.

Known trade-offs: neighbours can share what the labels do not ask for (the topic, where the task
is sentiment), which is when it is switched off; a fit takes about twice the base's time and
O(sample^2 d) for the neighbours, half a second for 4,096 texts of 512 dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from labelwise.core import Examples, InputError, Kind, Model, State, Trainer
from labelwise.learn.linear import Linear, LinearModel

Array = npt.NDArray[Any]
CHUNK = 1024


@dataclass(frozen=True, slots=True)
class Neighbourly:
    """The trainer ``linear``, learning from the open texts as well.

    base: a ``linear``; sample (100..16384): open texts drawn; neighbours (1..100): of each, by
    cosine within the sample; ridge >= 0.001: how much the map is held back, relative to the mean
    variance. Raises InputError naming the field that cannot be used.
    """

    base: Trainer = field(default_factory=Linear)
    sample: int = 4096
    neighbours: int = 10
    ridge: float = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.base, Linear):
            raise InputError(f'neighbourly.base: {self.base!r} is not allowed; write {{ use = "linear" }}.')
        for name, least, most in (("sample", 100, 16384), ("neighbours", 1, 100)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise InputError(
                    f"neighbourly.{name}: {value!r} is not allowed; give a whole number from {least} to {most}."
                )
        if not (math.isfinite(self.ridge) and self.ridge >= 0.001):
            raise InputError(f"neighbourly.ridge: {self.ridge!r} is not allowed; give a number >= 0.001, e.g. 0.5.")

    @property
    def reads(self) -> str:
        return self.base.reads

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return self.base.kinds

    def fit(self, examples: Examples, start_from: Model | None, rng: np.random.Generator) -> LinearModel:
        """As ``Linear.fit``, on the neighbourly view if held-out log-loss says so; ``facts["view"]`` tells.

        Without a pool, or one of hardly more texts than ``neighbours``, it is the base's fit.
        """

        def views() -> dict[str, Array]:
            if examples.unlabelled is None:
                return {}
            pool = np.asarray(examples.unlabelled(self.sample), dtype=np.float32)
            if len(pool) <= 2 * self.neighbours or not np.ptp(pool, axis=0).any():
                return {}
            return {"neighbourly": smoothing(pool, self.neighbours, self.ridge)}

        return cast(Linear, self.base).learn(examples, start_from, rng, views)

    def restore(self, state: State) -> LinearModel:
        return cast(Linear, self.base).restore(state)


def smoothing(vectors: Array, neighbours: int, ridge: float) -> Array:
    """The map B (d, d) float32 for unit vectors (m, d), m > neighbours, not all the same.

    Scaled so that the mapped vectors have the variance of the original ones: the same C means
    about the same. Zeros if neighbours share nothing. O(m^2 d + d^3) time, O(CHUNK * m) memory.
    """
    centred = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    means = np.empty_like(centred)
    for first in range(0, len(vectors), CHUNK):
        likeness = vectors[first : first + CHUNK] @ vectors.T
        here = np.arange(len(likeness))
        likeness[here, first + here] = -np.inf
        nearest = np.argpartition(likeness, -neighbours, axis=1)[:, -neighbours:]
        means[first : first + CHUNK] = centred[nearest].mean(axis=1)
    full = centred.astype(np.float64)
    spread, shared = full.T @ full / len(full), full.T @ means.astype(np.float64) / len(full)
    held = spread + ridge * np.trace(spread) / len(spread) * np.eye(len(spread))
    mapped = np.linalg.solve(held, (shared + shared.T) / 2.0)
    kept = np.einsum("ij,ik,kj->", mapped, spread, mapped, optimize=True)
    scale = np.sqrt(np.trace(spread) / kept) if kept > 0 else 0.0
    return np.asarray(mapped * scale, dtype=np.float32)
