"""The texts of a project: immutable Parquet shards, named by their content, beside the log.

The log says which shards count; a file it does not name is ignored, so a process killed half-way
leaves nothing to clean up, and adding the same input again ends in the same files.

Known trade-offs: only the first source id of a text is stored, so a clash between a duplicate's
source id and a later text is noticed within one ``add`` but not across two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from labelwise.core.errors import DamagedRecord, InputError
from labelwise.core.intake import SPLITS, Reject, Rejects, split_of
from labelwise.core.text import digest
from labelwise.store.seen import Seen, Verdict
from labelwise.store.shards import GROUP_ROWS, name_of, opened, write

SHARD_BYTES = 128 << 20
"""A shard ends here, whatever its rows, so that long texts cannot fill the memory."""

CLASH = "source id is already used by another text"


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """A shard's name and its number of texts."""

    name: str
    rows: int


@dataclass(frozen=True, slots=True)
class Report:
    """What became of every row: rows = added + duplicates + rejected.

    ``reasons`` counts the rejected by reason, the reader's included. ``moved`` names texts that
    were declared in different splits, with the one that wins: test over val over pool. Apply it so
    that a text never falls in rank.
    """

    rows: int
    added: int
    duplicates: int
    rejected: int
    reasons: Mapping[str, int]
    shards: tuple[ShardInfo, ...]
    moved: Mapping[str, str]


class _Index(NamedTuple):
    """Of the n texts of a shard: ids as ASCII bytes, 64-bit keys, and the order that sorts either."""

    names: npt.NDArray[np.bytes_]
    keys: npt.NDArray[np.uint64]
    order: npt.NDArray[np.int32]


class Texts:
    """Texts in one folder. ``shards`` arguments are the names that count, as the log has them."""

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)
        self._indexes: dict[str, _Index] = {}

    def add(
        self,
        tables: Iterable[Any],
        shards: Sequence[str] = (),
        *,
        rejects: Rejects | None = None,
        shard_rows: int = 100_000,
        dry_run: bool = False,
    ) -> Report:
        """Store the texts that are not yet in ``shards``; the report says what became of every row.

        Arrow tables: text (string, never null), and where there are: source_id, split, place
        (strings), meta (struct). ``rejects`` is the one the reader reports to, so that its rejects
        are in the report. Equal texts are one text; a source id that another text has is rejected.
        InputError for a split that does not exist. ``dry_run`` writes nothing. The same input gives
        the same shards. O(rows) time; memory for one shard and about 60 bytes per known text.
        """
        rejects = rejects or Rejects()
        intake = _Intake(self._folder, shard_rows, dry_run, rejects)
        for shard in shards:
            intake.know(self.ids(shard), self.column(shard, "source_id"), self.column(shard, "split"))
        for table in tables:
            intake.take(table)
        return intake.report()

    def ids(self, shard: str) -> list[str]:
        """The shard's text ids, in its order. DamagedRecord if they are not those it was named for."""
        with opened(self._path(shard)) as file:
            ids: list[str] = file.read(columns=["id"]).column("id").to_pylist()
        try:
            intact = name_of(bytes.fromhex("".join(ids))) == shard
        except ValueError:
            intact = False
        if not intact:
            raise DamagedRecord(f"{self._path(shard)}: holds other texts than its name says. Restore it from a backup.")
        return ids

    def keys(self, shard: str) -> npt.NDArray[np.uint64]:
        """(n,) the texts' 64-bit keys, in the shard's order; kept in memory, read-only."""
        return self._index(shard).keys

    def names(self, shard: str) -> npt.NDArray[np.bytes_]:
        """(n,) the texts' ids as ASCII bytes, in the shard's order; kept in memory, read-only."""
        return self._index(shard).names

    def find(self, shard: str, names: npt.NDArray[np.bytes_]) -> npt.NDArray[np.int64]:
        """(m,) the rows of some ids, -1 where the shard has none. O(m log n)."""
        index = self._index(shard)
        at = np.minimum(np.searchsorted(index.names, names, sorter=index.order), len(index.order) - 1)
        rows = index.order[at].astype(np.int64)
        return np.where(index.names[rows] == names, rows, -1)

    def get(self, shards: Sequence[str], ids: Sequence[str]) -> list[str]:
        """The texts of these ids, in their order; reads only the row groups they are in.

        InputError naming the first id that no shard has. O(ids * shards) binary searches.
        """
        wanted = asked_for(ids)
        found: dict[str, str] = {}
        for shard in shards:
            rows = self.find(shard, wanted)
            rows = rows[rows >= 0]
            if len(rows):
                groups = np.unique(rows // GROUP_ROWS).tolist()
                with opened(self._path(shard)) as file:
                    for group in groups:
                        part = file.read_row_group(group, columns=["id", "text"])
                        own = rows[rows // GROUP_ROWS == group] - group * GROUP_ROWS
                        picked = part.take(pa.array(np.unique(own)))
                        found.update(zip(*(picked.column(name).to_pylist() for name in ("id", "text")), strict=True))
        for one in ids:
            if one not in found:
                raise InputError(f"text {one!r} is in none of the {len(shards)} shards. Check the id, or add the text.")
        return [found[one] for one in ids]

    def texts(self, shard: str, rows: int = GROUP_ROWS) -> Iterator[list[str]]:
        """The shard's texts in its order, in lists of at most ``rows``."""
        with opened(self._path(shard)) as file:
            for batch in file.iter_batches(batch_size=rows, columns=["text"]):
                yield batch.column(0).to_pylist()

    def column(self, shard: str, name: str) -> list[Any]:
        """A column of the shard: "split", "source_id" or a metadata column; None where it is absent."""
        with opened(self._path(shard)) as file:
            if name in ("split", "source_id"):
                return list(file.read(columns=[name]).column(name).to_pylist())
            if name not in _meta_names(file):
                return [None] * int(file.metadata.num_rows)
            meta = file.read(columns=[f"meta.{name}"]).column("meta")
            return [None if row is None else row[name] for row in meta.to_pylist()]

    def columns(self, shards: Sequence[str]) -> list[str]:
        """The names of all metadata columns, in the order they first occur."""
        names: dict[str, None] = {}
        for shard in shards:
            with opened(self._path(shard)) as file:
                names |= dict.fromkeys(_meta_names(file))
        return list(names)

    def _path(self, shard: str) -> Path:
        return self._folder / f"{shard}.parquet"

    def _index(self, shard: str) -> _Index:
        """Names, keys and order of a shard, read once; shards never change."""
        if shard not in self._indexes:
            raw = "".join(self.ids(shard))
            names = np.frombuffer(raw.encode(), dtype="S32")
            first, second = np.frombuffer(bytes.fromhex(raw), dtype=">u8").astype(np.uint64).reshape(-1, 2).T
            order = np.lexsort((second, first)).astype(np.int32)  # many times faster than sorting the names
            keys = first.copy()
            keys.flags.writeable = False
            self._indexes[shard] = _Index(names, keys, order)
        return self._indexes[shard]


def asked_for(ids: Sequence[str]) -> npt.NDArray[np.bytes_]:
    """(m,) ids as ``Texts.find`` takes them; what cannot be one becomes the id that no text has."""
    return np.array([i if len(i) == 32 and i.isascii() else "" for i in ids], dtype="S32")


def _meta_names(file: Any) -> list[str]:
    schema = file.schema_arrow
    return [part.name for part in schema.field("meta").type] if "meta" in schema.names else []


@dataclass(slots=True)
class _Intake:
    """One ``add`` under way: what is known, what waits for its shard, and the counts."""

    folder: Path
    shard_rows: int
    dry_run: bool
    rejects: Rejects
    seen: Seen = field(default_factory=Seen)
    waiting: list[Any] = field(default_factory=list)
    waiting_rows: int = 0
    waiting_bytes: int = 0
    rows: int = 0
    added: int = 0
    clashes: int = 0
    shards: list[ShardInfo] = field(default_factory=list)

    def know(self, ids: Sequence[str], sources: Sequence[str | None], splits: Sequence[str]) -> None:
        """Remember stored texts."""
        self.seen.judge([bytes.fromhex(one) for one in ids], _digests(sources), splits)

    def take(self, table: Any) -> None:
        """Judge the rows of a table, keep the new ones, and write every shard that is full."""
        rows = len(table)
        texts, (sources, declared, places) = (
            _strings(table, "text"),
            (_strings(table, name) for name in ("source_id", "split", "place")),
        )
        splits = _splits(declared, places)
        digests = [digest(text) for text in texts]
        offered = [split if value is not None else None for split, value in zip(splits, declared, strict=True)]
        verdicts = self.seen.judge(digests, _digests(sources), offered)
        new = [row for row in range(rows) if verdicts[row] is Verdict.NEW]
        for row in range(rows):
            if verdicts[row] is Verdict.CLASH:
                self.clashes += 1
                self.rejects(Reject(places[row] or f"row {self.rows + row + 1}", CLASH, sources[row] or ""))
        self.rows += rows
        self.added += len(new)
        if new:
            self._keep(table, new, [digests[row].hex() for row in new], [splits[row] for row in new])

    def _keep(self, table: Any, new: list[int], ids: list[str], splits: list[str]) -> None:
        kept = table if len(new) == len(table) else table.take(pa.array(new, pa.int64()))
        nothing = pa.nulls(len(new), pa.string())
        columns = {
            "id": pa.array(ids, pa.string()),
            "text": kept.column("text").cast(pa.string()),
            "source_id": kept.column("source_id").cast(pa.string()) if "source_id" in kept.column_names else nothing,
            "split": pa.array(splits, pa.string()),
        }
        if "meta" in kept.column_names:
            columns["meta"] = kept.column("meta")
        part = pa.table(columns)
        while len(part):
            room = self.shard_rows - self.waiting_rows
            head, part = part.slice(0, room), part.slice(room)
            self.waiting.append(head)
            self.waiting_rows += len(head)
            self.waiting_bytes += head.nbytes
            if self.waiting_rows == self.shard_rows or self.waiting_bytes > SHARD_BYTES:
                self._flush()

    def _flush(self) -> None:
        """Write what waits as one shard."""
        ids = "".join(one for part in self.waiting for one in part.column("id").to_pylist())
        name = name_of(bytes.fromhex(ids))
        if not self.dry_run:
            write(self.folder / f"{name}.parquet", self.waiting)
        self.shards.append(ShardInfo(name, self.waiting_rows))
        self.waiting, self.waiting_rows, self.waiting_bytes = [], 0, 0

    def report(self) -> Report:
        """Write the last shard and count up."""
        if self.waiting:
            self._flush()
        rejected = sum(self.rejects.reasons.values())
        return Report(
            rows=self.rows + rejected - self.clashes,
            added=self.added,
            duplicates=self.rows - self.added - self.clashes,
            rejected=rejected,
            reasons=dict(self.rejects.reasons),
            shards=tuple(self.shards),
            moved={key.hex(): SPLITS[rank] for key, rank in self.seen.moved.items()},
        )


def _strings(table: Any, name: str) -> list[Any]:
    """A column as Python strings; None throughout where the table lacks it."""
    return list(table.column(name).to_pylist()) if name in table.column_names else [None] * len(table)


def _splits(declared: Sequence[str | None], places: Sequence[str | None]) -> list[str]:
    """Each row's split in our words; InputError naming the place of the first that does not exist."""
    names: dict[str | None, str] = {}
    for value, place in zip(declared, places, strict=True):
        if value not in names:
            names[value] = split_of(value, place or "split")
    return [names[value] for value in declared]


def _digests(sources: Sequence[str | None]) -> list[bytes | None]:
    """Source ids as 16 bytes each."""
    make = hashlib.blake2b
    return [None if source is None else make(source.encode(), digest_size=16).digest() for source in sources]
