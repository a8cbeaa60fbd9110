"""A small live project on the generated inbox, with the truth at hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from labelwise.core import stream
from labelwise.core.text import text_id
from labelwise.project import config as configs
from labelwise.project.inbox import LABELS, inbox
from labelwise.project.plan import advance
from labelwise.project.starting import written
from labelwise.project.steps.ingest import ingest
from labelwise.project.steps.submit import Submission, submit
from labelwise.project.workspace import HOME, Workspace

QUICK = {"use": "linear", "grid": [1.0, 10.0], "folds": 3}
SMALL = {"initial": 40, "batch": 30, "control": 0.2}


@cache
def rows(n: int = 600) -> list[dict[str, str]]:
    return inbox(stream(7, "inbox"), n)


@cache
def truth() -> dict[str, str]:
    return {text_id(row["text"]): row["intent"] for row in rows()}


def table(chosen: Sequence[dict[str, str]], *, split: bool = False) -> pa.Table:
    """Rows of the inbox as a reader hands them over."""
    columns: dict[str, Any] = {
        "text": [row["text"] for row in chosen],
        "meta": pa.array([{name: row[name] for name in ("intent", "domain", "lang")} for row in chosen]),
    }
    return pa.table(columns | ({"split": [row["split"] for row in chosen]} if split else {}))


def configure(folder: Path, **sections: Any) -> None:
    """Write (again) the project's config: small, quick to train, with these sections in other words."""
    values = {"task": {"kind": "single", "labels": list(LABELS)}, "trainer": QUICK} | sections
    values["selection"] = SMALL | sections.get("selection", {})
    folder.mkdir(parents=True, exist_ok=True)
    text = written(configs.parse(values).written_out())
    (folder / configs.FILE).write_text(text, encoding="utf-8")


def begin(folder: Path, tables: Iterable[Any] | None = None, **sections: Any) -> Workspace:
    """A new project with texts in it."""
    configure(folder, **sections)
    workspace = Workspace.open(folder)
    ingest(workspace, [table(rows())] if tables is None else tables, "inbox")
    return workspace


def answer(workspace: Workspace, texts: Iterable[str], annotator: str = "ann") -> None:
    submit(workspace, [Submission(text, annotator, truth()[text], 3.0) for text in texts])


def rounds(workspace: Workspace, count: int) -> Workspace:
    """Advance and answer, ``count`` times; ends with a batch that waits."""
    advance(workspace)
    for _ in range(count):
        answer(workspace, workspace.now().pending)
        advance(workspace)
    return workspace


def events(workspace: Workspace) -> list[tuple[Any, ...]]:
    """Everything recorded, but for the time."""
    return [(e.seq, e.kind, e.key, e.actor, json.dumps(e.data, sort_keys=True)) for e in workspace.log.read()]


def files(folder: Path) -> list[str]:
    """The names of all artefacts and snapshots of a project."""
    home = folder / HOME
    found = [p for part in ("artefacts", "snapshots") for p in (home / part).rglob("*") if p.is_file()]
    return sorted(p.relative_to(home).as_posix() for p in found)


def splits(workspace: Workspace, name: str) -> dict[str, str]:
    """Text id -> split in a data version."""
    from labelwise.project.steps.snapshot import read_snapshot

    found, _ = read_snapshot(workspace, name)
    return dict(zip(found["id"].to_pylist(), found["split"].to_pylist(), strict=True))


def groups(workspace: Workspace) -> dict[str, int]:
    """Text id -> near-duplicate group, of the texts that have one."""
    from labelwise.project.ledger import ref

    ledger = workspace.now()
    arrays = workspace.artefacts.get(ref(ledger.division["ref"])).arrays
    return {
        text: int(group)
        for shard in ledger.shards
        for text, group in zip(workspace.texts.ids(shard), arrays[f"group/{shard}"], strict=True)
        if group >= 0
    }
