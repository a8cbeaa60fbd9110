"""Tables to files: CSV, JSON Lines, Parquet; whole or not at all."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from labelwise.core import InputError
from labelwise.store.files import write_atomically

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_table(table: pa.Table, path: Path) -> None:
    """Write by the path's ending. InputError for another ending or a folder that does not exist.

    In CSV, text that a spreadsheet would run as a formula gets a leading apostrophe, and so does text
    that already begins with one; ``unguarded`` takes it off again.
    """
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first.")
    buffer = io.BytesIO()
    if path.suffix == ".parquet":
        pq.write_table(table, buffer, compression="zstd")
    elif path.suffix == ".csv":
        pa_csv.write_csv(_guarded(table), buffer)
    elif path.suffix == ".jsonl":
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist())
        buffer.writelines(line.encode("utf-8", "surrogatepass") for line in lines)
    else:
        what = repr(path.suffix) if path.suffix else "a file without an ending"
        raise InputError(f"{path}: cannot write {what}; use .csv, .jsonl or .parquet.")
    write_atomically(path, buffer.getvalue())


def _guarded(table: pa.Table) -> pa.Table:
    columns = []
    for column in table.columns:
        if pa.types.is_string(column.type):
            column = pa.array([guarded(value) for value in column.to_pylist()], pa.string())
        columns.append(column)
    return pa.table(columns, names=table.column_names)


def guarded(value: str | None) -> str | None:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if value and value.startswith((*FORMULA, "'")) else value


def unguarded(value: Any) -> Any:
    """The cell as it was before ``guarded``."""
    return value[1:] if isinstance(value, str) and value[:1] == "'" and value[1:].startswith((*FORMULA, "'")) else value
