"""A small rehearsal; run as a program it is killed with SIGKILL at its n-th append to a log.

``python -m tests.project.rehearsing OUT MOMENT``
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labelwise.core import Event
from labelwise.project.executors import Executor, Serial
from labelwise.project.simulate import Experiment, simulate
from labelwise.store.log import SqliteLog
from tests.project.live import QUICK, rows, table

SELECTION = {"start": "random", "initial": 40, "batch": 40, "budget": 120, "control": 0.1}


def experiment(out: Path, **changed: Any) -> Experiment:
    selection = SELECTION | changed.pop("selection", {})
    values = {"strategies": ("margin", "random"), "seeds": (0, 1)} | changed
    base = {"trainer": {**QUICK, "grid": [10.0]}, "selection": selection}
    return Experiment(out, "inbox", "intent", base=base, fingerprint="inbox:600", **values)


def tables(chosen: Sequence[dict[str, str]] | None = None, *, split: bool = True) -> list[Any]:
    return [table(rows() if chosen is None else chosen, split=split)]


def run(out: Path, executor: Executor | None = None, **changed: Any) -> dict[str, Any]:
    return simulate(experiment(out, **changed), tables, executor or Serial())


if __name__ == "__main__":
    left, append = int(sys.argv[2]), SqliteLog.append

    def appending(self: SqliteLog, *drafts: Event) -> list[Event]:
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return append(self, *drafts)

    SqliteLog.append = appending  # type: ignore[method-assign]
    run(Path(sys.argv[1]))
