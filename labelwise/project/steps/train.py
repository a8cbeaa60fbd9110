"""Labels -> a model version: trained, calibrated on held-out beliefs, with a complete run record."""

from __future__ import annotations

import platform
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from typing import Any

import numpy as np

import labelwise
from labelwise.core import Beliefs, Examples, Model, State, stream
from labelwise.core.threads import one_thread
from labelwise.learn.temperature import Temperature
from labelwise.learn.thresholds import best_thresholds
from labelwise.measure import weighting
from labelwise.project import config as configs
from labelwise.project.config import LEARNING
from labelwise.project.ledger import Ledger, ref
from labelwise.project.steps.believe import inputs_of
from labelwise.project.steps.snapshot import groups_of, part, read_snapshot, targets_of
from labelwise.project.workspace import Workspace

CONTROL_ENOUGH = 50
REPORTED = ("examples", "widened", "lost")
"""What a model's facts tell the log; the last two count spans that no tags fit."""


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
        {**entry, "ref": str(made), **{name: facts[name] for name in REPORTED if name in facts}},
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
        targets=targets_of(workspace, config.task, columns),
        weights=np.array(columns["weight"]),
        vectors=workspace.vectors_of(ids, entry["encoder"]) if reads == "vectors" else None,
        texts=workspace.texts.get(list(workspace.now().shards), ids) if reads == "texts" else None,
        groups=groups_of(workspace, entry["division"], ids),
        blocks=getattr(config.encoder, "blocks", ()),
        control=np.array(columns["arm"]) == "control",
        unlabelled=lambda count: _unlabelled(workspace, entry, rows["id"].to_pylist(), reads, count),
    )
    start: Model | None = workspace.model(entry["start_from"]) if entry["start_from"] else None
    # Many small products: more threads than one only wait for each other, and differ in the last bits.
    with one_thread():
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
    """Fit the calibration of the newest model on out-of-fold beliefs, of what speaks for the pool if it suffices.

    That is the random control, or the control and picks that were left to chance, weighted; else all
    labels. The temperatures of control and all labels are recorded with it: a gap says that labels
    were chosen where the model is worse than on the pool. A model that keeps no such beliefs stays
    uncalibrated, and the record says so: what it believes about its own training examples says nothing
    of how sure it may be.
    """
    ledger, config = workspace.now(), workspace.config
    entry = ledger.models[-1]
    model = workspace.model(entry["version"])
    rows, _ = read_snapshot(workspace, entry["snapshot"])
    columns = part(rows, "train")
    truth = targets_of(workspace, config.task, columns)
    chosen, weights, basis = _speaking(ledger, columns)
    held_out = model.held_out
    if held_out is None:
        held_out = model.believe(inputs_of(workspace, entry, columns["id"][:1]))
        truth, chosen, weights, columns = truth[:0], chosen[:0], weights[:0], {**columns, "arm": []}
        basis = "uncalibrated: the trainer keeps no held-out beliefs"

    def make() -> State:
        beliefs = held_out.take(chosen)
        calibration = config.calibrator.fit(beliefs, truth[chosen], weights)
        state = calibration.state()
        facts = {**state.facts, "temperatures": _temperatures(held_out, truth, columns["arm"])}
        if config.task.kind != "multi":
            return State(state.arrays, facts)
        thresholds = best_thresholds(calibration.apply(beliefs), truth[chosen], weights)
        return State({**state.arrays, "thresholds": thresholds}, facts)

    inputs = {"model": entry["ref"], "calibrator": config.written_out()["calibrator"], "rows": chosen.tolist(),
              "weights": weights.tolist()}  # fmt: skip
    made = workspace.artefacts.once("calibration", inputs, make)
    facts = workspace.artefacts.get(made).facts
    data = {"version": entry["version"], "ref": str(made), "basis": basis, "labels": len(chosen),
            "effective": round(weighting.effective(weights), 1), **facts}  # fmt: skip
    workspace.append("model.calibrated", f"calibrated:{entry['version']}", data)


def _temperatures(held_out: Beliefs, truth: Any, arms: list[str]) -> dict[str, float]:
    """The temperature that suits the control, that of all labels, and the gap between them."""
    heat: dict[str, float] = {}
    control = np.flatnonzero(np.array(arms) == "control")
    for name, among in (("control", control), ("all", np.arange(len(truth)))):
        if len(among):
            fitted = Temperature().fit(held_out.take(among), truth[among], np.ones(len(among)))
            heat[name] = fitted.state().facts["temperature"]
    gap = {"gap": heat["all"] - heat["control"]} if len(heat) == 2 else {}
    return heat | gap | {"control_labels": len(control)}


def _speaking(ledger: Ledger, columns: dict[str, list[Any]]) -> tuple[Any, Any, str]:
    """Training rows to calibrate on, their weights, and in words what they are."""
    given, arms = np.array(columns["weight"]), np.array(columns["arm"])
    control = np.flatnonzero(arms == "control")
    if len(control) >= CONTROL_ENOUGH:
        return control, given[control], "out-of-fold, random control"
    chance = _chances(ledger)
    drawn = given * np.where(arms == "control", 1.0, [chance.get(text, 0.0) for text in columns["id"]])
    if (worth := weighting.effective(drawn)) >= CONTROL_ENOUGH:
        chosen = np.flatnonzero(drawn)
        return chosen, drawn[chosen], f"out-of-fold, weighted by propensities (worth {worth:.0f} random labels)"
    return np.arange(len(arms)), given, "out-of-fold, all labels"


def _chances(ledger: Ledger) -> dict[str, float]:
    """The weight of every text that a strategy picked by chance."""
    found: dict[str, float] = {}
    for batch in ledger.batches:
        drawn = [item for item in batch["items"] if item["arm"] != "strategy"]
        picked = [item for item in batch["items"] if item["arm"] == "strategy"]
        if drawn:
            # the control's chance is its share of the open texts
            size = round(len(drawn) / drawn[0]["propensity"]) - len(drawn)
            weights = weighting.bounded(np.array([item["propensity"] for item in picked]), size)
            found |= zip([item["text"] for item in picked], weights.tolist(), strict=True)
    return found


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
    names = (
        "numpy", "scipy", "scikit-learn", "faiss-cpu", "tokenizers", "python-crfsuite", "torch", "transformers", "peft"
    )  # fmt: skip
    versions = {"labelwise": labelwise.__version__, "python": platform.python_version()}
    for name in names:
        with suppress(PackageNotFoundError):  # an extra
            versions[name] = package_version(name)
    return versions
