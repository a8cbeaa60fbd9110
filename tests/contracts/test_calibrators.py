"""Every calibrator keeps every promise, and each promise catches the fault it is there for."""

from dataclasses import dataclass

import numpy as np
import pytest

from labelwise.core import Calibrator, Categorical, Committee, ContractError, Multilabel, State
from labelwise.core.checks import check, promises
from labelwise.learn.adaptive import Adaptive
from labelwise.learn.isotonic import Isotonic
from labelwise.learn.temperature import Temperature, Tempered
from labelwise.learn.vector import Vector


@pytest.mark.parametrize(
    "calibrator",
    [Temperature(), Vector(), Isotonic(), Adaptive(), Adaptive(enough=100, per_class=10)],
    ids=repr,
)
def test_it_keeps_every_promise(calibrator):
    assert isinstance(calibrator, Calibrator)
    assert set(check("calibrators", calibrator)) == set(promises("calibrators"))


def test_isotonic_steps_keep_all_promises_but_those_that_few_labels_break():
    for name in set(promises("calibrators")) - {"keeps_clear_answers", "leaves_honest_beliefs_alone"}:
        promises("calibrators")[name](Isotonic(least=30))


@dataclass(frozen=True)
class Changed:
    """A calibration whose result goes through a fault."""

    change: object

    def apply(self, beliefs):
        return self.change(beliefs)

    def state(self):
        return State()


class Faulty:
    """A sound calibrator to plant a fault in."""

    def fit(self, beliefs, truth, weights):
        return Temperature().fit(beliefs, truth, weights)

    def restore(self, state):
        return Temperature().restore(state)


class AlwaysFlattens(Faulty):
    def fit(self, beliefs, truth, weights):
        return Tempered(3.0)


class DoesNothing(Faulty):
    def fit(self, beliefs, truth, weights):
        return Tempered(1.0)


class IgnoresWeights(Faulty):
    def fit(self, beliefs, truth, weights):
        return Temperature().fit(beliefs, truth, np.ones(len(weights)))


class FlattensCommittees(Faulty):
    def fit(self, beliefs, truth, weights):
        return Changed(lambda b: b.mean() if isinstance(b, Committee) else b)


class SwapsAnswers(Faulty):
    def fit(self, beliefs, truth, weights):
        return Changed(lambda b: Categorical(b.probs[:, ::-1]) if isinstance(b, Categorical) else b)


class TurnsOneClearAnswer(Faulty):
    def fit(self, beliefs, truth, weights):
        def change(b):
            if not isinstance(b, Categorical):
                return b
            probs = b.probs.copy()
            probs[b.margin().argmax()] = probs[b.margin().argmax()][::-1]
            return Categorical(probs)

        return Changed(change)


class DividesByZero(Faulty):
    def fit(self, beliefs, truth, weights):
        def change(b):
            with np.errstate(all="ignore"):
                return type(b)(np.exp(np.log(b.probs) - np.log(1 - b.probs))) if isinstance(b, Multilabel) else b

        return Changed(change)


class NeedsData(Faulty):
    def fit(self, beliefs, truth, weights):
        return Tempered(float(np.mean(weights.max()) * 2))


class ForgetsWhatItStored(Faulty):
    def restore(self, state):
        return Tempered(1.0)


@pytest.mark.parametrize(
    ("faulty", "broken"),
    [
        (AlwaysFlattens, "never_worsens_log_loss"),
        (AlwaysFlattens, "leaves_honest_beliefs_alone"),
        (DoesNothing, "mends_overconfident_beliefs"),
        (IgnoresWeights, "respects_weights"),
        (FlattensCommittees, "keeps_the_form"),
        (SwapsAnswers, "keeps_clear_answers"),
        (TurnsOneClearAnswer, "keeps_clear_answers"),
        (DividesByZero, "survives_certainty"),
        (NeedsData, "needs_no_data"),
        (ForgetsWhatItStored, "restores_what_it_stored"),
    ],
)
def test_a_planted_fault_is_caught(faulty, broken):
    with pytest.raises((ContractError, ValueError)):
        promises("calibrators")[broken](faulty())
