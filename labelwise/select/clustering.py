"""Strategies that cluster the candidates and take texts from many clusters.

All are deterministic but for the seed of the clustering, so propensities are 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from labelwise.core import Pool, Scorer, Selection
from labelwise.core.beliefs import Array, Rows
from labelwise.select import fields, picking
from labelwise.select.comparing import Comparing, Scored, Vectors, gather, squared
from labelwise.select.geometry import clusters, k_means
from labelwise.select.herding import because, count, remarks, wanted
from labelwise.select.scorers import Margin

BLOCK = 256
FEWEST = 20
"""Candidates per cluster where nobody says how many clusters there are."""
MOST = 500


@dataclass(frozen=True)
class KMeans(Scored):
    """The texts nearest to the centres of as many clusters as the batch has texts.

    With a scorer, clusters are weighted by it, so that centres lie where it wants texts: CLUE (Prabhu,
    Chandrasekaran, Saenko and Hoffman 2021, "Active Domain Adaptation via Clustering
    Uncertainty-weighted Embeddings", with Entropy). Where a scorer filters instead,
    ``Then(Top(...), KMeans())``, it is the second half of DropQuery (Gupte et al. 2024, "Revisiting
    Active Learning in the Era of Vision Foundation Models"), whose scorer is how often the model
    changes its mind under dropout. O(m budget d).

    Trap: what is labelled plays no part; without a scorer that changes, rounds ask about the same places.
    """

    def pick(self, pool: Pool, rows: Rows, sample: int, budget: int, rng: np.random.Generator) -> Selection:
        """Rows by weight of their cluster; the score is its share of all weight."""
        texts = gather(pool, rows)
        weights, said = wanted(self.scorer, pool, rows, budget)
        means = k_means(texts, budget, int(rng.integers(2**31 - 1)), None if self.scorer is None else weights)
        worth = np.bincount(means.cells, weights, minlength=budget) / weights.sum()
        sizes = np.bincount(means.cells, minlength=budget) / len(rows)
        order = np.lexsort((-sizes, -worth))
        picks = nearest_distinct(texts, means.centres[order])
        empty = int(np.count_nonzero(sizes == 0))
        if empty and budget < len(rows):
            said = remarks(said, f"the texts fill {budget - empty} clusters only: {empty} texts are second ones")
        reasons, few = [], pool.take(rows[picks])
        for i, size in enumerate(sizes[order]):
            n, words = count(size, pool)
            reasons.append(because(f"in the middle of a cluster of about {words}", self.scorer, few, i, cluster=n))
        return Selection(rows[picks], worth[order], np.ones(budget), tuple(reasons), said)


def nearest_distinct(texts: Vectors, centres: Vectors) -> Rows:
    """(k,) for each of k centres in turn the nearest of m >= k texts that no centre before it has. O(m k d)."""
    picks: list[int] = []
    for start in range(0, len(centres), BLOCK):
        for apart in squared(centres[start : start + BLOCK], texts):
            apart[picks] = np.inf
            picks.append(int(apart.argmin()))
    return np.array(picks, dtype=np.intp)


@dataclass(frozen=True)
class ClusterMargin(Comparing):
    """The most wanted texts, shared out over clusters: one of each in turn, the rarest cluster first.

    The ``factor`` * budget texts with the best scores are grouped by cluster; clusters with fewer of
    them come first in every turn, which protects what is rare. Citovsky, DeSalvo, Gentile, Karydas,
    Rajagopalan, Rostamizadeh and Kumar 2021, "Batch Active Learning at Scale" (factor 10 for batches
    of 10^5 and more). They take a random one of each cluster; here it is the best, so that the
    batch has an order. ``clusters`` are the pool's where it has them, else k-means over the
    candidates, 0 = one cluster for every FEWEST, at most MOST. O(m log m + m clusters d).
    """

    scorer: Scorer = field(default_factory=Margin)
    factor: float = 1.25
    clusters: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        fields.scorer("scorer", self.scorer)
        fields.number("factor", self.factor, 1.0, 1e6)
        fields.whole("clusters", self.clusters, 0)

    @property
    def keen(self) -> Scorer:
        return self.scorer

    def _candidates(self, pool: Pool, order: Rows, budget: int) -> tuple[Rows, int]:
        return super()._candidates(pool, order, math.ceil(self.factor * budget))

    def pick(self, pool: Pool, rows: Rows, sample: int, budget: int, rng: np.random.Generator) -> Selection:
        """Rows in the order of turns; the score is the scorer's."""
        scores = picking.scores_of(self.scorer, pool, rows)
        if pool.clusters is not None:
            cells = pool.clusters[rows]
        else:
            k = self.clusters or min(max(len(rows) // FEWEST, 1), MOST)
            cells = clusters(gather(pool, rows), min(k, len(rows)), int(rng.integers(2**31 - 1)))
        best = np.argsort(-scores, kind="stable")[: math.ceil(self.factor * budget)]
        turns, sizes = in_turns(cells[best])
        picks, sizes = best[turns[:budget]], sizes[turns[:budget]]
        few = pool.take(rows[picks])
        reasons = tuple(
            because(f"from a cluster with {size} of the most wanted texts", self.scorer, few, i, cluster=size)
            for i, size in enumerate(sizes)
        )
        return Selection(rows[picks], scores[picks], np.ones(budget), reasons, picking.tied(scores, budget))


def in_turns(cells: Array) -> tuple[Rows, Array]:
    """The order (m,) of taking one of every cell in turn, smaller cells first; and the size of each one's cell (m,).

    Ties between cells go to that with the earlier first member. O(m log m).
    """
    _, first, cell, counts = np.unique(cells, return_index=True, return_inverse=True, return_counts=True)
    by_cell = np.argsort(cell, kind="stable")
    turn = np.empty(len(cells), dtype=np.intp)
    turn[by_cell] = np.arange(len(cells)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.lexsort((first[cell], counts[cell], turn)), counts[cell]
