"""Texts -> vectors, one shard at a time; the encoder is fitted once on a sample of the pool."""

from __future__ import annotations

import numpy as np

from labelwise.core import ContractError, Encoder, State, stream
from labelwise.project.workspace import Workspace

SAMPLE = 20_000
CHUNK = 4_096


def fit_encoder(workspace: Workspace) -> None:
    """Fit the configured encoder on at most SAMPLE texts and record it; later texts use the same one."""
    ledger, config = workspace.now(), workspace.config
    spec = config.digest("encoder")
    inputs = {"config": config.written_out()["encoder"], "shards": list(ledger.shards), "seed": config.project.seed}

    def make() -> State:
        rng = stream(config.project.seed, "encoder")
        return config.encoder.fit(_sample(workspace, rng), rng).state()

    made = workspace.artefacts.once("encoder", inputs, make)
    workspace.append("encoder.fitted", f"encoder:{spec}", {"config": spec, "ref": str(made)})


def _sample(workspace: Workspace, rng: np.random.Generator) -> list[str]:
    shards = workspace.now().shards
    total = sum(info["rows"] for info in shards.values())
    chosen = np.sort(rng.choice(total, min(total, SAMPLE), replace=False))
    sample: list[str] = []
    start = 0
    for shard in shards:
        for chunk in workspace.texts.texts(shard):
            here = chosen[(chosen >= start) & (chosen < start + len(chunk))] - start
            sample += [chunk[i] for i in here]
            start += len(chunk)
    return sample


def represent_shard(workspace: Workspace, shard: str) -> None:
    """Encode one shard and record where its vectors are."""
    name, encoder = workspace.encoder()
    made = workspace.artefacts.once(
        "vectors", {"encoder": name, "shard": shard}, lambda: _encode(workspace, encoder, shard)
    )
    workspace.append(
        "shard.represented", f"vectors:{name}:{shard}", {"encoder": name, "shard": shard, "ref": str(made)}
    )


def _encode(workspace: Workspace, encoder: Encoder, shard: str) -> State:
    shards = workspace.now().shards
    total, before = workspace.now().texts, sum(shards[s]["rows"] for s in list(shards)[: list(shards).index(shard)])
    out = np.empty((shards[shard]["rows"], encoder.dimensions), dtype=np.float16)
    done = 0
    for chunk in workspace.texts.texts(shard):
        for start in range(0, len(chunk), CHUNK):
            part = chunk[start : start + CHUNK]
            out[done : done + len(part)] = encoder.encode(part)
            if not np.isfinite(out[done : done + len(part)]).all():
                use = workspace.config.written_out()["encoder"]["use"]
                raise ContractError(f"encoder {use!r} must give finite vectors of unit norm; nothing was recorded.")
            done += len(part)
            workspace.progress("encoding", before + done, total)
    return State({"vectors": out})
