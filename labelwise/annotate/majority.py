"""The plainest consensus: what most annotators said, and how large that majority was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from labelwise.core import Answer, Consensus, Span, Task, Vote, unknown


@dataclass(frozen=True, slots=True)
class Majority:
    """Every vote counts the same; order is of no account. O(votes); a million votes take 2 to 4 s.

    single: the answer with most votes, of equals the first in the task's order (confidence then
    is at most a half); confidence is its share of the votes. multi: every label more than half
    chose. spans: every exact span more than half marked. For both, confidence is the mean, over
    the labels or spans anyone gave, of the share that agrees with the outcome (at least a
    half), and 1 where nobody gave any.

    Known trade-off: all annotators are trusted alike; two who err together outvote one who knows.
    """

    def decide(self, task: Task, votes: Sequence[Vote]) -> Mapping[str, Consensus]:
        """One consensus per text that has votes, by text. Raises InputError for an unknown label."""
        if task.kind == "single":
            return _single(task, votes)
        return _several(task, votes)


def _single(task: Task, votes: Sequence[Vote]) -> dict[str, Consensus]:
    position: dict[Answer, int] = {label: i for i, label in enumerate(task.labels)}
    out = {}
    for text, answers in sorted(_by_text(votes).items()):
        distinct = set(answers)
        if not distinct <= position.keys():
            raise unknown("label", min(distinct - position.keys(), key=str), task.labels, f"vote about {text}")
        count, _, answer = max((answers.count(answer), -position[answer], answer) for answer in distinct)
        out[text] = Consensus(answer, count / len(answers), len(answers))
    return out


def _several(task: Task, votes: Sequence[Vote]) -> dict[str, Consensus]:
    out = {}
    for text, answers in sorted(_by_text(votes).items()):
        counts: Counter[Any] = Counter(chain.from_iterable(answers))
        for part in counts:
            label = part.label if isinstance(part, Span) else part
            if label not in task.labels:
                raise unknown("label", label, task.labels, f"vote about {text}")
        out[text] = _kept(counts, len(answers))
    return out


def _by_text(votes: Sequence[Vote]) -> dict[str, list[Answer]]:
    out: dict[str, list[Answer]] = {}
    for vote in votes:
        out.setdefault(vote.text, []).append(vote.answer)
    return out


def _kept(counts: Mapping[Any, int], total: int) -> Consensus:
    answer = tuple(sorted(part for part, count in counts.items() if 2 * count > total))
    # whole numbers are summed, so that the order of the votes cannot show in the last digit
    agreeing = sum(max(count, total - count) for count in counts.values())
    return Consensus(answer, agreeing / (total * len(counts)) if counts else 1.0, total)
