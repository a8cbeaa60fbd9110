"""Hashed words and character n-grams of many texts at once, without a Python loop per text.

All texts of a batch are one array of code points; an n-gram's hash is the polynomial
``sum mix(code[i + k]) * BASE**k`` modulo 2**64, finalised by SplitMix64. scikit-learn's
analysers do the same text by text in Python.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Hashes = npt.NDArray[np.uint64]

SPACE, OTHER, WORD, DIGIT = 0, 1, 2, 3
BASE = np.uint64(0x9E3779B97F4A7C15)


def mixed(values: Hashes) -> Hashes:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014): every bit depends on every bit."""
    z = values ^ (values >> np.uint64(30))
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


@dataclass(frozen=True, slots=True, eq=False)
class Letters:
    """n texts as one row of code points, each text with one blank before and after it
    (an empty text has none).

    codes (t,) uint32; owner (t,) int64, the text of each; kind (t,) uint8, SPACE, OTHER, WORD or DIGIT.
    """

    n: int
    codes: Array
    owner: Array
    kind: Array

    def keep(self, mask: Array) -> Letters:
        """Only the code points where ``mask`` (t,) holds."""
        return Letters(self.n, self.codes[mask], self.owner[mask], self.kind[mask])


def letters(texts: Sequence[str]) -> Letters:
    """Lower-cased code points of texts that ``common.readable`` has prepared. O(characters)."""
    lowered = [f" {text.lower()} " if text else "" for text in texts]
    lengths = np.fromiter(map(len, lowered), np.int64, len(lowered))
    codes = np.frombuffer("".join(lowered).encode("utf-32-le"), dtype=np.uint32)
    return Letters(len(lowered), codes, np.repeat(np.arange(len(lowered)), lengths), _kinds(codes))


def _kinds(codes: Array) -> npt.NDArray[np.uint8]:
    """The kind of each code point; only those that occur are looked up."""
    table = np.zeros(int(codes.max(initial=0)) + 1, dtype=np.uint8)
    table[codes] = 1
    for code in np.flatnonzero(table):
        category = unicodedata.category(chr(code))
        table[code] = DIGIT if category == "Nd" else WORD if category[0] in "LMN" else SPACE if code == 32 else OTHER
    return np.asarray(table[codes])


def characters(text: Letters, size: int, *, within_words: bool) -> tuple[Hashes, Array]:
    """Hashes (m,) and owners (m,) of all n-grams of ``size`` >= 2 code points, never across texts.

    ``within_words`` leaves out those with a blank inside (at an end is fine): scikit-learn's char_wb.
    """
    m = len(text.codes) - size + 1
    if m <= 0:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    whole = np.ones(m, dtype=bool)
    if within_words:
        blank = text.kind == SPACE
        for k in range(1, size - 1):
            whole &= ~blank[k : k + m]
    return _joined(mixed(text.codes.astype(np.uint64) + BASE), text.owner, size, whole)


def _joined(units: Hashes, owner: Array, size: int, wanted: Array | bool = True) -> tuple[Hashes, Array]:
    """Hashes and owners of runs of ``size`` consecutive units that lie in one text and are wanted."""
    m = len(units) - size + 1
    total = np.full(m, size, dtype=np.uint64)
    power = np.uint64(1)
    with np.errstate(over="ignore"):
        for k in range(size):
            total += units[k : k + m] * power
            power = power * BASE
        whole = (owner[:m] == owner[size - 1 :]) & wanted
        return mixed(total[whole]), owner[:m][whole]


def words(text: Letters, size: int) -> tuple[Hashes, Array]:
    """Hashes (m,) and owners (m,) of runs of ``size`` tokens: words, and every other sign by itself.

    Letters, marks and digits of any script make words; '?' and its like are tokens of their own.
    """
    inside = text.kind >= WORD
    first = (text.kind == OTHER) | (inside & ~np.r_[False, inside[:-1]])
    starts = np.flatnonzero(first)
    if len(starts) < size:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    token = np.maximum(np.cumsum(first) - 1, 0)
    place = np.maximum(np.arange(len(first)) - starts[token], 0)
    with np.errstate(over="ignore"):
        powers = np.cumprod(np.full(int(place.max()) + 1, BASE, dtype=np.uint64))
        each = mixed(text.codes.astype(np.uint64) + BASE) * powers[place]
        each[text.kind == SPACE] = 0  # the blanks after a token are not part of it
    return _joined(mixed(np.add.reduceat(each, starts)), text.owner[starts], size)
