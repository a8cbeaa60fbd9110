"""CSV and TSV: a header, then rows. One bad row costs that row, whatever its quotes do."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

from labelwise.connect.formats import MAX_COLUMNS, Chunk, batched, flaw, unique
from labelwise.connect.lines import LINE_LIMIT, blocks
from labelwise.core.errors import InputError
from labelwise.core.intake import Reject, encodable

# The limit is one number for the whole process; its default would refuse texts of 131,072 characters.
csv.field_size_limit(max(csv.field_size_limit(), 2 * LINE_LIMIT))

RESCAN_FREE = 4 * LINE_LIMIT


class _Lines:
    """Feeds lines to csv.reader, remembers those of the current record, and can give them back."""

    def __init__(self, path: Path, place: str) -> None:
        self._lines = (line for block in blocks(path, place) for line in block)
        self._returned: list[str] = []
        self._place = place
        self._read = self._rescanned = self._size = 0
        self.number = 0
        self.record: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._returned.pop() if self._returned else next(self._lines)
        self.number += 1
        self.record.append(line)
        self._size += len(line)
        if self._size > LINE_LIMIT and len(self.record) > 1:
            raise csv.Error("record over the limit")
        return line

    def done(self) -> int:
        """The record is complete: forget its lines and return its size."""
        size, self._size = self._size, 0
        self._read += size
        self.record.clear()
        return size

    def give_back(self) -> None:
        """Let all but the record's first line be read again. InputError if that would never end."""
        self._rescanned += self._size
        self._returned.extend(reversed(self.record[1:]))
        self.number -= len(self.record) - 1
        self.record = self.record[:1]
        self._size = len(self.record[0])
        self.done()
        if self._rescanned > RESCAN_FREE + 4 * self._read:
            raise InputError(
                f"{self._place}:{self.number}: quotes are opened and not closed again and again. "
                "Write the file with a CSV writer that doubles the quotes inside a field."
            )


def delimited(delimiter: str, path: Path, place: str, rejects: Callable[[Reject], None]) -> Iterator[Chunk]:
    """Chunks of a delimited file with a header; all values are strings, exactly as written.

    A record may span lines; its number is that of its first line. Blank lines are no rows.
    After a malformed record, reading goes on at the very next line. InputError if the header is
    missing or unusable. O(LINE_LIMIT) memory.
    """
    lines = _Lines(path, place)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    names = _header(reader, place, lines)
    if names:
        for numbers, rows in batched(_rows(reader, lines, len(names), place, rejects)):
            yield Chunk(place, numbers, dict(zip(names, zip(*rows, strict=True), strict=True)))


def _header(reader: Iterator[list[str]], place: str, lines: _Lines) -> list[str]:
    """The column names; none for a file without content; InputError if they cannot be names."""
    try:
        cells = next((row for row in reader if row), [])
    except csv.Error as error:
        raise InputError(f"{place}:{lines.number}: the header is malformed ({error}). Correct the quotes.") from None
    lines.done()
    if reason := flaw("".join(cells)):
        raise InputError(f"{place}:1: the header cannot be read: {reason}. Save the file as UTF-8.")
    odd = next((cell for cell in cells if is_number(cell) or len(cell) > 200), None)
    if odd is not None:
        raise InputError(
            f"{place}:1: {odd[:60]!r} is not a column name; the first line must be a header. "
            "Put one there, for example: text"
        )
    if len(cells) > MAX_COLUMNS:
        raise InputError(f"{place}:1: {len(cells)} columns; at most {MAX_COLUMNS} can be read. Is this a table?")
    names = [cell.strip() or f"column_{i}" for i, cell in enumerate(cells, 1)]
    unique(names, f"{place}:1")
    return names


def is_number(cell: str) -> bool:
    """Whether a cell reads as a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _rows(
    reader: Iterator[list[str]], lines: _Lines, width: int, place: str, rejects: Callable[[Reject], None]
) -> Iterator[tuple[int, list[str], int]]:
    """(number, fields, characters) of every good row; each bad one is rejected by itself."""
    while True:
        start = lines.number + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            rejects(Reject(f"{place}:{start}", flaw(lines.record[0]) or _reason(error), lines.record[0]))
            lines.give_back()
            continue
        if row is None:
            return
        if not row:
            lines.done()
            continue
        reason = None if _clean(row) else flaw("".join(row))
        if not reason and len(row) != width:
            reason = "wrong number of fields"
        if reason:
            fields = f"{len(row)} fields, the header has {width}: " if len(row) != width else ""
            rejects(Reject(f"{place}:{start}", reason, fields + "".join(lines.record)))
            lines.done()
        else:
            yield start, row, lines.done()


def _clean(row: list[str]) -> bool:
    return all(map(encodable, row))


def _reason(error: csv.Error) -> str:
    """Our words for what the parser found."""
    said = str(error)
    if "new-line" in said:
        return "bare carriage return outside quotes"
    return "quote is never closed" if "unexpected end" in said or "limit" in said else "malformed quotes"
