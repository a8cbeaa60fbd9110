"""A search for the nearest texts that grows and shrinks without being built again.

Inverted lists (Sivic and Zisserman 2003, "Video Google"; Jégou, Douze and Schmid 2011, "Product
Quantization for Nearest Neighbor Search") over float16 vectors, in faiss: k-means cells are fitted
once on a sample, every text lies in the list of its nearest cell, and a query looks into the lists
of its ``probes`` nearest cells. Cells are clusters, and indexes made from the same cells answer
shard by shard what one index of all texts would.

Known trade-offs: approximate beyond SMALL texts; cells fitted on one kind of texts serve another
badly, so fit again when the pool has changed its nature; the whole index is held in memory, 2 d + 30
bytes per text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import ContractError, DamagedRecord, InputError, State
from labelwise.represent.common import Array

PROBES = 32
"""Finds 9 of the 10 nearest of most pools; of short texts that resemble nothing, rather 8."""
SMALL = 10_000
"""Up to so many texts there are only PROBES cells, so that a search sees every text."""
MOST = 4096
PER_CELL = 64
"""Texts per cell that k-means learns from."""
ROUNDS = 10
CHUNK = 65_536
NONE = np.uint64(2**64 - 1)
"""The key that stands for no text."""


def cells_for(n: int) -> int:
    """Cells for n texts: the power of two at or below 4 sqrt(n), at most MOST; PROBES up to SMALL texts."""
    return PROBES if n <= SMALL else min(MOST, 1 << int(np.log2(4.0 * np.sqrt(n))))


class Index:
    """Unit-norm vectors by 64-bit key. Made by ``fit`` or ``restore``; not for several threads at once."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    @classmethod
    def fit(cls, sample: Array, rng: np.random.Generator, cells: int = 0) -> Index:
        """An empty index with cells fitted on sample (m, d); 0 = as many as suit m texts. At most m.

        Spherical k-means on at most PER_CELL texts per cell; rng decides which, and where it
        begins. O(m cells d). InputError for a sample without texts or a bad number of cells.
        """
        import faiss

        if len(sample) == 0 or not 0 <= cells <= MOST:
            raise InputError(f"index: needs a sample of texts and 0 to {MOST} cells, not {len(sample)} and {cells!r}.")
        cells = min(cells or cells_for(len(sample)), len(sample))
        d = sample.shape[1]
        inner = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(d), d, cells, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT, False
        )
        inner.cp.niter, inner.cp.seed = ROUNDS, int(rng.integers(2**31 - 1))
        inner.cp.min_points_per_centroid, inner.cp.max_points_per_centroid = 1, PER_CELL
        some = np.sort(rng.choice(len(sample), min(len(sample), cells * PER_CELL), replace=False))
        inner.train(np.ascontiguousarray(sample[some], dtype=np.float32))
        inner.set_direct_map_type(faiss.DirectMap.Hashtable)  # type: ignore[attr-defined]
        return cls(inner)

    def __len__(self) -> int:
        return int(self._inner.ntotal)

    @property
    def dimensions(self) -> int:
        return int(self._inner.d)

    def add(self, keys: Array, vectors: Array) -> None:
        """Bring in vectors (n, d) by distinct uint64 keys (n,); a key that is there gets its new vector. O(n cells d).

        ContractError for keys that repeat or are NONE, and for vectors of another width or not finite.
        """
        ids = _signed(keys)
        if len(ids) != len(vectors) or len(np.unique(ids)) != len(ids):
            raise ContractError(f"index: {len(vectors)} vectors need as many distinct keys, not {len(ids)}")
        for rows, chunk in self._chunks(vectors):
            self._inner.remove_ids(ids[rows])
            self._inner.add_with_ids(chunk, ids[rows])

    def remove(self, keys: Array) -> int:
        """Take these keys out and return how many were there. O(n)."""
        return int(self._inner.remove_ids(_signed(keys)))

    def search(self, queries: Array, k: int, probes: int = PROBES) -> tuple[npt.NDArray[np.uint64], Array]:
        """Keys (q, k) nearest first and cosine similarities (q, k) float32; NONE and -inf where there are fewer.

        O(q (cells + texts probes / cells) d). With ``probes`` = the number of cells it is exact but for
        the rounding to float16.
        """
        import faiss

        if k < 1 or probes < 1:
            raise InputError(f"index: k and probes must be at least 1, not {k!r} and {probes!r}.")
        keys = np.full((len(queries), k), NONE)
        near = np.full((len(queries), k), -np.inf, dtype=np.float32)
        how = faiss.SearchParametersIVF(nprobe=min(probes, self._inner.nlist))  # type: ignore[call-arg]
        for rows, chunk in self._chunks(queries):
            near[rows], ids = self._inner.search(chunk, k, params=how)
            keys[rows] = ids.view(np.uint64)
        near[keys == NONE] = -np.inf
        return keys, near

    def cells(self, vectors: Array) -> npt.NDArray[np.int64]:
        """(n,) the cell nearest to each vector. O(n cells d)."""
        out = np.zeros(len(vectors), dtype=np.int64)
        for rows, chunk in self._chunks(vectors):
            out[rows] = self._inner.quantizer.search(chunk, 1)[1][:, 0]
        return out

    def state(self) -> State:
        """The index as bytes in faiss's own format, which runs no code when it is read."""
        import faiss

        data = faiss.serialize_index(self._inner)
        return State({"index": data}, {"texts": len(self), "dimensions": self.dimensions, "digest": _digest(data)})

    @classmethod
    def restore(cls, state: State) -> Index:
        """The index of a recorded state; DamagedRecord if it is not what was recorded."""
        import faiss

        data = state.arrays.get("index")
        # faiss trusts what it reads, so nothing but what we wrote may reach it
        if data is None or data.dtype != np.uint8 or data.ndim != 1 or _digest(data) != state.facts.get("digest"):
            raise DamagedRecord("an index's state is not what was recorded; build the index again.")
        try:
            inner = faiss.deserialize_index(np.array(data))
        except (RuntimeError, MemoryError) as error:
            raise DamagedRecord(f"an index of another version of faiss ({error}); build the index again.") from error
        found = cls(inner)
        if state.facts != {"texts": len(found), "dimensions": found.dimensions, "digest": state.facts["digest"]}:
            raise DamagedRecord(f"an index's facts {dict(state.facts)} do not fit its content; build the index again.")
        return found

    def _chunks(self, vectors: Array) -> Iterator[tuple[slice, Array]]:
        """(rows, float32 vectors) a stretch at a time, checked."""
        if vectors.ndim != 2 or vectors.shape[1] != self.dimensions:
            raise ContractError(f"index: holds vectors of width {self.dimensions}; shape {vectors.shape} does not fit")
        for start in range(0, len(vectors), CHUNK):
            rows = slice(start, min(start + CHUNK, len(vectors)))
            chunk = np.ascontiguousarray(vectors[rows], dtype=np.float32)
            if not np.isfinite(chunk).all():
                raise ContractError("index: vectors must be finite")
            yield rows, chunk


def _signed(keys: Array) -> npt.NDArray[np.int64]:
    keys = np.ascontiguousarray(keys, dtype=np.uint64)
    if (keys == NONE).any():
        raise ContractError(f"index: the key {NONE} stands for no text and cannot be one")
    return keys.view(np.int64)


def _digest(data: Array) -> str:
    return hashlib.blake2b(np.ascontiguousarray(data).data, digest_size=16).hexdigest()
