"""Texts -> what a recorded model says about them. Nothing is recorded; the texts need not be in the project."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from labelwise.core import Answer, Beliefs, InputError, Tags, Task, Trainer, WrongMoment
from labelwise.learn import conformal
from labelwise.learn.conformal import Sets
from labelwise.project.components import build, construct
from labelwise.project.steps.believe import believe, inputs_of
from labelwise.project.steps.evaluate import judged_on
from labelwise.project.steps.snapshot import targets_of
from labelwise.project.workspace import Workspace

DIGITS = 6


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What model ``version`` says about n texts; ``calibrated``: corrected on held-out labels."""

    version: int
    task: Task
    texts: Sequence[str]
    beliefs: Beliefs
    calibrated: bool

    def answers(self) -> Sequence[Answer]:
        """(n,) the preferred answers."""
        labels, found = self.task.labels, self.beliefs.hard()
        if isinstance(found, Tags):
            return self.task.spans(found, self.texts)
        if self.task.kind == "single":
            return [labels[i] for i in found]
        return [tuple(labels[i] for i in np.flatnonzero(row)) for row in found]


def version_of(workspace: Workspace, version: int | None) -> int:
    """A version, by default the one in use. WrongMoment if there is none yet, InputError for an unknown one."""
    if version is not None:
        workspace.model(version)
        return version
    champion = workspace.now().champion
    if champion is None:
        raise WrongMoment("no model is in use yet; label some texts, then `labelwise advance` trains one.")
    return int(champion["version"])


def predict(workspace: Workspace, texts: Sequence[str], version: int | None = None) -> Predictions:
    """Calibrated beliefs of a model version (default: the one in use) about texts, in order.

    Uses the encoder, model and calibration that the model's record names, not the present config.
    Errors as ``version_of``; DamagedRecord if a recorded file or an encoder's installed files are
    not what the model was trained with. Time of encoding; O(n (d + c)) memory.
    """
    number = version_of(workspace, version)
    entry = workspace.now().model(number)
    trainer: Trainer = build("trainers", entry["config"]["trainer"])
    inputs: Any = texts
    if trainer.reads == "vectors":
        # as the project keeps vectors, so that a text of the pool is told the same here and there
        inputs = workspace.encoder_of(entry).encode(texts).astype(np.float16)
    task: Task = construct(Task, entry["config"]["task"], "task")
    return Predictions(number, task, texts, believe(workspace, entry, inputs), "calibration" in entry)


def sets_of(workspace: Workspace, version: int, miss: float, by_class: bool = False) -> Sets:
    """What turns probabilities into sets of labels that lack the truth in a share ``miss`` of texts like the pool's.

    Calibrated on the texts that the version is judged on; ``by_class``: the promise holds within every label, and a
    label too few of them have is in every set. InputError for tasks of another kind, WrongMoment where none is known.
    """
    workspace.model(version)
    entry = workspace.now().model(version)
    task: Task = construct(Task, entry["config"]["task"], "task")
    if task.kind != "single":
        raise InputError(f"sets: a {task.kind!r} task has none; they are for tasks with one label per text.")
    basis, columns = judged_on(workspace, entry)
    ids = columns["id"]
    said = believe(workspace, entry, inputs_of(workspace, entry, ids)).arrays() if ids else {}
    probs = next(iter(said.values()), np.zeros((0, len(task.labels))))
    fitted = conformal.fit(probs, targets_of(workspace, task, columns), miss, by_class=by_class)
    if len(fitted.unknown) == len(fitted.starts) - 1:
        least = f"{math.ceil(1 / miss) - 1}{' with one label' if by_class else ''}"
        raise WrongMoment(
            f"sets that miss {miss:g} of texts are not known yet: {len(ids)} labelled texts of the {basis}, "
            f"of at least {least}; every batch adds some, or label a test split."
        )
    return fitted


def predict_tables(
    workspace: Workspace,
    tables: Iterable[Any],
    version: int | None = None,
    *,
    texts: bool = True,
    every: bool = False,
    least: float = 0.0,
    sets: Sets | None = None,
) -> tuple[Any, Iterator[Any]]:
    """(schema, tables) of predictions for the reader's tables, worked out one at a time when asked for.

    Columns: id (the source's, may be null), source (file:line), text if wanted, label (a list for
    multi, of start, end and label for spans; null where the confidence is below ``least``),
    confidence, set (a list, if ``sets`` are given), p_LABEL of every label if wanted and not spans,
    calibrated, model. Errors as ``predict``, and InputError for a ``least`` outside 0 to 1.
    """
    if not 0 <= least <= 1:
        raise InputError(f"confidence: {least!r} is not allowed; give a number from 0 to 1.")
    number = version_of(workspace, version)
    schema = _table(predict(workspace, [], number), _NOTHING, texts, every, least, sets).schema
    return schema, (
        _table(predict(workspace, found["text"].to_pylist(), number), found, texts, every, least, sets)
        for found in tables
    )


_SPAN = pa.struct([("start", pa.int64()), ("end", pa.int64()), ("label", pa.string())])
_LABEL = {"single": pa.string(), "multi": pa.list_(pa.string()), "spans": pa.list_(_SPAN)}
_NOTHING = pa.table({name: pa.array([], pa.string()) for name in ("source_id", "place", "text")})


def _table(told: Predictions, found: Any, texts: bool, every: bool, least: float, sets: Sets | None) -> Any:
    confidence = np.round(told.beliefs.confidence(), DIGITS)
    kind = told.task.kind
    answers: list[Any] = [a if sure else None for a, sure in zip(told.answers(), confidence >= least, strict=True)]
    if kind == "spans":
        answers = [a and [span._asdict() for span in a] for a in answers]
    columns = {"id": found["source_id"], "source": found["place"]}
    if texts:
        columns["text"] = found["text"]
    columns["label"] = pa.array(answers, _LABEL[kind])
    columns["confidence"] = pa.array(confidence)
    if sets is not None:
        held = sets.sets(next(iter(told.beliefs.arrays().values())))
        labels = [[told.task.labels[k] for k in np.flatnonzero(row)] for row in held]
        columns["set"] = pa.array(labels, pa.list_(pa.string()))
    if every and kind != "spans":
        probs = next(iter(told.beliefs.arrays().values()))
        columns |= {
            f"p_{label}": pa.array(np.round(probs[:, i].astype(np.float64), DIGITS))
            for i, label in enumerate(told.task.labels)
        }
    columns["calibrated"] = pa.array([told.calibrated] * len(answers), pa.bool_())
    columns["model"] = pa.array([told.version] * len(answers), pa.int64())
    return pa.table(columns)
