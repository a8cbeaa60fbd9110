"""Strategies that look at where texts lie: cover the pool, or ask about the typical.

Both first leave one text of every near-duplicate group (copies would pass for a dense region)
and come back to the others only when nothing else is left. Both are deterministic but for the
seed of the clustering and the order of ties, so propensities are 1: nothing can be estimated
from their picks. Memory: one float32 copy of the vectors of open and labelled texts; never (n, n).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labelwise.core import Nomination, Pool, Selection
from labelwise.core.beliefs import Array, Rows
from labelwise.select import fields, picking

Vectors = npt.NDArray[np.float32]

ROUNDS = 8
"""Passes of k-means; with 25, accuracy on Banking77 differed by less than it does between seeds."""
SAMPLE = 64
"""Texts per centre that k-means learns from; all are assigned."""
CROWD = 4096
"""Most members of one cluster that are compared with one another."""
BLOCK = 4096
DIAMETER = 2.0
"""Distance from a text to the nearest labelled one when there is none: as far as unit vectors can be."""


def _gather(pool: Pool, rows: Rows) -> Vectors:
    return np.ascontiguousarray(pool.need("vectors")[rows], dtype=np.float32)


def _shuffled(pool: Pool, rows: Rows, salt: picking.Salts) -> Rows:
    """Rows in an order that belongs to the texts: ties, and samples, do not follow the array."""
    return rows[np.argsort(picking.race(pool.ids[rows], salt.ties), kind="stable")]


def _tiers(pool: Pool, salt: picking.Salts) -> tuple[Rows, Rows]:
    return picking.apart(_shuffled(pool, pool.candidates(), salt), pool.groups)


@dataclass(frozen=True)
class KCenter:
    """Farthest first: each pick is the text farthest from all labelled and picked ones.

    A 2-approximation of the smallest covering radius (Sener and Savarese 2018, "Active Learning
    for Convolutional Neural Networks: A Core-Set Approach"). It likes outliers, so the share
    ``trim`` of texts that lie farthest from everything labelled at the start is left for last
    (their robust k-center). With nothing labelled the first pick is the text nearest the mean.
    O(n (labelled + budget) d). Over a shard with more than NOMINEES open texts an approximation:
    it sends up 4 * budget texts, farthest first among a uniform sample.
    """

    trim: float = 0.001

    def __post_init__(self) -> None:
        fields.number("trim", self.trim, 0.0, 0.5)

    def nominate(self, pool: Pool, budget: int, rng: np.random.Generator) -> Nomination:
        """All open rows of a small shard; else those that cover a sample of it."""
        rows, salt = pool.candidates(), picking.salts(rng)
        most = max(4 * budget, picking.NOMINEES)
        if len(rows) <= most:
            return Nomination(rows)
        sample = _shuffled(pool, rows, salt)[:most]
        return Nomination(np.sort(self._spread(pool, sample, 4 * budget)[0]))

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Rows in the order picked; the score is the distance to the nearest labelled or picked text."""
        first, others = _tiers(pool, picking.salts(rng))
        rows, distance = self._spread(pool, first, budget)
        if len(rows) < budget and len(others):
            more, near = self._spread(picking.asked(pool, rows, rows[:0]), others, budget - len(rows))
            rows, distance = np.concatenate([rows, more]), np.concatenate([distance, near])
        reasons = tuple(f"far from every labelled text (distance {d:.2f})" for d in distance)
        return Selection(rows, distance.astype(np.float64), np.ones(len(rows)), reasons)

    def _spread(self, pool: Pool, rows: Rows, budget: int) -> tuple[Rows, Vectors]:
        texts, centres = _gather(pool, rows), _gather(pool, np.flatnonzero(pool.labelled))
        squares = np.einsum("ij,ij->i", texts, texts)
        near = np.full(len(rows), DIAMETER**2, dtype=np.float32)
        handicap = np.zeros(len(rows), dtype=np.float32)
        picks: list[int] = []
        reach: list[float] = []
        budget = min(budget, len(rows))
        if len(centres):
            near = _nearest(texts, squares, centres)
            handicap = self._outliers(near)
        while len(picks) < budget:
            if picks or len(centres):
                pick = int(np.argmax(near - handicap))
            else:
                pick = int(np.argmin(squares - 2.0 * (texts @ texts.mean(axis=0))))
            picks.append(pick)
            reach.append(float(near[pick]))
            near = np.minimum(near, _squared(texts, squares, texts[pick]))
            if len(picks) == 1 and not len(centres):
                handicap = self._outliers(near)
            handicap[pick] = np.inf
        return rows[picks], np.sqrt(np.array(reach, dtype=np.float32))

    def _outliers(self, near: Vectors) -> Vectors:
        """(n,) what to subtract so that outliers come after all others, in their own order."""
        if not len(near):
            return near
        return np.where(near > np.quantile(near, 1.0 - self.trim, method="higher"), near.max() + 1, 0).astype(
            np.float32
        )


def _squared(texts: Vectors, squares: Vectors, centre: Vectors) -> Vectors:
    return np.asarray(np.maximum(squares + centre @ centre - 2.0 * (texts @ centre), 0.0), dtype=np.float32)


def _nearest(texts: Vectors, squares: Vectors, centres: Vectors) -> Vectors:
    """(n,) squared distance to the nearest centre, by blocks of both."""
    lengths = np.einsum("ij,ij->i", centres, centres)
    best = np.full(len(texts), np.inf, dtype=np.float32)
    for at in range(0, len(texts), BLOCK):
        block = slice(at, at + BLOCK)
        for start in range(0, len(centres), BLOCK):
            some = slice(start, start + BLOCK)
            found = (lengths[some] - 2.0 * (texts[block] @ centres[some].T)).min(axis=1)
            best[block] = np.minimum(best[block], found)
    return np.asarray(np.maximum(best + squares, 0.0))


@dataclass(frozen=True)
class TypiClust:
    """Typical texts of the regions with the fewest labels: what to ask when there are few labels.

    Clusters all open and labelled texts into min(labelled + budget, max_clusters), takes them by
    (labels ascending, size descending) and asks about the most typical open text of each in
    turn: the one with the smallest mean distance to its ``neighbours`` nearest open fellows.
    Clusters of ``smallest`` texts or fewer come last. Hacohen, Dekel and Weinshall 2022, "Active
    Learning on a Budget: Opposite Strategies Suit High and Low Budgets".

    In a cluster with more than CROWD open texts, a uniform sample of CROWD stands for it. Over a
    shard with more than NOMINEES open texts an approximation: it sends up its own choice of
    4 * budget and a uniform sample. O(n k d) for the clusters, k <= max_clusters.
    """

    max_clusters: int = 500
    neighbours: int = 20
    smallest: int = 5

    def __post_init__(self) -> None:
        fields.whole("max_clusters", self.max_clusters, 1)
        fields.whole("neighbours", self.neighbours, 1)
        fields.whole("smallest", self.smallest, 0)

    def nominate(self, pool: Pool, budget: int, rng: np.random.Generator) -> Nomination:
        """All open rows of a small shard; else its own choice and a sample of it."""
        rows = pool.candidates()
        if len(rows) <= max(4 * budget, picking.NOMINEES):
            return Nomination(rows)
        salt = picking.salts(rng)
        own = self.select(pool, 4 * budget, rng).rows
        return Nomination(np.union1d(own, _shuffled(pool, rows, salt)[: picking.NOMINEES]))

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Rows in the order picked; the score is the typicality."""
        first, others = _tiers(pool, picking.salts(rng))
        seed = int(rng.integers(2**31 - 1))
        chosen = self._typical(pool, first, budget, seed)
        if len(chosen) < budget and len(others):
            more = self._typical(picking.asked(pool, chosen.rows, chosen.rows[:0]), others, budget - len(chosen), seed)
            chosen = Selection.join([chosen, more])
        return chosen

    def _typical(self, pool: Pool, rows: Rows, budget: int, seed: int) -> Selection:
        known = np.flatnonzero(pool.labelled)
        budget = min(budget, len(rows))
        if not budget:
            return Selection.join([])
        texts = _gather(pool, np.concatenate([known, rows]))
        cells = clusters(texts, min(len(known) + budget, self.max_clusters, len(texts)), seed)
        picks, scores = most_typical(
            texts[len(known):], cells[len(known):], cells[: len(known)], budget, self.neighbours, self.smallest
        )  # fmt: skip
        sizes, labels = np.bincount(cells), np.bincount(cells[: len(known)], minlength=int(cells.max()) + 1)
        reasons = tuple(
            f"typical of a region of {sizes[cell]} texts with {labels[cell]} labelled"
            for cell in cells[len(known) :][picks]
        )
        return Selection(rows[picks], scores, np.ones(len(picks)), reasons)


def clusters(texts: Vectors, k: int, seed: int) -> Array:
    """(n,) the k-means cluster of each text, some of 0..k-1 possibly empty; 1 <= k <= n. O(n k d)."""
    import faiss

    means = faiss.Kmeans(
        texts.shape[1], k, niter=ROUNDS, seed=seed, verbose=False, min_points_per_centroid=1,
        max_points_per_centroid=SAMPLE,
    )  # fmt: skip
    means.train(texts)
    return np.asarray(means.index.search(texts, 1)[1][:, 0])


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
    squares = np.einsum("ij,ij->i", texts, texts)
    apart = squares[:, None] + squares[None, :] - 2.0 * (texts @ texts.T)
    np.fill_diagonal(apart, np.inf)
    closest = np.partition(apart, nearest - 1, axis=1)[:, :nearest]
    return np.asarray(1.0 / (np.sqrt(np.maximum(closest, 0.0)).mean(axis=1) + 1e-5))
