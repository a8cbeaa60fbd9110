"""One shard file of texts: how tables become one, how it is written, how it is read."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pat

from labelwise.core.errors import DamagedRecord
from labelwise.store.files import write_atomically

GROUP_ROWS = 1024
"""Rows that are read together: one text costs a few hundred KB of reading at most, not a shard."""


def name_of(digests: bytes) -> str:
    """The shard's name: the hash of its texts' digests, in order."""
    return hashlib.blake2b(digests, digest_size=16).hexdigest()


def write(path: Path, tables: Sequence[Any]) -> None:
    """Write tables of id, text, source_id, split and perhaps meta as one file: whole and durable, or not at all."""
    table = united(tables)

    def fill(file: BinaryIO) -> None:
        pq.write_table(
            table, file, row_group_size=GROUP_ROWS, compression="zstd", use_dictionary=["split"],
            write_statistics=False, write_page_checksum=True,
        )  # fmt: skip

    write_atomically(path, fill)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The shard's pyarrow ParquetFile; DamagedRecord if it is missing or not as written."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except FileNotFoundError:
        raise DamagedRecord(f"{path}: the shard of texts is missing. Restore it from a backup.") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        detail = str(error).partition("\n")[0]
        raise DamagedRecord(f"{path}: the shard of texts is damaged ({detail}). Restore it from a backup.") from error


def united(tables: Sequence[Any]) -> Any:
    """The tables below each other; their metadata columns are united by name.

    A column that some tables lack is null there. Types are widened where that loses nothing;
    where no type fits all, and where Parquet has none (an empty struct), values become their JSON.
    """
    base = pa.concat_tables([t.select([n for n in t.column_names if n != "meta"]) for t in tables])
    metas = [_fields(table) for table in tables]
    columns = {name: _united([(m.get(name), len(t)) for m, t in zip(metas, tables, strict=True)])
               for name in dict.fromkeys(name for meta in metas for name in meta)}  # fmt: skip
    if not columns:
        return base
    return base.append_column("meta", pa.StructArray.from_arrays(list(columns.values()), names=list(columns)))


def _fields(table: Any) -> dict[str, Any]:
    """The metadata columns of a table by name."""
    if "meta" not in table.column_names:
        return {}
    meta = pa.concat_arrays(table.column("meta").chunks) if len(table) else table.column("meta").combine_chunks()
    return dict(zip((field.name for field in meta.type), meta.flatten(), strict=True))


def _united(parts: Sequence[tuple[Any | None, int]]) -> Any:
    """One array of parts given as (array or None if absent, rows)."""
    arrays = [pa.nulls(rows) if array is None else array for array, rows in parts]
    try:
        schemas = [pa.schema([("x", array.type)]) for array in arrays]
        kind = pa.unify_schemas(schemas, promote_options="permissive").field("x").type
        if storable(kind):
            return pa.concat_arrays([array.cast(kind) for array in arrays])
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        pass  # no common type without loss: fall through to JSON, which holds anything
    return pa.concat_arrays([_as_json(array) for array in arrays])


def _as_json(array: Any) -> Any:
    """Strings as they are, every other value as JSON."""
    values = array.to_pylist()
    return pa.array([v if v is None or isinstance(v, str) else json.dumps(v, default=str) for v in values], pa.string())


def storable(kind: Any) -> bool:
    """Whether Parquet can hold the type: no struct in it may be empty."""
    if pat.is_nested(kind):
        inner = [kind.field(i).type for i in range(kind.num_fields)]
        return bool(inner) and all(map(storable, inner))
    return True
