"""Answers come in: once, all or none, and with every change of mind."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labelwise.core import Event, InputError
from labelwise.core.text import text_id
from labelwise.project.plan import advance
from labelwise.project.steps.select import select_batch
from labelwise.project.steps.snapshot import export_rows, read_snapshot, resolve, tag_snapshot
from labelwise.project.steps.submit import Submission, check, submit
from labelwise.project.workspace import Workspace
from labelwise.store import snapshots
from tests.project.live import answer, begin, events, rounds, rows, truth


def _labels(workspace: Workspace, name: str = "latest") -> dict[str, str]:
    found, _ = read_snapshot(workspace, name)
    labels = [json.loads(label) for label in found["label"].to_pylist()]
    return dict(zip(found["id"].to_pylist(), labels, strict=True))


def test_the_same_answers_twice_are_recorded_once(grown: Workspace) -> None:
    waiting = grown.now().pending
    answer(grown, waiting)
    once = events(grown)
    answer(grown, waiting)
    assert submit(grown, [Submission(waiting[0], "ann", truth()[waiting[0]])] * 2) == []
    assert submit(grown, []) == []
    assert events(grown) == once
    assert grown.now().annotated == 130


def test_a_change_of_mind_and_back_are_three_facts(grown: Workspace) -> None:
    text = grown.now().pending[0]
    for label, seconds in (("fraud", 2.0), ("cancel", 3.0), ("fraud", 4.0)):
        (fact,) = submit(grown, [Submission(text, "ann", label, seconds)])
        assert fact.data["answer"] == label
    given = grown.now().given[text]["ann"]
    assert (given.answer, given.version, given.seconds) == ("fraud", 2, 4.0)
    both = submit(grown, [Submission(text, "ben", "cancel"), Submission(text, "ben", "invoice")])
    assert [event.data["version"] for event in both] == [0, 1]
    assert grown.now().given[text]["ben"].answer == "invoice"


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown text": ({"text": "0" * 32}, r"l.csv:2: text id '0{32}' is not in this project"),
    "empty text": ({"text": ""}, r"l.csv:2: text id '' is not in this project"),
    "text itself": ({"text": "I want my money back"}, r"l.csv:2: text id 'I want my money back' is not"),
    "unknown label": ({"answer": "cancle"}, r"l.csv:2: unknown label 'cancle'. Did you mean 'cancel'"),
    "no label": ({"answer": None}, r"l.csv:2: None is not a label"),
    "list": ({"answer": ["cancel"]}, r"l.csv:2: \['cancel'\] is not a label"),
    "negative": ({"seconds": -1.0}, r"l.csv:2: -1.0 seconds is not a duration"),
    "nan": ({"seconds": float("nan")}, r"l.csv:2: nan seconds is not a duration"),
    "infinite": ({"seconds": float("inf")}, r"l.csv:2: inf seconds is not a duration"),
    "nobody": ({"annotator": ""}, r"l.csv:2: annotator '' is not a name"),
    "blank": ({"annotator": " "}, r"l.csv:2: annotator ' ' is not a name"),
    "long": ({"annotator": "a" * 201}, r"l.csv:2: annotator 'a{80}' is not a name"),
    "nul": ({"annotator": "a\x00b"}, r"l.csv:2: annotator 'a\\x00b' is not a name"),
    "surrogate": ({"annotator": "a\ud800"}, r"l.csv:2: annotator 'a\\ud800' is not a name"),
}


@pytest.mark.parametrize("case", BAD)
def test_one_bad_answer_and_nothing_is_recorded(grown: Workspace, case: str) -> None:
    changed, message = BAD[case]
    first, second = grown.now().pending[:2]
    good = Submission(first, "ann", "cancel", 1.0, "l.csv:1")
    fields = {"text": second, "annotator": "ann", "answer": "cancel", "seconds": 1.0} | changed
    bad = Submission(**fields, place="l.csv:2")
    before = events(grown)
    with pytest.raises(InputError, match=rf"{message}.*Nothing was recorded\.$"):
        submit(grown, [good, bad])
    with pytest.raises(InputError, match=r"\(1 more like it\.\)"):
        submit(grown, [bad, good, bad])
    assert events(grown) == before
    assert [bool(problem) for problem in check(grown, [good, bad])] == [False, True]


def test_an_empty_project_knows_no_text(tmp_path: Path) -> None:
    with begin(tmp_path / "p", []) as workspace, pytest.raises(InputError, match="is not in this project"):
        submit(workspace, [Submission(text_id(rows()[0]["text"]), "ann", "cancel")])


def test_two_annotators_on_one_text_make_a_consensus(grown: Workspace) -> None:
    waiting = grown.now().pending
    answer(grown, waiting)
    text = waiting[0]
    others = [label for label in ("fraud", "cancel") if label != truth()[text]]
    submit(grown, [Submission(text, name, others[0]) for name in ("ben", "chris")])
    advance(grown)
    found, _ = read_snapshot(grown, "latest")
    row = found.to_pylist()[found["id"].to_pylist().index(text)]
    assert (json.loads(row["label"]), row["annotators"]) == (others[0], 3)
    assert grown.now().annotated == 130
    submit(grown, [Submission(text, "chris", truth()[text]), Submission(text, "dan", truth()[text])])
    answer(grown, grown.now().pending)
    advance(grown)
    assert _labels(grown)[text] == truth()[text]


def test_a_race_for_a_round_gives_both_the_batch_of_the_log(grown: Workspace) -> None:
    answer(grown, grown.now().pending)
    advance(grown, until="judge")
    with Workspace.open(grown.folder) as other:
        other.now()
        mine = select_batch(grown)
        # The other one has not seen it, and with another seed it would have chosen other texts.
        other.config = replace(other.config, project=replace(other.config.project, seed=99))
        stale = other.log
        other.log = _Behind(stale, mine.seq)
        theirs = select_batch(other)
        other.log = stale
    assert theirs == mine
    assert len(grown.now().batches) == 5


class _Behind:
    """The same log, whose reader does not see the last facts yet."""

    def __init__(self, log: Any, seq: int) -> None:
        self.log, self.seq = log, seq

    def read(self, after: int = 0, kinds: Any = ()) -> list[Any]:
        return [event for event in self.log.read(after, kinds) if event.seq < self.seq]

    def append(self, *drafts: Any) -> list[Any]:
        return list(self.log.append(*drafts))

    def close(self) -> None:
        self.log.close()


def test_two_workspaces_advance_at_once_and_end_as_one(folder: Path, grown_folder: Path, tmp_path: Path) -> None:
    import shutil

    with Workspace.open(folder) as workspace:
        answer(workspace, workspace.now().pending)
    alone = Path(shutil.copytree(folder, tmp_path / "alone"))
    together = [Workspace.open(folder) for _ in range(2)]
    threads = [threading.Thread(target=advance, args=(workspace,)) for workspace in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for workspace in together:
        workspace.close()
    with Workspace.open(folder) as one, Workspace.open(alone) as other:
        advance(other)
        assert events(one) == events(other)


def test_equal_content_has_one_name(grown: Workspace, fresh: Workspace) -> None:
    rounds(fresh, 3)
    assert [s["name"] for s in fresh.now().snapshots] == [s["name"] for s in grown.now().snapshots]
    assert len({s["name"] for s in grown.now().snapshots}) == 3


def test_old_versions_never_change(grown: Workspace) -> None:
    first = grown.now().snapshots[0]["name"]
    before, facts = read_snapshot(grown, first)
    text = before["id"][0].as_py()
    old = _labels(grown, first)[text]
    submit(grown, [Submission(text, "ann", "fraud" if old != "fraud" else "cancel")])
    answer(grown, grown.now().pending)
    advance(grown)
    again, facts_again = read_snapshot(grown, first)
    assert again.equals(before)
    assert facts_again == facts
    change = snapshots.diff(again, read_snapshot(grown, "latest")[0])
    assert set(change.changed) == {text}
    assert len(change.added) == 90
    assert change.removed == {}


def test_versions_are_found_by_tag_start_and_latest(grown: Workspace) -> None:
    names = [s["name"] for s in grown.now().snapshots]
    assert resolve(grown.now(), "latest") == names[-1]
    assert resolve(grown.now(), names[0][:8]) == resolve(grown.now(), names[0]) == names[0]
    assert tag_snapshot(grown, "paper-v1", names[0]) == names[0]
    assert tag_snapshot(grown, "paper-v1", names[1][:10]) == names[1]
    assert resolve(grown.now(), "paper-v1") == names[1]
    with pytest.raises(InputError, match=r"data version 'paper': unknown. Known: paper-v1, "):
        resolve(grown.now(), "paper")
    before = events(grown)
    for bad in ("latest", "deadbeef", "1st", "", "a b", "x" * 101):
        with pytest.raises(InputError, match="use a letter, then letters, digits"):
            tag_snapshot(grown, bad, "latest")
    assert events(grown) == before


def test_no_version_yet(fresh: Workspace) -> None:
    for name in ("latest", "abcd", ""):
        with pytest.raises(InputError, match=r"unknown\. Known: none yet"):
            resolve(fresh.now(), name)


def test_export_brings_the_texts_along(grown: Workspace) -> None:
    bare, full = (export_rows(grown, "latest", with_texts) for with_texts in (False, True))
    assert full.drop_columns(["text"]).equals(bare)
    assert [text_id(text) for text in full["text"].to_pylist()] == full["id"].to_pylist()


def test_an_answer_beaten_to_its_number_is_recorded_as_the_next(
    fresh: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance(fresh)
    text = fresh.now().pending[0]
    first, second = fresh.config.task.labels[:2]
    append, rivals = fresh.log.append, [first]

    def beaten(*sent: Event) -> list[Event]:
        if rivals:
            rival = {**sent[0].data, "answer": rivals.pop()}
            append(Event(sent[0].kind, sent[0].key, sent[0].actor, rival))
        return append(*sent)

    monkeypatch.setattr(fresh.log, "append", beaten)
    recorded = submit(fresh, [Submission(text, "ana", second)])
    assert [event.data["answer"] for event in recorded] == [second]
    assert fresh.now().given[text]["ana"].answer == second
    assert [e.data["answer"] for e in fresh.log.read(kinds=["answer.given"])] == [first, second]
