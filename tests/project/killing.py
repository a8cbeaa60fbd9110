"""Kill a round of a project at every moment that matters, each time in a process of its own.

``python killing.py FOLDER PART PARTS`` runs one whole round (texts, batch, answers, model, next batch) once
undisturbed, then once per moment: a child does the round and is killed with SIGKILL at that moment, a
second one does the round again, and both records must be equal. Moments are: before and after every
append to the log, and every sync of a file or folder, which lies before and after each rename.
The children are forked from this process, which has done nothing but import and read the encoder's
table, so that they are as fresh as new processes and start at once. Prints one JSON object.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from labelwise.core import Event
from labelwise.represent.static import Static
from labelwise.store.log import SqliteLog
from tests.project.live import QUICK, answer, begin, events, files, rows, table


def one_round(folder: Path) -> None:
    """As much of a project's first round as is not done yet."""
    from labelwise.project.plan import advance

    few = {"trainer": {**QUICK, "grid": [1.0]}, "selection": {"initial": 30, "batch": 10}}
    with begin(folder, [table(rows()[:120])], **few) as workspace:
        advance(workspace)
        answer(workspace, [item["text"] for item in workspace.now().batches[0]["items"]])
        advance(workspace)


def killed_at(moment: int) -> Callable[[], int]:
    """Make this process kill itself at its n-th moment; returns a counter of moments so far."""
    passed = 0

    def tick() -> None:
        nonlocal passed
        passed += 1
        if passed == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    append, sync = SqliteLog.append, os.fsync

    def appending(self: SqliteLog, *drafts: Event) -> list[Event]:
        tick()
        recorded = append(self, *drafts)
        tick()
        return recorded

    def syncing(handle: int) -> None:
        tick()
        sync(handle)

    SqliteLog.append = appending  # type: ignore[method-assign]
    os.fsync = syncing
    return lambda: passed


def in_child(task: Callable[[], Any]) -> tuple[int, Any]:
    """(signal that ended it or 0, what the task returned) of a forked process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w") as out:
            json.dump(task(), out)
            out.flush()
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        said = told.read()
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status), json.loads(said) if said else None


def record(folder: Path) -> dict[str, Any]:
    """What a round left behind, but for the time."""
    from labelwise.project.workspace import Workspace

    with Workspace.open(folder) as workspace:
        # A process killed before a rename leaves its temporary file, which nobody reads.
        return {"events": events(workspace), "files": [name for name in files(folder) if not name.endswith(".tmp")]}


def undisturbed(folder: Path) -> tuple[int, dict[str, Any]]:
    count = killed_at(0)
    one_round(folder)
    return count(), record(folder)


def disturbed(folder: Path, moment: int) -> None:
    killed_at(moment)
    one_round(folder)


def again(folder: Path) -> dict[str, Any]:
    one_round(folder)
    return record(folder)


def main(home: Path, part: int, parts: int) -> None:
    _, (moments, expected) = in_child(lambda: undisturbed(home / "undisturbed"))
    survived, differing = [], []
    for moment in range(1 + part, moments + 1, parts):
        folder = home / str(moment)
        by, _ = in_child(lambda folder=folder, moment=moment: disturbed(folder, moment))
        if by != signal.SIGKILL:
            survived.append(moment)
        _, found = in_child(lambda folder=folder: again(folder))
        if found != expected:
            differing.append(moment)
        shutil.rmtree(folder)
    found = {"moments": moments, "survived": survived, "differing": differing, "events": expected["events"]}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    warnings.simplefilter("error")
    for module in ("faiss", "scipy.optimize", "scipy.stats", "sklearn.cluster", "labelwise.project.plan"):
        importlib.import_module(module)
    Static().fit(["warm"], np.random.default_rng(0))
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
