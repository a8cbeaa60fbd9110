"""Which texts and source ids are known: exact, vectorised, and about 60 bytes a text."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from labelwise.core.intake import SPLITS

WIDTH = 16


class Digests:
    """Numbers distinct 16-byte digests 0, 1, ... in the order they are added.

    A hash table with linear probing, at most half full: the digests are hashes already, so their
    first bits are the slot. 16 bytes a digest plus 8 to 16 for slots, where a set of ``bytes``
    takes over 100.
    """

    def __init__(self) -> None:
        self._words = np.empty((1024, 2), dtype=np.uint64)
        self._slots = np.full(2048, -1, dtype=np.int32)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, digests: bytes) -> npt.NDArray[np.int64]:
        """(n,) the number of each of n concatenated digests, -1 where it is unknown. O(n)."""
        words = np.frombuffer(digests, dtype=np.uint64).reshape(-1, 2)
        found = np.full(len(words), -1, dtype=np.int64)
        slots, pending = self._first_slots(words), np.arange(len(words))
        while len(pending):
            numbers = self._slots[slots]
            same = (numbers >= 0) & (self._words[numbers] == words[pending]).all(axis=1)
            found[pending[same]] = numbers[same]
            going = (numbers >= 0) & ~same
            pending, slots = pending[going], self._next(slots[going])
        return found

    def add(self, digests: bytes) -> None:
        """Number new digests, all distinct and none known. Amortised O(n)."""
        words = np.frombuffer(digests, dtype=np.uint64).reshape(-1, 2)
        start, self._count = self._count, self._count + len(words)
        if self._count > len(self._words):
            room = max(self._count, len(self._words) * 3 // 2)
            self._words = np.concatenate([self._words[:start], np.empty((room - start, 2), dtype=np.uint64)])
        self._words[start : self._count] = words
        if 2 * self._count > len(self._slots):
            size = len(self._slots)
            while 2 * self._count > size:
                size *= 2
            self._slots = np.full(size, -1, dtype=np.int32)
            start = 0
        self._place(np.arange(start, self._count, dtype=np.int32))

    def _place(self, numbers: npt.NDArray[np.int32]) -> None:
        """Give each number the first free slot of its digest; rivals for one slot go round again."""
        slots = self._first_slots(self._words[numbers])
        while len(numbers):
            free = self._slots[slots] < 0
            self._slots[slots[free]] = numbers[free]
            going = self._slots[slots] != numbers
            numbers, slots = numbers[going], self._next(slots[going])

    def _first_slots(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        return (words[:, 0] & np.uint64(len(self._slots) - 1)).astype(np.int64)

    def _next(self, slots: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return (slots + 1) & (len(self._slots) - 1)


class Verdict(IntEnum):
    """What a row is, given all rows before it."""

    NEW = 0
    DUPLICATE = 1
    CLASH = 2


class Seen:
    """Judges rows in order: new, a duplicate of a known text, or a source id that another text has.

    ``moved`` holds the texts (by digest) that were declared in different splits, with the split
    that wins by rank.
    """

    def __init__(self) -> None:
        self._texts, self._sources = Digests(), Digests()
        self._splits = bytearray()
        self._owners = array("i")
        self.moved: dict[bytes, int] = {}

    def judge(
        self, digests: Sequence[bytes], sources: Sequence[bytes | None], splits: Sequence[str | None]
    ) -> list[Verdict]:
        """One verdict per row; remembers the texts and source ids of all rows that do not clash.

        ``sources`` are digests of source ids; a split of None was not declared and never moves a text.
        """
        numbers = self._texts.find(b"".join(digests)).tolist()
        found = self._sources.find(b"".join(source for source in sources if source is not None)).tolist()
        owners = iter([self._owners[i] if i >= 0 else -1 for i in found])
        new: dict[bytes, int] = {}
        named: dict[bytes, int] = {}
        verdicts = []
        for digest, number, source, split in zip(digests, numbers, sources, splits, strict=True):
            if number < 0:
                number = new.get(digest, -1)
            owner = number
            if source is not None:
                known = next(owners)
                owner = known if known >= 0 else named.get(source, -1)
                if owner >= 0 and owner != number:
                    verdicts.append(Verdict.CLASH)
                    continue
            if number < 0:
                number = new[digest] = len(self._splits)
                self._splits.append(SPLITS.index(split or "pool"))
                verdicts.append(Verdict.NEW)
            else:
                self._compare(digest, number, split)
                verdicts.append(Verdict.DUPLICATE)
            if source is not None and owner < 0:
                named[source] = number
        self._texts.add(b"".join(new))
        self._sources.add(b"".join(named))
        self._owners.extend(named.values())
        return verdicts

    def _compare(self, digest: bytes, number: int, split: str | None) -> None:
        first, rank = self._splits[number], SPLITS.index(split) if split else None
        if rank is not None and rank != first:
            self.moved[digest] = max(rank, first, self.moved.get(digest, 0))
