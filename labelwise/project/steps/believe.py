"""What the model in use says about a shard, and the pool that strategies choose from."""

from __future__ import annotations

from typing import Any

import numpy as np

from labelwise.core import Beliefs, Calibrator, Pool, State, from_arrays, keys_of
from labelwise.project.components import build
from labelwise.project.config import LEARNING
from labelwise.project.ledger import Ledger, ref
from labelwise.project.workspace import Array, Workspace


def believe(workspace: Workspace, entry: dict[str, Any], vectors: Array) -> Beliefs:
    """The calibrated beliefs of a recorded model about some vectors."""
    beliefs = workspace.model(entry["version"]).believe(vectors)
    calibration = entry.get("calibration")
    if calibration is None:
        return beliefs
    calibrator: Calibrator = build("calibrators", entry["config"]["calibrator"])
    return calibrator.restore(workspace.artefacts.get(ref(calibration["ref"]))).apply(beliefs)


def beliefs_of(workspace: Workspace, ledger: Ledger, shard: str) -> Beliefs | None:
    """Beliefs of the model in use about a whole shard, float16; None before there is one for the present config."""
    champion = ledger.champion
    if champion is None or champion["learning"] != workspace.config.digest(*LEARNING):
        return None
    vectors = ledger.vectors[champion["encoder"]][shard]
    inputs = {"model": champion["ref"], "calibration": champion["calibration"]["ref"], "vectors": vectors}

    def make() -> State:
        said = believe(workspace, champion, workspace.artefacts.get(ref(vectors)).arrays["vectors"]).arrays()
        return State({name: a.astype(np.float16) if a.dtype.kind == "f" else a for name, a in said.items()})

    return from_arrays(workspace.artefacts.get(workspace.artefacts.once("beliefs", inputs, make)).arrays)


def pool_of(workspace: Workspace, ledger: Ledger, shard: str, labelled: Array, asked: Array) -> Pool:
    """One shard as a Pool. ``labelled`` and ``asked`` are sorted 64-bit keys of texts."""
    keys = workspace.texts.keys(shard)
    division = workspace.artefacts.get(ref(ledger.division["ref"])).arrays
    done = np.isin(keys, labelled)
    encoder, _ = workspace.encoder()
    beliefs = beliefs_of(workspace, ledger, shard)
    return Pool(
        ids=keys,
        open=(division[f"split/{shard}"] == 0) & ~done & ~np.isin(keys, asked),
        labelled=done & (division[f"split/{shard}"] == 0),
        costs=np.ones(len(keys)),
        beliefs=beliefs,
        calibrated=beliefs is not None,
        vectors=workspace.artefacts.get(ref(ledger.vectors[encoder][shard])).arrays["vectors"],
        groups=division[f"group/{shard}"],
    )


def pools(workspace: Workspace, ledger: Ledger) -> list[Pool]:
    """Every shard as a Pool."""
    labelled = np.sort(keys_of(list(ledger.given)))
    asked = np.sort(keys_of(list(ledger.asked)))
    return [pool_of(workspace, ledger, shard, labelled, asked) for shard in ledger.shards]
