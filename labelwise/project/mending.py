"""What was derived once can be derived again: recorded artefacts that are lost or damaged are remade.

The event stays, so the same file must come back. Its inputs lie in the past: the step that recorded
the artefact is taken again in the project as it stood just before, down to the config then in force.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from labelwise.core import DamagedRecord, Event, EventLog
from labelwise.project import config as configs
from labelwise.project.ledger import Ledger, ref
from labelwise.project.steps.divide import divide_pool
from labelwise.project.steps.represent import fit_encoder, represent_shard
from labelwise.project.steps.snapshot import take_snapshot
from labelwise.project.steps.train import calibrate, train
from labelwise.project.workspace import Workspace
from labelwise.store import snapshots

MAKERS: dict[str, Callable[[Workspace, Event], object]] = {
    "encoder.fitted": lambda workspace, event: fit_encoder(workspace),
    "shard.represented": lambda workspace, event: represent_shard(workspace, event.data["shard"]),
    "pool.divided": lambda workspace, event: divide_pool(workspace),
    "snapshot.taken": lambda workspace, event: take_snapshot(workspace),
    "model.trained": lambda workspace, event: train(workspace),
    "model.calibrated": lambda workspace, event: calibrate(workspace),
}


@dataclass(frozen=True, slots=True)
class _Until:
    """A log as it was before an event. What is recorded later is recorded already, so appending adds nothing."""

    log: EventLog
    seq: int

    def append(self, *events: Event) -> list[Event]:
        return self.log.append(*events)

    def read(self, after: int = 0, kinds: Sequence[str] = ()) -> Sequence[Event]:
        return [event for event in self.log.read(after, kinds) if event.seq < self.seq]

    def close(self) -> None:
        self.log.close()


def lost(workspace: Workspace) -> Iterator[tuple[Event, str]]:
    """What is recorded but missing or damaged: the event that recorded it, and what is wrong. In order of record."""
    for event in workspace.log.read(kinds=list(MAKERS)):
        try:
            _read(workspace, event)
        except DamagedRecord as error:
            yield event, str(error)


def _read(workspace: Workspace, event: Event) -> None:
    if event.kind == "snapshot.taken":
        snapshots.read(workspace.snapshots, event.data["name"])
    else:
        workspace.artefacts.get(ref(event.data["ref"]))


def mend(workspace: Workspace) -> None:
    """Make every lost artefact again. DamagedRecord if one does not come back as it was."""
    for event, why in lost(workspace):
        log = _Until(workspace.log, event.seq)
        before = Ledger().apply(log.read())
        config = configs.parse(before.config) if before.config else workspace.config
        MAKERS[event.kind](replace(workspace, log=log, config=config, _ledger=before, _saved=before.seq), event)
        try:
            _read(workspace, event)
        except DamagedRecord:
            raise DamagedRecord(
                f"{why} It was made by another version of Labelwise or its libraries and could not be made again; "
                "restore it from a backup."
            ) from None
