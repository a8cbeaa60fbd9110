"""What is out of date, and bringing it up to date. ``plan`` is a pure function of the ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from labelwise.core import WrongMoment
from labelwise.project.config import LEARNING, Config
from labelwise.project.ledger import Ledger
from labelwise.project.mending import mend
from labelwise.project.steps.divide import divide_pool
from labelwise.project.steps.evaluate import evaluate, judge
from labelwise.project.steps.represent import fit_encoder, represent_shard
from labelwise.project.steps.select import batch_size, select_batch
from labelwise.project.steps.snapshot import take_snapshot
from labelwise.project.steps.train import calibrate, train
from labelwise.project.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Todo:
    """One step that is due. ``step`` is "wait" when people, not machines, are next.

    ``seconds`` is a rough estimate of the machine time it takes.
    """

    step: str
    why: str
    argument: str = ""
    seconds: float = 0.0


STEPS: dict[str, Callable[[Workspace, Todo], object]] = {
    "fit-encoder": lambda workspace, todo: fit_encoder(workspace),
    "represent": lambda workspace, todo: represent_shard(workspace, todo.argument),
    "divide": lambda workspace, todo: divide_pool(workspace),
    "snapshot": lambda workspace, todo: take_snapshot(workspace),
    "train": lambda workspace, todo: train(workspace),
    "calibrate": lambda workspace, todo: calibrate(workspace),
    "evaluate": lambda workspace, todo: evaluate(workspace),
    "judge": lambda workspace, todo: judge(workspace),
    "select": lambda workspace, todo: select_batch(workspace),
}

TEXTS_PER_SECOND = 10_000.0


def plan(ledger: Ledger, config: Config) -> list[Todo]:
    """The steps that are due now, in order; the last one says what the project waits for."""
    if not ledger.shards:
        return [Todo("wait", "there are no texts yet: labelwise add FILE")]
    todo = _representing(ledger, config)
    learning = _learning(ledger, config)
    todo += learning
    pending = len(ledger.pending)
    if pending:
        return [*todo, Todo("wait", f"{pending} texts of round {len(ledger.batches) - 1} wait for answers: "
                            "labelwise label export FILE, then labelwise label import FILE")]  # fmt: skip
    spent = len(ledger.asked)
    if config.selection.budget and spent >= config.selection.budget:
        return [*todo, Todo("wait", f"the budget of {config.selection.budget} labels is spent: labelwise report")]
    if ledger.division and ledger.division["pool"] <= _used(ledger):
        return [*todo, Todo("wait", "every text of the pool has been asked about: labelwise add FILE brings more")]
    size = batch_size(config, ledger)
    seconds = 1.0 + ledger.texts / 500_000
    return [*todo, Todo("select", f"choose round {len(ledger.batches)}, {size} texts", seconds=seconds)]


def _used(ledger: Ledger) -> int:
    """Texts of the pool that are no longer open, once nothing is pending."""
    counts: dict[str, int] = ledger.snapshots[-1]["counts"] if ledger.snapshots else {}
    return max(len(ledger.asked), sum(counts.values()) - counts.get("test", 0) - counts.get("val", 0))


def _representing(ledger: Ledger, config: Config) -> list[Todo]:
    todo = []
    encoder = ledger.encoders.get(config.digest("encoder"))
    if encoder is None:
        todo.append(Todo("fit-encoder", "the encoder has not seen the pool", seconds=5.0))
    done = ledger.vectors.get(encoder or "", {})
    for shard, info in ledger.shards.items():
        if shard not in done:
            seconds = info["rows"] / TEXTS_PER_SECOND
            todo.append(Todo("represent", f"{info['rows']} texts of {info['source']}", shard, seconds))
    if ledger.division.get("shards") != list(ledger.shards):
        todo.append(Todo("divide", "new texts: near-duplicates and splits", seconds=ledger.texts / TEXTS_PER_SECOND))
    return todo


def _learning(ledger: Ledger, config: Config) -> list[Todo]:
    """Snapshot, train, calibrate, evaluate, judge: from the first that is due to the last."""
    names = ("snapshot", "train", "calibrate", "evaluate", "judge")
    why = _first_due(ledger, config)
    if why is None:
        return []
    first, reason = why
    reasons = {first: reason}
    return [Todo(name, reasons.get(name, f"follows {first}"), seconds=1.0) for name in names[names.index(first) :]]


def _first_due(ledger: Ledger, config: Config) -> tuple[str, str] | None:
    """The first step of learning that is due, and why.

    New answers are learnt from when no text is pending, as the next choice needs them, and when half a batch of them
    has come. Whether it would pay is not predicted: an update costs less than the choice it serves. What is
    not done each time is the search that a trainer does now and then (see ``Linear.growth``).
    """
    snapshot = ledger.snapshots[-1] if ledger.snapshots else None
    model = ledger.models[-1] if ledger.models else None
    fresh = ledger.answers - (snapshot["answers"] if snapshot else 0)
    batch_done = not ledger.pending or fresh >= max(1, config.selection.batch // 2)
    if fresh and batch_done:
        return "snapshot", f"{fresh} new answers"
    if snapshot is None or not snapshot["counts"].get("train") or config.task.kind not in config.trainer.kinds:
        return None
    if model is None or model["upto"] != snapshot["upto"]:
        return "train", f"data version {snapshot['name'][:12]} has no model"
    if model["learning"] != config.digest(*LEARNING):
        return "train", "the task, encoder or trainer in labelwise.toml changed"
    for step, done in (("calibrate", "calibration"), ("evaluate", "evaluation"), ("judge", "verdict")):
        if done not in model:
            return step, f"model {model['version']} is new"
    return None


def advance(workspace: Workspace, until: str = "") -> list[str]:
    """Take every due step until people are needed, or ``until`` has been taken; the steps taken.

    Each step is recorded as it ends, so stopping at any point and calling again ends in the same record.
    The first call on an opened project also makes recorded artefacts again that are lost or damaged.
    """
    if not workspace.checked:
        mend(workspace)
        workspace.checked = True
    taken: list[str] = []
    while True:
        todo = plan(workspace.now(), workspace.config)[0]
        if todo.step == "wait":
            return taken
        seq = workspace.now().seq
        workspace.progress(todo.step, 0, 0)
        STEPS[todo.step](workspace, todo)
        taken.append(todo.step)
        if workspace.now().seq == seq:
            raise WrongMoment(f"step {todo.step!r} left no record, so it is not repeated; run `labelwise doctor`.")
        if todo.step == until:
            return taken
