"""Texts come in: read, checked, stored as shards, recorded as one fact per shard."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from labelwise.core import Event
from labelwise.core.intake import Rejects
from labelwise.project.workspace import Workspace
from labelwise.store.texts import Report


def ingest(
    workspace: Workspace, tables: Iterable[Any], source: str, rejects: Rejects | None = None, *, dry_run: bool = False
) -> Report:
    """Store the reader's tables and record the new shards; with ``dry_run`` only report what would happen."""
    ledger = workspace.now()
    report = workspace.texts.add(tables, list(ledger.shards), rejects=rejects, dry_run=dry_run)
    if dry_run or not report.shards:
        return report
    events = []
    for number, shard in enumerate(report.shards):
        # What concerns the whole source is told once, with its first shard.
        whole = (
            {"moved": report.moved, "duplicates": report.duplicates} if number == 0 else {"moved": {}, "duplicates": 0}
        )
        data = {"shard": shard.name, "rows": shard.rows, "source": source, **whole}
        events.append(Event("texts.added", f"texts:{shard.name}", workspace.actor, data))
    workspace.log.append(*events)
    return report
