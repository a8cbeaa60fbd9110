"""Tokens of any language and the coding of spans as a tag for every token.

A token is a word (letters with their marks), a number, or one other sign. Scripts that put no space
between words (Han, kana, Thai, Lao, Khmer, Burmese) give a token for every letter with its marks. The
rule is fixed: what a model learned stays true for every text, and nothing has to be stored with it.

Tags are BIO (Ramshaw and Marcus 1995, "Text Chunking using Transformation-Based Learning") in the
variant where every span begins with B: code 0 is O, label k has B at 1 + 2k and I at 2 + 2k.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core.errors import ContractError, InputError

Array = npt.NDArray[Any]
Places = list[tuple[int, int, int]]
"""Spans as (start, end, position of the label)."""

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
JOINERS = "\u200c\u200d"


@cache
def _pattern() -> re.Pattern[str]:
    # \w lacks combining marks, without which Devanagari or a decomposed accent falls apart
    marks = "".join(re.escape(chr(c)) for c in range(0x300, 0x1F000) if unicodedata.category(chr(c))[0] == "M")
    marks += "\ufe00-\ufe0f\U000e0100-\U000e01ef" + JOINERS
    letter = rf"[^\W\d_{UNSPACED}]"
    return re.compile(rf"\d+|{letter}(?:{letter}|[{marks}])*|\S[{marks}]*")


def bounds(text: str) -> list[tuple[int, int]]:
    """Half-open [start, end) of every token, in code points, rising; white space is in none. O(length)."""
    return [match.span() for match in _pattern().finditer(text)]


@dataclass(frozen=True, slots=True, eq=False)
class Tags:
    """A tag for every token of n texts: ``codes`` (t,), text i owns codes[offsets[i]:offsets[i+1]].

    ``widened`` (n,) counts spans that were widened to whole tokens, ``lost`` (n, labels) those no tag stands
    for: they overlap a longer one, or hold white space only. Both are 0 unless spans were coded. Index with
    rows (positions, a slice or booleans) for some of the texts.
    """

    codes: Array
    offsets: Array
    widened: Array | None = None
    lost: Array | None = None

    def __post_init__(self) -> None:
        o = self.offsets
        if o.ndim != 1 or len(o) < 1 or o[0] != 0 or o[-1] != len(self.codes) or (np.diff(o) < 0).any():
            raise ContractError("Tags needs offsets (n+1,) that rise from 0 to the number of tokens")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: Any) -> Tags:
        picked, offsets = gathered(self.offsets, rows)
        widened, lost = (None if part is None else part[rows] for part in (self.widened, self.lost))
        return Tags(self.codes[picked], offsets, widened, lost)

    @classmethod
    def join(cls, parts: Sequence[Tags]) -> Tags:
        """The tags of several stretches of texts as one, without counts."""
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return cls(np.concatenate([part.codes for part in parts]), offsets)


def gathered(offsets: Array, rows: Any) -> tuple[Array, Array]:
    """The tokens of some texts, one text after the other, and the offsets that they then have."""
    rows = np.arange(len(offsets) - 1)[rows]
    lengths = np.diff(offsets)[rows]
    new = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.repeat(offsets[:-1][rows], lengths) + np.arange(new[-1]) - np.repeat(new[:-1], lengths), new


def coded(spans: Sequence[Places], texts: Sequence[str], labels: int) -> Tags:
    """Spans of n texts as tags.

    A span takes every token it touches, so one that begins or ends inside a token is widened. Of spans
    that then share a token the longest is kept, of equally long ones the first. O(length + spans^2) a text.
    """
    codes: list[Array] = []
    widened, lost = np.zeros(len(texts), dtype=np.int64), np.zeros((len(texts), labels), dtype=np.int64)
    for row, (text, marked) in enumerate(zip(texts, spans, strict=True)):
        places = bounds(text)
        tags = np.zeros(len(places), dtype=np.int64)
        starts, ends = (np.array([place[side] for place in places], dtype=np.int64) for side in (0, 1))
        for start, end, label in sorted(marked, key=lambda span: (span[0] - span[1], span)):
            first, last = int(np.searchsorted(ends, start, "right")), int(np.searchsorted(starts, end, "left"))
            if first >= last or tags[first:last].any():
                lost[row, label] += 1
                continue
            widened[row] += starts[first] < start or ends[last - 1] > end
            tags[first:last] = 2 + 2 * label
            tags[first] = 1 + 2 * label
        codes.append(tags)
    offsets = np.concatenate([[0], np.cumsum([len(tags) for tags in codes])]).astype(np.int64)
    return Tags(np.concatenate([np.zeros(0, np.int64), *codes]), offsets, widened, lost)


def runs(codes: Array, offsets: Array) -> tuple[Array, Array, Array]:
    """(first token, token after the last, label) of every span that tags say, (s,) each, rising.

    An I that follows no tag of its label begins a span, as conlleval has it. O(t).
    """
    labels, begins = (codes - 1) >> 1, (codes & 1) == 1
    before = np.concatenate([[-1], labels[:-1]])[: len(codes)]
    fresh = np.zeros(len(codes) + 1, dtype=bool)
    fresh[offsets] = True
    fresh = fresh[: len(codes)]
    inside = labels >= 0
    opens = inside & (begins | (before != labels) | fresh)
    starts = np.flatnonzero(opens)
    # a span ends before the next token that is outside or opens another
    stops = np.flatnonzero(np.concatenate([opens | ~inside | fresh, [True]]))
    return starts, stops[np.searchsorted(stops, starts, "right")], labels[starts]


def placed(tags: Tags, texts: Sequence[str]) -> list[Places]:
    """The spans of n texts that tags say, where they lie in the texts."""
    starts, ends, labels = runs(tags.codes, tags.offsets)
    owner = np.searchsorted(tags.offsets, starts, "right") - 1
    out: list[Places] = [[] for _ in texts]
    known: dict[int, list[tuple[int, int]]] = {}
    for row, first, last, label in zip(*(a.tolist() for a in (owner, starts, ends, labels)), strict=True):
        if row not in known:
            known = {row: bounds(texts[row])}
        at = int(tags.offsets[row])
        out[row].append((known[row][first - at][0], known[row][last - 1 - at][1], label))
    return out


def read_tags(tags: Sequence[str], text: str, place: str = "tags") -> list[tuple[int, int, str]]:
    """(start, end, label) of the spans that tags such as "B-PER", "I-PER" and "O" say (BIO, or IOB of CoNLL-2003).

    One tag for every token between white space of the text. InputError for another number of tags or another tag.
    """
    words = [match.span() for match in re.finditer(r"\S+", text)]
    if len(words) != len(tags):
        raise InputError(
            f"{place}: {len(tags)} tags for {len(words)} words; give one tag for every word between white space."
        )
    out: list[tuple[int, int, str]] = []
    before = ""
    for tag, (start, end) in zip(tags, words, strict=True):
        kind, _, label = str(tag).partition("-")
        if (kind, label) != ("O", "") and (kind not in ("B", "I") or not label):
            raise InputError(f'{place}: {tag!r} is not a tag; write "O", "B-label" or "I-label".')
        if kind == "I" and label == before:
            out[-1] = (out[-1][0], end, label)
        elif kind != "O":
            out.append((start, end, label))
        before = label
    return out
