"""The built-in strategies keep their promises, and broken ones are caught by the right promise."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from labelwise.core import (
    ContractError,
    Nomination,
    Pool,
    Selection,
    stack_pools,
    stream,
)
from labelwise.core.checks import check, promises
from labelwise.core.checks.strategies import ROW_WISE
from labelwise.select import (
    Auto,
    Badge,
    Bait,
    ClusterMargin,
    Determinant,
    FacilityLocation,
    Herding,
    KCenter,
    KMeans,
    Margin,
    Mix,
    Power,
    ProbCover,
    Random,
    Routed,
    Softmax,
    Softrank,
    Then,
    Top,
    TypiClust,
)
from labelwise.select.imbalance import AnchorAL, Balanced, Galaxy, Seals
from labelwise.select.seeding import RareFirst, Seeds

BY_ROW = [
    Random(),
    Top(Margin()),
    Power(Margin()),
    Softmax(Margin()),
    Softrank(Margin()),
    Then(Top(Margin()), Power(Margin())),
    Mix((Top(Margin()), Power(Margin()), Random()), (2, 1, 1)),
    Mix((Mix((Power(Margin()), Random()), (1, 1)), Softrank(Margin())), (1, 1)),
]
BY_PLACE = [
    Auto(),
    Herding(),
    Herding(Margin()),
    ProbCover(),
    FacilityLocation(),
    FacilityLocation(Margin(), stochastic=0.1),
    Determinant(Margin()),
    KMeans(),
    KMeans(Margin()),
    ClusterMargin(),
    Then(Top(Margin()), FacilityLocation()),
    Then(Top(Margin()), KMeans()),
    KCenter(),
    TypiClust(),
    Badge(),
    Bait(),
    Then(Top(Margin()), KCenter()),
    Mix((KCenter(), Power(Margin())), (1, 1)),
    Routed(Top(Margin())),
    Routed(Power(Margin()), "novelty", near=0.6, far=0.8, new=0.2, audit=0.1),
    Routed(Auto(), "novelty", near=0.1, far=0.1, new=0.0, audit=0.0),
]


@pytest.mark.parametrize("strategy", [*BY_ROW, *BY_PLACE], ids=repr)
def test_built_in_strategies_keep_every_promise(strategy):
    assert check("strategies", strategy) == list(promises("strategies"))


@pytest.mark.parametrize("strategy", BY_ROW, ids=repr)
@pytest.mark.parametrize("promise", ROW_WISE, ids=lambda promise: promise.__name__)
def test_strategies_by_score_keep_the_promises_by_row(strategy, promise):
    promise(strategy)


IMBALANCED = [
    AnchorAL(Power(Margin())), AnchorAL(KCenter(), neighbours=2), Seals(Random()), Balanced(Power(Margin())), Galaxy(),
    Seeds(), RareFirst(), Balanced(AnchorAL(Mix((Top(Margin()), Random()), (1, 1)))),
]  # fmt: skip


@pytest.mark.parametrize("strategy", IMBALANCED, ids=repr)
def test_strategies_for_rare_classes_keep_every_promise(strategy):
    assert check("strategies", strategy) == list(promises("strategies"))


@dataclass(frozen=True)
class Twice(Random):
    def select(self, pool, budget, rng):
        chosen = super().select(pool, budget, rng)
        return replace(chosen, rows=np.repeat(chosen.rows[:1], len(chosen)))


@dataclass(frozen=True)
class TooFew(Random):
    def select(self, pool, budget, rng):
        return super().select(pool, max(budget - 1, 0), rng)


@dataclass(frozen=True)
class BatchLocal(Random):
    """Positions among the open texts instead of in the pool (small-text's LightweightCoreset)."""

    def select(self, pool, budget, rng):
        chosen = super().select(pool, budget, rng)
        return replace(chosen, rows=np.searchsorted(pool.candidates(), chosen.rows))


@dataclass(frozen=True)
class Relabels(Random):
    def select(self, pool, budget, rng):
        chosen = super().select(pool, budget, rng)
        known = np.flatnonzero(pool.labelled)[: len(chosen)]
        return replace(chosen, rows=np.concatenate([known, chosen.rows])[: len(chosen)])


@dataclass(frozen=True)
class OwnDice(Random):
    dice: list = field(default_factory=lambda: [0])

    def select(self, pool, budget, rng):
        self.dice[0] += 1
        return super().select(pool, budget, stream(self.dice[0], "mine"))


@dataclass(frozen=True)
class IgnoresTheSeed(Random):
    def select(self, pool, budget, rng):
        return super().select(pool, budget, stream(0, "always"))


@dataclass(frozen=True)
class Impossible(Random):
    factor: float = 0.0

    def select(self, pool, budget, rng):
        chosen = super().select(pool, budget, rng)
        return replace(chosen, propensity=chosen.propensity * self.factor)


@dataclass(frozen=True)
class Speechless(Random):
    def select(self, pool, budget, rng):
        chosen = super().select(pool, budget, rng)
        return replace(chosen, reason=("",) * len(chosen))


@dataclass(frozen=True)
class Crowds(Random):
    def select(self, pool, budget, rng):
        return super().select(pool.replace(groups=None), budget, rng)


@dataclass(frozen=True)
class Closes(Random):
    """Writes into the caller's arrays (scikit-activeml's simple_batch)."""

    def select(self, pool, budget, rng):
        chosen = super().select(pool, budget, rng)
        pool.costs[chosen.rows] = 0
        return chosen


@dataclass(frozen=True)
class SendsTooFew(Random):
    def nominate(self, pool, budget, rng):
        return Nomination(super().nominate(pool, budget, rng).rows[: budget // 4])


@dataclass(frozen=True)
class FirstRows(Random):
    def select(self, pool, budget, rng):
        first = np.flatnonzero(pool.open)
        _, lead = np.unique(np.where(pool.groups[first] < 0, -1 - first, pool.groups[first]), return_index=True)
        rest = np.setdiff1d(np.arange(len(first)), lead)
        rows = first[np.concatenate([np.sort(lead), rest])][:budget]
        return Selection(rows, np.zeros(len(rows)), np.ones(len(rows)), ("first",) * len(rows))


@pytest.mark.parametrize(
    ("strategy", "promise"),
    [
        (Twice(), "exactly_the_budget_of_distinct_texts"),
        (TooFew(), "exactly_the_budget_of_distinct_texts"),
        (BatchLocal(), "only_open_texts_of_the_pool"),
        (Relabels(), "only_open_texts_of_the_pool"),
        (OwnDice(), "equal_generators_choose_equally"),
        (IgnoresTheSeed(), "who_states_chances_draws"),
        (Impossible(0.0), "scores_chances_and_reasons_are_sound"),
        (Impossible(70.0), "scores_chances_and_reasons_are_sound"),
        (Speechless(), "scores_chances_and_reasons_are_sound"),
        (Crowds(), "near_duplicates_do_not_meet"),
        (Closes(), "the_pool_is_not_changed"),
        (SendsTooFew(), "nominations_are_enough"),
    ],
    ids=repr,
)
def test_a_planted_fault_is_caught_by_its_promise(strategy, promise):
    with pytest.raises(ContractError, match=f"breaks '{promise}'"):
        check("strategies", strategy)


def test_a_choice_by_place_in_the_array_keeps_the_common_promises_but_not_the_one_by_row():
    check("strategies", FirstRows())
    with pytest.raises(ContractError, match="when the rows were rearranged"):
        ROW_WISE[0](FirstRows())


def test_stacked_pools_lack_what_one_of_them_lacks():
    one, two = Pool.of(2, signals={"a": np.zeros(2)}), Pool.of(3, costs=np.full(3, 2.0))
    both = stack_pools([one.replace(rest=(1.0, (2.0,))), two.replace(rest=(3.0, (4.0,)))])
    assert both.costs.tolist() == [1, 1, 2, 2, 2]
    assert both.rest == (4.0, (6.0,))
    assert both.signals == {}
    assert both.vectors is None
