"""Choosing from a pool that passes by once, in chunks: memory depends on the budget, not on the pool.

All draw what they need of the generator when they are made, and noise belongs to the text, so the
order of the texts may matter but not how they are cut into chunks. Two texts of one near-duplicate
group are not kept while others remain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from labelwise.core import Pool, Reason, Scorer, uniform_of
from labelwise.core.beliefs import BLOCK, Array, Floats, Rows
from labelwise.select import fields, picking
from labelwise.select.comparing import Vectors, gather
from labelwise.select.gradients import residuals
from labelwise.select.scorers import torn

TEXT = np.dtype([("id", "u8"), ("group", "i8"), ("score", "f8"), ("weight", "f8"), ("mass", "f8"), ("reason", object)])
"""What is remembered of a text; ``weight`` is the chance itself where texts are drawn one by one."""
STEP = 512
"""Texts that a sieve looks at together: each that it keeps costs a pass over the others."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What a stream has chosen so far, k entries each; as a Selection, with ids instead of rows."""

    ids: Array
    scores: Floats
    propensity: Floats
    reason: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)


class Stream(Protocol):
    """Chooses at most a budget of the texts that pass by."""

    def offer(self, pool: Pool) -> None:
        """Consider the open texts of the next chunk, which may be of any size."""
        ...

    def chosen(self) -> Kept:
        """The choice among all that was offered so far."""
        ...


def _texts(pool: Pool, rows: Rows, scores: Floats, weights: Floats) -> Array:
    texts = np.zeros(len(rows), dtype=TEXT)
    groups = picking.groups_of(pool, rows)
    texts["id"], texts["score"], texts["weight"], texts["mass"] = pool.ids[rows], scores, weights, weights
    texts["group"] = -1 if groups is None else groups
    return texts


def _kept(texts: Array, chance: Floats) -> Kept:
    return Kept(texts["id"].copy(), texts["score"].copy(), chance, tuple(texts["reason"]))


class WeightedReservoir:
    """Draws ``budget`` texts with chances in proportion to score^beta: ``Power`` without ``explore``, in one pass.

    A text's key follows from its noise and its weight, and the earliest stay: Efraimidis and
    Spirakis 2006, "Weighted random sampling with a reservoir". Chooses what ``Power`` does over
    the whole pool with an equal generator. Chances are exact, but too low after a pick of whose
    near-duplicates some had left the reservoir before it came. Keeps 2 budget texts; O(n log n).
    """

    def __init__(self, budget: int, scorer: Scorer, beta: float, rng: np.random.Generator) -> None:
        fields.whole("budget", budget, 1)
        fields.scorer("scorer", scorer)
        fields.number("beta", beta, 0.0, 100.0)
        self._budget, self._scorer, self._beta = budget, scorer, beta
        self._salt, self._total = picking.salts(rng), 0.0
        self._first = self._others = np.zeros(0, dtype=TEXT)

    def offer(self, pool: Pool) -> None:
        rows = pool.candidates()
        scores = picking.scores_of(self._scorer, pool, rows)
        weights = picking.grained(np.power(scores, self._beta))
        self._total += float(weights.sum())
        texts = np.concatenate([self._first, self._others, _texts(pool, rows, scores, weights)])
        order = np.argsort(picking.race(texts["id"], self._salt.draw) / texts["weight"], kind="stable")
        first, others = (part[: self._budget] for part in self._apart(texts, order))
        for at in np.concatenate([first, others]):
            if texts["reason"][at] == 0:
                row = int(rows[at - (len(texts) - len(rows))])
                texts["reason"][at] = self._scorer.reason(pool, row, float(texts["score"][at]))
        texts["mass"] = _together(texts)
        self._first, self._others = texts[first], texts[others]
        self._others["mass"] = 0.0  # counted with the first of their group

    def chosen(self) -> Kept:
        """In the order drawn, with the exact chances given those before."""
        first, late = self._first, self._others[: self._budget - len(self._first)]
        chance = first["weight"] / (self._total - (np.cumsum(first["mass"]) - first["mass"]))
        left = self._total - first["weight"].sum()
        again = late["weight"] / (left - (np.cumsum(late["weight"]) - late["weight"]))
        return _kept(np.concatenate([first, late]), np.concatenate([chance, again]))

    def _apart(self, texts: Array, order: Rows) -> tuple[Rows, Rows]:
        """The first of every group in the order of the draw, and all others in that of the second draw."""
        first, others = picking.apart(order, texts["group"])
        late = picking.race(texts["id"][others], self._salt.again) / texts["weight"][others]
        return first, others[np.argsort(late, kind="stable")]


def _together(texts: Array) -> Floats:
    """(m,) each text's mass, or that of its whole group."""
    _, group = np.unique(texts["group"], return_inverse=True)
    return np.where(texts["group"] < 0, texts["mass"], np.bincount(group, texts["mass"], minlength=1)[group])


class SieveStreaming:
    """Texts that cover the space: at least (1/2 - eps) of the best value any ``budget`` texts could have.

    The value is 1/2 log det(I + K / noise), K the products of vectors times their scores (all 1
    without a scorer): the information of a Gaussian process about them, monotone and submodular,
    and known without the rest of the pool, as facility location is not. One sieve per guess of the
    best value keeps what adds its share of that guess: Badanidiyuru, Mirzasoleiman, Karbasi and
    Krause 2014, "Streaming Submodular Maximization: Massive Data Summarization on the Fly".

    It may keep fewer than ``budget`` texts, and where any are about as good it keeps the first that
    come: it is for streams that repeat themselves. Deterministic, so propensities are 1. With
    near-duplicate groups the bound is not proven. Keeps log(2 budget) / eps sieves of up to
    ``budget`` vectors; O(n d budget log(budget) / eps).
    """

    def __init__(self, budget: int, eps: float = 0.1, scorer: Scorer | None = None, noise: float = 0.1) -> None:
        fields.whole("budget", budget, 1)
        fields.number("eps", eps, 0.01, 0.5)
        fields.number("noise", noise, 1e-3)
        if scorer is not None:
            fields.scorer("scorer", scorer)
        self._budget, self._scorer, self._noise = budget, scorer, noise
        self._step, self._most = math.log1p(eps), 0.0
        self._sieves: dict[int, _Sieve] = {}

    def offer(self, pool: Pool) -> None:
        rows = pool.candidates()
        for at in range(0, len(rows), STEP):
            self._offer(pool, rows[at : at + STEP])

    def _offer(self, pool: Pool, rows: Rows) -> None:
        vectors = gather(pool, rows)
        if self._scorer is not None:
            vectors *= picking.scores_of(self._scorer, pool, rows).astype(np.float32)[:, None]
        vectors /= np.float32(math.sqrt(self._noise))
        alone = np.einsum("ij,ij->i", vectors, vectors).astype(np.float64)
        self._most = max(self._most, 0.5 * math.log1p(alone.max()))
        if not self._most:
            return
        # a sieve too high for what came before its making would have kept none of it
        low = math.ceil(math.log(self._most) / self._step)
        high = math.floor(math.log(2.0 * self._budget * self._most) / self._step)
        width = vectors.shape[1]
        self._sieves = {j: self._sieves.get(j) or _Sieve(self._budget, width) for j in range(low, high + 1)}
        texts = _texts(pool, rows, np.zeros(len(rows)), np.ones(len(rows)))
        for j, sieve in self._sieves.items():
            sieve.offer(math.exp(j * self._step), texts, vectors, 1.0 + alone)

    def chosen(self) -> Kept:
        """In the order kept; the score is what each added to the value."""
        best = max(self._sieves.values(), key=lambda sieve: sieve.value, default=None)
        texts = np.zeros(0, dtype=TEXT) if best is None else best.texts[: best.size]
        return _kept(texts, np.ones(len(texts)))


class _Sieve:
    """Texts kept for one guess, and T = L^-1 X for the Cholesky factor L of I + X X^T."""

    def __init__(self, budget: int, width: int) -> None:
        self.size, self.value = 0, 0.0
        self.texts, self.basis = np.zeros(budget, dtype=TEXT), np.zeros((budget, width), dtype=np.float32)

    def offer(self, guess: float, texts: Array, vectors: Vectors, alone: Floats) -> None:
        if self.size == len(self.texts):
            return
        seen = vectors @ self.basis[: self.size].T
        beyond = alone - np.einsum("ij,ij->i", seen, seen)
        free = (texts["group"] < 0) | ~np.isin(texts["group"], self.texts["group"][: self.size])
        while self.size < len(self.texts):
            gains = 0.5 * np.log(np.maximum(beyond, 1.0))
            wanted = free & (gains > 0) & (gains >= (guess / 2.0 - self.value) / (len(self.texts) - self.size))
            if not wanted.any():
                return
            at = int(wanted.argmax())
            basis = self.basis[: self.size]
            new = (vectors[at] - (basis @ vectors[at]) @ basis) / np.float32(math.sqrt(beyond[at]))
            self.basis[self.size], self.texts[self.size] = new, texts[at]
            gain = float(gains[at])
            why = Reason(f"adds what the {self.size} texts kept before it do not cover (gain {gain:.2f})", gain=gain)
            self.texts[self.size]["score"], self.texts[self.size]["reason"] = gain, why
            self.size, self.value = self.size + 1, self.value + gain
            free[: at + 1] = False
            free &= (texts["group"] < 0) | (texts["group"] != texts["group"][at])
            beyond -= (vectors @ new).astype(np.float64) ** 2


class Vessal:
    """Large and different gradients from a stream, each text kept or passed over for good, with a known chance.

    A text is kept with a chance in proportion to how much its gradient adds to the volume of those
    kept, at the rate that spends ``budget`` on ``expected`` texts: Saran, Yousefi, Krishnamurthy,
    Langford and Ash 2023, "Streaming Active Learning with Deep Neural Networks" (VeSSAL).

    Gradients (residual times vector) are projected to ``width`` numbers, each the product of a
    random projection of either factor (Kar and Karnick 2012, "Random Feature Maps for Dot Product
    Kernels"), so nothing of size c x d exists. Keeps at most ``budget`` texts, often fewer; if more
    than ``expected`` come it is soon full. Uncentred: the mean of a stream is not known.
    O(n width (c + d + width)).
    """

    def __init__(self, budget: int, expected: int, rng: np.random.Generator, width: int = 256) -> None:
        fields.whole("budget", budget, 1)
        fields.whole("expected", expected, budget)
        fields.whole("width", width, 1)
        self._budget, self._expected, self._width = budget, expected, width
        self._salt, self._seeds = picking.salts(rng), rng.spawn(2)
        self._signs: tuple[Vectors, Vectors] | None = None
        self._passed, self._total = 0, np.zeros((width, width))
        self._inverse = 100.0 * np.eye(width)
        self._texts = np.zeros(0, dtype=TEXT)

    def offer(self, pool: Pool) -> None:
        rows = pool.candidates()
        for at in range(0, len(rows), BLOCK):
            self._offer(pool, rows[at : at + BLOCK])

    def _offer(self, pool: Pool, rows: Rows) -> None:
        gradients = self._projected(residuals(pool.need("beliefs"), rows), gather(pool, rows))
        texts = _texts(pool, rows, np.zeros(len(rows)), np.ones(len(rows)))
        noise = uniform_of(texts["id"], self._salt.draw)
        free = (texts["group"] < 0) | ~np.isin(texts["group"], self._texts["group"])
        size = np.einsum("ij,ij->i", gradients @ self._inverse, gradients)
        before, start = float(np.sum(self._total * self._inverse)), 0
        while start < len(rows):
            count = self._passed + np.arange(len(rows) - start)
            mean = (before + np.cumsum(size[start:])) / (count + 1.0)
            rate = (self._budget - len(self._texts)) / np.maximum(self._expected - count, 1)
            relative = np.divide(size[start:], mean, out=np.zeros(len(mean)), where=mean > 0)
            chance = np.where(free[start:], np.clip(rate * relative, 0.0, 1.0), 0.0)
            hits = noise[start:] < chance
            upto = int(hits.argmax()) + 1 if hits.any() else len(hits)
            part = gradients[start : start + upto]
            self._total += part.T @ part
            self._passed += upto
            start += upto
            if not hits.any():
                return
            at = start - 1
            texts["score"][at], texts["weight"][at] = size[at], chance[upto - 1]
            why = f"torn {torn(pool, int(rows[at]))[0]}, unlike those kept before it"
            texts["reason"][at] = Reason(why, chance=chance[upto - 1])
            self._texts = np.append(self._texts, texts[at : at + 1])
            free &= (texts["group"] < 0) | (texts["group"] != texts["group"][at])
            along = self._inverse @ gradients[at]
            scale = 1.0 + gradients[at] @ along
            self._inverse -= np.outer(along, along) / scale
            size = np.maximum(size - (gradients @ along) ** 2 / scale, 0.0)
            before = float(np.sum(self._total * self._inverse))

    def chosen(self) -> Kept:
        """In the order kept; the score is the share of volume, the propensity the chance when it came by."""
        return _kept(self._texts, self._texts["weight"].copy())

    def _projected(self, one: Vectors, other: Vectors) -> Floats:
        if self._signs is None:
            first, second = (
                seed.choice(np.array([-1.0, 1.0], dtype=np.float32), size=(part.shape[1], self._width))
                for seed, part in zip(self._seeds, (one, other), strict=True)
            )
            self._signs = first, second
        both = (one @ self._signs[0]) * (other @ self._signs[1])
        return both.astype(np.float64) / math.sqrt(self._width)
