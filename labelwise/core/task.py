"""What is asked of an annotator, and what counts as an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from labelwise.core.errors import InputError, unknown
from labelwise.core.tokens import Tags, coded, placed

Kind = Literal["single", "multi", "spans"]
KINDS: tuple[Kind, ...] = ("single", "multi", "spans")


class Span(NamedTuple):
    """A labelled stretch of a text: half-open ``[start, end)`` in Unicode code points."""

    start: int
    end: int
    label: str


Answer = str | tuple[str, ...] | tuple[Span, ...]
"""One label (single), a sorted set of labels (multi), or sorted spans (spans)."""


@dataclass(frozen=True, slots=True)
class Task:
    """The question put to annotators: its kind, its labels and what each label means.

    Raises InputError if fewer than two labels (one for multi and spans), an empty label, a
    repeated label, or guidelines for a label that does not exist are given.
    """

    kind: Kind
    labels: tuple[str, ...]
    guidelines: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("kind of task", self.kind, KINDS, "task.kind")
        given: Any = self.labels
        if isinstance(given, str):
            raise InputError(f"task.labels: {given!r} is one text; give a list of labels.")
        object.__setattr__(self, "labels", tuple(self.labels))
        least = 2 if self.kind == "single" else 1
        if len(self.labels) < least:
            raise InputError(
                f"task.labels: {list(self.labels)!r} has {len(self.labels)} label(s); "
                f"a {self.kind!r} task needs at least {least}. Add the labels annotators can choose."
            )
        for label in self.labels:
            if not isinstance(label, str) or not label.strip() or "\x00" in label:
                raise InputError(f"task.labels: {label!r} is not a label; use a non-empty string without NUL.")
        repeated = sorted({label for label in self.labels if self.labels.count(label) > 1})
        if repeated:
            raise InputError(f"task.labels: {repeated[0]!r} occurs twice; name every label once.")
        for label in self.guidelines:
            if label not in self.labels:
                raise unknown("label", label, self.labels, "task.guidelines")

    def parse(self, value: Any, *, length: int | None = None, place: str = "answer") -> Answer:
        """Turn plain data (as JSON gives it) into an Answer, or raise InputError.

        ``length`` is the text's length in code points; with it, spans are checked to lie
        inside the text. single: ``"billing"``; multi: ``["joy", "love"]`` (may be empty);
        spans: ``[[0, 5, "PER"], ...]`` or objects with start, end and label (may be empty).
        """
        if self.kind == "single":
            if not isinstance(value, str):
                raise InputError(f"{place}: {value!r} is not a label; give one of the task's labels.")
            return self._known(value, place)
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise InputError(f"{place}: {value!r} is not a list; a {self.kind!r} answer is a list.")
        if self.kind == "multi":
            return tuple(sorted({self._known(label, place) for label in value}))
        return tuple(sorted({self._span(item, length, place) for item in value}))

    def plain(self, answer: Answer) -> Any:
        """The answer as JSON data; ``parse`` reads it back unchanged."""
        return answer if isinstance(answer, str) else [list(a) if isinstance(a, Span) else a for a in answer]

    @property
    def columns(self) -> int:
        """Entries of one distribution that a model gives: a label each, or for spans O and each label's B and I."""
        return 1 + 2 * len(self.labels) if self.kind == "spans" else len(self.labels)

    def targets(self, answers: Sequence[Answer], texts: Sequence[str] | None = None) -> Any:
        """Answers as numbers: (n,) int64 positions in ``labels``, (n, c) bool for multi, ``Tags`` for spans.

        Only spans need the texts; raises InputError without them.
        """
        position = {label: i for i, label in enumerate(self.labels)}
        if self.kind == "single":
            return np.array([position[str(answer)] for answer in answers], dtype=np.int64)
        if self.kind == "multi":
            table = np.zeros((len(answers), len(self.labels)), dtype=bool)
            for row, answer in enumerate(answers):
                table[row, [position[str(label)] for label in answer]] = True
            return table
        if texts is None:
            raise InputError("texts: None is not allowed; spans become tags only together with their texts.")
        places = [[(start, end, position[label]) for start, end, label in map(Span._make, spans)] for spans in answers]
        return coded(places, texts, len(self.labels))

    def spans(self, tags: Tags, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        """The spans that tags say, the inverse of ``targets`` for spans of whole tokens that do not overlap."""
        return [tuple(Span(a, b, self.labels[k]) for a, b, k in places) for places in placed(tags, texts)]

    def _known(self, label: Any, place: str) -> str:
        if label not in self.labels:
            raise unknown("label", label, self.labels, place)
        return str(label)

    def _span(self, item: Any, length: int | None, place: str) -> Span:
        try:
            if isinstance(item, Mapping):
                start, end, label = item["start"], item["end"], item["label"]
            else:
                start, end, label = item
        except (TypeError, ValueError, KeyError):
            raise InputError(f"{place}: {item!r} is not a span; write [start, end, label].") from None
        whole = all(isinstance(at, int) and not isinstance(at, bool) for at in (start, end))
        if not whole or not 0 <= start < end or (length is not None and end > length):
            limit = "" if length is None else f" <= {length}"
            raise InputError(f"{place}: span {item!r} is not within the text; need 0 <= start < end{limit}.")
        return Span(start, end, self._known(label, place))
