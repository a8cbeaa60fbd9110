"""The identity of a text: what counts as the same text, and its name."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def normalised(text: str) -> str:
    """NFC with every run of whitespace one blank and none at the ends; case and marks stay."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def digest(text: str) -> bytes:
    """16 bytes: BLAKE2b-128 of the normalised text. Equal texts are one text everywhere."""
    return hashlib.blake2b(normalised(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def text_id(text: str) -> str:
    """32 hex digits: the digest as it is written and spoken."""
    return digest(text).hex()


def keys_of(ids: Sequence[str]) -> npt.NDArray[np.uint64]:
    """(n,) the ids' first 64 bits, the key by which a Pool knows a text."""
    return np.array([int(i[:16], 16) for i in ids], dtype=np.uint64)
