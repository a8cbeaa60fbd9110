"""The event log in one SQLite file.

Facts are added, never changed: triggers refuse UPDATE, DELETE and a replacing INSERT even to other
programs. An event is acknowledged after its transaction is on disk (WAL, synchronous=FULL). Writers
of all processes queue for one lock and number events one by one inside it, so positions have no gaps
that could be filled behind a reader's back. Every row carries a seal, a hash of its content, because
SQLite itself does not notice a flipped byte inside a value.

Known trade-offs: one disk sync per ``append``, so pass many events at once where you can; SQLite ends
recovery at the first damaged frame of the write-ahead log, so a byte flipped there, between a crash and
the next start, hides what follows it.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import apsw

from labelwise.core import DamagedRecord, Event, InputError, WrongMoment
from labelwise.core.canon import canonical_json
from labelwise.store.files import sync_folder, writing
from labelwise.store.sqlite import connect, plainly, transaction

APPLICATION = 0x4C61_6277  # "Labw", by which `file` and we recognise the log
VERSION = 1

SCHEMA = (
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, kind TEXT NOT NULL, actor TEXT NOT NULL,
        data TEXT NOT NULL, at REAL NOT NULL, seal BLOB NOT NULL) STRICT""",
    """CREATE TRIGGER events_stay BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'the event log is append-only: no UPDATE'); END""",
    """CREATE TRIGGER events_remain BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'the event log is append-only: no DELETE'); END""",
    # INSERT OR REPLACE deletes without asking the DELETE trigger.
    """CREATE TRIGGER events_follow BEFORE INSERT ON events
        WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM events)
            OR EXISTS (SELECT 1 FROM events WHERE key = NEW.key)
        BEGIN SELECT RAISE(ABORT, 'the event log is append-only: no replacing or skipping INSERT'); END""",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {VERSION}",
)

COLUMNS = "seq, key, kind, actor, data, at, seal"
INSERT = f"INSERT INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 (a constant)
BY_KEY = f"SELECT {COLUMNS} FROM events WHERE key = ?"  # noqa: S608
AFTER = f"SELECT {COLUMNS} FROM events WHERE seq > ? ORDER BY seq"  # noqa: S608
OF_KINDS = f"SELECT {COLUMNS} FROM events WHERE seq > ? AND kind IN (SELECT value FROM json_each(?)) ORDER BY seq"  # noqa: S608


class SqliteLog:
    """An EventLog in the file ``path``, made if it is not there (its folder must be).

    ``clock`` gives the time of recording; order never depends on it. Threads share one instance,
    processes open their own. Raises InputError for a file of another program, WrongMoment if the
    file is of a newer Labelwise, SQLite is too old or a setting is not in force, DamagedRecord
    if the file is no database.
    """

    def __init__(self, path: Path | str, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        self._clock = clock
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._state = "open"
        # A second connection, so that a long read never keeps a label waiting.
        self._writer = connect(self.path, self._prepare)
        try:
            self._reader = connect(self.path, self._prepare)
        except BaseException:
            self._writer.close()
            raise

    def append(self, *events: Event) -> list[Event]:
        """Record all or none, durably, and return what the log now holds under these keys, in order.

        Raises InputError for an event that cannot be recorded, WrongMoment when the disk is full or
        another process holds the log too long, DamagedRecord when the disk fails; the log then
        refuses further appends, because a failed sync may have lost what SQLite believes written.
        O(k log n) for k events.
        """
        drafts = [_draft(event) for event in events]
        if not drafts:
            return []
        with self._use(self._writing), transaction(self._writer, "IMMEDIATE"):
            at = float(self._clock()) + 0.0  # SQLite keeps -0.0 as 0.0, which would break the seal
            seq: int = self._writer.execute("SELECT coalesce(max(seq), 0) FROM events").get
            recorded = []
            for key, *rest in drafts:
                row = self._writer.execute(BY_KEY, (key,)).fetchone()
                if row is None:
                    seq += 1
                    fields = (seq, key, *rest, at)
                    row = (*fields, _seal(fields))
                    self._writer.execute(INSERT, row)
                recorded.append(self._event(row))
        return recorded

    def read(self, after: int = 0, kinds: Sequence[str] = ()) -> Sequence[Event]:
        """Events with seq > after (of these kinds, or all), by rising seq, as of one moment.

        Raises DamagedRecord when an event is missing or not what was written. O(events after).
        """
        if isinstance(kinds, str):
            raise InputError(f"kinds: {kinds!r} is one string; give a list of kinds, such as [{kinds!r}].")
        after = max(after, 0)
        with self._use(self._reading):
            if kinds:
                rows = self._reader.execute(OF_KINDS, (after, canonical_json(sorted(set(kinds))))).fetchall()
            else:
                rows = self._reader.execute(AFTER, (after,)).fetchall()
        if not kinds:
            self._check_gaps(after, rows)
        return [self._event(row) for row in rows]

    def damaged(self) -> list[str]:
        """What is wrong with the file, in words; empty if nothing is. Reads all of it."""
        try:
            self.read()
            with self._use(self._reading):
                found = [str(row[0]) for row in self._reader.execute("PRAGMA integrity_check")]
        except DamagedRecord as error:
            return [str(error)]
        return [f"{self.path}: {line}. Restore it from a backup." for line in found if line != "ok"]

    def close(self) -> None:
        """Let go of the file; a second time does nothing."""
        with self._writing, self._reading:
            self._state = "closed"
            with plainly(self.path):
                self._reader.close()
                self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _use(self, lock: threading.Lock) -> Iterator[None]:
        with lock, plainly(self.path):
            if self._state == "closed":
                raise WrongMoment(f"{self.path}: this log was closed. Open it again.")
            if self._state == "failed" and lock is self._writing:
                raise DamagedRecord(f"{self.path}: the disk failed before. Check the disk, then start again.")
            try:
                yield
            except apsw.IOError:
                self._state = "failed"
                raise

    def _prepare(self, connection: apsw.Connection) -> None:
        if self._recognised(connection):
            return
        with transaction(connection, "EXCLUSIVE"):
            if not self._recognised(connection):  # unless another process was faster
                for statement in SCHEMA:
                    connection.execute(statement)
        with writing(self.path):
            sync_folder(self.path.absolute().parent)

    def _recognised(self, connection: apsw.Connection) -> bool:
        """Whether the file is a log; False if it is empty. Refuses every other file."""
        application, version = connection.pragma("application_id"), connection.pragma("user_version")
        if application == APPLICATION and version > VERSION:
            raise WrongMoment(
                f"{self.path}: has version {version}, written by a newer Labelwise; this one knows version {VERSION}. "
                "Upgrade: pip install --upgrade labelwise"
            )
        if application == APPLICATION and version == VERSION:
            return True
        if application or version or connection.execute("SELECT count(*) FROM sqlite_schema").get:
            raise InputError(
                f"{self.path}: is a database of another program (application_id {application}, version {version}). "
                "Give the path of an event log, or of a file that does not exist yet."
            )
        return False

    def _check_gaps(self, after: int, rows: Sequence[tuple[Any, ...]]) -> None:
        for expected, row in enumerate(rows, after + 1):
            if row[0] != expected:
                raise DamagedRecord(f"{self.path}: event {expected} is missing. Restore the log from a backup.")

    def _event(self, row: tuple[Any, ...]) -> Event:
        *fields, seal = row
        if _seal(fields) != seal:
            raise DamagedRecord(f"{self.path}: event {row[0]} is not what was written. Restore the log from a backup.")
        seq, key, kind, actor, data, at = fields
        return Event(kind=kind, key=key, actor=actor, data=json.loads(data), at=at, seq=seq)


def _draft(event: Event) -> tuple[str, str, str, str]:
    for field in ("key", "kind", "actor"):
        value = getattr(event, field)
        if not isinstance(value, str) or not value or "\x00" in value or not _encodes(value):
            raise InputError(
                f"event.{field}: {value!r} cannot be recorded; use a non-empty Unicode string without NUL."
            )
    try:
        data = canonical_json(event.data)
    except InputError as error:
        raise InputError(f"event {event.key!r}: data: {error}") from None
    if not data.startswith("{"):
        raise InputError(f"event {event.key!r}: data: {event.data!r} is not an object; give a mapping.")
    return event.key, event.kind, event.actor, data


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _seal(fields: Sequence[Any]) -> bytes:
    # No field contains NUL (JSON escapes it), so joining is unambiguous; repr of a float is exact.
    seq, key, kind, actor, data, at = fields
    text = f"{seq}\x00{key}\x00{kind}\x00{actor}\x00{data}\x00{at!r}"
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
