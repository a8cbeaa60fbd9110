"""Strategies that draw: the better the score the likelier, every text with a known chance > 0.

A batch drawn this way is as good as much dearer ones (Kirsch, Farquhar, Atighehchian, Jesson,
Branchaud-Charron and Gal 2023, "Stochastic Batch Acquisition: A Simple Baseline for Deep Active
Learning") and its propensities make what was labelled usable for unbiased evaluation.

Known trade-off: weights are not normalised, so that they add up over shards. Where nearly every
score is close to 0 (a sure model), ``explore`` is most of all weight and the draw nearly uniform.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from labelwise.core import Nomination, Pool, Scorer, Selection
from labelwise.core.beliefs import Array, Floats, Rows
from labelwise.select import fields, picking


def _reasons(scorer: Scorer, pool: Pool, rows: Rows, scores: Floats) -> tuple[str, ...]:
    return tuple(scorer.reason(pool, int(row), float(score)) for row, score in zip(rows, scores, strict=True))


@dataclass(frozen=True)
class _Drawn(ABC):
    """Draws by a weight that depends on each text's score alone, so sharding changes nothing.

    Sharded and whole choices are equal in rows, order and propensities (see ``picking.best`` for
    the bound on near-duplicates; past it, chances are too low by the share of what stayed behind).
    """

    scorer: Scorer
    beta: float = 2.0
    explore: float = 0.1

    def __post_init__(self) -> None:
        fields.scorer("scorer", self.scorer)
        fields.number("beta", self.beta, 0.0, 100.0)
        fields.number("explore", self.explore, 0.0, 1.0)

    @abstractmethod
    def _worth(self, scores: Floats) -> Floats:
        """(m,) in [0, 1], rising with the score."""

    def _weights(self, scores: Floats) -> Floats:
        return picking.grained((1.0 - self.explore) * self._worth(scores) + self.explore)

    def left(self, pool: Pool, sent: Array) -> float:
        """Weight of the open rows that were not sent up."""
        rows = np.setdiff1d(pool.candidates(), sent)
        return float(self._weights(picking.scores_of(self.scorer, pool, rows)).sum())

    def nominate(self, pool: Pool, budget: int, rng: np.random.Generator) -> Nomination:
        """The rows that come first in the draw."""
        rows, salt = pool.candidates(), picking.salts(rng)
        if not len(rows):
            return Nomination(rows)
        scores = picking.scores_of(self.scorer, pool, rows)
        weights = self._weights(scores)
        order = np.argsort(picking.race(pool.ids[rows], salt.draw) / weights, kind="stable")
        sent = picking.best(pool, rows[order], budget, worst=int(rows[scores.argmin()]))
        return Nomination(sent, float(weights[~np.isin(rows, sent)].sum()))

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Rows in the order drawn, with their exact chances. O(n log n)."""
        rows, salt = pool.candidates(), picking.salts(rng)
        scores = picking.scores_of(self.scorer, pool, rows)
        picks, chance = picking.draw(pool, rows, self._weights(scores), budget, salt)
        reasons = _reasons(self.scorer, pool, rows[picks], scores[picks])
        return Selection(rows[picks], scores[picks], chance, reasons, picking.tied(scores, budget))


@dataclass(frozen=True)
class Power(_Drawn):
    """Weight (1 - explore) s^beta + explore: for scores where 0 means "nothing to learn".

    beta 0 draws at random, large beta takes the best; 2 to 4 keep most of the gain of the best.
    """

    def _worth(self, scores: Floats) -> Floats:
        return np.asarray(np.power(scores, self.beta))


@dataclass(frozen=True)
class Softmax(_Drawn):
    """Weight (1 - explore) exp(beta (s - 1)) + explore: only differences between scores matter."""

    beta: float = 5.0

    def _worth(self, scores: Floats) -> Floats:
        return np.asarray(np.exp(self.beta * (scores - 1.0)))


@dataclass(frozen=True)
class Softrank(picking.Counting):
    """Weight rank^-beta, rank 1 = best: needs no scale, so it suits uncalibrated scores.

    Ties are ranked at random. Exact over one pool. Over shards an approximation: each sends its
    best by score, ranks among those are taken as ranks in the whole pool (true for the first
    NOMINEES), texts left behind have no chance, and chances are stated as if they had.
    """

    scorer: Scorer
    beta: float = 1.0

    def __post_init__(self) -> None:
        fields.scorer("scorer", self.scorer)
        fields.number("beta", self.beta, 0.0, 100.0)

    def nominate(self, pool: Pool, budget: int, rng: np.random.Generator) -> Nomination:
        """The best rows by score."""
        rows, salt = pool.candidates(), picking.salts(rng)
        if not len(rows):
            return Nomination(rows)
        scores = picking.scores_of(self.scorer, pool, rows)
        sent = rows[self._ranked(pool, rows, scores, salt)][: max(budget, picking.NOMINEES)]
        sent = np.union1d(sent, rows[[scores.argmin()]])
        return Nomination(sent, float(len(rows) - len(sent)))

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Rows in the order drawn, with their chances. O(n log n + rest)."""
        rows, salt = pool.candidates(), picking.salts(rng)
        scores = picking.scores_of(self.scorer, pool, rows)
        fallback = picking.tied(scores, budget)
        if fallback:
            weights, behind = np.ones(len(rows)), picking.rest_of(pool)
        else:
            weights = np.empty(len(rows))
            weights[self._ranked(pool, rows, scores, salt)] = self._weights(0, len(rows))
            behind = self._tail(len(rows), len(rows) + int(picking.rest_of(pool)))
        picks, chance = picking.draw(pool.replace(rest=behind), rows, weights, budget, salt)
        return Selection(
            rows[picks], scores[picks], chance, _reasons(self.scorer, pool, rows[picks], scores[picks]), fallback
        )

    def _ranked(self, pool: Pool, rows: Rows, scores: Floats, salt: picking.Salts) -> Rows:
        return np.lexsort((picking.race(pool.ids[rows], salt.ties), -scores))

    def _weights(self, after: int, upto: int) -> Floats:
        return picking.grained(np.arange(after + 1, upto + 1, dtype=np.float64) ** -self.beta)

    def _tail(self, after: int, upto: int) -> float:
        # by blocks: the ranks of a whole pool need not fit in memory
        step = 2**20
        return float(sum(self._weights(at, min(at + step, upto)).sum() for at in range(after, upto, step)))
