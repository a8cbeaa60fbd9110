"""Perfect and Noisy keep every promise, and each promise catches the fault it is there for."""

import numpy as np
import pytest

from labelwise.annotate.oracles import Annotator, Noisy, Perfect
from labelwise.core import ContractError, InputError, Oracle, Span
from labelwise.core.checks import check, promises


@pytest.mark.parametrize("oracle", [Perfect(), Noisy(), Noisy((Annotator("wrong", accuracy=0.0),), spread=3.0)])
def test_ours_keep_every_promise(oracle):
    assert isinstance(oracle, Oracle)
    assert set(check("oracles", oracle)) == set(promises("oracles"))


class Faulty:
    """A sound oracle to plant a fault in."""

    annotators = ("oracle",)

    def answer(self, task, annotator, truth, length, rng):
        return Perfect().answer(task, annotator, truth, length, rng)


class Nobody(Faulty):
    annotators = ()


class TakesNoTime(Faulty):
    def answer(self, task, annotator, truth, length, rng):
        return super().answer(task, annotator, truth, length, rng)[0], 0.0


class MarksBeyondTheText(Faulty):
    def answer(self, task, annotator, truth, length, rng):
        answer, seconds = super().answer(task, annotator, truth, length, rng)
        if task.kind == "spans":
            answer = tuple(Span(span.start, span.end + 1, span.label) for span in answer)
        return answer, seconds


class RollsItsOwnDice(Faulty):
    def answer(self, task, annotator, truth, length, rng):
        return super().answer(task, annotator, truth, length, np.random.default_rng())


class AnswersForAnybody(Faulty):
    def answer(self, task, annotator, truth, length, rng):
        return super().answer(task, "oracle", truth, length, rng)


@pytest.mark.parametrize(
    ("faulty", "broken"),
    [
        (Nobody, "has_annotators"),
        (TakesNoTime, "takes_time"),
        (MarksBeyondTheText, "gives_valid_answers"),
        (RollsItsOwnDice, "is_deterministic"),
        (AnswersForAnybody, "knows_who_is_asked"),
    ],
)
def test_a_planted_fault_is_caught(faulty, broken):
    with pytest.raises((ContractError, InputError)):
        promises("oracles")[broken](faulty())
