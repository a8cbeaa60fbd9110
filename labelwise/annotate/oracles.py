"""Simulated annotators: who answers, and how long it takes, when a project is rehearsed.

Time follows the log-normal model:

    ln seconds = ln seconds_median + length_effect * ln((1 + characters) / 101) - ln speed + spread * N(0, 1)

so seconds_median is the median time, in seconds, of an annotator of speed 1 on a text of 100
characters, and doubling a long text multiplies it by 2 ** length_effect. The mean is larger
than the median by exp(spread^2 / 2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from labelwise.core import Answer, InputError, Span, Task, unknown


@dataclass(frozen=True, slots=True)
class Annotator:
    """One simulated person.

    accuracy (0..1): single, the probability of the true label, errors spread evenly over the
    others; multi, a true label is missed with 1 - accuracy and every other label added with
    (1 - accuracy) / (labels - true ones), so about as many are added as missed; spans, a span
    is spoiled with 1 - accuracy. speed (> 0): 2 is twice as fast as 1. confusion (single):
    {truth: {answer: probability}} replaces accuracy for that truth; what is left to 1 is the truth.
    """

    name: str
    accuracy: float = 0.9
    speed: float = 1.0
    confusion: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise InputError(f"annotator.name: {self.name!r} is not allowed; give a name.")
        if not 0 <= self.accuracy <= 1:
            raise InputError(f"annotator.accuracy: {self.accuracy!r} is not allowed; give a number from 0 to 1.")
        if not (math.isfinite(self.speed) and self.speed > 0):
            raise InputError(f"annotator.speed: {self.speed!r} is not allowed; give a finite number > 0.")
        for truth, row in self.confusion.items():
            if min(row.values(), default=0.0) < 0 or sum(row.values()) > 1 + 1e-9:
                raise InputError(
                    f"annotator.confusion.{truth}: {dict(row)!r} is not allowed; "
                    "give probabilities from 0 to 1 that sum to at most 1."
                )


def _check_time(seconds_median: float, spread: float, length_effect: float) -> None:
    if not (math.isfinite(seconds_median) and seconds_median > 0):
        raise InputError(f"seconds_median: {seconds_median!r} is not allowed; give a finite number of seconds > 0.")
    if not 0 <= spread <= 3:
        raise InputError(f"spread: {spread!r} is not allowed; give a number from 0 to 3.")
    if not 0 <= length_effect <= 2:
        raise InputError(f"length_effect: {length_effect!r} is not allowed; give a number from 0 to 2.")


def _seconds(median: float, spread: float, length_effect: float, length: int, rng: np.random.Generator) -> float:
    return float(median * ((1 + length) / 101) ** length_effect * math.exp(spread * rng.standard_normal()))


@dataclass(frozen=True, slots=True)
class Perfect:
    """One annotator, "oracle", who is always right.

    seconds_median (> 0): median seconds for 100 characters; spread (0..3): standard deviation
    of ln seconds; length_effect (0..2): exponent of the length.
    """

    seconds_median: float = 6.0
    spread: float = 0.6
    length_effect: float = 0.3

    def __post_init__(self) -> None:
        _check_time(self.seconds_median, self.spread, self.length_effect)

    @property
    def annotators(self) -> Sequence[str]:
        return ("oracle",)

    def answer(
        self, task: Task, annotator: str, truth: Answer, length: int, rng: np.random.Generator
    ) -> tuple[Answer, float]:
        """The truth, and the seconds it took. Raises InputError for an unknown annotator."""
        if annotator not in self.annotators:
            raise unknown("annotator", annotator, self.annotators)
        return truth, _seconds(self.seconds_median, self.spread, self.length_effect, length, rng)


@dataclass(frozen=True, slots=True)
class Noisy:
    """Several people who err and differ in speed; time as for ``Perfect``, divided by the person's speed.

    Known trade-off: errors are independent of the text, so no text is hard for everybody.
    """

    people: tuple[Annotator, ...] = (
        Annotator("careful", accuracy=0.95, speed=0.8),
        Annotator("steady", accuracy=0.9),
        Annotator("hasty", accuracy=0.75, speed=1.6),
    )
    seconds_median: float = 6.0
    spread: float = 0.6
    length_effect: float = 0.3

    def __post_init__(self) -> None:
        object.__setattr__(self, "people", tuple(self.people))
        names = self.annotators
        if not names or len(set(names)) < len(names):
            raise InputError(f"people: {list(names)!r} is not allowed; give one or more, each with its own name.")
        _check_time(self.seconds_median, self.spread, self.length_effect)

    @property
    def annotators(self) -> Sequence[str]:
        return tuple(person.name for person in self.people)

    def answer(
        self, task: Task, annotator: str, truth: Answer, length: int, rng: np.random.Generator
    ) -> tuple[Answer, float]:
        """An answer and its seconds for a text of ``length`` characters. Raises InputError for an unknown annotator.

        A shifted span has one end moved by one to three characters within the text; a spoiled
        span is dropped, shifted or relabelled with equal probability, and dropped where the
        chosen change is impossible. O(labels + spans).
        """
        person = next((person for person in self.people if person.name == annotator), None)
        if person is None:
            raise unknown("annotator", annotator, self.annotators)
        answer: Answer
        if task.kind == "single":
            answer = _one(task, person, str(truth), rng)
        elif task.kind == "multi":
            answer = _several(task, person, {str(label) for label in truth}, rng)
        else:
            marked = (_marked(task, person, Span(*span), length, rng) for span in truth)
            answer = tuple(sorted({span for span in marked if span is not None}))
        return answer, _seconds(self.seconds_median, self.spread, self.length_effect, length, rng) / person.speed


def _one(task: Task, person: Annotator, truth: str, rng: np.random.Generator) -> str:
    chance = {label: (1 - person.accuracy) / (len(task.labels) - 1) for label in task.labels}
    chance[truth] = person.accuracy
    if truth in person.confusion:
        row = person.confusion[truth]
        for label in row:
            if label not in task.labels:
                raise unknown("label", label, task.labels, f"annotator {person.name!r}, confusion.{truth}")
        chance = {label: float(row.get(label, 0.0)) for label in task.labels}
        chance[truth] += max(0.0, 1.0 - sum(row.values()))
    weights = np.array(list(chance.values()))
    return task.labels[int(rng.choice(len(weights), p=weights / weights.sum()))]


def _several(task: Task, person: Annotator, truth: set[str], rng: np.random.Generator) -> tuple[str, ...]:
    error = 1 - person.accuracy
    added = error / max(len(task.labels) - len(truth), 1)
    draws = zip(task.labels, rng.random(len(task.labels)), strict=True)
    return tuple(sorted(label for label, u in draws if (u >= error if label in truth else u < added)))


def _marked(task: Task, person: Annotator, span: Span, length: int, rng: np.random.Generator) -> Span | None:
    """The span as this person marks it, None if not at all."""
    if rng.random() < person.accuracy:
        return span
    spoil = int(rng.integers(3))
    if spoil == 1:
        start, end = span.start, span.end
        step = int(rng.integers(1, 4)) * (1 if rng.random() < 0.5 else -1)
        if rng.random() < 0.5:
            start = max(0, start + step)
        else:
            end = min(length, end + step)
        return Span(start, end, span.label) if start < end and (start, end) != span[:2] else None
    others = [label for label in task.labels if label != span.label]
    return span._replace(label=others[int(rng.integers(len(others)))]) if spoil == 2 and others else None
