"""What every aggregator promises."""

from __future__ import annotations

import math
from collections import Counter

from labelwise.core.checks import ensure
from labelwise.core.protocols import Aggregator, Vote
from labelwise.core.streams import stream
from labelwise.core.task import Answer, Kind, Span, Task

KINDS: tuple[Kind, ...] = ("single", "multi", "spans")
SIZES = ((1, 1, 0), (12, 3, 1), (80, 5, 2))  # texts, annotators, seed


def _task(kind: Kind) -> Task:
    return Task(kind, ("c", "a", "b"))


def _answers(kind: Kind) -> tuple[Answer, ...]:
    """Some possible answers, the empty one among them where there is one."""
    if kind == "single":
        return ("a", "b", "c")
    if kind == "multi":
        return (), ("a",), ("a", "b"), ("a", "b", "c"), ("c",)
    first, second = Span(0, 4, "a"), Span(6, 9, "b")
    return (), (first,), (first, second), (Span(0, 5, "a"),), (Span(0, 4, "b"), second)


def _votes(kind: Kind, texts: int, annotators: int, seed: int) -> list[Vote]:
    rng = stream(seed, "aggregator check")
    choices = _answers(kind)
    return [
        Vote(f"text{t}", f"annotator{a}", choices[int(rng.integers(len(choices)))])
        for t in range(texts)
        for a in range(annotators)
        if a == 0 or rng.random() < 0.7
    ]


def decides_every_text_once(aggregator: Aggregator) -> None:
    """One consensus for each text that has votes, for no other, with the number of its votes."""
    for kind in KINDS:
        ensure(len(aggregator.decide(_task(kind), [])) == 0, "no votes, yet there is a consensus")
        for texts, annotators, seed in SIZES:
            votes = _votes(kind, texts, annotators, seed)
            counts = {text: consensus.votes for text, consensus in aggregator.decide(_task(kind), votes).items()}
            ensure(counts == Counter(vote.text for vote in votes), f"votes per text of a {kind!r} task differ")


def answers_in_the_form_of_the_task(aggregator: Aggregator) -> None:
    """Every consensus is a valid answer in canonical form."""
    for kind in KINDS:
        task = _task(kind)
        for texts, annotators, seed in SIZES:
            for consensus in aggregator.decide(task, _votes(kind, texts, annotators, seed)).values():
                canonical = task.parse(task.plain(consensus.answer))
                ensure(canonical == consensus.answer, f"{consensus.answer!r} is no answer to a {kind!r} task")


def is_sure_between_zero_and_one(aggregator: Aggregator) -> None:
    """Confidence lies in (0, 1]."""
    for kind in KINDS:
        for texts, annotators, seed in SIZES:
            for consensus in aggregator.decide(_task(kind), _votes(kind, texts, annotators, seed)).values():
                sure = consensus.confidence
                ensure(math.isfinite(sure) and 0 < sure <= 1, f"confidence {sure!r} is not in (0, 1]")


def keeps_unanimous_answers(aggregator: Aggregator) -> None:
    """What all annotators said is the consensus, whatever it is."""
    for kind in KINDS:
        for texts, annotators, _ in SIZES:
            choices = _answers(kind)
            said = {f"text{t}": choices[t % len(choices)] for t in range(texts)}
            votes = [Vote(text, f"annotator{a}", answer) for text, answer in said.items() for a in range(annotators)]
            decided = {text: c.answer for text, c in aggregator.decide(_task(kind), votes).items()}
            ensure(decided == said, f"a unanimous {kind!r} answer was overturned")


def follows_a_clear_majority(aggregator: Aggregator) -> None:
    """Four against one, by annotators of no record, is decided for the four and less surely than five to none."""
    for kind in KINDS:
        choices = _answers(kind)
        for i in range(len(choices)):
            many, few = choices[i], choices[(i + 1) % len(choices)]
            split = [Vote("text", f"annotator{a}", many if a < 4 else few) for a in range(5)]
            agreed = [Vote("text", f"annotator{a}", many) for a in range(5)]
            one, other = (aggregator.decide(_task(kind), votes)["text"] for votes in (split, agreed))
            ensure(one.answer == many, f"{many!r} by four was overruled by {few!r} of one")
            ensure(one.confidence < other.confidence, "a split vote is as sure as a unanimous one")


def does_not_care_about_order(aggregator: Aggregator) -> None:
    """Votes in any order, and annotators by any other order, give the same consensus."""
    for kind in KINDS:
        for texts, annotators, seed in SIZES:
            votes = _votes(kind, texts, annotators, seed)
            rng = stream(seed, "aggregator order")
            first = aggregator.decide(_task(kind), votes)
            for _ in range(3):
                turned = aggregator.decide(_task(kind), [votes[i] for i in rng.permutation(len(votes))])
                ensure(set(turned) == set(first), "other texts were decided")
                for text, consensus in turned.items():
                    near = math.isclose(consensus.confidence, first[text].confidence, abs_tol=1e-9)
                    ensure(consensus.answer == first[text].answer and near, f"{text} depends on the order of votes")


PROMISES = (
    decides_every_text_once,
    answers_in_the_form_of_the_task,
    is_sure_between_zero_and_one,
    keeps_unanimous_answers,
    follows_a_clear_majority,
    does_not_care_about_order,
)
