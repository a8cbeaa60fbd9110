"""Linear keeps every promise, and each promise catches the fault it is there for."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from labelwise.core import Categorical, ContractError, Examples, State, Trainer
from labelwise.core.checks import promises
from labelwise.learn.committee import Bootstrap, Laplace
from labelwise.learn.crf import CRF
from labelwise.learn.linear import Linear, LinearModel

QUICK = Linear(grid=(1.0, 100.0))


@pytest.mark.parametrize("promise", promises("trainers").values(), ids=lambda promise: promise.__name__)
def test_linear_keeps(promise):
    assert isinstance(Linear(), Trainer)
    promise(Linear())


@pytest.mark.parametrize("promise", promises("trainers").values(), ids=lambda promise: promise.__name__)
@pytest.mark.parametrize("trainer", [Bootstrap(QUICK, members=3), Laplace(QUICK)], ids=lambda t: type(t).__name__)
def test_committees_keep(trainer, promise):
    assert isinstance(trainer, Trainer)
    promise(trainer)


@pytest.mark.parametrize("promise", promises("trainers").values(), ids=lambda promise: promise.__name__)
def test_crf_keeps(promise):
    assert isinstance(CRF(), Trainer)
    promise(CRF(iterations=40))


@dataclass(frozen=True)
class Faulty:
    """A sound trainer to plant a fault in."""

    @property
    def reads(self):
        return "vectors"

    @property
    def kinds(self):
        return ("single", "multi")

    def fit(self, examples, start_from, rng):
        return QUICK.fit(examples, start_from, rng)

    def restore(self, state):
        return QUICK.restore(state)


class ShowsTrainingBeliefs(Faulty):
    def fit(self, examples, start_from, rng):
        model = QUICK.fit(examples, start_from, rng)
        return replace(model, held_out=model.believe(examples.vectors))


class SplitsNearDuplicates(Faulty):
    def fit(self, examples, start_from, rng):
        return QUICK.fit(replace(examples, groups=None), start_from, rng)


class ShufflesHeldOut(Faulty):
    def fit(self, examples, start_from, rng):
        model = QUICK.fit(examples, start_from, rng)
        return replace(model, held_out=model.held_out.take(np.arange(len(examples))[::-1]))


class RulesOutTheUnseen(Faulty):
    def fit(self, examples, start_from, rng):
        model = QUICK.fit(examples, start_from, rng)
        return replace(model, head=replace(model.head, rest=np.zeros_like(model.head.rest)))


class NeedsTwoClasses(Faulty):
    def fit(self, examples, start_from, rng):
        if len(np.unique(examples.targets)) < 2:
            raise ValueError("this solver needs samples of at least 2 classes")
        return QUICK.fit(examples, start_from, rng)


class KeepsItsStart(Faulty):
    def fit(self, examples, start_from, rng):
        return start_from or QUICK.fit(examples, None, rng)


class IgnoresWeights(Faulty):
    def fit(self, examples, start_from, rng):
        return QUICK.fit(replace(examples, weights=np.ones(len(examples))), start_from, rng)


class NormalisesInPlace(Faulty):
    def fit(self, examples, start_from, rng):
        examples.vectors[:] -= examples.vectors.mean(axis=0)
        return QUICK.fit(examples, start_from, rng)


class ReadsTheFirstHalf(Faulty):
    def fit(self, examples, start_from, rng):
        half = np.arange((len(examples) + 1) // 2)
        part = Examples(examples.task, examples.targets[half], examples.weights[half], examples.vectors[half])
        return replace(QUICK.fit(part, start_from, rng), held_out=None)


class RollsItsOwnDice(Faulty):
    def fit(self, examples, start_from, rng):
        model = QUICK.fit(examples, start_from, rng)
        coef = model.head.coef + np.random.default_rng().standard_normal(model.head.coef.shape)
        return replace(model, head=replace(model.head, coef=coef))


class StoresRoughly(Faulty):
    def restore(self, state):
        return QUICK.restore(State({**state.arrays, "coef": state.arrays["coef"].astype(np.float16)}, state.facts))


class Timid(LinearModel):
    def believe(self, inputs):
        return Categorical(np.full((len(inputs), len(self.head.rest)), 1 / len(self.head.rest)))


class LearnsNothing(Faulty):
    def fit(self, examples, start_from, rng):
        model = QUICK.fit(examples, start_from, rng)
        return Timid(model.head, model.facts, None)


@pytest.mark.parametrize(
    ("faulty", "broken"),
    [
        (LearnsNothing, "learns_separable_data"),
        (ShowsTrainingBeliefs, "holds_out_what_it_says"),
        (SplitsNearDuplicates, "holds_out_what_it_says"),
        (ShufflesHeldOut, "holds_out_what_it_says"),
        (RulesOutTheUnseen, "keeps_unseen_labels_possible"),
        (NeedsTwoClasses, "survives_one_class_only"),
        (KeepsItsStart, "starts_change_nothing"),
        (IgnoresWeights, "respects_weights"),
        (NormalisesInPlace, "never_changes_its_examples"),
        (ReadsTheFirstHalf, "does_not_care_about_order"),
        (RollsItsOwnDice, "is_deterministic"),
        (StoresRoughly, "restores_what_it_stored"),
    ],
)
def test_a_planted_fault_is_caught(faulty, broken):
    with pytest.raises((ContractError, ValueError)):
        promises("trainers")[broken](faulty())
