"""A search for near texts in a shard: built when a strategy first asks for it, kept from then on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from labelwise.core import Ref, State, stream
from labelwise.project.ledger import ref
from labelwise.project.workspace import Array, Workspace
from labelwise.represent.index import PER_CELL, Index, cells_for


@dataclass
class ShardSearch:
    """A pool's ``neighbours``: answers with rows of the shard, -1 where there are fewer."""

    workspace: Workspace
    shard: str
    _index: Index | None = field(default=None, repr=False)

    def search(self, queries: Array, k: int) -> tuple[Array, Array]:
        """Rows (q, k), nearest first, and cosine similarities (q, k)."""
        if self._index is None:
            self._index = index_of(self.workspace, self.shard)
        keys, near = self._index.search(queries, k)
        return keys.view(np.int64), near  # keys are rows, and the key of no text reads as -1


def index_of(workspace: Workspace, shard: str) -> Index:
    """The index of a shard's texts by row, over cells that all shards share."""
    vectors, cells = workspace.now().vectors[workspace.encoder()[0]][shard], _cells(workspace)

    def make() -> State:
        index = Index.restore(workspace.artefacts.get(cells))
        found = workspace.artefacts.get(ref(vectors)).arrays["vectors"]
        index.add(np.arange(len(found), dtype=np.uint64), found)
        return index.state()

    made = workspace.artefacts.once("index", {"cells": str(cells), "vectors": vectors}, make)
    return Index.restore(workspace.artefacts.get(made))


def _cells(workspace: Workspace) -> Ref:
    """An empty index, fitted on the first shards that hold half of all texts: anew only when the pool has doubled."""
    ledger, seed = workspace.now(), workspace.config.project.seed
    recorded = ledger.vectors[workspace.encoder()[0]]
    ends = np.cumsum([info["rows"] for info in ledger.shards.values()])
    first = [recorded[shard] for shard, end in zip(ledger.shards, ends, strict=True) if 2 * end < ends[-1]]
    first.append(recorded[list(ledger.shards)[len(first)]])
    total = int(ends[len(first) - 1])

    def make() -> State:
        rng, cells = stream(seed, "index"), cells_for(total)
        chosen = np.sort(rng.choice(total, min(total, cells * PER_CELL), replace=False))
        sample, start = [], 0
        for name in first:
            vectors = workspace.artefacts.get(ref(name)).arrays["vectors"]
            sample.append(vectors[chosen[(chosen >= start) & (chosen < start + len(vectors))] - start])
            start += len(vectors)
        return Index.fit(np.concatenate(sample), rng, cells).state()

    return workspace.artefacts.once("cells", {"vectors": first, "seed": seed}, make)
