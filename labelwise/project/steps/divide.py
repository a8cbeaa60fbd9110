"""Near-duplicates are grouped and every text is placed in the pool or the test split."""

from __future__ import annotations

from typing import Any

import numpy as np

import labelwise
from labelwise.core import State, stream
from labelwise.core.canon import digest_of
from labelwise.measure.splits import SPLITS, divide, leaks
from labelwise.project.ledger import Ledger, ref
from labelwise.project.workspace import Array, Workspace
from labelwise.represent import duplicates


def divide_pool(workspace: Workspace) -> None:
    """Group near-duplicates over all shards and place every text; earlier placements stay."""
    ledger, config = workspace.now(), workspace.config
    shards = list(ledger.shards)
    inputs = {
        "shards": shards,
        "previous": ledger.division.get("ref", ""),
        "moved": digest_of(ledger.moved),
        "holdout": config.selection.holdout,
        "seed": config.project.seed,
    }
    made = workspace.artefacts.once("division", inputs, lambda: _divide(workspace, ledger))
    facts = workspace.artefacts.get(made).facts
    workspace.append("pool.divided", f"division:{digest_of(inputs)}", {"ref": str(made), "shards": shards, **facts})


def _divide(workspace: Workspace, ledger: Ledger) -> State:
    shards = list(ledger.shards)
    keys = np.concatenate([workspace.texts.keys(shard) for shard in shards])
    signatures = np.concatenate([_signatures(workspace, shard) for shard in shards])
    texts = [text for shard in shards for chunk in workspace.texts.texts(shard) for text in chunk]
    groups = duplicates.groups(signatures, texts)
    declared = np.concatenate([_declared(workspace, ledger, shard) for shard in shards])
    salt = int(stream(workspace.config.project.seed, "holdout").integers(2**63))
    splits = divide(declared, groups, keys, workspace.config.selection.holdout, salt, _previous(workspace, ledger))
    bounds = np.cumsum([0, *(ledger.shards[shard]["rows"] for shard in shards)])
    arrays = {}
    for shard, start, end in zip(shards, bounds, bounds[1:], strict=False):
        arrays[f"split/{shard}"] = splits[start:end]
        arrays[f"group/{shard}"] = groups[start:end]
    counts = {name: int((splits == code).sum()) for code, name in enumerate(SPLITS)}
    grouped = groups[groups >= 0]
    return State(
        arrays, {**counts, "near_duplicates": len(grouped) - len(np.unique(grouped)), "leaks": leaks(splits, groups)}
    )


def _signatures(workspace: Workspace, shard: str) -> Array:
    def make() -> State:
        parts = []
        for done, chunk in enumerate(workspace.texts.texts(shard)):
            parts.append(duplicates.signatures(chunk))
            workspace.progress("near-duplicates", done + 1, done + 2)
        return State({"signatures": np.concatenate(parts)})

    made = workspace.artefacts.once("signatures", {"shard": shard, "labelwise": labelwise.__version__}, make)
    return workspace.artefacts.get(made).arrays["signatures"]


def _declared(workspace: Workspace, ledger: Ledger, shard: str) -> Array:
    names = list(workspace.texts.column(shard, "split"))
    if ledger.moved:
        names = [ledger.moved.get(i, name) for i, name in zip(workspace.texts.ids(shard), names, strict=True)]
    return np.array([SPLITS.index(name) for name in names], dtype=np.int8)


def _previous(workspace: Workspace, ledger: Ledger) -> Array:
    arrays: Any = workspace.artefacts.get(ref(ledger.division["ref"])).arrays if ledger.division else {}
    return np.concatenate(
        [arrays.get(f"split/{shard}", np.full(info["rows"], -1, np.int8)) for shard, info in ledger.shards.items()]
    )
