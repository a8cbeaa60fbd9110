"""The encoder without an embedding: hashed words and character n-grams, reduced to few dimensions.

Works in any script and language and learns from the pool alone. Words and character n-grams
(within words) are hashed into ``features`` buckets each, weighted 1 + log(count) times inverse
document frequency, and scaled to unit norm each, so that the many n-grams do not drown the words.

Known trade-offs: the basis knows only n-grams of the sample it was fitted on; a text made of
others becomes zeros under "svd". "projection" stores no basis but separates classes far worse.
Speed: docs/decisions/0004-encoders.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from labelwise.core import DamagedRecord, InputError, State, unknown
from labelwise.represent import ngrams
from labelwise.represent.common import Array, Floats, Unfitted, batches, same_facts, unit

SAMPLE = 20_000
"""Texts that ``fit`` reads at most."""

ENTRIES = 2_000_000
"""Distinct n-grams, summed over texts, after which ``fit`` reads no further: bounds its time and memory."""

KNOWN = 2**15
"""Columns of the basis at most, the most frequent ones: bounds the state to 34 MB at 256 dimensions."""


@dataclass(frozen=True)
class Hashing(Unfitted):
    """Config of the hashing encoder.

    dimensions  of the result
    words       shortest and longest run of words (1 to 5) that is counted
    characters  shortest and longest run of characters within a word (2 to 8) that is counted
    reduce      "svd": directions of most variance in the sample; "projection": random signs
    features    buckets for words, and as many for characters; a power of two

    Raises InputError naming the field that cannot be used.
    """

    dimensions: int = 256
    words: tuple[int, int] = (1, 2)
    characters: tuple[int, int] = (2, 5)
    reduce: Literal["svd", "projection"] = "svd"
    features: int = 2**16

    def __post_init__(self) -> None:
        for name, least, most in (("words", 1, 5), ("characters", 2, 8)):
            sizes = tuple(getattr(self, name))
            object.__setattr__(self, name, sizes)
            whole = len(sizes) == 2 and all(type(size) is int for size in sizes)
            if not whole or not least <= sizes[0] <= sizes[1] <= most:
                raise InputError(
                    f"hashing.{name}: {list(sizes)!r} is not a range of lengths; "
                    f"write [shortest, longest] with {least} <= shortest <= longest <= {most}."
                )
        if type(self.dimensions) is not int or not 1 <= self.dimensions <= 4096:
            raise InputError(f"hashing.dimensions: {self.dimensions!r} is not possible; choose 1 to 4096, e.g. 256.")
        if type(self.features) is not int or self.features not in [2**bits for bits in range(10, 21)]:
            raise InputError(
                f"hashing.features: {self.features!r} is not possible; choose a power of two "
                "from 1024 to 1048576, e.g. 65536."
            )
        if self.reduce not in ("svd", "projection"):
            raise unknown("reduction", self.reduce, ("svd", "projection"), "hashing.reduce")

    def fit(self, sample: Sequence[str], rng: np.random.Generator) -> _Fitted:
        """Learn document frequencies and the basis from at most SAMPLE texts drawn by ``rng``.

        With fewer texts than ``dimensions`` the basis is as large as they allow, the rest zeros.
        Bounded by ENTRIES. Source: Halko, Martinsson and Tropp 2011 (randomised range finder).
        """
        counted, frequency, read = _sampled(self, sample, rng)
        idf = (np.log((1 + read) / (1 + frequency)) + 1).astype(np.float32)
        seed = int(rng.integers(2**32))
        if self.reduce == "projection":
            return _Fitted(self, idf, *_projection(self, seed), seed)
        known = _frequent(frequency, 2 if read > self.dimensions else 1)
        basis = _directions(_weighted(counted, idf, known), self.dimensions, seed)
        return _Fitted(self, idf, known, basis, seed)

    def restore(self, state: State) -> _Fitted:
        """The encoder of a recorded state; DamagedRecord if it was made with another config or is incomplete."""
        same_facts(state, _facts(self), "hashing")
        try:
            idf, seed = np.asarray(state.arrays["idf"], dtype=np.float32), int(state.facts["seed"])
            if self.reduce == "projection":
                known, basis = _projection(self, seed)
            else:
                known = np.asarray(state.arrays["known"], dtype=np.int32)
                basis = np.asarray(state.arrays["basis"], dtype=np.float32)
        except KeyError as missing:
            raise DamagedRecord(f"encoder hashing: the recorded state lacks {missing}; fit again.") from None
        if idf.shape != (2 * self.features,) or basis.shape != (len(known), self.dimensions):
            raise DamagedRecord(
                f"encoder hashing: arrays of shapes {idf.shape} and {basis.shape} do not fit "
                f"{2 * self.features} features and {len(known)} x {self.dimensions}; fit again."
            )
        return _Fitted(self, idf, known, basis, seed)


@dataclass(frozen=True, eq=False)
class _Fitted:
    """Weights ``idf`` (2 * features,), the columns ``known`` (m,) and their directions ``basis`` (m, d)."""

    config: Hashing
    idf: Floats
    known: Array
    basis: Floats
    seed: int

    @property
    def dimensions(self) -> int:
        return self.config.dimensions

    def fit(self, sample: Sequence[str], rng: np.random.Generator) -> _Fitted:
        return self.config.fit(sample, rng)

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, dimensions) float32, unit norm; zeros for an empty text and one without known n-grams."""
        out = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for start, batch in batches(texts):
            rows = _weighted(_counted(self.config, batch), self.idf, self.known)
            out[start : start + len(batch)] = unit(rows @ self.basis)
        return out

    def state(self) -> State:
        arrays = {"idf": self.idf}
        if self.config.reduce == "svd":  # a projection is made again from its seed
            arrays |= {"known": self.known, "basis": self.basis}
        return State(arrays, _facts(self.config) | {"seed": self.seed})

    def restore(self, state: State) -> _Fitted:
        return self.config.restore(state)


def _facts(config: Hashing) -> dict[str, Any]:
    """The config as JSON would give it back."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}
    return {"encoder": "hashing", **plain}


def _counted(config: Hashing, batch: Sequence[str]) -> Any:
    """Sparse (n, 2 * features): 1 + log(count), words in the first half of the columns. O(characters)."""
    from scipy.sparse import csr_matrix

    text = ngrams.letters(batch)
    found = [(0, *ngrams.words(text, size)) for size in range(config.words[0], config.words[1] + 1)]
    found += [
        (config.features, *ngrams.characters(text, size, within_words=True))
        for size in range(config.characters[0], config.characters[1] + 1)
    ]
    width = np.uint64(2 * config.features)
    shift = np.uint64(64 - (config.features.bit_length() - 1))
    keys = np.concatenate([o.astype(np.uint64) * width + (h >> shift) + np.uint64(half) for half, h, o in found])
    keys.sort()
    first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]][: len(keys)])
    weights = 1 + np.log(np.diff(np.r_[first, len(keys)]).astype(np.float32))
    rows, columns = np.divmod(keys[first], width)
    ends = np.searchsorted(rows, np.arange(len(batch) + 1))
    return csr_matrix((weights, columns.astype(np.int32), ends), shape=(len(batch), int(width)))


def _weighted(counts: Any, idf: Floats, known: Array) -> Any:
    """Counts (n, 2 * features) times ``idf``, each half of a row at unit norm, columns ``known`` only: (n, m)."""
    from scipy.sparse import csr_matrix

    n, width = counts.shape
    values = counts.data * idf[counts.indices]
    halves = 2 * np.repeat(np.arange(n), np.diff(counts.indptr)) + (counts.indices >= width // 2)
    norms = np.sqrt(np.bincount(halves, weights=values.astype(np.float64) ** 2, minlength=2 * n))
    values = (values / norms[halves]).astype(np.float32)
    place = np.full(width, -1, dtype=np.int32)
    place[known] = np.arange(len(known), dtype=np.int32)
    columns = place[counts.indices]
    kept = columns >= 0
    ends = np.r_[0, np.cumsum(kept)][counts.indptr]
    return csr_matrix((values[kept], columns[kept], ends), shape=(n, len(known)))


def _sampled(config: Hashing, sample: Sequence[str], rng: np.random.Generator) -> tuple[Any, Array, int]:
    """Counts of the sampled texts, the number of texts each column occurs in (2 * features,), and of texts read."""
    from scipy.sparse import csr_matrix, vstack

    order = rng.permutation(len(sample))[:SAMPLE]
    parts, entries = [csr_matrix((0, 2 * config.features), dtype=np.float32)], 0
    for _, batch in batches([sample[row] for row in order]):
        parts.append(_counted(config, batch))
        entries += parts[-1].nnz
        if entries >= ENTRIES:
            break
    counts = vstack(parts, format="csr")
    return counts, np.bincount(counts.indices, minlength=counts.shape[1]), counts.shape[0]


def _frequent(frequency: Array, least: int) -> Array:
    """(m,) the KNOWN most frequent columns, rising, of those that occur in ``least`` texts or more.

    An n-gram seen once says nothing about other texts, unless there are hardly any.
    """
    ranked = np.argsort(-frequency, kind="stable")[:KNOWN]
    return np.sort(ranked[frequency[ranked] >= least]).astype(np.int32)


def _directions(rows: Any, dimensions: int, seed: int) -> Floats:
    """The leading right singular vectors of ``rows`` (n, m), as columns (m, dimensions), padded with zeros."""
    from sklearn.utils.extmath import randomized_svd

    basis = np.zeros((rows.shape[1], dimensions), dtype=np.float32)
    possible = min(dimensions, *rows.shape)
    if possible:
        _, strength, found = randomized_svd(rows, possible, n_iter=2, random_state=seed)
        real = strength > 1e-5 * strength[0]  # beyond the rank of the sample there is only rounding
        basis[:, : int(real.sum())] = found[real].T
    return basis


def _projection(config: Hashing, seed: int) -> tuple[Array, Floats]:
    """All columns, and random signs (2 * features, dimensions) that depend on ``seed`` alone."""
    width = 2 * config.features
    signs = np.random.Generator(np.random.PCG64(seed)).integers(0, 2, (width, config.dimensions), dtype=np.int8)
    return np.arange(width, dtype=np.int32), (2 * signs - 1).astype(np.float32)
