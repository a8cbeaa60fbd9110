"""Answers come in: each is checked, then all are recorded at once or none is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from labelwise.core import Event, InputError, LabelwiseError
from labelwise.core.intake import encodable
from labelwise.project.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Submission:
    """An answer as it arrives, still plain data; ``place`` names it in errors (``labels.csv:7``)."""

    text: str
    annotator: str
    answer: Any
    seconds: float = 0.0
    place: str = "answer"


def check(workspace: Workspace, submissions: Sequence[Submission]) -> list[str]:
    """Why each submission cannot be recorded; empty strings for good ones."""
    known = _known(workspace, [s.text for s in submissions])
    lengths = _lengths(workspace, [s.text for s in submissions if s.text in known])
    return [_problem(workspace, s, known, lengths.get(s.text)) for s in submissions]


def submit(workspace: Workspace, submissions: Sequence[Submission]) -> list[Event]:
    """Record answers that differ from the annotator's current one; InputError if any cannot be.

    The key of an answer counts the annotator's changes of mind about the text, so the same file sent
    twice adds nothing, and bug, praise, bug are three facts.
    """
    problems = [problem for problem in check(workspace, submissions) if problem]
    if problems:
        more = f" ({len(problems) - 1} more like it.)" if len(problems) > 1 else ""
        raise InputError(f"{problems[0]} Nothing was recorded.{more}")
    recorded: list[Event] = []
    events = _changes(workspace, submissions)
    while events:
        held = workspace.log.append(*events)
        recorded += [event for event, sent in zip(held, events, strict=True) if event.data == sent.data]
        # Another process may have given this answer's number to another answer: then ours is the next one.
        beaten = {(s.data["text"], s.data["annotator"]) for e, s in zip(held, events, strict=True) if e.data != s.data}
        events = _changes(workspace, [s for s in submissions if (s.text, s.annotator) in beaten])
    return recorded


def _changes(workspace: Workspace, submissions: Sequence[Submission]) -> list[Event]:
    """One event for every submission that differs from the annotator's answer as the log holds it now."""
    ledger, task = workspace.now(), workspace.config.task
    given = {s.text: ledger.given.get(s.text, {}) for s in submissions}
    latest = {(text, name): (g.answer, g.version) for text, by in given.items() for name, g in by.items()}
    events = []
    for s in submissions:
        answer = task.plain(task.parse(s.answer, place=s.place))
        before, version = latest.get((s.text, s.annotator), (None, -1))
        if version >= 0 and before == answer:
            continue
        latest[s.text, s.annotator] = (answer, version + 1)
        data = {
            "text": s.text, "annotator": s.annotator, "answer": answer, "version": version + 1,
            "seconds": float(s.seconds),
        }  # fmt: skip
        events.append(Event("answer.given", f"answer:{s.text}:{s.annotator}:{version + 1}", s.annotator, data))
    return events


def skip(workspace: Workspace, texts: Sequence[str], annotator: str) -> list[Event]:
    """Record that these texts cannot be answered, so that a batch does not wait for them; an answer may still come."""
    workspace.rows_of(texts)
    data = [{"text": text, "annotator": annotator} for text in texts]
    events = [Event("text.skipped", f"skip:{d['text']}:{annotator}", annotator, d) for d in data]
    return workspace.log.append(*events) if events else []


def _problem(workspace: Workspace, s: Submission, known: set[str], length: int | None) -> str:
    if s.text not in known:
        return (
            f"{s.place}: text id {s.text[:80]!r} is not in this project; ids are those of `labelwise label export`, "
            "or give a column with the texts themselves."
        )
    if not s.annotator.strip() or len(s.annotator) > 200 or "\x00" in s.annotator or not encodable(s.annotator):
        return f"{s.place}: annotator {s.annotator[:80]!r} is not a name of 1 to 200 characters."
    if not 0 <= s.seconds < 1e7:
        return f"{s.place}: {s.seconds!r} seconds is not a duration; give 0 or more."
    try:
        workspace.config.task.parse(s.answer, length=length, place=s.place)
    except LabelwiseError as error:
        return str(error)
    return ""


def _known(workspace: Workspace, ids: list[str]) -> set[str]:
    shards, _ = workspace.find(ids)
    return {text for text, shard in zip(ids, shards, strict=True) if shard >= 0}


def _lengths(workspace: Workspace, ids: list[str]) -> dict[str, int]:
    """Lengths in code points; only spans need them."""
    if workspace.config.task.kind != "spans":
        return {}
    texts = workspace.texts.get(list(workspace.now().shards), ids)
    return {i: len(text) for i, text in zip(ids, texts, strict=True)}
