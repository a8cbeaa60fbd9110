"""Labelled-data versions: immutable, named by what they contain.

A snapshot is ``<name>.parquet`` (rows sorted by id) and ``<name>.json`` (facts about how it came to
be). The name is a hash of the rows alone, over an encoding that depends on no library: equal rows
have one name whatever their order, their chunks, the compression or the version of pyarrow.

Known trade-offs: facts are not part of the name, so the first facts written with some rows stay;
-0.0 and 0.0 are one number.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from labelwise.core import DamagedRecord, InputError
from labelwise.core.canon import canonical_json, digest_of
from labelwise.store.files import write_atomically

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.string()),  # canonical JSON of the answer
        ("weight", pa.float64()),
        ("split", pa.string()),
        ("guideline", pa.string()),
        ("propensity", pa.float64()),
        ("arm", pa.string()),
        ("annotators", pa.int32()),
    ]
)
LETTERS = {pa.string(): "s", pa.float64(): "d", pa.int32(): "i"}
NAME = re.compile(r"[0-9a-f]{32}")
REMEDY = "Restore it from a backup; `labelwise advance` makes a new snapshot of what the log holds now."


def write(folder: Path | str, rows: pa.Table, facts: Mapping[str, Any]) -> str:
    """Store rows and facts for ever and return their name; the same rows again are stored once.

    Columns may come in any order and chunking; all but id and label may hold nulls. Raises
    InputError for other columns or types, ids that repeat, labels that are not canonical JSON,
    numbers that are not finite, facts that are not JSON. O(n log n).
    """
    rows = _canonical(rows)
    name = _hash(rows)
    manifest = {"snapshot": name, "rows": rows.num_rows, "facts": facts}
    manifest["digest"] = digest_of(manifest)
    with suppress(DamagedRecord):
        read(folder, name)
        return name
    table, about = _paths(folder, name)
    write_atomically(table, lambda file: pq.write_table(rows, file, compression="zstd"))
    # The manifest comes last: where there is one, the snapshot is complete.
    write_atomically(about, canonical_json(manifest).encode())
    return name


def read(folder: Path | str, name: str) -> tuple[pa.Table, dict[str, Any]]:
    """The rows, sorted by id, and the facts of a snapshot.

    Raises InputError for what cannot be a name, DamagedRecord if the snapshot is missing or is not
    what was written. O(n).
    """
    table, about = _paths(folder, name)
    try:
        manifest = json.loads(about.read_bytes())
        digest = manifest.pop("digest")
        intact = digest == digest_of(manifest) and manifest["snapshot"] == name
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError) as error:
        raise DamagedRecord(f"{about}: the manifest cannot be read ({error}). {REMEDY}") from error
    if not intact:
        raise DamagedRecord(f"{about}: the manifest is not what was written. {REMEDY}")
    try:
        with pq.ParquetFile(table) as file:
            rows = _canonical(file.read())
    except (OSError, pa.ArrowException, InputError) as error:
        raise DamagedRecord(f"{table}: the rows cannot be read ({error}). {REMEDY}") from error
    if _hash(rows) != name:
        raise DamagedRecord(f"{table}: the rows are not what was written. {REMEDY}")
    return rows, manifest["facts"]


@dataclass(frozen=True, slots=True)
class Diff:
    """What happened to labels (JSON text) from one snapshot to another, by id in rising order."""

    added: Mapping[str, str]
    removed: Mapping[str, str]
    changed: Mapping[str, tuple[str, str]]


def diff(a: pa.Table, b: pa.Table) -> Diff:
    """Ids that only ``b`` has, that only ``a`` has, and that have another label in ``b`` (old, new).

    Weights, splits and the like are not compared: they move with every new vote. O(n log n).
    """
    a, b = (table.select(["id", "label"]).sort_by("id").combine_chunks() for table in (a, b))
    place = pc.index_in(b["id"], value_set=a["id"].combine_chunks())
    added = b.filter(pc.is_null(place))
    removed = a.filter(pc.invert(pc.is_in(a["id"], value_set=b["id"].combine_chunks())))
    both = b.filter(pc.is_valid(place))
    before = a["label"].take(pc.drop_null(place))
    other = pc.not_equal(before, both["label"])
    moved = zip(
        both["id"].filter(other).to_pylist(),
        before.filter(other).to_pylist(),
        both["label"].filter(other).to_pylist(),
        strict=True,
    )
    return Diff(_labels(added), _labels(removed), {key: (old, new) for key, old, new in moved})


def _labels(rows: pa.Table) -> dict[str, str]:
    return dict(zip(rows["id"].to_pylist(), rows["label"].to_pylist(), strict=True))


def _paths(folder: Path | str, name: str) -> tuple[Path, Path]:
    if not NAME.fullmatch(name):
        raise InputError(f"snapshot {name!r}: is not a name; a snapshot's name has 32 hexadecimal digits.")
    return Path(folder) / f"{name}.parquet", Path(folder) / f"{name}.json"


def _canonical(rows: pa.Table) -> pa.Table:
    """The rows with our schema, sorted by id, in one chunk; InputError if they cannot be a snapshot."""
    if set(rows.column_names) != set(SCHEMA.names) or rows.num_columns != len(SCHEMA.names):
        raise InputError(f"snapshot: columns are {rows.column_names}; give exactly {SCHEMA.names}.")
    try:
        rows = rows.select(SCHEMA.names).cast(SCHEMA).combine_chunks()
    except pa.ArrowException as error:
        raise InputError(f"snapshot: {error}; use the types of snapshots.SCHEMA.") from error
    rows = rows.take(pc.sort_indices(rows["id"]))
    for column in ("id", "label"):
        if rows[column].null_count:
            raise InputError(f"snapshot: {column}: {rows[column].null_count} rows have none; give every row one.")
    if repeated := _first_repeated(rows["id"]):
        raise InputError(f"snapshot: id {repeated!r} occurs twice; give every text one row.")
    for column in ("weight", "propensity"):
        if not pc.all(pc.is_finite(rows[column]), min_count=0).as_py():
            raise InputError(f"snapshot: {column}: there is a NaN or infinity; give finite numbers or null.")
    for label in pc.unique(rows["label"]).to_pylist():
        _check_label(label)
    return rows


def _first_repeated(ids: pa.ChunkedArray) -> str | None:
    if len(ids) < 2:
        return None
    again = ids[1:].filter(pc.equal(ids[1:], ids[:-1]))
    return str(again[0]) if len(again) else None


def _check_label(label: str) -> None:
    try:
        if canonical_json(json.loads(label)) == label:
            return
    except (ValueError, RecursionError, InputError):
        pass
    raise InputError(
        f"snapshot: label {label!r} is not canonical JSON; write it with canonical_json(task.plain(answer))."
    )


def _hash(rows: pa.Table) -> str:
    """BLAKE2b-128 over rows from ``_canonical``, column by column in the schema's order.

    A column is its name and a letter for its type, one byte per row for "has a value", and the values, little-endian,
    null as zero or "": numbers as they are, strings as all lengths in UTF-8 bytes and then all bytes.
    """
    digest = hashlib.blake2b(f"labelwise snapshot 1\n{rows.num_rows}\n".encode(), digest_size=16)
    for field in SCHEMA:
        values = rows[field.name]
        letter = LETTERS[field.type]
        digest.update(f"{field.name}:{letter}\n".encode())
        digest.update(values.is_valid().to_numpy().astype(np.uint8).tobytes())
        if letter == "s":
            values = values.fill_null("")
            digest.update(pc.binary_length(values).to_numpy().astype("<i8").tobytes())
            digest.update("".join(values.to_pylist()).encode())
        else:
            numbers = values.fill_null(0).to_numpy() + 0  # -0.0 becomes 0.0
            digest.update(numbers.astype({"d": "<f8", "i": "<i4"}[letter]).tobytes())
    return digest.hexdigest()
