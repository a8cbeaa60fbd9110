"""Files to chunks of rows, format by format. What a text is, and which column it is, is decided in ``readers``.

A chunk holds a few thousand rows: their numbers in the file (the line a row starts at, or its
position from 1) and their columns, as lists of Python values or as Arrow arrays. Rows that cannot
become columns at all are rejected here. CSV is parsed by Python's own reader, not by Arrow's: it
gives line numbers that stay right after quoted line feeds and after bad rows, keeps "007" as it
is, and is fast enough (a million short rows in a few seconds).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from labelwise.connect.lines import LINE_LIMIT, OVERLONG, blocks
from labelwise.core.errors import InputError, MissingExtra
from labelwise.core.intake import Reject, encodable

ROWS = 4096
CHARACTERS = 8 << 20
"""A chunk ends at this many rows or, of text formats, about this many characters."""

MAX_COLUMNS = 1000

DECODER = json.JSONDecoder()
BLANKS = " \t\r\n"
NOT_BLANK = re.compile(r"[^ \t\r\n]")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of one file: ``numbers`` (n,) and ``columns``, each (n,). ``place`` names the file."""

    place: str
    numbers: Sequence[int]
    columns: Mapping[str, Any]


Source = Callable[[Path, str, Callable[[Reject], None]], Iterator[Chunk]]
"""(path, its name in messages, rejects) -> chunks."""


def flaw(line: str) -> str | None:
    """What the decoding of a line or row left behind, as a fixed phrase; None if all was well."""
    if encodable(line):
        return None
    return f"line is longer than {LINE_LIMIT >> 20} MiB" if OVERLONG in line else "invalid UTF-8"


def numbered(path: Path, place: str, rejects: Callable[[Reject], None]) -> Iterator[tuple[int, str]]:
    """(number, line) of every line that could be decoded; the others are rejected."""
    number = 0
    for lines in blocks(path, place):
        sound = encodable("".join(lines))
        for line in lines:
            number += 1
            if not sound and (reason := flaw(line)):
                rejects(Reject(f"{place}:{number}", reason, line))
            else:
                yield number, line


def batched(rows: Iterable[tuple[int, Any, int]]) -> Iterator[tuple[list[int], list[Any]]]:
    """(number, row, size) triples in batches bounded by rows and by characters."""
    numbers: list[int] = []
    batch: list[Any] = []
    held = 0
    for number, row, size in rows:
        numbers.append(number)
        batch.append(row)
        held += size
        if len(batch) == ROWS or held > CHARACTERS:
            yield numbers, batch
            numbers, batch, held = [], [], 0
    if batch:
        yield numbers, batch


def plain(path: Path, place: str, rejects: Callable[[Reject], None]) -> Iterator[Chunk]:
    """One text a line; its only column is ``text``."""
    rows = ((number, line.rstrip("\r\n"), len(line)) for number, line in numbered(path, place, rejects))
    for numbers, texts in batched(rows):
        yield Chunk(place, numbers, {"text": texts})


def json_lines(path: Path, place: str, rejects: Callable[[Reject], None]) -> Iterator[Chunk]:
    """One JSON object a line; blank lines are no rows."""

    def rows() -> Iterator[tuple[int, Any, int]]:
        for number, line in numbered(path, place, rejects):
            if line.isspace():
                continue
            try:
                row = json.loads(line)
            except RecursionError:
                rejects(Reject(f"{place}:{number}", "JSON is nested too deeply", line))
            except ValueError:
                rejects(Reject(f"{place}:{number}", "malformed JSON", line))
            else:
                if reason := _row_fault(row, line):
                    rejects(Reject(f"{place}:{number}", reason, line))
                else:
                    yield number, row, len(line)

    return _objects(place, rows())


def json_list(path: Path, place: str, rejects: Callable[[Reject], None]) -> Iterator[Chunk]:
    """A file that is one JSON list of objects, read element by element; numbers count elements."""

    def rows() -> Iterator[tuple[int, Any, int]]:
        for number, (row, source) in enumerate(_elements(path, place), 1):
            if reason := flaw(source) or _row_fault(row, source):
                rejects(Reject(f"{place}:{number}", reason, source))
            else:
                yield number, row, len(source)

    return _objects(place, rows())


def _row_fault(row: object, source: str) -> str | None:
    if not isinstance(row, dict):
        return "not a JSON object"
    # json accepts escaped lone surrogates, which neither Arrow nor UTF-8 can hold.
    if "\\ud" in source.lower() and not encodable(json.dumps(row, ensure_ascii=False)):
        return "lone surrogate in JSON"
    return None


def _objects(place: str, rows: Iterable[tuple[int, dict[str, Any], int]]) -> Iterator[Chunk]:
    """Chunks of JSON objects; a key that a row lacks is null. InputError beyond MAX_COLUMNS keys."""
    for numbers, batch in batched(rows):
        names = dict.fromkeys(name for row in batch for name in row)
        if len(names) > MAX_COLUMNS:
            raise InputError(
                f"{place}: more than {MAX_COLUMNS} different keys in one file. "
                "Keys are column names here; put what varies into values."
            )
        yield Chunk(place, numbers, {name: [row.get(name) for row in batch] for name in names})


def _elements(path: Path, place: str) -> Iterator[tuple[Any, str]]:
    """(value, source) of each element of a top-level JSON list; holds one element plus one block."""
    more = ("".join(lines) for lines in blocks(path, place))
    text = next(more, "").lstrip(BLANKS)
    if not text:
        return
    if not text.startswith("["):
        raise InputError(f"{place}: is no JSON list. Write one JSON object a line and name the file .jsonl.")
    count, at, end = 0, 1, ","
    while end == ",":
        if not count and text.startswith("]", _skip(text, at)):
            at, end = _skip(text, at) + 1, "]"
            break
        try:
            value, start, stop, end = _element(text, at)
        except RecursionError:
            raise InputError(f"{place}:{count + 1}: JSON is nested too deeply. Flatten it or leave it out.") from None
        except ValueError:
            text, at = text[at:], 0
            if len(text) > LINE_LIMIT or not (addition := next(more, "")):
                end = ""
                break
            text += addition
            continue
        count += 1
        yield value, text[start:stop]
        at = _skip(text, stop) + 1
    if not end or text[at:].strip(BLANKS) or any(rest.strip(BLANKS) for rest in more):
        raise InputError(
            f"{place}: malformed JSON after {count} elements of the list, near {text[at : at + 60]!r}. "
            "Correct it, or write one JSON object a line and name the file .jsonl."
        )


def _element(text: str, at: int) -> tuple[Any, int, int, str]:
    """(value, start, stop, the comma or bracket after it); ValueError if it is malformed or goes on."""
    start = _skip(text, at)
    value, stop = DECODER.raw_decode(text, start)
    after = _skip(text, stop)
    end = text[after : after + 1]
    if end not in {",", "]"}:
        raise ValueError("not at the end of an element")
    return value, start, stop, end


def _skip(text: str, at: int) -> int:
    """The first position from ``at`` that is not JSON whitespace."""
    found = NOT_BLANK.search(text, at)
    return found.start() if found else len(text)


def parquet(path: Path, place: str, rejects: Callable[[Reject], None]) -> Iterator[Chunk]:
    """A Parquet file, a few thousand rows at a time; its damage cannot be told row by row."""
    try:
        with pq.ParquetFile(path) as file:
            yield from arrow(place, file.schema_arrow, (pa.table(b) for b in _batches(file)))
    except (pa.ArrowException, OSError) as error:
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{place}: is not a readable Parquet file ({detail}). Write it again.") from error


def _batches(file: Any) -> Iterator[Any]:
    return file.iter_batches(batch_size=ROWS)  # type: ignore[no-any-return]


def arrow(place: str, schema: Any, tables: Iterable[Any]) -> Iterator[Chunk]:
    """Chunks of Arrow tables; InputError if two columns share a name."""
    unique(schema.names, place)
    start = 1
    for table in tables:
        columns = {name: table.column(name).combine_chunks() for name in table.column_names}
        yield Chunk(place, range(start, start + len(table)), columns)
        start += len(table)


def unique(names: Sequence[str], place: str) -> None:
    """InputError naming the first column name that occurs twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{place}: column {name!r} occurs twice. Give every column its own name.")
        seen.add(name)


def hugging_face(path: Path, place: str, rejects: Callable[[Reject], None]) -> Iterator[Chunk]:
    """A folder written by ``save_to_disk``; parts of a DatasetDict get their name as column ``split``."""
    try:
        import datasets
    except ImportError:
        raise MissingExtra(f"{place}: reading a Hugging Face dataset", "datasets") from None
    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise InputError(f"{place}: is not a readable dataset ({error}). Write it again with save_to_disk.") from error
    parts = loaded.items() if isinstance(loaded, dict) else [(None, loaded)]
    for split, part in parts:
        tables = (_named(table, part.features) for table in part.with_format("arrow").iter(batch_size=ROWS))
        for chunk in arrow(f"{place}/{split}" if split else place, part.features.arrow_schema, tables):
            extra = {"split": [str(split)] * len(chunk.numbers)} if split and "split" not in chunk.columns else {}
            yield Chunk(chunk.place, chunk.numbers, {**chunk.columns, **extra})


def _named(table: Any, features: Mapping[str, Any]) -> Any:
    """The table with class numbers replaced by class names, which is what people know; -1 is null."""
    for position, name in enumerate(table.column_names):
        names = getattr(features[name], "names", None)
        if names:
            known = [names[i] if i is not None and 0 <= i < len(names) else None for i in table[name].to_pylist()]
            table = table.set_column(position, name, pa.array(known, pa.string()))
    return table
