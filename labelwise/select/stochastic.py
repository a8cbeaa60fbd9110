"""Strategies that draw: the better the score the likelier, every text with a known chance > 0.

A batch drawn this way is as good as much dearer ones (Kirsch, Farquhar, Atighehchian, Jesson,
Branchaud-Charron and Gal 2023, "Stochastic Batch Acquisition: A Simple Baseline for Deep Active
Learning") and its propensities make what was labelled usable for unbiased evaluation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from labelwise.core import ContractError, Nomination, Pool, Scorer, Selection
from labelwise.core.beliefs import Array, Floats, Rows
from labelwise.core.pool import Rest
from labelwise.select import fields, picking


def _rest(pool: Pool) -> tuple[float, float]:
    """The weight and the number of texts left behind in the shards."""
    match pool.rest:
        case (float(weight), float(number)):
            return weight, number
        case 0.0:
            return 0.0, 0.0
    raise ContractError(f"pool.rest {pool.rest!r} is not a weight and a number of texts")


@dataclass(frozen=True)
class _Drawn(ABC):
    """Each pick is, with chance ``explore``, any open text alike, else one by a weight of its score alone.

    So exploration is ``explore`` of the picks whatever the scores, and the chance of a pick is
    (1 - explore) w / (sum of w still open) + explore / (number still open). Each shard sends the
    first of both races, so sharded and whole choices are equal in rows, order and propensities (see
    ``picking.best`` for the bound on near-duplicates; past it, chances are too low by the share of
    what stayed behind). A mixture of two draws and not a sum of two weights, because that would need
    the mean weight of the whole pool before any shard is asked.
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

    def _scored(self, pool: Pool, rows: Rows) -> tuple[Floats, Floats]:
        scores = picking.scores_of(self.scorer, pool, rows)
        return scores, picking.grained(self._worth(scores))

    def left(self, pool: Pool, sent: Array) -> Rest:
        """Weight and number of the open rows that were not sent up."""
        rows = picking.behind(pool, sent)
        return float(self._scored(pool, rows)[1].sum()), float(len(rows))

    def nominate(self, pool: Pool, budget: int, rng: np.random.Generator) -> Nomination:
        """The rows that come first in either race, and the least wanted one."""
        rows, salts = pool.candidates(), (picking.salts(rng), picking.salts(rng))
        scores, weights = self._scored(pool, rows)
        by_score, evenly = (picking.race(pool.ids[rows], salt.draw) for salt in salts)
        sent = [picking.best(pool, rows, by_score / weights, budget), picking.best(pool, rows, evenly, budget)]
        sent.append(rows[scores.argmin() :][:1] if len(rows) else rows)
        nominated = np.unique(np.concatenate(sent))
        there = np.searchsorted(rows, nominated)
        return Nomination(nominated, (float(weights.sum() - weights[there].sum()), float(len(rows) - len(there))))

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Rows in the order drawn, with their exact chances. O(n + budget log budget)."""
        rows, salts = pool.candidates(), (picking.salts(rng), picking.salts(rng))
        scores, weights = self._scored(pool, rows)
        weight, number = _rest(pool)
        races = [
            picking.Race(weights, weight, salts[0], 1.0 - self.explore),
            picking.Race(np.ones(len(rows)), number, salts[1], self.explore),
        ]
        turns = (rng.random(min(budget, len(rows))) < self.explore).astype(np.intp)
        picks, chance = picking.draw(pool, rows, races, budget, turns)
        why = picking.reasons(self.scorer, pool, rows[picks], scores[picks])
        return Selection(rows[picks], scores[picks], chance, why, picking.tied(scores, budget))


@dataclass(frozen=True)
class Power(_Drawn):
    """Weight s^beta: for scores where 0 means "nothing to learn".

    beta 0 draws at random, large beta takes the best; 2 to 4 keep most of the gain of the best.
    """

    def _worth(self, scores: Floats) -> Floats:
        return np.asarray(np.power(scores, self.beta))


@dataclass(frozen=True)
class Softmax(_Drawn):
    """Weight exp(beta (s - 1)): only differences between scores matter."""

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
        noise = picking.race(pool.ids[rows], salt.ties)
        sent = rows[picking.smallest(-scores, max(budget, picking.NOMINEES), noise)]
        sent = np.union1d(sent, rows[[scores.argmin()]])
        return Nomination(sent, float(len(rows) - len(sent)))

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Rows in the order drawn, with their chances. O(n log n + rest)."""
        rows, salt = pool.candidates(), picking.salts(rng)
        scores = picking.scores_of(self.scorer, pool, rows)
        fallback, rest = picking.tied(scores, budget), picking.rest_of(pool)
        weights = np.ones(len(rows))
        if not fallback:
            noise = picking.race(pool.ids[rows], salt.ties)
            weights[np.lexsort((noise, -scores))] = self._weights(0, len(rows))
            rest = self._tail(len(rows), len(rows) + int(rest))
        picks, chance = picking.draw(pool, rows, [picking.Race(weights, rest, salt)], budget)
        why = picking.reasons(self.scorer, pool, rows[picks], scores[picks])
        return Selection(rows[picks], scores[picks], chance, why, fallback)

    def _weights(self, after: int, upto: int) -> Floats:
        return picking.grained(np.arange(after + 1, upto + 1, dtype=np.float64) ** -self.beta)

    def _tail(self, after: int, upto: int) -> float:
        # by blocks: the ranks of a whole pool need not fit in memory
        step = 2**20
        return float(sum(self._weights(at, min(at + step, upto)).sum() for at in range(after, upto, step)))
