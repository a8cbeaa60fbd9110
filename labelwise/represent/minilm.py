"""A sentence transformer from a local folder, run by onnxruntime (extra ``minilm``).

Any folder in the form of sentence-transformers whose pooling is the mean: ``tokenizer.json`` and
an ONNX model whose first output is one vector per token. Nothing is downloaded.

Known trade-offs: far slower than ``static`` on a CPU; rows of a real transformer differ between
batches by rounding.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelwise.core import InputError, MissingExtra, State
from labelwise.represent.common import Array, Floats, readable, same_facts, unit

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

MODELS = ("model.onnx", "onnx/model.onnx")


@dataclass(frozen=True)
class MiniLM:
    """Config of a local sentence transformer; it learns nothing of a pool, so it can encode at once.

    folder      holds tokenizer.json and model.onnx or onnx/model.onnx
    batch       texts per run of the model, at most
    max_tokens  what is read of a text, special tokens included
    threads     0 = as many as onnxruntime thinks best

    Raises InputError for a folder without these files or a number out of range, MissingExtra
    without onnxruntime (both when the model is first needed, so that a config can be read without it).
    """

    folder: str
    batch: int = 32
    max_tokens: int = 256
    threads: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str) or not self.folder:
            raise InputError(f"minilm.folder: {self.folder!r} is not a path; name the folder that holds the model.")
        for name, least in (("batch", 1), ("max_tokens", 3), ("threads", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise InputError(f"minilm.{name}: {value!r} is not possible; choose a whole number >= {least}.")

    @property
    def dimensions(self) -> int:
        """The width of the model's token vectors."""
        return _loaded(self.folder, self.max_tokens, self.threads)[2]

    def fit(self, sample: Sequence[str], rng: np.random.Generator) -> MiniLM:
        """Itself: nothing depends on the pool."""
        return self

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, d) float32: mean of the token vectors under the attention mask, unit norm, zeros for an empty text."""
        tokenizer, session, width = _loaded(self.folder, self.max_tokens, self.threads)
        out = np.zeros((len(texts), width), dtype=np.float32)
        read = [readable(text) for text in texts]
        filled = [row for row, text in enumerate(read) if text]
        pieces = dict(zip(filled, tokenizer.encode_batch([read[row] for row in filled]), strict=True))
        # texts of like length together, so that little of a batch is padding
        filled.sort(key=lambda row: len(pieces[row]))
        for start in range(0, len(filled), self.batch):
            rows = filled[start : start + self.batch]
            out[rows] = _means(session, [pieces[row] for row in rows])
        return unit(out)

    def state(self) -> State:
        return State({}, self._facts())

    def restore(self, state: State) -> MiniLM:
        """Itself; DamagedRecord if the files in the folder are not those recorded."""
        same_facts(state, self._facts(), "minilm")
        return self

    def _facts(self) -> dict[str, Any]:
        # the folder's place and the batch size do not change a vector
        return {"encoder": "minilm", "max_tokens": self.max_tokens, "files": _fingerprint(self.folder)}


def _means(session: Any, pieces: list[Encoding]) -> Floats:
    """Mean token vectors (m, d) of one batch, padded to its longest text."""
    longest = max(len(piece) for piece in pieces)
    given = {name: np.zeros((len(pieces), longest), dtype=np.int64) for name in _inputs(session)}
    mask = np.zeros((len(pieces), longest), dtype=np.int64)
    for i, piece in enumerate(pieces):
        mask[i, : len(piece)] = piece.attention_mask
        for name, values in (("input_ids", piece.ids), ("token_type_ids", piece.type_ids)):
            if name in given:
                given[name][i, : len(piece)] = values
    if "attention_mask" in given:
        given["attention_mask"] = mask
    tokens: Array = session.run(None, given)[0]
    total = np.einsum("nt,ntd->nd", mask.astype(np.float32), tokens)
    return np.asarray(total / np.maximum(mask.sum(axis=1, keepdims=True), 1), dtype=np.float32)


def _inputs(session: Any) -> list[str]:
    return [given.name for given in session.get_inputs()]


def _files(folder: str) -> tuple[Path, Path]:
    """tokenizer.json and the model in ``folder``; InputError says which file is missing."""
    place = Path(folder).expanduser()
    models = [place / name for name in MODELS if (place / name).is_file()]
    tokenizer = place / "tokenizer.json"
    if not models or not tokenizer.is_file():
        missing = ([] if tokenizer.is_file() else ["tokenizer.json"]) + ([] if models else [" or ".join(MODELS)])
        raise InputError(
            f"minilm.folder: {str(place)!r} lacks {' and '.join(missing)}. Give a local sentence-transformers "
            "folder that was exported to ONNX; nothing is downloaded."
        )
    return tokenizer, models[0]


@functools.lru_cache(maxsize=4)
def _fingerprint(folder: str) -> str:
    """BLAKE2b-128 of the two files, in hex."""
    digest = hashlib.blake2b(digest_size=16)
    for path in _files(folder):
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


@functools.lru_cache(maxsize=2)
def _loaded(folder: str, max_tokens: int, threads: int) -> tuple[Tokenizer, Any, int]:
    """Tokenizer, onnxruntime session and vector width, loaded once per process."""
    tokenizer_file, model_file = _files(folder)
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtra("encoder minilm", "minilm") from None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(model_file), options, providers=["CPUExecutionProvider"])
    width = session.get_outputs()[0].shape[-1]
    strange = sorted(set(_inputs(session)) - {"input_ids", "attention_mask", "token_type_ids"})
    if strange or not isinstance(width, int) or len(session.get_outputs()[0].shape) != 3:
        raise InputError(
            f"minilm.folder: {str(model_file)!r} is no text encoder with one vector per token "
            f"(inputs {_inputs(session)}, first output {session.get_outputs()[0].shape}). Export the model's "
            "last hidden state, with input_ids, attention_mask and token_type_ids as inputs."
        )
    return tokenizer, session, width
