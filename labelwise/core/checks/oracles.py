"""What every oracle promises. How often it is right is its own business."""

from __future__ import annotations

import math
from collections.abc import Iterator

from labelwise.core.checks import ensure
from labelwise.core.errors import LabelwiseError
from labelwise.core.protocols import Oracle
from labelwise.core.streams import stream
from labelwise.core.task import Answer, Span, Task

LENGTHS = (1, 12, 4000)
TASKS = (Task("single", ("a", "b")), Task("multi", ("a", "b", "c")), Task("spans", ("a", "b")), Task("spans", ("a",)))


def _truths(task: Task, length: int) -> tuple[Answer, ...]:
    if task.kind == "single":
        return task.labels
    if task.kind == "multi":
        return (), ("a",), ("a", "b", "c")
    whole = Span(0, length, "a")
    return ((), (whole,), (Span(0, 1, "a"), Span(length - 1, length, "a")) if length > 1 else (whole,))


def _questions() -> Iterator[tuple[Task, Answer, int]]:
    for task in TASKS:
        for length in LENGTHS:
            for truth in _truths(task, length):
                yield task, truth, length


def has_annotators(oracle: Oracle) -> None:
    """At least one annotator, each with a name of its own."""
    names = list(oracle.annotators)
    sound = len(names) > 0 and len(set(names)) == len(names) and all(isinstance(n, str) and n for n in names)
    ensure(sound, f"annotators must be distinct names, not {names!r}")


def gives_valid_answers(oracle: Oracle) -> None:
    """Every answer is one the task allows for this text, in canonical form."""
    for seed in range(20):
        rng = stream(seed, "oracle check")
        for task, truth, length in _questions():
            for annotator in oracle.annotators:
                answer, _ = oracle.answer(task, annotator, truth, length, rng)
                canonical = task.parse(task.plain(answer), length=length)
                ensure(canonical == answer, f"{answer!r} is not in canonical form")


def takes_time(oracle: Oracle) -> None:
    """Seconds are finite and positive, for the shortest and the longest text."""
    for seed in range(5):
        rng = stream(seed, "oracle check")
        for task, truth, length in _questions():
            for annotator in oracle.annotators:
                _, seconds = oracle.answer(task, annotator, truth, length, rng)
                ensure(math.isfinite(seconds) and seconds > 0, f"{seconds!r} seconds for {length} characters")


def is_deterministic(oracle: Oracle) -> None:
    """Equal generators give equal answers and times, whatever was asked before."""
    for seed in range(5):
        for task, truth, length in _questions():
            for annotator in oracle.annotators:
                one, other = (
                    oracle.answer(task, annotator, truth, length, stream(seed, "oracle check")) for _ in range(2)
                )
                ensure(one == other, f"{one!r} at first, then {other!r}")


def knows_who_is_asked(oracle: Oracle) -> None:
    """An annotator it does not have ends in one of Labelwise's own errors."""
    for task, truth, length in _questions():
        try:
            oracle.answer(task, "nobody of that name", truth, length, stream(0, "oracle check"))
        except LabelwiseError:
            continue
        ensure(False, "answered for an annotator it does not have")


PROMISES = (has_annotators, gives_valid_answers, takes_time, is_deterministic, knows_who_is_asked)
