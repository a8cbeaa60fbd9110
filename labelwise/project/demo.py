"""The demo: a generated inbox, three simulated annotators, the real loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from labelwise.core import InputError, stream
from labelwise.project.executors import Executor
from labelwise.project.inbox import GUIDELINES, inbox
from labelwise.project.simulate import Experiment, simulate
from labelwise.project.workspace import Progress

ANNOTATORS = [
    {"name": "Ana", "accuracy": 0.98, "speed": 1.0},
    {"name": "Ben", "accuracy": 0.95, "speed": 1.4},
    {"name": "Chris", "accuracy": 0.90, "speed": 0.8},
]
SEEDS = (0, 1, 2, 3, 4)


def run(out: Path, texts: int, executor: Executor, progress: Progress) -> dict[str, Any]:
    """Rehearse the default strategy against random labelling on a generated inbox of ``texts`` messages."""
    if not 1_000 <= texts <= 100_000:
        raise InputError(f"--texts: {texts} is outside the allowed range; choose 1,000 to 100,000.")
    rows = inbox(stream(0, "inbox"), texts)

    def tables() -> Iterator[Any]:
        meta = [{name: row[name] for name in ("intent", "domain", "lang")} for row in rows]
        yield pa.table({
            "text": [row["text"] for row in rows],
            "split": [row["split"] for row in rows],
            "place": [f"inbox:{number}" for number in range(1, len(rows) + 1)],
            "meta": pa.array(meta),
        })  # fmt: skip

    experiment = Experiment(
        out=out, source="generated support inbox", label_column="intent",
        strategies=("default", "random"), seeds=SEEDS,
        base={"selection": {"start": "typiclust", "initial": 60, "batch": 60, "budget": 600}},
        oracle={"use": "noisy", "people": ANNOTATORS},
        title="A generated support inbox", synthetic=True, fingerprint=f"inbox:{texts}:{len(GUIDELINES)}",
    )  # fmt: skip
    return simulate(experiment, tables, executor, progress)
