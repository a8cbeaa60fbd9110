"""The built-in scorers keep their promises, and broken ones are caught by the right promise."""

from dataclasses import dataclass

import numpy as np
import pytest

from labelwise.core import Beliefs, ContractError, MissingInput
from labelwise.core.checks import check, promises
from labelwise.core.checks.scorers import UNCERTAINTY
from labelwise.select import (
    BALD,
    CAL,
    MNLP,
    Disagreement,
    Entropy,
    LeastConfidence,
    Margin,
    Novelty,
    Rarity,
    Relevance,
    Signal,
    TokenEntropy,
    VoteEntropy,
)

UNSURE = [Margin(), Entropy(), LeastConfidence(), MNLP(), TokenEntropy(), TokenEntropy(top=1)]
OTHERS = [
    BALD(), VoteEntropy(), Disagreement(), Novelty(), CAL(), CAL(neighbours=1), Rarity(), Relevance("a"),
    Signal("novelty"),
]  # fmt: skip


@pytest.mark.parametrize("scorer", [*UNSURE, *OTHERS], ids=repr)
def test_built_in_scorers_keep_every_promise(scorer):
    assert check("scorers", scorer) == list(promises("scorers"))


@pytest.mark.parametrize("scorer", UNSURE, ids=repr)
@pytest.mark.parametrize("promise", UNCERTAINTY, ids=lambda promise: promise.__name__)
def test_uncertainty_scorers_keep_the_promises_about_it(scorer, promise):
    promise(scorer)


@dataclass(frozen=True)
class PrefersTheConfident(Margin):
    def score(self, pool, rows):
        return 1.0 - super().score(pool, rows)


@dataclass(frozen=True)
class ScaledByTheOthers(Margin):
    def score(self, pool, rows):
        scores = super().score(pool, rows)
        return scores / max(scores.max(initial=0), 1e-9)


@dataclass(frozen=True)
class InNats(Entropy):
    def score(self, pool, rows):
        return 2.0 * super().score(pool, rows)


@dataclass(frozen=True)
class NeverFinite(Entropy):
    def score(self, pool, rows):
        return super().score(pool, rows) * np.nan


@dataclass(frozen=True)
class Sharpens(Margin):
    def score(self, pool, rows):
        scores = super().score(pool, rows)
        for array in pool.beliefs.arrays().values():
            array[:] = array[::-1].copy() if array.dtype.kind == "f" else array
        return scores


@dataclass(frozen=True)
class Silent(Margin):
    def reason(self, pool, row, score):
        return ""


@dataclass(frozen=True)
class HoldsEverything(Margin):
    """Makes the whole of what was to be worked out block by block."""

    def score(self, pool, rows):
        held = pool.beliefs.tell(rows) if hasattr(pool.beliefs, "tell") else pool.beliefs.take(rows)
        return 1.0 - held.margin()


@dataclass(frozen=True)
class ByBlockOnly(Entropy):
    """Scaled within each block: a text's score depends on how many are told at a time."""

    def score(self, pool, rows):
        taken: Beliefs = pool.beliefs.take(rows)
        blocks = taken.blocks() if hasattr(taken, "blocks") else [taken]
        return np.concatenate([np.arange(len(block)) / max(len(taken), 1) for block in blocks])


@dataclass(frozen=True)
class RefusesAll(Margin):
    def score(self, pool, rows):
        raise MissingInput("the pool has no moon: wait for night.")


@pytest.mark.parametrize(
    ("scorer", "promise"),
    [
        (HoldsEverything(), "streamed_beliefs_are_scored_alike"),
        (RefusesAll(), "scores_are_finite_and_between_0_and_1"),
        (ScaledByTheOthers(), "a_score_depends_on_its_row_alone"),
        (InNats(), "scores_are_finite_and_between_0_and_1"),
        (NeverFinite(), "scores_are_finite_and_between_0_and_1"),
        (Silent(), "reasons_are_short_sentences"),
    ],
    ids=repr,
)
def test_a_planted_fault_is_caught_by_its_promise(scorer, promise):
    with pytest.raises(ContractError, match=f"breaks '{promise}'"):
        check("scorers", scorer)


def test_a_scorer_that_prefers_the_confident_keeps_the_common_promises_only():
    check("scorers", PrefersTheConfident())
    with pytest.raises(ContractError, match="do not rise"):
        UNCERTAINTY[0](PrefersTheConfident())


def test_a_score_that_differs_when_beliefs_are_streamed_is_caught():
    with pytest.raises(ContractError, match="other scores"):
        promises("scorers")["streamed_beliefs_are_scored_alike"](ByBlockOnly())


def test_a_scorer_that_writes_into_the_beliefs_is_caught():
    from labelwise.core.checks.scorers import the_pool_is_not_changed

    with pytest.raises(ContractError, match="beliefs were changed"):
        the_pool_is_not_changed(Sharpens())
