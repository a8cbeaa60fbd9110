"""Labels -> a model version: trained, calibrated on held-out beliefs, with a complete run record."""

from __future__ import annotations

import platform
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import labelwise
from labelwise.core import Examples, Model, State, stream
from labelwise.project import config as configs
from labelwise.project.config import LEARNING
from labelwise.project.ledger import Ledger, ref
from labelwise.project.steps.believe import inputs_of
from labelwise.project.steps.snapshot import answers, groups_of, part, read_snapshot
from labelwise.project.workspace import Workspace

CONTROL_ENOUGH = 50


def train(workspace: Workspace) -> None:
    """Train on the newest data version, starting from the model in use, and record the new version."""
    ledger, config = workspace.now(), workspace.config
    snapshot = ledger.snapshots[-1]
    champion = ledger.champion
    start = champion["version"] if champion and champion["learning"] == config.digest(*LEARNING) else 0
    entry = {
        "version": len(ledger.models) + 1,
        "snapshot": snapshot["name"],
        "upto": snapshot["upto"],
        "annotated": snapshot["annotated"],
        "seconds": snapshot["seconds"],
        "encoder": workspace.encoder()[0],
        "division": ledger.division["ref"],
        "learning": config.digest(*LEARNING),
        "start_from": start,
        "seed": config.project.seed,
        "config": config.written_out(),
        "code": code_versions(),
    }
    made = workspace.artefacts.once("model", model_inputs(ledger, entry), lambda: fit(workspace, entry))
    facts = workspace.artefacts.get(made).facts
    workspace.append(
        "model.trained",
        f"model:{entry['version']}",
        {**entry, "ref": str(made), "examples": facts["examples"]},
    )


def model_inputs(ledger: Ledger, entry: dict[str, Any]) -> dict[str, Any]:
    """Everything that decides a model's numbers."""
    start = ledger.model(entry["start_from"])["ref"] if entry["start_from"] else ""
    kept = ("version", "snapshot", "encoder", "division", "learning", "seed")
    return {**{name: entry[name] for name in kept}, "start_from": start, "code": entry["code"]["labelwise"]}


def fit(workspace: Workspace, entry: dict[str, Any]) -> State:
    """Fit the model that a run record describes. Used for training and for reproducing alike."""
    config = configs.parse(entry["config"])
    rows, _ = read_snapshot(workspace, entry["snapshot"])
    columns, reads = part(rows, "train"), config.trainer.reads
    ids = columns["id"]
    examples = Examples(
        task=config.task,
        targets=config.task.targets(answers(config.task, columns["label"])),
        weights=np.array(columns["weight"]),
        vectors=workspace.vectors_of(ids, entry["encoder"]) if reads == "vectors" else None,
        texts=workspace.texts.get(list(workspace.now().shards), ids) if reads == "texts" else None,
        groups=groups_of(workspace, entry["division"], ids),
        blocks=getattr(config.encoder, "blocks", ()),
        unlabelled=lambda count: _unlabelled(workspace, entry, rows["id"].to_pylist(), reads, count),
    )
    start: Model | None = workspace.model(entry["start_from"]) if entry["start_from"] else None
    # Many small products: more threads than one only wait for each other, and differ in the last bits.
    with threadpool_limits(1):
        model = config.trainer.fit(examples, start, stream(entry["seed"], "train", entry["version"]))
    state = model.state()
    return State(state.arrays, {**state.facts, "examples": len(examples)})


def _unlabelled(workspace: Workspace, entry: dict[str, Any], known: list[str], reads: str, count: int) -> Any:
    """A uniform sample of the pool's texts that the data version has not: vectors (m, d), or texts.

    Depends on the run record alone, so that a reproduced model sees the same.
    """
    division = workspace.artefacts.get(ref(entry["division"])).arrays
    shards = [name.removeprefix("split/") for name in division if name.startswith("split/")]
    ids = np.concatenate([workspace.ids(shard)[division[f"split/{shard}"] == 0] for shard in shards])
    ids = np.sort(ids[~np.isin(ids, np.array(known, dtype="S32"))])
    rng = stream(entry["seed"], "unlabelled", entry["version"])
    chosen = [i.decode() for i in ids[np.sort(rng.permutation(len(ids))[:count])]]
    if reads == "texts":
        return workspace.texts.get(list(workspace.now().shards), chosen)
    return workspace.vectors_of(chosen, entry["encoder"])


def calibrate(workspace: Workspace) -> None:
    """Fit the calibration of the newest model on out-of-fold beliefs, of the random control if they suffice.

    A model that keeps no such beliefs stays uncalibrated, and the record says so: what a model believes
    about its own training examples says nothing of how sure it may be.
    """
    ledger, config = workspace.now(), workspace.config
    entry = ledger.models[-1]
    model = workspace.model(entry["version"])
    rows, _ = read_snapshot(workspace, entry["snapshot"])
    columns = part(rows, "train")
    truth = config.task.targets(answers(config.task, columns["label"]))
    chosen = np.flatnonzero(np.array(columns["arm"]) == "control")
    basis = "out-of-fold, random control"
    if len(chosen) < CONTROL_ENOUGH:
        chosen, basis = np.arange(len(truth)), "out-of-fold, all labels"
    held_out = model.held_out
    if held_out is None:
        held_out, chosen = model.believe(inputs_of(workspace, entry, columns["id"][:1])), np.arange(0)
        basis = "uncalibrated: the trainer keeps no held-out beliefs"

    def make() -> State:
        weights = np.array(columns["weight"])[chosen]
        return config.calibrator.fit(held_out.take(chosen), truth[chosen], weights).state()

    inputs = {"model": entry["ref"], "calibrator": config.written_out()["calibrator"], "rows": chosen.tolist()}
    made = workspace.artefacts.once("calibration", inputs, make)
    facts = workspace.artefacts.get(made).facts
    data = {"version": entry["version"], "ref": str(made), "basis": basis, "labels": len(chosen), **facts}
    workspace.append("model.calibrated", f"calibrated:{entry['version']}", data)


def reproduce(workspace: Workspace, version: int) -> dict[str, Any]:
    """Retrain a recorded version from its run record and compare every number with what was stored.

    Returns {"version", "identical", "max_difference", "code"}; ``code`` names packages whose version
    differs from the recorded one. InputError for an unknown version.
    """
    workspace.model(version)
    entry = workspace.now().model(version)
    stored = workspace.artefacts.get(ref(entry["ref"])).arrays
    again = fit(workspace, entry).arrays
    gaps = [_gap(stored[name], again[name]) if name in again else float("inf") for name in stored]
    present = code_versions()
    return {
        "version": version,
        "identical": max(gaps, default=0.0) == 0.0,
        "max_difference": max(gaps, default=0.0),
        "code": {n: f"{v} -> {present.get(n)}" for n, v in entry["code"].items() if present.get(n) != v},
    }


def _gap(a: Any, b: Any) -> float:
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0)) if a.shape == b.shape else np.inf


@cache
def code_versions() -> dict[str, str]:
    """The versions of the code that decides a model's numbers."""
    names = ("numpy", "scipy", "scikit-learn", "faiss-cpu", "tokenizers", "torch", "transformers", "peft")
    versions = {"labelwise": labelwise.__version__, "python": platform.python_version()}
    for name in names:
        with suppress(PackageNotFoundError):  # an extra
            versions[name] = package_version(name)
    return versions
