"""The built-in scorers keep their promises, and broken ones are caught by the right promise."""

from dataclasses import dataclass

import numpy as np
import pytest

from labelwise.core import ContractError
from labelwise.core.checks import check
from labelwise.select import Entropy, LeastConfidence, Margin


@pytest.mark.parametrize("scorer", [Margin(), Entropy(), LeastConfidence()], ids=repr)
def test_built_in_scorers_keep_every_promise(scorer):
    assert len(check("scorers", scorer)) == 5


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


@pytest.mark.parametrize(
    ("scorer", "promise"),
    [
        (PrefersTheConfident(), "a_more_torn_text_is_more_wanted"),
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


def test_a_scorer_that_writes_into_the_beliefs_is_caught():
    from labelwise.core.checks.scorers import the_pool_is_not_changed

    with pytest.raises(ContractError, match="beliefs were changed"):
        the_pool_is_not_changed(Sharpens())
