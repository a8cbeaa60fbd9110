"""SQLite opened so that what it acknowledges is durable, and its refusals in plain words."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from labelwise.core import DamagedRecord, LabelwiseError, WrongMoment

MINIMUM = (3, 51, 3)
"""SQLite 3.7.0 to 3.51.2 can corrupt a WAL database when the WAL is reset; older ones have no WAL."""

BUSY_SECONDS = 10.0
WHILE_CREATING = ("extra", 3)
WHILE_RUNNING = ("full", 2)

Prepare = Callable[[apsw.Connection], None]


def refuse_old(version: str) -> None:
    """Raise WrongMoment for an SQLite ("3.40.1") whose write-ahead log can corrupt the file."""
    if tuple(int(part) for part in version.split(".")[:3]) < MINIMUM:
        least = ".".join(map(str, MINIMUM))
        raise WrongMoment(
            f"SQLite {version} can corrupt the event log; {least} or newer is needed. "
            "Install a current one: pip install --upgrade apsw"
        )


def connect(path: Path, prepare: Prepare) -> apsw.Connection:
    """A connection with every setting read back; ``prepare`` recognises or creates the schema.

    It runs before anything about the file is changed, under synchronous=EXTRA, so that even the
    file's first bytes and its folder entry survive a power cut. Raises WrongMoment if SQLite is too
    old, a setting is not in force or the file is busy, DamagedRecord if the file is no database.
    """
    refuse_old(apsw.sqlite_lib_version())
    with plainly(path):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        try:
            connection.set_busy_timeout(int(BUSY_SECONDS * 1000))
            _insist(connection, path, "synchronous", *WHILE_CREATING)
            prepare(connection)
            _insist(connection, path, "journal_mode", "wal", "wal")
            _insist(connection, path, "synchronous", *WHILE_RUNNING)
            _insist(connection, path, "trusted_schema", "off", 0)
        except BaseException:
            connection.close()
            raise
    return connection


def _insist(connection: apsw.Connection, path: Path, name: str, value: str, expected: str | int) -> None:
    # Switching to WAL needs the file alone and fails at once, without the busy timeout, while
    # another process opens it too.
    patience = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.pragma(name, value)
            break
        except apsw.BusyError:
            if time.monotonic() > patience:
                raise
            time.sleep(0.01)
    found = connection.pragma(name)
    if found != expected:
        raise WrongMoment(
            f"{path}: SQLite answers {name}={found!r} where {expected!r} was set, so labels would not be safe here. "
            "Keep the project on a local disk that supports write-ahead logging."
        )


@contextmanager
def transaction(connection: apsw.Connection, kind: str) -> Iterator[None]:
    """All or nothing; ``kind`` is IMMEDIATE (readers go on) or EXCLUSIVE."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # after some errors SQLite has rolled back already
            connection.execute("ROLLBACK")
        raise


@contextmanager
def plainly(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about ``path`` into errors that say what happened and what to do."""
    try:
        yield
    except (apsw.Error, UnicodeDecodeError) as error:
        raise _in_words(path, error) from error


def _in_words(path: Path, error: Exception) -> LabelwiseError:
    if isinstance(error, apsw.FullError):
        return WrongMoment(f"{path}: the disk is full; nothing was written. Free some space and send the same again.")
    if isinstance(error, (apsw.BusyError, apsw.LockedError)):
        return WrongMoment(
            f"{path}: another process has held the event log for more than {BUSY_SECONDS:g} s; nothing was written. "
            "Send the same again, or end the process that holds it."
        )
    if isinstance(error, apsw.CantOpenError):
        return WrongMoment(f"{path}: cannot be opened. The folder must exist and both must be writable.")
    if isinstance(error, (apsw.ReadOnlyError, apsw.PermissionsError)):
        return WrongMoment(f"{path}: may not be written. Make the file and its folder writable.")
    if isinstance(error, apsw.NotADBError):
        return DamagedRecord(f"{path}: is not an event log (no SQLite database). Move it away or restore a backup.")
    if isinstance(error, (apsw.CorruptError, UnicodeDecodeError)):
        return DamagedRecord(f"{path}: the event log is damaged ({error}). Restore it from a backup.")
    if isinstance(error, apsw.IOError):
        return DamagedRecord(
            f"{path}: the disk failed ({error}); what was sent last may or may not be stored. "
            "Check the disk, start again, and send the same again: what is stored already is kept once."
        )
    return LabelwiseError(f"{path}: SQLite refused ({type(error).__name__}: {error}). Run `labelwise doctor`.")
