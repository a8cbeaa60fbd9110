"""Herding: each pick stands for the texts around it that nothing asked so far resembles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from labelwise.core import Pool, Reason, Scorer, Selection
from labelwise.core.beliefs import Array, Floats, Rows
from labelwise.core.threads import side_by_side
from labelwise.select import fields, picking
from labelwise.select.comparing import Scored, Vectors, gather, known_vectors
from labelwise.select.geometry import k_means, nearest

TARGETS = 8192
"""Texts, a uniform sample of the open ones, on which coverage is measured."""
BALLS = 500
"""Most centres that the bandwidth is taken from."""
BLOCK = (512, 4096)
"""Targets and candidates whose kernel is held at a time."""
FEW = 64
"""Candidates whose gain is worked out at a time to find the best."""
SAME = 1e-6
"""Squared distance, from rounding alone, below which two texts are one."""
NARROWEST = 1e-4
"""The least squared bandwidth; cosines above 1 - 5e-5 count as alike even then."""
NEGLIGIBLE = 1e-6
"""Share of all there is to cover that is too little to tell one text from another."""


class Nearness(NamedTuple):
    """How alike two texts are, in [0, 1]: ``shape``, which works in place, of shift - scale * squared distance."""

    scale: float
    shift: float
    shape: Callable[[Vectors], Vectors]

    def at(self, apart: Vectors) -> Vectors:
        """Of texts at these squared distances."""
        return self.shape(np.float32(self.shift) - np.float32(self.scale) * apart)


def gaussian(h2: float) -> Nearness:
    """exp(-squared distance / h2)."""
    h2 = max(h2, NARROWEST)

    def shape(exponents: Vectors) -> Vectors:
        return np.asarray(np.exp(np.minimum(exponents, 0.0, out=exponents), out=exponents))

    return Nearness(1 / h2, SAME / h2, shape)


class Cover(NamedTuple):
    """Picks (b,) in order, what each gained (mean of weight times new nearness), and the same without weights."""

    picks: Rows
    gains: Floats
    shares: Floats


@dataclass(frozen=True)
class Herding(Scored):
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

    bandwidth: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        fields.number("bandwidth", self.bandwidth, 1e-3, 1e3)

    def pick(self, pool: Pool, rows: Rows, sample: int, budget: int, rng: np.random.Generator) -> Selection:
        """Rows in the order picked; the score is the gain: the mean over targets of weight times new kernel."""
        known = known_vectors(pool)
        texts = gather(pool, rows)
        targets = texts[: min(sample, TARGETS)]
        weights, said = wanted(self.scorer, pool, rows[: len(targets)], budget)
        h2 = self.bandwidth * bandwidth_of(targets, len(known) + budget, int(rng.integers(2**31 - 1)))
        cover = greedy_cover(targets, texts, weights, known, gaussian(h2), budget)
        resembles = " that nothing labelled resembles" if self.scorer is None else ""
        reasons, few = [], pool.take(rows[cover.picks])
        for i, (gain, share) in enumerate(zip(cover.gains, cover.shares, strict=True)):
            n, words = count(share, pool)
            place = f"stands for about {words}{resembles}"
            reasons.append(because(place, self.scorer, few, i, texts=n, gain=gain))
        said = remarks(said, by_chance(cover.gains, rows))
        return Selection(rows[cover.picks], cover.gains, np.ones(budget), tuple(reasons), said)


def wanted(scorer: Scorer | None, pool: Pool, rows: Rows, budget: int) -> tuple[Floats, str]:
    """(m,) the scores of some rows, or 1 without a scorer; and a remark if they cannot tell texts apart."""
    if scorer is None or not len(rows):
        return np.ones(len(rows)), ""
    scores = picking.scores_of(scorer, pool, rows)
    even = scores.min() == scores.max() and budget < len(rows)
    remark = f"all scores are equal ({scores[0]:.3g}): only where texts lie decided" if even else ""
    return (scores if scores.max() > 0 else np.ones(len(rows))), remark


def because(place: str, scorer: Scorer | None, pool: Pool, row: int, **numbers: float) -> Reason:
    """What a text's place says for it, and what its score does."""
    if scorer is None:
        return Reason(place, **numbers)
    why = scorer.reason(pool, row, float(picking.scores_of(scorer, pool, np.array([row]))[0]))
    return Reason(f"{place}, {why}", **{**getattr(why, "numbers", {}), **numbers})


def count(share: float, pool: Pool) -> tuple[int, str]:
    """How many open texts a share of them is, at least 1, as a number and in words."""
    n = max(1, round(share * (int(np.count_nonzero(pool.open)) + picking.rest_of(pool))))
    return n, f"{n} text{'s' if n > 1 else ''}"


def remarks(*said: str) -> str:
    """What is to be said of a selection, in one line."""
    return "; ".join(filter(None, said))


def by_chance(gains: Floats, rows: Rows) -> str:
    """How many picks had nothing to gain; empty if there were none, or no choice."""
    random = int(np.count_nonzero(gains <= 0))
    if not random or len(gains) >= len(rows):
        return ""
    return f"what was asked covers the pool: {random} of {len(gains)} texts were chosen at random"


def bandwidth_of(texts: Vectors, balls: int, seed: int) -> float:
    """h^2: mean squared distance of m texts to the nearest of min(balls, BALLS, m) k-means centres. O(m balls d)."""
    return float(k_means(texts, min(balls, BALLS, len(texts)), seed).apart.mean(dtype=np.float64))


def greedy_cover(
    targets: Vectors,
    candidates: Vectors,
    weights: Floats,
    known: Vectors,
    nearness: Nearness,
    budget: int,
    lots: tuple[int, np.random.Generator] | None = None,
) -> Cover:
    """Greedily maximise mean_i weights_i max_j nearness(target_i, j) over j known or picked; ties go to the earlier.

    The exact greedy choice, lazy like Minoux's (1978): a pick changes gains only through the targets it
    is now the nearest to, fewer with every pick, and only their similarities are worked out again,
    at once for the few candidates that may be the best and for all in blocks. Memory of one BLOCK. With
    ``lots`` (a size and a generator) every pick is the best of that many candidates drawn afresh, and only theirs are.
    Once nothing is left to gain, candidates follow in their order with gain 0.
    """
    ground = nearness.at(nearest(targets, known)) if len(known) else np.zeros(len(targets), np.float32)
    kernel, useful = _Kernel.of(targets, candidates, nearness), np.asarray(weights, dtype=np.float32)
    least, left = NEGLIGIBLE * float(useful.sum()), np.ones(len(candidates), dtype=bool)
    bounds = None if lots else _Bounds(kernel, useful, kernel.gains(useful, ground, np.ones_like(ground)))
    picks: list[int] = []
    gains, shares = np.zeros(budget), np.zeros(budget)
    for turn in range(budget):
        if bounds:
            pick = bounds.best(left)
        elif lots:
            rows = np.flatnonzero(left)
            if lots[0] < len(rows):
                rows = np.sort(lots[1].choice(rows, lots[0], replace=False))
            gain = kernel.gains(useful, ground, np.ones_like(ground), rows)
            pick = int(rows[_among_best(gain).argmax()])
        like = kernel.like(pick)
        new = np.maximum(like - ground, 0.0)
        worth = float(useful @ new)
        if worth > least:
            gains[turn], shares[turn] = worth / len(targets), new.mean(dtype=np.float64)
        elif bounds:
            picks += np.flatnonzero(left)[: budget - turn].tolist()
            break
        picks.append(pick)
        left[pick] = False
        if bounds:
            felt = np.flatnonzero((new > NEGLIGIBLE) & (useful > 0))
            bounds.fall(felt, ground[felt], like[felt])
        ground = np.maximum(ground, like)
    return Cover(np.array(picks, dtype=np.intp), gains, shares)


def _among_best(gains: Floats) -> Array:
    """(m,) whether nothing but rounding, which must not decide between copies, parts a gain from the largest."""
    best = gains.max()
    return np.asarray(gains >= best - NEGLIGIBLE * abs(best))


class _Bounds:
    """Gains of m candidates, as they were before the last picks: they only fall, so these are bounds."""

    def __init__(self, kernel: _Kernel, weights: Vectors, gains: Floats) -> None:
        self.kernel, self.weights, self.gains = kernel, weights, gains
        self.fallen: list[tuple[Rows, Vectors, Vectors]] = []

    def fall(self, targets: Rows, low: Vectors, high: Vectors) -> None:
        """These targets are now covered up to ``high``, no more up to ``low``."""
        self.fallen.append((targets, low, high))
        if sum(len(part[0]) for part in self.fallen) > BLOCK[0]:
            self.gains -= self._lost()
            self.fallen = []

    def _lost(self, some: Rows | None = None) -> Floats:
        targets, low, high = (np.concatenate(parts) for parts in zip(*self.fallen, strict=True))
        return self.kernel.take(targets).gains(self.weights[targets], low, high, some)

    def best(self, left: Array) -> int:
        """The first candidate with the largest gain among those left."""
        gains = np.where(left, self.gains, -np.inf)
        if self.fallen:
            sure = ~left
            some = np.argpartition(gains, -min(FEW, len(gains)))[-FEW:]
            while len(some := some[~sure[some]]):
                gains[some] -= self._lost(some)
                sure[some] = True
                best = gains[sure].max()
                some = np.flatnonzero(gains >= best - NEGLIGIBLE * abs(best))
        return int(_among_best(gains).argmax())


class _Kernel(NamedTuple):
    """Nearness of t targets and m candidates, in blocks: the shape of inner products."""

    ours: Vectors
    theirs: Vectors
    shape: Callable[[Vectors], Vectors]

    @classmethod
    def of(cls, targets: Vectors, candidates: Vectors, nearness: Nearness) -> _Kernel:
        one, other = (np.einsum("ij,ij->i", texts, texts)[:, None] for texts in (targets, candidates))
        ours = np.hstack([2 * nearness.scale * targets, nearness.shift - nearness.scale * one, np.ones_like(one)])
        theirs = np.hstack([candidates, np.ones_like(other), -nearness.scale * other])
        return cls(ours.astype(np.float32), theirs.astype(np.float32), nearness.shape)

    def take(self, targets: Rows) -> _Kernel:
        return self._replace(ours=self.ours[targets])

    def like(self, pick: int) -> Vectors:
        """(t,) how near each target is to one candidate."""
        return self.shape(self.ours @ self.theirs[pick])

    def gains(self, weights: Vectors, low: Vectors, high: Vectors, some: Rows | None = None) -> Floats:
        """(m,) what each candidate, or each of some, adds to the targets' coverage between ``low`` and ``high``."""
        theirs = self.theirs if some is None else self.theirs[some]

        def total(start: int) -> Floats:
            there, out = theirs[start : start + BLOCK[1]].T, np.zeros(len(theirs[start : start + BLOCK[1]]))
            for first in range(0, len(self.ours), BLOCK[0]):
                here = slice(first, first + BLOCK[0])
                new = self.shape(self.ours[here] @ there)
                np.clip(new, low[here, None], high[here, None], out=new)
                new -= low[here, None]
                out += weights[here] @ new
            return out

        return np.concatenate(side_by_side(total, range(0, max(len(theirs), 1), BLOCK[1])))
