"""Tables to files: CSV, JSON Lines, Parquet; whole or not at all, table by table."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from labelwise.core import InputError
from labelwise.store.files import write_atomically

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_table(table: pa.Table, path: Path) -> None:
    """Write one table as ``write_tables`` does."""
    write_tables([table], table.schema, path)


def write_tables(tables: Iterable[pa.Table], schema: pa.Schema, path: Path) -> None:
    """Write tables of one schema by the path's ending, holding one at a time; the file appears when all are written.

    InputError for another ending or a folder that does not exist. In CSV, lists are JSON; text that a
    spreadsheet would run as a formula gets a leading apostrophe, and so does text that already begins
    with one; ``unguarded`` takes it off again.
    """
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first.")
    if path.suffix not in (".csv", ".jsonl", ".parquet"):
        what = repr(path.suffix) if path.suffix else "a file without an ending"
        raise InputError(f"{path}: cannot write {what}; use .csv, .jsonl or .parquet.")

    def write(file: BinaryIO) -> None:
        if path.suffix == ".parquet":
            with pq.ParquetWriter(file, schema, compression="zstd") as writer:
                for table in tables:
                    writer.write_table(table)
        elif path.suffix == ".csv":
            file.write(csv_lines(schema.empty_table(), header=True))
            file.writelines(map(csv_lines, tables))
        else:
            file.writelines(map(json_lines, tables))

    write_atomically(path, write)


def csv_lines(table: pa.Table, header: bool = False) -> bytes:
    """The rows of a table as CSV in UTF-8."""
    buffer = io.BytesIO()
    pa_csv.write_csv(_guarded(table), buffer, pa_csv.WriteOptions(include_header=header))
    return buffer.getvalue()


def json_lines(table: pa.Table, ascii_only: bool = False) -> bytes:
    """The rows of a table as JSON objects, one a line, in UTF-8."""
    lines = (json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in table.to_pylist())
    return "".join(lines).encode("utf-8", "surrogatepass")


def _guarded(table: pa.Table) -> pa.Table:
    columns = []
    for column in table.columns:
        if pa.types.is_list(column.type):
            texts = (None if value is None else json.dumps(value, ensure_ascii=False) for value in column.to_pylist())
            column = pa.array(texts, pa.string())
        elif pa.types.is_string(column.type):
            column = pa.array([guarded(value) for value in column.to_pylist()], pa.string())
        columns.append(column)
    return pa.table(columns, names=table.column_names)


def guarded(value: str | None) -> str | None:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if value and value.startswith((*FORMULA, "'")) else value


def unguarded(value: Any) -> Any:
    """The cell as it was before ``guarded``."""
    return value[1:] if isinstance(value, str) and value[:1] == "'" and value[1:].startswith((*FORMULA, "'")) else value
