"""Majority keeps every promise, and each promise catches the fault it is there for."""

from dataclasses import replace

import pytest

from labelwise.annotate.majority import Majority
from labelwise.core import Aggregator, Consensus, ContractError
from labelwise.core.checks import check, promises


def test_majority_keeps_every_promise():
    assert isinstance(Majority(), Aggregator)
    assert set(check("aggregators", Majority())) == set(promises("aggregators"))


class FirstVote:
    def decide(self, task, votes):
        return {v.text: Consensus(v.answer, 0.5, sum(w.text == v.text for w in votes)) for v in reversed(votes)}


class SkipsLonelyVotes:
    def decide(self, task, votes):
        return {text: c for text, c in Majority().decide(task, votes).items() if c.votes > 1}


class SaysPercent:
    def decide(self, task, votes):
        return {text: replace(c, confidence=100 * c.confidence) for text, c in Majority().decide(task, votes).items()}


class AlwaysSure:
    def decide(self, task, votes):
        return {text: replace(c, confidence=1.0) for text, c in Majority().decide(task, votes).items()}


class ForgetsTheEmptyAnswer:
    def decide(self, task, votes):
        spoken = [vote for vote in votes if vote.answer]
        return {v.text: Consensus(v.answer, 1.0, 1) for v in votes} | dict(Majority().decide(task, spoken))


class AnswersUnsorted:
    def decide(self, task, votes):
        decided = Majority().decide(task, votes).items()
        return {t: replace(c, answer=c.answer if task.kind == "single" else c.answer[::-1]) for t, c in decided}


class TrustsTheLast:
    def decide(self, task, votes):
        return {**Majority().decide(task, votes), **{v.text: Consensus("a", 1.0, 1) for v in votes[-1:]}}


@pytest.mark.parametrize(
    ("faulty", "broken"),
    [
        (FirstVote, "does_not_care_about_order"),
        (SkipsLonelyVotes, "decides_every_text_once"),
        (SaysPercent, "is_sure_between_zero_and_one"),
        (AlwaysSure, "follows_a_clear_majority"),
        (ForgetsTheEmptyAnswer, "decides_every_text_once"),
        (AnswersUnsorted, "answers_in_the_form_of_the_task"),
        (TrustsTheLast, "keeps_unanimous_answers"),
    ],
)
def test_a_planted_fault_is_caught(faulty, broken):
    with pytest.raises(ContractError):
        promises("aggregators")[broken](faulty())
