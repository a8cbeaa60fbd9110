"""Strategies that look at what a label would do to a linear head: its gradient, or its Fisher information.

The gradient of the preferred answer's loss is the residual times the vector, an outer product of
(c, d) numbers per text. It is never formed: norms and products of two of them follow from the two
factors, so memory is candidates x (d + c).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labelwise.core import Pool, Reason, Scorer, Selection
from labelwise.core.beliefs import BLOCK, Array, Beliefs, Committee, Floats, Multilabel, Rows, Tagged
from labelwise.select import fields
from labelwise.select.comparing import Comparing, Vectors, gather, known_vectors
from labelwise.select.scorers import Margin, torn

SURE = 1e-6
"""Residuals below this are rounding: the model has nothing to learn from the text."""
SAME = 1e-5
"""Gradients are the same if their squared distance is less than this part of their squared lengths."""
NOTHING = "the model is sure of every candidate, or they have no content: the texts were chosen at random"


def residuals(beliefs: Beliefs, rows: Rows) -> Vectors:
    """(m, c) float32: the preferred answer minus its probabilities.

    Several answers: per label. Spans: at the most torn token, 0 for a text without tokens. A committee: of its mean.
    """
    blocks = [beliefs.take(rows[at : at + BLOCK]) for at in range(0, max(len(rows), 1), BLOCK)]
    return np.concatenate([_residuals(block) for block in blocks])


def _residuals(beliefs: Beliefs) -> Vectors:
    said = beliefs.mean() if isinstance(beliefs, Committee) else beliefs
    probs: Array = next(iter(said.arrays().values()))
    if isinstance(said, Multilabel):
        return (said.hard() - probs).astype(np.float32)
    apart = -probs.astype(np.float32)
    apart[np.arange(len(apart)), probs.argmax(axis=1)] += 1.0
    return at_most_torn(said, apart)


def at_most_torn(said: Beliefs, values: Array) -> Array:
    """(n, c) of the values (t, c) about all tokens: those of each text's most torn token; 0 without tokens.

    Values about texts stay as they are.
    """
    if not isinstance(said, Tagged):
        return values
    lengths = np.diff(said.offsets)
    alone = Tagged(said.probs, np.arange(len(said.probs) + 1)).margin()
    order = np.lexsort((alone, np.repeat(np.arange(len(said)), lengths)))
    out = np.zeros((len(said), values.shape[1]), dtype=values.dtype)
    out[lengths > 0] = values[order[said.offsets[:-1][lengths > 0]]]
    return out


@dataclass(frozen=True)
class Badge(Comparing):
    """Batches with large and different gradients: unsure texts that would each teach something else.

    The longest gradient first, then each with a chance in proportion to its squared distance from
    the nearest one picked (k-means++ seeding; no origin, no copy of a pick). Ash, Zhang,
    Krishnamurthy, Langford and Agarwal 2020, "Deep Batch Active Learning by Diverse, Uncertain
    Gradient Lower Bounds". O(m budget (d + c)).

    ``centre`` takes the candidates' mean off the vectors, which is not in the paper: what all
    texts have in common would pass for agreement of their gradients. The first pick has chance 1
    and later ones that among the candidates, copies none: no basis for estimates over the pool.
    """

    centre: bool = True

    @property
    def keen(self) -> Scorer:
        return Margin()

    def pick(self, pool: Pool, rows: Rows, sample: int, budget: int, rng: np.random.Generator) -> Selection:
        """Rows in the order picked; the score is the distance to the nearest pick (first: the gradient's length)."""
        said, texts = residuals(pool.need("beliefs"), rows), gather(pool, rows)
        if self.centre and len(rows):
            _centred(texts, sample)
        picks, distances, chances, chosen = seeding(said, texts, budget, rng)
        if not chosen:
            return at_random(rows, budget, NOTHING)
        reasons = [f"most to learn from, torn {torn(pool, int(row))[0]}" for row in rows[picks[:1]]]
        reasons += [f"torn {torn(pool, int(row))[0]}, unlike those before it" for row in rows[picks[1:chosen]]]
        reasons += ["random: its gradient is that of a text before it"] * (len(picks) - chosen)
        told = (Reason(f"{why} (distance {d:.2f})", distance=d) for why, d in zip(reasons, distances, strict=True))
        same = f"after {chosen} texts no gradient differed from theirs: the others were chosen at random"
        return Selection(rows[picks], distances, chances, tuple(told), same if chosen < len(picks) else "")


def _centred(texts: Vectors, sample: int) -> None:
    """Take the sample's mean off, in place; texts without content stay, and so do texts that are all the same."""
    mean, empty = texts[:sample].mean(axis=0), ~texts.any(axis=1)
    texts -= mean
    texts[empty] = 0.0
    if max(texts.max(), -texts.min()) < SAME:
        texts[~empty] += mean


def seeding(one: Vectors, other: Vectors, budget: int, rng: np.random.Generator) -> tuple[Rows, Floats, Floats, int]:
    """k-means++ over the outer products of the rows of (m, c) and (m, d), from the longest on.

    Positions (budget,), distances, chances given those before, and how many were chosen before
    all that was left was a copy; from there on rows are taken in their order.
    """
    norms = np.einsum("ij,ij->i", one, one) * np.einsum("ij,ij->i", other, other)
    picks: list[int] = []
    scores: list[float] = []
    chances: list[float] = []
    near = np.where(norms > SURE**2, norms, 0.0)
    while len(picks) < budget and near.any():
        if picks:
            mass = np.cumsum(near, dtype=np.float64)
            # the first of two equal sums is the one with weight: what is picked never has weight 0
            pick = int(np.searchsorted(mass, (1.0 - rng.random()) * mass[-1]))
            chances.append(float(near[pick] / mass[-1]))
        else:
            pick = int(near.argmax())
            chances.append(1.0)
        picks.append(pick)
        scores.append(float(near[pick]))
        apart = (one @ one[pick]) * (other @ other[pick])
        apart *= -2.0
        lengths = norms + norms[pick]
        apart += lengths
        apart[apart < SAME * lengths] = 0.0
        near = np.minimum(near, apart) if len(picks) > 1 else apart  # the origin is no centre
        near[pick] = 0.0
    chosen = len(picks)
    left = np.setdiff1d(np.arange(len(one)), picks)
    extra = min(budget, len(one)) - chosen
    picks += left[:extra].tolist()
    scores += [0.0] * extra
    chances += (1.0 / (len(left) - np.arange(extra))).tolist()
    return np.array(picks, dtype=np.intp), np.sqrt(np.array(scores)), np.array(chances), chosen


@dataclass(frozen=True)
class Bait(Comparing):
    """Texts whose labels together narrow most what the model does not know about the whole pool.

    Greedily minimises tr(M F): F is the mean Fisher information of the sample, M the inverse of
    ``ridge`` I plus that of all labelled and picked texts; picks twice the batch, then drops what
    is missed least. Ash, Goel, Krishnamurthy and Kakade 2021, "Gone Fishing: Neural Active
    Learning with Fisher Embeddings", with one decision per text, its preferred answer or not
    (Huseljic, Hahn, Herde, Rauch and Sick 2024, "Fast Fishing"), so matrices are (d, d) and a
    text is one vector sqrt(p (1 - p)) x. O(m d (d + budget) + budget d^2).

    ``ridge`` is the head's own penalty 1/C; information adds up over texts as in its Hessian (the
    paper's weights of labelled and picked texts suit features far longer than unit vectors).
    Labelled texts without held-out beliefs count as torn, p = 1/2, the most they can. The same
    candidates give the same texts, so propensities are 1: nothing can be estimated from its picks.
    """

    ridge: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        fields.number("ridge", self.ridge, 1e-6)

    @property
    def keen(self) -> Scorer:
        return Margin()

    def pick(self, pool: Pool, rows: Rows, sample: int, budget: int, rng: np.random.Generator) -> Selection:
        """Rows in the order picked; the score is the share of the uncertainty left that the text takes away."""
        texts = gather(pool, rows)
        texts *= np.sqrt(_variance(residuals(pool.need("beliefs"), rows)))[:, None]
        known = known_vectors(pool)
        known = known * np.sqrt(_known_variance(pool, len(known)))[:, None]
        if not budget or not np.abs(texts[:sample]).max() > SURE:
            return at_random(rows, budget, NOTHING)
        fisher = (texts[:sample].T @ texts[:sample]).astype(np.float64) / sample
        seen = (known.T @ known).astype(np.float64)
        inverse = np.linalg.inv(self.ridge * np.eye(len(seen)) + seen).astype(np.float64)
        picks, shares = narrowing(texts, fisher, inverse, budget)
        reasons = tuple(
            Reason(f"would narrow what the model does not know of the pool by {share:.1%}", narrowing=share)
            for share in shares
        )
        return Selection(rows[picks], shares, np.ones(len(picks)), reasons)


def _variance(apart: Vectors) -> Vectors:
    """(m,) p (1 - p) of the preferred answer; with several answers, of the most torn label."""
    unsure = np.abs(apart).max(axis=1)
    return np.asarray(np.clip(unsure * (1.0 - unsure), 0.0, None))


def _known_variance(pool: Pool, count: int) -> Vectors:
    told = None if pool.known is None else pool.known.beliefs
    spread = np.full(count, 0.25, dtype=np.float32)
    if told is not None:
        spread[: len(told)] = _variance(residuals(told, np.arange(len(told))))
    return spread


def at_random(rows: Rows, budget: int, why: str) -> Selection:
    """The first of ``rows``, which come in the order of their noise."""
    picks = rows[:budget]
    chance = 1.0 / (len(rows) - np.arange(len(picks)))
    return Selection(picks, np.zeros(len(picks)), chance, ("random",) * len(picks), why if len(picks) else "")


def narrowing(texts: Vectors, fisher: Floats, inverse: Floats, budget: int) -> tuple[Rows, Floats]:
    """Positions (budget,) that greedily minimise tr(M F) for M^-1 = inverse^-1 + the sum of x x^T, and their shares.

    After each pick M, x M x and x M F M x follow by Sherman and Morrison's rule: O(m d + d^2).
    """
    everything = _Information(texts, fisher, inverse)
    picks: list[int] = []
    shares: list[float] = []
    for _ in range(min(2 * budget, len(texts))):
        gain = everything.effect / (1.0 + everything.leverage)
        gain[picks] = -np.inf
        picks.append(int(gain.argmax()))
        shares.append(float(np.clip(gain[picks[-1]] / everything.trace(), 0.0, 1.0)))
        everything.change(picks[-1], 1.0)
    picked = _Information(texts[picks], fisher, everything.inverse)
    kept = np.ones(len(picks), dtype=bool)
    for _ in range(len(picks) - budget):
        loss = np.where(kept, picked.effect / np.maximum(1.0 - picked.leverage, SURE), np.inf)
        kept[loss.argmin()] = False
        picked.change(int(loss.argmin()), -1.0)
    return np.array(picks, dtype=np.intp)[kept], np.array(shares)[kept]


class _Information:
    """M and, of every row x, the leverage x M x and the effect x M F M x."""

    def __init__(self, texts: Vectors, fisher: Floats, inverse: Floats) -> None:
        self.texts, self.fisher, self.inverse = texts, fisher, inverse.copy()
        both = inverse @ fisher @ inverse
        self.leverage, self.effect = (
            np.einsum("ij,ij->i", texts @ matrix.astype(np.float32), texts).astype(np.float64)
            for matrix in (inverse, both)
        )

    def trace(self) -> float:
        return float(np.sum(self.inverse * self.fisher))

    def change(self, row: int, sign: float) -> None:
        """Add (sign 1) or take away (sign -1) a row's information."""
        text = self.texts[row].astype(np.float64)
        along = self.inverse @ text
        spread = self.fisher @ along
        scale = sign + float(text @ along)
        one = self.texts @ along.astype(np.float32)
        other = self.texts @ (self.inverse @ spread).astype(np.float32)
        self.inverse -= np.outer(along, along) / scale
        self.leverage -= one * one / scale
        self.effect += one * (one * (along @ spread) / scale - 2.0 * other) / scale
