"""How much a text is wanted, from what the model said about it alone.

All three work for every form of beliefs (one answer, several, tags, a committee), because they
ask the beliefs and not the probabilities. Margin is the default: entropy over-selects texts that
are torn between many labels when there are many of them (Schröder, Niekler and Potthast 2022,
"Revisiting Uncertainty-based Query Strategies for Active Learning with Transformers").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labelwise.core import Pool, Reason
from labelwise.core.beliefs import Array, Beliefs, Committee, Multilabel, Tagged


def _beliefs(pool: Pool, rows: Array) -> Beliefs:
    beliefs: Beliefs = pool.need("beliefs")
    return beliefs.take(rows)


def torn(pool: Pool, row: int) -> tuple[str, float, float]:
    """Between which answers the model hesitates about one text, in words, and their two probabilities."""
    said: Beliefs = pool.need("beliefs").take(np.array([row]))
    said = said.mean() if isinstance(said, Committee) else said
    if isinstance(said, Multilabel):
        label = int(np.abs(said.probs[0] - 0.5).argmin())
        p = float(said.probs[0, label])
        return f"whether {_name(pool, label)} applies", max(p, 1 - p), min(p, 1 - p)
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
        return f"about {_name(pool, 0)}", 1.0, 0.0
    one, two = int(order[0]), int(order[1])
    tags = isinstance(said, Tagged)
    between = f"between tags {one} and {two}" if tags else f"between {_name(pool, one)} and {_name(pool, two)}"
    return between + where, float(probs[0, one]), float(probs[0, two])


def _name(pool: Pool, label: int) -> str:
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

    Lewis and Gale 1994, "A Sequential Algorithm for Training Text Classifiers".
    """

    def score(self, pool: Pool, rows: Array) -> Array:
        """(m,) in [0, 1]; MissingInput without beliefs."""
        return 1.0 - _beliefs(pool, rows).confidence()

    def reason(self, pool: Pool, row: int, score: float) -> str:
        between, one, two = torn(pool, row)
        return Reason(
            f"not confident {between} (confidence {1 - score:.2f})", confidence=1 - score, first=one, second=two
        )
