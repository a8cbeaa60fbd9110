"""Other ways to spread a batch: cover with balls, stand in for every text, be unlike one another.

All are deterministic but for the seeds of clustering and stochastic greed, so propensities are 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from labelwise.core import Pool, Selection
from labelwise.core.beliefs import Array, Rows
from labelwise.select import fields, herding
from labelwise.select.comparing import Comparing, Scored, Vectors, gather, known_vectors, squared
from labelwise.select.geometry import DIAMETER, clusters
from labelwise.select.herding import TARGETS, Nearness, because, by_chance, count, greedy_cover, remarks, wanted

CLASSES = 10
"""Clusters that stand for classes while nobody has named any."""
BLOCK = 1024
PARALLEL = 1e-5
"""Squared sine of an angle that is rounding alone: such a text lies in the span of the picks."""


@dataclass(frozen=True)
class ProbCover(Comparing):
    """Covers most texts with balls so small that a ball rarely holds two classes.

    A pick covers what lies nearer than a radius; each pick is the text that covers most of what
    nothing asked so far does. The radius is the largest at which a share ``purity`` of balls holds
    one pseudo-class only, with k-means for as many pseudo-classes as there are labels (CLASSES if
    none are known). Yehuda, Dekel, Hacohen and Weinshall 2022, "Active Learning Through a
    Covering Lens". They try radii on a grid; here it is the exact quantile of the distances to the
    nearest text of another pseudo-class. O(m t d) for m candidates and t <= TARGETS to cover.

    Trap: everything hangs on the radius, and pseudo-classes are not classes. Herding needs neither.
    """

    purity: float = 0.95
    among: int = field(default=4096, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        fields.number("purity", self.purity, 0.0, 1.0)

    def pick(self, pool: Pool, rows: Rows, sample: int, budget: int, rng: np.random.Generator) -> Selection:
        """Rows in the order picked; the score is the share of targets that each covers first."""
        known = known_vectors(pool)
        texts = gather(pool, rows)
        targets = texts[: min(sample, TARGETS)]
        cells = clusters(targets, min(_classes(pool), len(targets)), int(rng.integers(2**31 - 1)))
        radius = pure_radius(targets, cells, self.purity)
        cover = greedy_cover(targets, texts, np.ones(len(targets)), known, within(radius), budget)
        reasons = []
        for pick, share in zip(cover.picks, cover.gains, strict=True):
            n, words = count(share, pool)
            place = f"first to cover about {words} within distance {radius:.2f}"
            reasons.append(because(place, None, pool, int(rows[pick]), texts=n, radius=radius))
        said = by_chance(cover.gains, rows)
        return Selection(rows[cover.picks], cover.gains, np.ones(budget), tuple(reasons), said)


def _classes(pool: Pool) -> int:
    """How many answers there are, at least 2."""
    named = len(pool.labels)
    if not named and pool.beliefs is not None and len(pool):
        named = next(iter(pool.beliefs.take(np.arange(1)).arrays().values())).shape[1]
    return max(named or CLASSES, 2)


def pure_radius(texts: Vectors, cells: Array, purity: float) -> float:
    """The largest r at which a share ``purity`` of m texts has only its own cell nearer than r. O(m^2 d)."""
    other = np.full(len(texts), DIAMETER**2, dtype=np.float32)
    for start in range(0, len(texts), BLOCK):
        here = slice(start, start + BLOCK)
        apart = squared(texts[here], texts)
        apart[cells[here, None] == cells[None, :]] = DIAMETER**2
        other[here] = apart.min(axis=1)
    impure = min(math.floor((1.0 - purity) * len(texts) + 1e-9), len(texts) - 1)
    return math.sqrt(float(np.partition(other, impure)[impure]))


def within(radius: float) -> Nearness:
    """1 for texts nearer than the radius, 0 for all others; equal texts are near at any radius."""

    def shape(room: Vectors) -> Vectors:
        return np.asarray(np.greater(room, 0.0, out=room, casting="unsafe"))

    # texts at the radius itself lie outside, whatever rounding says
    return Nearness(1.0, max(radius**2 - herding.SAME, herding.SAME), shape)


@dataclass(frozen=True)
class FacilityLocation(Scored):
    """Picks the texts that best stand in for all: every text is served by the most similar pick.

    Greedily maximises sum_i u_i max_j s(i, j) over j labelled or picked, with s = (1 + cosine) / 2 and
    u the score, 1 without a scorer; within 1 - 1/e of the best batch. Filtered by a score it is FASS,
    ``Then(Top(Margin()), FacilityLocation(), factor=10)``: Wei, Iyer and Bilmes 2015, "Submodularity in
    Data Subset Selection and Active Learning".

    ``stochastic`` = eps > 0 looks at (m / budget) ln(1 / eps) random candidates for each pick: worth
    1 - 1/e - eps on average, O(m t d ln(1 / eps)) whatever the budget (Mirzasoleiman, Badanidiyuru, Karbasi,
    Vondrak and Krause 2015, "Lazier Than Lazy Greedy"). It pays for budgets far above the labels; else
    the exact choice is as cheap, see ``Herding``.

    Trap: similarities of texts are high everywhere, so it cares for the middle; Herding sees crowds.
    """

    stochastic: float = 0.0
    among: int = field(default=4096, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        fields.number("stochastic", self.stochastic, 0.0, 0.5)

    def pick(self, pool: Pool, rows: Rows, sample: int, budget: int, rng: np.random.Generator) -> Selection:
        """Rows in the order picked; the score is the gain: the mean over targets of weight times new similarity."""
        known = known_vectors(pool)
        texts = gather(pool, rows)
        targets = texts[: min(sample, TARGETS)]
        weights, said = wanted(self.scorer, pool, rows[: len(targets)], budget)
        lots = None
        if self.stochastic:
            lots = (math.ceil(len(rows) / budget * math.log(1 / self.stochastic)), rng)
        cover = greedy_cover(targets, texts, weights, known, cosine(), budget, lots)
        reasons = tuple(
            because(
                f"stands in for texts far from all labelled (gain {gain:.2g})", self.scorer, pool, int(row), gain=gain
            )
            for row, gain in zip(rows[cover.picks], cover.gains, strict=True)
        )
        said = remarks(said, by_chance(cover.gains, rows))
        return Selection(rows[cover.picks], cover.gains, np.ones(budget), reasons, said)


def cosine() -> Nearness:
    """(1 + cosine) / 2 of unit vectors, which is 1 - squared distance / 4."""
    return Nearness(0.25, 1.0, lambda similarity: similarity)


@dataclass(frozen=True)
class Determinant(Scored):
    """The batch whose vectors span the largest volume, longer the better their scores.

    The greedy most probable set of a determinantal point process with kernel q_i cos(i, j) q_j,
    q = exp(alpha score): each pick adds the most to log det. Chen, Zhang and Zhou 2018, "Fast Greedy
    MAP Inference for Determinantal Point Process to Improve Recommendation Diversity". As the kernel
    is linear, what is left of each text outside the picks' span is kept instead of their
    Cholesky rows: O(m d) a pick and no (m, budget) memory.

    alpha 0 is diversity alone, a large one the scorer alone. Traps: no more texts than dimensions span
    a volume, the rest follow by score, and the batch says so; what is labelled plays no part.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        fields.number("alpha", self.alpha, 0.0, 100.0)

    def pick(self, pool: Pool, rows: Rows, sample: int, budget: int, rng: np.random.Generator) -> Selection:
        """Rows in the order picked; the score is what each adds to log det."""
        texts = gather(pool, rows)
        scores, said = wanted(self.scorer, pool, rows, budget)
        quality = 2.0 * self.alpha * scores
        picks, new = largest_volume(texts, quality, budget)
        if len(picks) < budget < len(rows):
            how = "chosen at random" if self.scorer is None else "the best by score"
            said = remarks(said, f"{len(picks)} texts span all there is: the other {budget - len(picks)} are {how}")
        others = np.setdiff1d(np.arange(len(rows)), picks)
        others = others[np.argsort(-quality[others], kind="stable")][: budget - len(picks)]
        picks, new = np.concatenate([picks, others]), np.concatenate([new, np.full(len(others), PARALLEL)])
        reasons = tuple(
            because(f"unlike the rest of the batch (by {part:.2f})", self.scorer, pool, int(row), unlike=part)
            for row, part in zip(rows[picks], np.sqrt(new), strict=True)
        )
        return Selection(rows[picks], quality[picks] + np.log(new), np.ones(budget), reasons, said)


def largest_volume(texts: Vectors, quality: Array, budget: int) -> tuple[Rows, Array]:
    """Positions (b,) of the greedy batch, b <= budget and the rank, and their squared sines to the span before them.

    ``quality`` is the log of each text's weight in the determinant; ties go to the earlier.
    """
    length = np.linalg.norm(texts, axis=1, keepdims=True)
    texts = texts / np.maximum(length, herding.SAME)
    left = (length[:, 0] > herding.SAME).astype(np.float64)
    span = np.zeros((min(budget, *texts.shape), texts.shape[1]))
    picks: list[int] = []
    new: list[float] = []
    for turn in range(len(span)):
        open_ = left > PARALLEL
        if not open_.any():
            break
        worth = np.where(open_, quality + np.log(np.maximum(left, PARALLEL)), -np.inf)
        pick = int((worth >= worth.max() - herding.NEGLIGIBLE).argmax())
        axis = texts[pick].astype(np.float64)
        for _ in range(2):  # twice is enough (Kahan; Giraud, Langou and Rozloznik 2005)
            axis -= span[:turn].T @ (span[:turn] @ axis)
        picks.append(pick)
        new.append(float(left[pick]))
        span[turn] = axis / np.linalg.norm(axis)
        left -= (texts @ span[turn].astype(np.float32)).astype(np.float64) ** 2
        left[pick] = 0.0
    return np.array(picks, dtype=np.intp), np.array(new)
