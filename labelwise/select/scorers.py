"""How much a text is wanted, from what the model said about it alone.

All three work for every form of beliefs (one answer, several, tags, a committee), because they
ask the beliefs and not the probabilities. Margin is the default: entropy over-selects texts that
are torn between many labels when there are many of them (Schröder, Niekler and Potthast 2022,
"Revisiting Uncertainty-based Query Strategies for Active Learning with Transformers").
"""

from __future__ import annotations

from dataclasses import dataclass

from labelwise.core import Pool
from labelwise.core.beliefs import Array, Beliefs


def _beliefs(pool: Pool, rows: Array) -> Beliefs:
    beliefs: Beliefs = pool.need("beliefs")
    return beliefs.take(rows)


def _how(score: float, words: tuple[str, str, str]) -> str:
    return words[0] if score >= 0.8 else words[1] if score >= 0.4 else words[2]


@dataclass(frozen=True)
class Margin:
    """1 - (p1 - p2): the smaller the lead of the best answer, the more wanted. O(m c).

    Scheffer, Decomain and Wrobel 2001, "Active Hidden Markov Models for Information Extraction".
    """

    def score(self, pool: Pool, rows: Array) -> Array:
        """(m,) in [0, 1]; MissingInput without beliefs."""
        return 1.0 - _beliefs(pool, rows).margin()

    def reason(self, score: float) -> str:
        return f"{_how(score, ('torn', 'unsure', 'quite sure'))} (margin {1 - score:.2f})"


@dataclass(frozen=True)
class Entropy:
    """Normalised entropy of the answer: 1 = the model knows nothing. O(m c). Shannon 1948."""

    def score(self, pool: Pool, rows: Array) -> Array:
        """(m,) in [0, 1]; MissingInput without beliefs."""
        return _beliefs(pool, rows).entropy()

    def reason(self, score: float) -> str:
        return f"{_how(score, ('clueless', 'undecided', 'quite decided'))} (entropy {score:.2f})"


@dataclass(frozen=True)
class LeastConfidence:
    """1 - p1: the less sure of its preferred answer, the more wanted. O(m c).

    Lewis and Gale 1994, "A Sequential Algorithm for Training Text Classifiers".
    """

    def score(self, pool: Pool, rows: Array) -> Array:
        """(m,) in [0, 1]; MissingInput without beliefs."""
        return 1.0 - _beliefs(pool, rows).confidence()

    def reason(self, score: float) -> str:
        return f"{_how(score, ('not confident', 'little confident', 'quite confident'))} (confidence {1 - score:.2f})"
