"""Other people's files to tables of texts: which files, which columns, which rows are good.

Everything streams: memory is bounded by a chunk (``formats.ROWS`` rows, 8 Mi characters) and not
by the file. What is wrong with a file as a whole is an InputError; what is wrong with one row is
a Reject, so that rows read = rows yielded + rejects.
"""

from __future__ import annotations

import glob
import json
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.types as pat

from labelwise.connect.delimited import delimited, is_number
from labelwise.connect.formats import Chunk, Source, hugging_face, json_lines, json_list, parquet, plain
from labelwise.connect.lines import CODECS, STDIN
from labelwise.core.errors import InputError, unknown
from labelwise.core.intake import Reject, fault, faults

SOURCES: dict[str, Source] = {
    ".csv": partial(delimited, ","),
    ".tsv": partial(delimited, "\t"),
    ".jsonl": json_lines,
    ".ndjson": json_lines,
    ".json": json_list,
    ".txt": plain,
    ".parquet": parquet,
}
READABLE = (
    "Can be read: .csv, .tsv, .jsonl, .ndjson, .json, .txt (each also as .gz or .zst), .parquet, "
    "and folders written by datasets' save_to_disk."
)


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns mean what; every other column is metadata.

    ``text`` defaults to the column "text", or else to the only other column of strings; ``id`` and
    ``split`` default to the columns of these names, if there are any.
    """

    text: str | None = None
    id: str | None = None
    split: str | None = None


def expand(patterns: Sequence[str]) -> list[Path]:
    """The files that paths, folders and globs stand for, each once, sorted within a pattern.

    Of a folder, the readable files directly in it; a folder written by save_to_disk stands for
    itself, and ``-`` for standard input. InputError if a pattern matches nothing, a folder holds
    nothing readable, or a file's format cannot be read.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        exact = Path(pattern)
        if exact == STDIN:
            found[STDIN] = STDIN
            continue
        matches = [exact] if exact.exists() else [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
        if not matches:
            raise InputError(f"{pattern}: no file matches. Check the path, relative to {Path.cwd()}.")
        for match in matches:
            for path in _files(match):
                found.setdefault(path.resolve(), path)
    if not found:
        raise InputError("no file was named. Give files, folders or patterns such as 'data/*.csv'.")
    return list(found.values())


def _files(path: Path) -> list[Path]:
    if path.is_dir() and not _is_dataset(path):
        inside = sorted(p for p in path.iterdir() if not p.name.startswith(".") and source_of(p))
        if not inside:
            raise InputError(f"{path}: the folder holds no file that can be read. {READABLE}")
        return inside
    if not source_of(path):
        raise InputError(f"{path}: the format {path.suffix or 'without a suffix'!r} cannot be read. {READABLE}")
    return [path]


def _is_dataset(path: Path) -> bool:
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def source_of(path: Path) -> Source | None:
    """The reader of a path by its suffixes, None if there is none; of standard input, by its first character."""
    if path == STDIN:
        start = sys.stdin.buffer.peek(1).lstrip(b"\xef\xbb\xbf \t\r\n")  # type: ignore[union-attr]
        return json_lines if start.startswith(b"{") else plain
    if path.is_dir():
        return hugging_face if _is_dataset(path) else None
    name = path.name.lower()
    inner = next((name.removesuffix(codec) for codec in CODECS if name.endswith(codec)), None)
    suffix = Path(inner or name).suffix
    return None if inner and suffix == ".parquet" else SOURCES.get(suffix)


def read(paths: Sequence[Path], columns: Columns, rejects: Callable[[Reject], None]) -> Iterator[Any]:
    """Arrow tables of at most a few thousand good rows each, file by file, in the order given.

    Columns: text, source_id, split (as declared), place: strings, null where there is none but in
    text and place; and ``meta``, a struct of the file's other columns, if it has any. InputError if
    a file cannot be read, is empty, or lacks a column that was named.
    """
    shared = Counter(path.name for path in paths)
    for path in paths:
        source = source_of(path)
        if source is None:
            raise InputError(f"{path}: cannot be read. {READABLE}")
        place = "stdin" if path == STDIN else path.name if shared[path.name] == 1 else str(path)
        counted = _Counted(rejects)
        roles, any_rows = None, False
        for chunk in source(path, place, counted):
            if not len(chunk.numbers):
                continue
            roles, any_rows = roles or _roles(chunk, columns), True
            if len(table := _table(chunk, roles, counted)):
                yield table
        if not any_rows and not counted.count:
            raise InputError(f"{place}: the file holds no rows. Give a file with at least one text.")


class _Counted:
    """Hands rejects on and knows whether there were any."""

    def __init__(self, rejects: Callable[[Reject], None]) -> None:
        self._rejects = rejects
        self.count = 0

    def __call__(self, reject: Reject) -> None:
        self.count += 1
        self._rejects(reject)


def _roles(chunk: Chunk, columns: Columns) -> Columns:
    """The columns by name as they are in this file; InputError if one that was named is not there."""
    names = list(chunk.columns)
    for role, name in (("text", columns.text), ("id", columns.id), ("split", columns.split)):
        if name is not None and name not in names:
            raise unknown(f"column for {role}", name, names, chunk.place)
    text = columns.text or _text_column(chunk, {columns.id, columns.split, "id", "split"})
    values = chunk.columns[text]
    if isinstance(values, pa.Array) and not _is_text(values):
        raise InputError(
            f"{chunk.place}: column {text!r} holds {values.type}, not texts. "
            f"Name another column as the text: {', '.join(names)}."
        )
    return Columns(
        text,
        columns.id or ("id" if "id" in names and text != "id" else None),
        columns.split or ("split" if "split" in names and text != "split" else None),
    )


def _text_column(chunk: Chunk, taken: Collection[str | None]) -> str:
    """The column "text", or the only other one that holds strings; InputError listing what there is."""
    if "text" in chunk.columns:
        return "text"
    texts = [name for name, values in chunk.columns.items() if name not in taken and _is_text(values)]
    if len(texts) == 1:
        return texts[0]
    problem = unknown("column for text", "text", chunk.columns, chunk.place)
    raise InputError(f"{problem} Say which of them holds the texts; the names come from the file's header or keys.")


def _is_text(values: Any) -> bool:
    """Whether a column holds strings: by type in Arrow; of lists, strings of which one is no number."""
    if isinstance(values, pa.Array):
        kind = values.type.value_type if pat.is_dictionary(values.type) else values.type
        return bool(pat.is_string(kind) or pat.is_large_string(kind) or pat.is_string_view(kind))
    filled = [value for value in values if value is not None and value != ""]
    return all(isinstance(value, str) for value in filled) and not all(map(is_number, filled))


def _table(chunk: Chunk, roles: Columns, rejects: Callable[[Reject], None]) -> Any:
    """The good rows of a chunk as a table; every other row is rejected."""
    texts, ids, splits = (_values(chunk, name) for name in (roles.text, roles.id, roles.split))
    meta = {name: values for name, values in chunk.columns.items() if name not in (roles.text, roles.id, roles.split)}
    flaws = {row: (reason, texts[row]) for row, reason in (_broken_rows(meta) | faults(texts)).items()}
    for role, values in (("id", ids), ("split", splits)):
        for row in faults(values):
            if row not in flaws and (reason := _name_fault(role, values[row])):
                flaws[row] = reason, values[row]
    for row in sorted(flaws):
        reason, value = flaws[row]
        rejects(Reject(f"{chunk.place}:{chunk.numbers[row]}", reason, _shown(value)))
    good = [row for row in range(len(texts)) if row not in flaws]
    columns = {
        "text": pa.array([texts[row] for row in good], pa.string()),
        "source_id": pa.array([_name(ids[row]) for row in good], pa.string()),
        "split": pa.array([_name(splits[row]) for row in good], pa.string()),
        "place": pa.array([f"{chunk.place}:{chunk.numbers[row]}" for row in good], pa.string()),
    }
    if meta:
        columns["meta"] = _struct(meta, good, len(texts))
    return pa.table(columns)


def _values(chunk: Chunk, name: str | None) -> Sequence[Any]:
    """(n,) Python values of a column, None where it is absent; bytes that are not UTF-8 become lone surrogates."""
    column = chunk.columns.get(name) if name else None
    if column is None:
        return [None] * len(chunk.numbers)
    if not isinstance(column, pa.Array):
        return column  # type: ignore[no-any-return]
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:
        raw = column.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "surrogateescape") for value in raw]


def _name_fault(role: str, value: object) -> str | None:
    """Why a value cannot be an id or a split; whole numbers can, and blanks stand for none."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return None
    if not isinstance(value, str):
        return f"{role} is neither a string nor a whole number"
    return f"{role} is not readable text" if value.strip() and fault(value) else None


def _name(value: object) -> str | None:
    return None if value is None else str(value).strip() or None


def _broken_rows(meta: dict[str, Any]) -> dict[int, str]:
    """Rows with invalid UTF-8 in an Arrow metadata column; Parquet does not check what was written."""
    bad: dict[int, str] = {}
    for name, values in meta.items():
        if isinstance(values, pa.Array) and not _is_valid(values):
            reason = f"invalid UTF-8 in column {name!r}"
            bad |= {row: reason for row in range(len(values)) if not _is_valid(values.slice(row, 1))}
    return bad


def _is_valid(values: Any) -> bool:
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _struct(meta: dict[str, Any], good: list[int], rows: int) -> Any:
    """(len(good),) struct of the metadata of the good rows, with the columns' own types."""
    fields = []
    for values in meta.values():
        array = values if isinstance(values, pa.Array) else _inferred(values)
        if pat.is_dictionary(array.type):
            array = array.dictionary_decode()
        fields.append(array if len(good) == rows else array.take(pa.array(good, pa.int64())))
    return pa.StructArray.from_arrays(fields, names=list(meta))


def _inferred(values: Sequence[Any]) -> Any:
    """Python values as an Arrow array; where no one type fits them all, as their JSON."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([v if v is None or isinstance(v, str) else json.dumps(v) for v in values], pa.string())


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
