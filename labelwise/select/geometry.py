"""Strategies that look at where texts lie: cover the pool, or ask about the typical.

Both are deterministic but for the seed of the clustering and the order of ties, so propensities
are 1: nothing can be estimated from their picks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from labelwise.core import Pool, Reason, Selection, stream
from labelwise.core.beliefs import Array, Rows
from labelwise.core.threads import one_thread
from labelwise.select import fields, picking
from labelwise.select.comparing import Comparing, Vectors, gather, known_vectors, squared

ROUNDS = 8
"""Passes of k-means; with 25, accuracy on Banking77 differed by less than it does between seeds."""
SAMPLE = 64
"""Texts per centre that k-means learns from; all are assigned."""
CROWD = 4096
"""Most members of one cluster that are compared with one another."""
BLOCK = 4096
DIAMETER = 2.0
"""Distance from a text to the nearest labelled one when there is none: as far as unit vectors can be."""


@dataclass(frozen=True)
class KCenter(Comparing):
    """Farthest first: each pick is the text farthest from all labelled and picked ones.

    A 2-approximation of the smallest covering radius (Sener and Savarese 2018, "Active Learning
    for Convolutional Neural Networks: A Core-Set Approach"). It likes outliers, so the share
    ``trim`` of texts that lie farthest from everything labelled at the start is left for last
    (their robust k-center). With nothing labelled the first pick is the text nearest the mean.
    O(m (labelled + budget) d) for m candidates.
    """

    trim: float = 0.001

    def __post_init__(self) -> None:
        super().__post_init__()
        fields.number("trim", self.trim, 0.0, 0.5)

    def pick(self, pool: Pool, rows: Rows, sample: int, budget: int, rng: np.random.Generator) -> Selection:
        """Rows in the order picked; the score is the distance to the nearest labelled or picked text."""
        texts, centres = gather(pool, rows), known_vectors(pool)
        squares = np.einsum("ij,ij->i", texts, texts)
        near = np.full(len(rows), DIAMETER**2, dtype=np.float32)
        handicap = np.zeros(len(rows), dtype=np.float32)
        picks: list[int] = []
        reach: list[float] = []
        if len(centres):
            near = nearest(texts, centres)
            handicap = self._outliers(near)
        while len(picks) < budget:
            if picks or len(centres):
                pick = int(np.argmax(near - handicap))
            else:
                pick = int(np.argmin(squares - 2.0 * (texts @ texts.mean(axis=0))))
            picks.append(pick)
            reach.append(float(near[pick]))
            near = np.minimum(near, np.maximum(squares + squares[pick] - 2.0 * (texts @ texts[pick]), 0.0))
            if len(picks) == 1 and not len(centres):
                handicap = self._outliers(near)
            handicap[pick] = np.inf
        distance = np.sqrt(np.array(reach))
        reasons = tuple(Reason(f"far from everything labelled (distance {d:.2f})", distance=d) for d in distance)
        return Selection(rows[picks], distance, np.ones(len(picks)), reasons)

    def _outliers(self, near: Vectors) -> Vectors:
        """(n,) what to subtract so that outliers come after all others, in their own order."""
        if not len(near):
            return near
        return np.where(near > np.quantile(near, 1.0 - self.trim, method="higher"), near.max() + 1, 0).astype(
            np.float32
        )


def nearest(texts: Vectors, centres: Vectors) -> Vectors:
    """(n,) squared distance of each text to its nearest centre; memory of two blocks."""
    near = np.full(len(texts), DIAMETER**2, dtype=np.float32)
    for start in range(0, len(texts), BLOCK):
        block = texts[start : start + BLOCK]
        for first in range(0, len(centres), BLOCK):
            apart = squared(block, centres[first : first + BLOCK]).min(axis=1)
            np.minimum(near[start : start + BLOCK], apart, out=near[start : start + BLOCK])
    return near


@dataclass(frozen=True)
class TypiClust(Comparing):
    """Typical texts of the regions with the fewest labels: what to ask when there are few labels.

    Clusters all open and labelled texts into min(labelled + budget, max_clusters), takes them by
    (labels ascending, size descending) and asks about the most typical open text of each in
    turn: the one with the smallest mean distance to its ``neighbours`` nearest open fellows.
    Clusters of ``smallest`` texts or fewer come last. Hacohen, Dekel and Weinshall 2022, "Active
    Learning on a Budget: Opposite Strategies Suit High and Low Budgets".

    In a cluster with more than CROWD open texts, a uniform sample of CROWD stands for it.
    O(m k d) for the clusters of m candidates, k <= max_clusters.
    """

    max_clusters: int = 500
    neighbours: int = 20
    smallest: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        fields.whole("max_clusters", self.max_clusters, 1)
        fields.whole("neighbours", self.neighbours, 1)
        fields.whole("smallest", self.smallest, 0)

    def pick(self, pool: Pool, rows: Rows, sample: int, budget: int, rng: np.random.Generator) -> Selection:
        """Rows in the order picked; the score is the typicality."""
        known = known_vectors(pool)
        texts = np.concatenate([known, gather(pool, rows)])
        seed = int(rng.integers(2**31 - 1))
        cells = clusters(texts, min(len(known) + budget, self.max_clusters, len(texts)), seed)
        picks, scores = most_typical(
            texts[len(known):], cells[len(known):], cells[: len(known)], budget, self.neighbours, self.smallest
        )  # fmt: skip
        sizes, labels = np.bincount(cells), np.bincount(cells[: len(known)], minlength=int(cells.max()) + 1)
        scale = (len(pool.candidates()) + picking.rest_of(pool)) / len(rows)
        reasons = []
        for cell, typical in zip(cells[len(known) :][picks], scores, strict=True):
            size = round((sizes[cell] - labels[cell]) * scale) + int(labels[cell])
            why = f"typical of a cluster of {size} texts with {labels[cell]} labelled"
            reasons.append(Reason(why, cluster=size, labelled=labels[cell], typicality=typical))
        return Selection(rows[picks], scores, np.ones(len(picks)), tuple(reasons))


class Means(NamedTuple):
    """Of k-means over n texts: the cell of each (n,), its squared distance to the centre (n,), the centres (k, d)."""

    cells: Array
    apart: Vectors
    centres: Vectors


def k_means(texts: Vectors, k: int, seed: int, weights: Array | None = None) -> Means:
    """k-means of n texts, 1 <= k <= n, by weights >= 0 where given; cells may be empty. O(n k d)."""
    import faiss

    means = faiss.Kmeans(
        texts.shape[1], k, niter=ROUNDS, seed=seed, verbose=False, min_points_per_centroid=1,
        max_points_per_centroid=SAMPLE,
    )  # fmt: skip
    first = None
    if weights is not None:
        # faiss divides by a cell's weight, and never finds an empty one a cell to split if all weigh less than 1
        weights = np.maximum(weights / max(float(weights.mean()), 1e-30), 1e-3).astype(np.float32)
        arrival = stream(seed, "centres").exponential(size=len(texts)) / weights
        first = texts[np.argsort(arrival, kind="stable")[:k]]
    with one_thread():  # here too, as faiss may have come in only now
        means.train(texts, weights=weights, init_centroids=first)
        apart, cells = means.index.search(texts, 1)
    return Means(cells[:, 0], np.maximum(apart[:, 0], 0.0), np.asarray(means.centroids))


def clusters(texts: Vectors, k: int, seed: int) -> Array:
    """(n,) the k-means cluster of each text, some of 0..k-1 possibly empty; 1 <= k <= n. O(n k d)."""
    return k_means(texts, k, seed).cells


def most_typical(
    texts: Vectors, cells: Array, labelled: Array, budget: int, neighbours: int, smallest: int
) -> tuple[Rows, Array]:
    """Positions (budget,) of the most typical of n open texts, and their typicality.

    ``cells`` (n,) are the clusters of the open texts, ``labelled`` those of the labelled ones.
    """
    k = int(max(cells.max(initial=0), labelled.max(initial=0))) + 1
    known = np.bincount(labelled, minlength=k)
    sizes = np.bincount(cells, minlength=k) + known
    members = np.split(np.argsort(cells, kind="stable"), np.cumsum(np.bincount(cells, minlength=k))[:-1])
    order = np.lexsort((-sizes, known))
    picks: list[int] = []
    scores: list[float] = []
    for tier in (order[sizes[order] > smallest], order[sizes[order] <= smallest]):
        turn = [int(cell) for cell in tier if len(members[cell])]
        while turn and len(picks) < budget:
            for cell in turn[: budget - len(picks)]:
                some = members[cell][:CROWD]
                worth = typicality(texts[some], min(neighbours, len(some) // 2))
                at = int(worth.argmax())
                picks.append(int(some[at]))
                scores.append(float(worth[at]))
                members[cell] = np.delete(members[cell], at)
            turn = [cell for cell in turn if len(members[cell])]
    return np.array(picks, dtype=np.intp), np.array(scores)


def typicality(texts: Vectors, nearest: int) -> Vectors:
    """(m,) 1 / (mean distance to the ``nearest`` other texts + 1e-5); all equal for nearest = 0. O(m^2 d)."""
    if nearest < 1:
        return np.full(len(texts), 1e5, dtype=np.float32)
    apart = squared(texts, texts)
    np.fill_diagonal(apart, np.inf)
    closest = np.partition(apart, nearest - 1, axis=1)[:, :nearest]
    return np.asarray(1.0 / (np.sqrt(np.maximum(closest, 0.0)).mean(axis=1) + 1e-5))
