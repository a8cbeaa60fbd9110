"""How much a text is wanted, from what the model said about it alone.

All work for every form of beliefs (one answer, several, tags, a committee). A decision is what has
one distribution: a text's answer, one of several labels, a token's tag. Margin is the default:
entropy over-selects texts that are torn between many labels when there are many of them (Schröder,
Niekler and Potthast 2022, "Revisiting Uncertainty-based Query Strategies for Active Learning with
Transformers").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from labelwise.core import Pool, Reason
from labelwise.core.beliefs import (
    BLOCK,
    TINY,
    Array,
    Beliefs,
    Categorical,
    Committee,
    Floats,
    Multilabel,
    Rows,
    Tagged,
)
from labelwise.select import fields


def blockwise(rows: Rows, value: Callable[[Rows], Floats]) -> Floats:
    """(m,) what ``value`` makes of some rows, BLOCK at a time: streamed beliefs are never held as a whole."""
    return np.concatenate([np.zeros(0), *(value(rows[at : at + BLOCK]) for at in range(0, len(rows), BLOCK))])


def opinion(said: Beliefs) -> Beliefs:
    """What a committee says as one, or what a single model says."""
    return said.mean() if isinstance(said, Committee) else said


def decisions(said: Beliefs) -> tuple[Beliefs, Rows]:
    """Every decision about n texts as a text of its own (d,), and the text (d,) it belongs to, ascending."""
    said, texts = opinion(said), np.arange(len(said))
    if isinstance(said, Tagged):
        return Categorical(said.probs), np.repeat(texts, np.diff(said.offsets))
    if isinstance(said, Multilabel):
        return Multilabel(said.probs.reshape(-1, 1)), np.repeat(texts, said.probs.shape[1])
    return said, texts


def means(values: Floats, texts: Rows, n: int) -> Floats:
    """(n,) mean of each text's values; 0 for a text without any."""
    return np.asarray(np.bincount(texts, values, n) / np.maximum(np.bincount(texts, minlength=n), 1))


def _beliefs(pool: Pool, rows: Array) -> Beliefs:
    beliefs: Beliefs = pool.need("beliefs")
    return beliefs.take(rows)


def torn(pool: Pool, row: int) -> tuple[str, float, float]:
    """Between which answers the model hesitates about one text, in words, and their two probabilities."""
    said = opinion(pool.need("beliefs").take(np.array([row])))
    if isinstance(said, Multilabel):
        label = int(np.abs(said.probs[0] - 0.5).argmin())
        p = float(said.probs[0, label])
        return f"whether {name_of(pool, label)} applies", max(p, 1 - p), min(p, 1 - p)
    probs = next(iter(said.arrays().values()))
    where = ""
    if isinstance(said, Tagged):
        if not len(probs):
            return "about a text without tokens", 1.0, 0.0
        top = np.sort(probs, axis=1)
        token = int((top[:, -1] - top[:, -2]).argmin()) if probs.shape[1] > 1 else 0
        probs, where = probs[token : token + 1], f" at token {token + 1}"
    order = np.argsort(-probs[0], kind="stable")
    if len(order) < 2:
        return f"about {name_of(pool, 0)}", 1.0, 0.0
    one, two = int(order[0]), int(order[1])
    tags = isinstance(said, Tagged)
    between = f"between tags {one} and {two}" if tags else f"between {name_of(pool, one)} and {name_of(pool, two)}"
    return between + where, float(probs[0, one]), float(probs[0, two])


def name_of(pool: Pool, label: int) -> str:
    """A label in quotes and one line, shortened."""
    name = " ".join(pool.labels[label].split()) if label < len(pool.labels) else f"label {label}"
    return f"'{name[:40]}'"


@dataclass(frozen=True)
class Margin:
    """1 - (p1 - p2): the smaller the lead of the best answer, the more wanted. O(m c).

    Scheffer, Decomain and Wrobel 2001, "Active Hidden Markov Models for Information Extraction".
    """

    def score(self, pool: Pool, rows: Array) -> Array:
        """(m,) in [0, 1]; MissingInput without beliefs."""
        return 1.0 - _beliefs(pool, rows).margin()

    def reason(self, pool: Pool, row: int, score: float) -> str:
        between, one, two = torn(pool, row)
        return Reason(f"torn {between} (margin {1 - score:.2f})", margin=1 - score, first=one, second=two)


@dataclass(frozen=True)
class Entropy:
    """Normalised entropy of the answer: 1 = the model knows nothing. O(m c). Shannon 1948."""

    def score(self, pool: Pool, rows: Array) -> Array:
        """(m,) in [0, 1]; MissingInput without beliefs."""
        return _beliefs(pool, rows).entropy()

    def reason(self, pool: Pool, row: int, score: float) -> str:
        between, one, two = torn(pool, row)
        return Reason(f"unsure, most of all {between} (entropy {score:.2f})", entropy=score, first=one, second=two)


@dataclass(frozen=True)
class LeastConfidence:
    """1 - p1: the less sure of its preferred answer, the more wanted. O(m c).

    Lewis and Gale 1994, "A Sequential Algorithm for Training Text Classifiers". For tags it is the
    lowest token probability: Liu, Tu, Zhang, Su, Xu and Wang 2020, "LTP: A New Active Learning
    Strategy for Bert-CRF Based Named Entity Recognition".
    """

    def score(self, pool: Pool, rows: Array) -> Array:
        """(m,) in [0, 1]; MissingInput without beliefs."""
        return 1.0 - _beliefs(pool, rows).confidence()

    def reason(self, pool: Pool, row: int, score: float) -> str:
        between, one, two = torn(pool, row)
        return Reason(
            f"not confident {between} (confidence {1 - score:.2f})", confidence=1 - score, first=one, second=two
        )


@dataclass(frozen=True)
class MNLP:
    """1 - the geometric mean, over decisions, of the preferred answer's probability. O(m c) per decision.

    Maximum normalised log-probability: Shen, Yun, Lipton, Kronrod and Anandkumar 2018, "Deep Active
    Learning for Named Entity Recognition", with each token's own best tag in place of the best
    sequence. The order is that of their score; for one answer per text it is least confidence. A
    mean dilutes one doubtful token in a long text: least confidence and token entropy do not.
    """

    def score(self, pool: Pool, rows: Array) -> Array:
        """(m,) in [0, 1]; a text without decisions has 0. MissingInput without beliefs."""
        said: Beliefs = pool.need("beliefs")
        return blockwise(rows, lambda part: self._unlikely(said.take(part)))

    @staticmethod
    def _unlikely(said: Beliefs) -> Floats:
        each, texts = decisions(said)
        return np.asarray(-np.expm1(means(np.log(np.maximum(each.confidence(), TINY)), texts, len(said))))

    def reason(self, pool: Pool, row: int, score: float) -> str:
        between, one, two = torn(pool, row)
        why = f"not likely on the whole, most torn {between} (mean probability {1 - score:.2f})"
        return Reason(why, probability=1 - score, first=one, second=two)


@dataclass(frozen=True)
class TokenEntropy:
    """Mean of the ``top`` largest normalised entropies among a text's decisions. O(t (c + log t)), t decisions.

    The sum of token entropies (Settles and Craven 2008, "An Analysis of Active Learning Strategies
    for Sequence Labeling Tasks") favours long texts and their mean short ones; a few of the largest
    do neither. For one answer per text it is entropy.
    """

    top: int = 3

    def __post_init__(self) -> None:
        fields.whole("top", self.top, 1)

    def score(self, pool: Pool, rows: Array) -> Array:
        """(m,) in [0, 1]; a text without decisions has 0. MissingInput without beliefs."""
        said: Beliefs = pool.need("beliefs")
        return blockwise(rows, lambda part: self._spread(said.take(part)))

    def _spread(self, said: Beliefs) -> Floats:
        each, texts = decisions(said)
        spread = each.entropy()
        order = np.lexsort((-spread, texts))
        rank = np.arange(len(texts)) - np.searchsorted(texts, texts)
        return means(spread[order][rank < self.top], texts[rank < self.top], len(said))

    def reason(self, pool: Pool, row: int, score: float) -> str:
        between, one, two = torn(pool, row)
        why = f"unsure in places, most of all {between} (entropy {score:.2f})"
        return Reason(why, entropy=score, first=one, second=two)
