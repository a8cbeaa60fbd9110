"""How good a model version is, on texts that were not chosen for it, and whether it goes into use."""

from __future__ import annotations

from typing import Any

from labelwise.core import WrongMoment, stream
from labelwise.measure import metrics
from labelwise.project.ledger import Ledger
from labelwise.project.steps.believe import believe, inputs_of
from labelwise.project.steps.snapshot import part, read_snapshot, targets_of
from labelwise.project.workspace import Workspace

ENOUGH = 20
SLICES = ("domain", "lang", "language")


def evaluate(workspace: Workspace) -> None:
    """Judge the newest model on the test split if enough of it is labelled, else on the evaluation share."""
    ledger, config = workspace.now(), workspace.config
    entry = ledger.models[-1]
    basis, columns = judged_on(workspace, entry)
    data: dict[str, Any] = {"version": entry["version"], "basis": basis, "n": len(columns["id"])}
    if len(columns["id"]) < ENOUGH:
        data["missing"] = (
            f"not known yet: {len(columns['id'])} of at least {ENOUGH} labelled evaluation texts; "
            "every batch adds some, or label a test split"
        )
    else:
        ids = columns["id"]
        data |= metrics.evaluate(
            believe(workspace, entry, inputs_of(workspace, entry, ids)),
            targets_of(workspace, config.task, columns),
            config.task.labels,
            rng=stream(config.project.seed, "evaluate", entry["version"]),
            slices=_slices(workspace, ledger, ids),
            basis=basis,
        )
    workspace.append("model.evaluated", f"evaluated:{entry['version']}", data)


def judged_on(workspace: Workspace, entry: dict[str, Any]) -> tuple[str, dict[str, list[Any]]]:
    """What a recorded model is judged on, in words and as columns: texts like the pool's that it never saw."""
    rows, _ = read_snapshot(workspace, entry["snapshot"])
    basis, columns = "test split", part(rows, "test")
    if len(columns["id"]) < ENOUGH:
        basis, columns = "random control", part(rows, "evaluation")
    return basis, columns


def _slices(workspace: Workspace, ledger: Ledger, ids: list[str]) -> dict[str, list[str]]:
    """Domain and language of each text, where the source had such a column."""
    shards, rows = workspace.rows_of(ids)
    present = [name for name in SLICES if name in workspace.texts.columns(list(ledger.shards))]
    out = {}
    for name in present:
        values = {shard: workspace.texts.column(shard, name) for shard in set(shards)}
        out[name] = [str(values[shard][row]) for shard, row in zip(shards, rows, strict=True)]
    return out


def judge(workspace: Workspace) -> None:
    """Put the newest model into use unless it is credibly worse than the one in use; record which and why."""
    ledger = workspace.now()
    entry, champion = ledger.models[-1], ledger.champion
    why, promoted = _verdict(entry, champion)
    kind = "model.promoted" if promoted else "model.refused"
    workspace.append(kind, f"judged:{entry['version']}", {"version": entry["version"], "why": why})


def _verdict(entry: dict[str, Any], champion: dict[str, Any] | None) -> tuple[str, bool]:
    if champion is None:
        return "first model", True
    if entry["learning"] != champion["learning"]:
        return "other task, encoder or trainer than the model in use", True
    new, old = entry["evaluation"].get("metrics"), champion["evaluation"].get("metrics")
    if new is None or old is None:
        return "trained on newer labels; quality not known yet", True
    if new["log_loss"]["lo"] > old["log_loss"]["hi"]:
        told = f"log-loss {new['log_loss']['value']:.3f} is credibly worse than {old['log_loss']['value']:.3f}"
        return f"{told} of version {champion['version']}", False
    return f"trained on newer labels and not credibly worse than version {champion['version']}", True


def promote(workspace: Workspace, version: int, why: str) -> None:
    """Put any recorded version into use by hand. InputError for an unknown one, WrongMoment for an unfinished one."""
    workspace.model(version)
    if "evaluation" not in workspace.now().model(version):
        raise WrongMoment(f"model {version} is not calibrated and evaluated yet; run `labelwise advance` first.")
    _use(workspace, "model.promoted", version, why or "by hand")


def rollback(workspace: Workspace, why: str) -> int:
    """Return to the version that was in use before the present one. WrongMoment when there is none."""
    stack: list[int] = []
    for promotion in workspace.now().promotions:
        if promotion["kind"] == "model.rolled-back":
            stack.pop()
        else:
            stack.append(promotion["version"])
    if len(stack) < 2:
        raise WrongMoment("there is no earlier model version to return to; `labelwise model list` shows all.")
    _use(workspace, "model.rolled-back", stack[-2], why or f"rollback from version {stack[-1]}")
    return stack[-2]


def _use(workspace: Workspace, kind: str, version: int, why: str) -> None:
    turn = len(workspace.now().promotions)
    recorded = workspace.append(kind, f"promoted:{turn}", {"version": version, "why": why})
    if (recorded.kind, recorded.data["version"]) != (kind, version):
        raise WrongMoment(
            f"model {recorded.data['version']} was put into use at the same moment; look, then try again."
        )
