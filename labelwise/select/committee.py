"""How much a text is wanted, from how several models differ about it.

All need a ``Committee`` of beliefs (models of resampled labels, posterior draws, dropout masks) and
say so when there is one model only. For several labels and for tags they are means over decisions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labelwise.core import MissingInput, Pool, Reason
from labelwise.core.beliefs import Array, Beliefs, Committee, Floats, Multilabel, Rows, Tagged
from labelwise.select.scorers import blockwise, decisions, means, name_of


def _committee(said: Beliefs) -> Committee:
    if not isinstance(said, Committee):
        raise MissingInput(
            "the pool's beliefs come from one model and this scorer compares several: "
            'use a trainer that makes a committee, or a scorer that needs none, such as "margin".'
        )
    return said


def _votes(said: Committee) -> tuple[Array, Array, Rows]:
    """(e, d) what each member answers to each decision, (d,) what they answer as one, (d,) the decision's text."""
    (answer, texts), members = decisions(said), [decisions(member)[0] for member in said.members]
    votes = np.stack([member.hard().ravel() for member in members]).astype(np.intp)
    return votes, answer.hard().ravel().astype(np.intp), texts


def _reason(pool: Pool, row: int, **figure: float) -> Reason:
    """Between which answers the committee is split most, and how many members are not of its opinion."""
    said = _committee(pool.need("beliefs").take(np.array([row])))
    votes, answer, _ = _votes(said)
    differ = votes != answer
    if not differ.any():
        name, value = next(iter(figure.items()))
        return Reason(f"the committee agrees on the answer ({name} {value:.2f})", **figure)
    at = int(differ.sum(axis=0).argmax())
    others = votes[differ[:, at], at]
    one, two = int(answer[at]), int(np.bincount(others).argmax())
    where = f"between {name_of(pool, one)} and {name_of(pool, two)}"
    if isinstance(said.members[0], Multilabel):
        where = f"on whether {name_of(pool, at)} applies"
    elif isinstance(said.members[0], Tagged):
        where = f"between tags {one} and {two} at token {at + 1}"
    why = f"the committee is split {where} ({len(others)} of {len(votes)} differ)"
    return Reason(why, differ=len(others), members=len(votes), **figure)


@dataclass(frozen=True)
class BALD:
    """Entropy of the mean - mean entropy of the members: what is unsure because members differ. O(m e c).

    The mutual information of answer and model, normalised by log c: Houlsby, Huszár, Ghahramani and
    Lengyel 2011, "Bayesian Active Learning for Classification and Preference Learning". Texts that
    every member finds ambiguous have 0. The best texts one by one are near-copies of one another:
    draw with ``power`` rather than taking the ``top``.
    """

    def score(self, pool: Pool, rows: Array) -> Array:
        """(m,) in [0, 1]; MissingInput without a committee."""
        said: Beliefs = pool.need("beliefs")
        return blockwise(rows, lambda part: self._information(_committee(said.take(part))))

    @staticmethod
    def _information(said: Committee) -> Floats:
        each = np.mean([member.entropy() for member in said.members], axis=0)
        return np.asarray(np.clip(said.entropy() - each, 0.0, 1.0))

    def reason(self, pool: Pool, row: int, score: float) -> str:
        return _reason(pool, row, information=score)


@dataclass(frozen=True)
class VoteEntropy:
    """Entropy of the members' answers, normalised by the log of min(members, answers). O(m e (e + c)).

    Dagan and Engelson 1995, "Committee-Based Sampling for Training Probabilistic Classifiers". A
    small committee gives few distinct values, so many ties: `power` and `softrank` draw among them.
    """

    def score(self, pool: Pool, rows: Array) -> Array:
        """(m,) in [0, 1]; MissingInput without a committee."""
        said: Beliefs = pool.need("beliefs")
        return blockwise(rows, lambda part: self._spread(_committee(said.take(part))))

    @staticmethod
    def _spread(said: Committee) -> Floats:
        votes, _, texts = _votes(said)
        first = said.members[0]
        most = min(len(votes), 2 if isinstance(first, Multilabel) else first.probs.shape[1])
        # the mean over members of -log(share of their own answer) is the entropy of the shares
        spread = -np.mean([np.log((votes == vote).mean(axis=0)) for vote in votes], axis=0) / np.log(max(most, 2))
        return np.asarray(np.clip(means(spread, texts, len(said)), 0.0, 1.0))

    def reason(self, pool: Pool, row: int, score: float) -> str:
        return _reason(pool, row, entropy=score)


@dataclass(frozen=True)
class Disagreement:
    """Share of members whose answer is not the committee's own. O(m e c).

    What DropQuery counts over dropout masks: Gupte, Aklilu, Nirschl and Yeung-Levy 2024, "Revisiting
    Active Learning in the Era of Vision Foundation Models". Few distinct values, as for vote entropy.
    """

    def score(self, pool: Pool, rows: Array) -> Array:
        """(m,) in [0, 1]; MissingInput without a committee."""
        said: Beliefs = pool.need("beliefs")
        return blockwise(rows, lambda part: self._share(_committee(said.take(part))))

    @staticmethod
    def _share(said: Committee) -> Floats:
        votes, answer, texts = _votes(said)
        return means((votes != answer).mean(axis=0), texts, len(said))

    def reason(self, pool: Pool, row: int, score: float) -> str:
        return _reason(pool, row, disagreement=score)
