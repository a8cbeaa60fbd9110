"""Herding: each pick stands for the texts around it that nothing asked so far resembles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from labelwise.core import Pool, Reason, Scorer, Selection
from labelwise.core.beliefs import Floats, Rows
from labelwise.select import fields, picking
from labelwise.select.comparing import Comparing, Vectors, gather, known_vectors
from labelwise.select.geometry import k_means, nearest

TARGETS = 8192
"""Texts, a uniform sample of the open ones, on which coverage is measured."""
BALLS = 500
"""Most centres that the bandwidth is taken from."""
BLOCK = (512, 4096)
"""Targets and candidates whose kernel is held at a time."""
SAME = 1e-6
"""Squared distance, from rounding alone, below which two texts are one."""
NARROWEST = 1e-4
"""The least squared bandwidth; cosines above 1 - 5e-5 count as alike even then."""
NEGLIGIBLE = 1e-6
"""Share of all there is to cover that is too little to tell one text from another."""


class Cover(NamedTuple):
    """Picks (b,) in order, what each gained (mean of weight times kernel), and what share of targets it stands for."""

    picks: Rows
    gains: Floats
    shares: Floats


@dataclass(frozen=True)
class Herding(Comparing):
    """Covers the pool with soft balls around what was asked; a scorer makes it cover what is wanted.

    Greedily maximises sum_i u_i max_j k(i, j) over a uniform sample of open texts i, with j labelled
    or picked and k = exp(-distance^2 / h^2). Without a scorer u = 1: MaxHerding (Bae, Noh and
    Sutherland 2024, "Generalized Coverage for More Robust Low-Budget Active Learning"). With one, u
    is its score: UHerding (Bae, Oliveira and Sutherland 2025, "Uncertainty Herding: One Active
    Learning Method for All Label Budgets"), which begins like coverage and ends like the scorer.
    The greedy choice is within 1 - 1/e of the best batch.

    h^2 is ``bandwidth`` times the mean squared distance of a text to the nearest of as many k-means
    centres as there are labels and picks: balls that would just share out the pool. The papers take
    the least distance between two labels, which one pair of near-duplicates drives to 0.

    Trap: scores shape the choice only as far as they differ; calibrate the beliefs.
    O(m t d (1 + log((labelled + budget) / labelled))) for m candidates and t <= TARGETS texts to cover.
    """

    scorer: Scorer | None = None
    bandwidth: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scorer is not None:
            fields.scorer("scorer", self.scorer)
        fields.number("bandwidth", self.bandwidth, 1e-3, 1e3)

    @property
    def keen(self) -> Scorer | None:
        return self.scorer

    def pick(self, pool: Pool, rows: Rows, sample: int, budget: int, rng: np.random.Generator) -> Selection:
        """Rows in the order picked; the score is the gain: the mean over targets of weight times new kernel."""
        known = known_vectors(pool)
        if not budget:
            return Selection.join([])
        texts = gather(pool, rows)
        targets, weights, said = texts[: min(sample, TARGETS)], np.ones(min(sample, TARGETS)), []
        if self.scorer is not None:
            scores = picking.scores_of(self.scorer, pool, rows[: len(targets)])
            if scores.max() > 0:
                weights = scores
            if budget < len(rows) and scores.min() == scores.max():
                said.append(f"all scores are equal ({scores[0]:.3g}): the texts were chosen for coverage alone")
        h2 = self.bandwidth * bandwidth_of(targets, len(known) + budget, int(rng.integers(2**31 - 1)))
        picks, gains, shares = greedy_cover(targets, texts, weights, known, h2, budget)
        random = int(np.count_nonzero(gains == 0))
        if random and budget < len(rows):
            said.append(f"what was asked covers the pool: {random} of {budget} texts were chosen at random")
        standing = shares * (len(pool.candidates()) + picking.rest_of(pool))
        reasons = tuple(
            self._reason(pool, int(row), max(1, round(n)), float(gain))
            for row, n, gain in zip(rows[picks], standing, gains, strict=True)
        )
        return Selection(rows[picks], gains, np.ones(budget), reasons, "; ".join(said))

    def _reason(self, pool: Pool, row: int, texts: int, gain: float) -> Reason:
        stands = f"stands for about {texts} text{'s' if texts > 1 else ''}"
        if self.scorer is None:
            return Reason(f"{stands} that nothing labelled resembles", texts=texts, gain=gain)
        score = float(picking.scores_of(self.scorer, pool, np.array([row]))[0])
        why = self.scorer.reason(pool, row, score)
        return Reason(f"{stands}, {why}", **{**getattr(why, "numbers", {}), "texts": texts, "gain": gain})


def bandwidth_of(texts: Vectors, balls: int, seed: int) -> float:
    """h^2: mean squared distance of m texts to the nearest of min(balls, BALLS, m) k-means centres. O(m balls d)."""
    return float(k_means(texts, min(balls, BALLS, len(texts)), seed).apart.mean(dtype=np.float64))


def greedy_cover(
    targets: Vectors, candidates: Vectors, weights: Floats, known: Vectors, h2: float, budget: int
) -> Cover:
    """Greedily maximise mean_i weights_i max_j k(target_i, j) over j known or picked; ties go to earlier candidates.

    The exact greedy choice, like Minoux's lazy one, but gains are kept true instead of bounded: a
    pick changes them only through the targets it is now the nearest to, fewer with every pick,
    and only their rows of the kernel are worked out again. Once nothing is left to gain, candidates
    follow in their order with gain 0. Memory of one BLOCK.
    """
    h2, order = max(h2, NARROWEST), np.arange(len(candidates))
    ground = np.zeros(len(targets), np.float32)
    if len(known):
        ground = np.exp(-np.maximum(nearest(targets, known) - SAME, 0.0) / np.float32(h2))
    ours, theirs = _exponents(targets, candidates, h2)
    useful = np.asarray(weights, dtype=np.float32)
    gain = _gains(ours, theirs, useful, ground, np.ones_like(ground))
    picks: list[int] = []
    gains, shares = np.zeros(budget), np.zeros(budget)
    while len(picks) < budget:
        # rounding must not decide between copies
        pick = int((gain >= gain.max() * (1 - NEGLIGIBLE)).argmax())
        like = np.exp(np.minimum(ours @ theirs[pick], 0.0))
        new = np.maximum(like - ground, 0.0)
        worth = float(useful @ new)
        if worth <= NEGLIGIBLE * float(useful.sum()):
            picks += np.setdiff1d(order, picks)[: budget - len(picks)].tolist()
            break
        gains[len(picks)], shares[len(picks)] = worth / len(targets), new.mean(dtype=np.float64)
        picks.append(pick)
        felt = np.flatnonzero((new > NEGLIGIBLE) & (useful > 0))
        gain -= _gains(ours[felt], theirs, useful[felt], ground[felt], like[felt])
        gain[pick] = -np.inf
        ground = np.maximum(ground, like)
    return Cover(np.array(picks, dtype=np.intp), gains, shares)


def _exponents(targets: Vectors, candidates: Vectors, h2: float) -> tuple[Vectors, Vectors]:
    """(t, d + 2) and (m, d + 2) whose inner products are (SAME - squared distance) / h2."""
    squares = (np.einsum("ij,ij->i", texts, texts)[:, None] for texts in (targets, candidates))
    ours = np.hstack([targets * np.float32(2 / h2), (SAME - next(squares)) / h2, np.ones((len(targets), 1))])
    theirs = np.hstack([candidates, np.ones((len(candidates), 1)), -next(squares) / h2])
    return ours.astype(np.float32), theirs.astype(np.float32)


def _gains(ours: Vectors, theirs: Vectors, weights: Vectors, low: Vectors, high: Vectors) -> Floats:
    """(m,) what each candidate adds to the targets' coverage between ``low`` and ``high`` <= 1."""
    total = np.zeros(len(theirs))
    for start in range(0, len(theirs), BLOCK[1]):
        some = theirs[start : start + BLOCK[1]].T
        for first in range(0, len(ours), BLOCK[0]):
            own = slice(first, first + BLOCK[0])
            kernel = ours[own] @ some
            np.exp(kernel, out=kernel)
            np.clip(kernel, low[own, None], high[own, None], out=kernel)
            kernel -= low[own, None]
            total[start : start + BLOCK[1]] += weights[own] @ kernel
    return total
