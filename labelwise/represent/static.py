"""The compact encoder: static word-piece vectors that are installed with Labelwise.

The vectors (32,000 x 256) and their tokenizer lie inside the ``wordllama`` wheel; its code is
never imported, because it asks the network. A text is the mean of its word pieces' vectors,
less the pool's mean, scaled to unit norm.

Known trade-offs: word order and negation are lost; texts in scripts that the tokenizer splits
into bytes carry little meaning (take ``hashing``, or ``concat`` of both).
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from labelwise.core import DamagedRecord, State
from labelwise.represent.common import Array, Floats, Unfitted, batches, same_facts, unit

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
DIMENSIONS = 256


@dataclass(frozen=True)
class Static(Unfitted):
    """Config of the compact encoder. ``centre``: subtract the mean vector of the sample given to ``fit``."""

    centre: bool = True

    @property
    def dimensions(self) -> int:
        return DIMENSIONS

    def fit(self, sample: Sequence[str], rng: np.random.Generator) -> _Fitted:
        """Learn the mean of the sample's texts that have content (zeros if there are none); ``rng`` is not used.

        As fast as encoding; a few thousand texts suffice.
        """
        total, count = np.zeros(DIMENSIONS), 0
        if self.centre:
            for _, means in _pooled(sample):
                total += means.sum(axis=0, dtype=np.float64)
                count += int(means.any(axis=1).sum())
        return _Fitted(self, (total / max(count, 1)).astype(np.float32))

    def restore(self, state: State) -> _Fitted:
        """The encoder of a recorded state; DamagedRecord if the config or the installed files are others."""
        same_facts(state, {"encoder": "static", "centre": self.centre, "files": fingerprint()}, "static")
        mean = state.arrays.get("mean")
        if mean is None or mean.shape != (DIMENSIONS,):
            raise DamagedRecord(f"encoder static: the state needs an array 'mean' of shape ({DIMENSIONS},); fit again.")
        return _Fitted(self, np.asarray(mean, dtype=np.float32))


@dataclass(frozen=True, eq=False)
class _Fitted:
    """A static encoder that knows its pool: ``mean`` (256,)."""

    config: Static
    mean: Floats

    @property
    def dimensions(self) -> int:
        return DIMENSIONS

    def fit(self, sample: Sequence[str], rng: np.random.Generator) -> _Fitted:
        return self.config.fit(sample, rng)

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, 256) float32, unit norm; zeros for an empty text and for one that is exactly the mean."""
        out = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        for start, means in _pooled(texts):
            content = means.any(axis=1, keepdims=True)
            out[start : start + len(means)] = unit(means - self.mean * content)
        return out

    def state(self) -> State:
        facts = {"encoder": "static", "centre": self.config.centre, "files": fingerprint()}
        return State({"mean": self.mean}, facts)

    def restore(self, state: State) -> _Fitted:
        return self.config.restore(state)


def _pooled(texts: Sequence[str]) -> Iterator[tuple[int, Floats]]:
    """(start, means (m, 256)) of stretches of texts.

    A product of the sparse counts (m, vocabulary) with the table: no row is gathered first, which
    is what ``np.add.reduceat`` and a mean per text spend their time on.
    """
    from scipy.sparse import csr_matrix

    tokenizer, table = _installed()
    for start, batch in batches(texts):
        pieces = [encoding.ids for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False)]
        lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
        ends = np.cumsum(lengths)
        ids = np.fromiter(chain.from_iterable(pieces), np.int32, int(ends[-1]))
        ones = np.ones(len(ids), dtype=np.float32)
        counts = csr_matrix((ones, ids, np.r_[0, ends]), shape=(len(batch), len(table)))
        yield start, counts @ table / np.maximum(lengths, 1).astype(np.float32)[:, None]


def _files() -> tuple[Path, Path]:
    """The tokenizer's and the vectors' files in the installed wheel, found without importing its code."""
    spec = importlib.util.find_spec("wordllama")
    places = list(spec.submodule_search_locations or ()) if spec else []
    for place in map(Path, places):
        if (place / TOKENIZER).is_file() and (place / WEIGHTS).is_file():
            return place / TOKENIZER, place / WEIGHTS
    raise DamagedRecord(
        f"encoder static: the installed package 'wordllama' lacks {TOKENIZER} or {WEIGHTS} (looked in {places}). "
        "Install it again: pip install --force-reinstall --no-deps wordllama"
    )


@functools.cache
def fingerprint() -> str:
    """BLAKE2b-128 of the two installed files, in hex; read once per process."""
    digest = hashlib.blake2b(digest_size=16)
    for path in _files():
        digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def _installed() -> tuple[Tokenizer, Floats]:
    """The tokenizer and the table (32000, 256) float32, loaded once per process (33 MB)."""
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    tokenizer_file, weights_file = _files()
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    table: Array = load_file(weights_file)["embedding.weight"]
    return tokenizer, table.astype(np.float32)
