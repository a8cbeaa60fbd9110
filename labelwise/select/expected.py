"""Strategies that ask what an answer would change: expected change of what a committee says about the pool."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from labelwise.core import MissingInput, Pool, Reason, Scorer, Selection
from labelwise.core.beliefs import BLOCK, Array, Beliefs, Committee, Floats, Multilabel, Rows
from labelwise.select import fields
from labelwise.select.comparing import Comparing
from labelwise.select.geometry import clusters
from labelwise.select.gradients import at_most_torn, at_random
from labelwise.select.scorers import Margin, torn

TOP = 0.5
"""Share of the candidates, the best, that a batch is spread over."""


@dataclass(frozen=True)
class CoreMSE(Comparing):
    """Texts whose answers are expected to change most what a committee predicts for the pool.

    An answer y to x makes each member as credible as it found y likely; the score is how far the
    committee's mean over ``estimation`` random texts then moves, squared and averaged over y as
    the committee expects it. The batch comes from k-means on the movements of those texts one by
    one, so that its answers move different parts of the pool. Tan, Du and Buntine 2021,
    "Diversity Enhanced Active Learning with Strictly Proper Scoring Rules" (BEMPS); their
    score is e times this one plus a constant, for e members.

    Several answers: the mean over each label's own question. Spans: the most torn token. Needs a
    committee; O(m (c e^2 + estimation e^2)) for m candidates. Propensities are 1.
    """

    estimation: int = 256
    among: int = field(default=2048, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        fields.whole("estimation", self.estimation, 1)

    @property
    def keen(self) -> Scorer:
        return Margin()

    def pick(self, pool: Pool, rows: Rows, sample: int, budget: int, rng: np.random.Generator) -> Selection:
        """Rows by falling score, the expected squared movement of the pool's probabilities."""
        beliefs: Beliefs = pool.need("beliefs")
        moves = movements(beliefs, rows, rows[: min(sample, self.estimation)])
        scores = moves.mean(axis=1, dtype=np.float64)
        if scores.max() - scores.min() <= 1e-12:
            return at_random(
                rows, budget, f"all scores are equal ({round(scores[0], 9):.3g}): the texts were chosen at random"
            )
        picks = _spread(moves, scores, budget, int(rng.integers(2**31 - 1)))
        reasons = tuple(
            Reason(f"its answer may change others, torn {torn(pool, int(rows[i]))[0]}", change=scores[i]) for i in picks
        )
        return Selection(rows[picks], scores[picks], np.ones(len(picks)), reasons)


def movements(beliefs: Beliefs, rows: Rows, others: Rows) -> Array:
    """(m, k) float32: how far the answer to each of ``rows`` is expected to move the mean prediction of ``others``.

    With w the members' weights after an answer less those before it, and G the products of the
    members' predictions about another text, the squared movement is w G w. So answers are averaged
    first, into one (e, e) matrix per row, and no (rows, others, answers) array exists.
    """
    moved, products = [], []
    for at in range(0, len(rows), BLOCK):
        told = _decisions(beliefs.take(rows[at : at + BLOCK]))
        total = told.sum(axis=0)
        shift = told / np.maximum(total, 1e-12) - 1.0 / len(told)
        moved.append(_paired(shift, total / len(told)))
    for at in range(0, len(others), BLOCK):
        told = _decisions(beliefs.take(others[at : at + BLOCK]))
        products.append(_paired(told, np.ones(told.shape[1:])))
    return np.maximum(np.concatenate(moved) @ np.concatenate(products).T, 0.0).astype(np.float32)


def _paired(values: Floats, weights: Floats) -> Floats:
    """(n, e * e) the sum over answers, and mean over decisions, of weights v_i v_j for members i and j."""
    members, n, decisions, _ = values.shape
    flat = values.transpose(1, 0, 2, 3).reshape(n, members, -1)
    weighted = flat * weights.reshape(n, 1, -1)
    return np.asarray((weighted @ flat.transpose(0, 2, 1)).reshape(n, members * members) / decisions)


def _decisions(beliefs: Beliefs) -> Floats:
    """(e, n, decisions, answers): what each of e members says of every decision about a text."""
    if not isinstance(beliefs, Committee):
        raise MissingInput("the pool's beliefs are one opinion: train a committee, such as a bootstrap ensemble.")
    mean = beliefs.mean()
    if isinstance(mean, Multilabel):
        each = np.stack([member.probs for member in beliefs.members]).astype(np.float64)
        return np.stack([each, 1.0 - each], axis=-1)
    each = np.stack([at_most_torn(mean, member.probs) for member in beliefs.members])
    return each.astype(np.float64)[:, :, None, :]


def _spread(moves: Array, scores: Floats, budget: int, seed: int) -> Rows:
    """The text nearest the middle of each of ``budget`` clusters of the best, then the best of the others."""
    order = np.argsort(-scores, kind="stable")
    best = order[: max(budget, int(np.ceil(TOP * len(order))))]
    some = moves[best] / moves[best].max()
    cells = clusters(some, budget, seed)
    sizes = np.bincount(cells, minlength=budget)
    middles = np.zeros((budget, some.shape[1]), dtype=np.float32)
    np.add.at(middles, cells, some)
    middles /= np.maximum(sizes, 1)[:, None]
    away = np.einsum("ij,ij->i", some - middles[cells], some - middles[cells])
    nearest = np.lexsort((away, cells))[np.cumsum(sizes)[sizes > 0] - sizes[sizes > 0]]
    picked = np.zeros(len(scores), dtype=bool)
    picked[best[nearest]] = True
    picked[order[~picked[order]][: budget - len(nearest)]] = True
    return order[picked[order]]
