"""What the event log refuses, and in which words: damage, strangers, old versions, bad events."""

from __future__ import annotations

import apsw
import pytest

from labelwise.core import DamagedRecord, Event, InputError, WrongMoment
from labelwise.store import sqlite
from labelwise.store.log import SqliteLog
from tests.store.conftest import event


def flip(path, position, bit=1):
    content = bytearray(path.read_bytes())
    content[position] ^= bit
    path.write_bytes(content)


@pytest.mark.parametrize("bit", [1, 128])
@pytest.mark.parametrize("part", [b"praise", b"key-three", b"ann", b"voted"])
def test_a_flipped_byte_in_a_value_is_noticed(path, part, bit):
    with SqliteLog(path) as log:
        log.append(event("one"), event("key-three", answer="praise"))
    flip(path, path.read_bytes().index(part), bit)
    with SqliteLog(path) as log:
        with pytest.raises(DamagedRecord, match=r"log\.db"):
            log.read()
        (finding,) = log.damaged()
        assert "Restore" in finding


def test_a_damaged_page_is_noticed(path):
    with SqliteLog(path) as log:
        log.append(*[event(str(i), text="x" * 100) for i in range(200)])
    size = path.stat().st_size
    for page in range(1, size // 4096):
        copy = path.with_name(f"{page}.db")
        copy.write_bytes(path.read_bytes())
        flip(copy, page * 4096, 255)
        with SqliteLog(copy) as log:
            assert log.damaged() != [], f"page {page}"


def test_a_lost_row_is_noticed(path):
    with SqliteLog(path) as log:
        log.append(event("one"), event("two"), event("three"))
    outside = apsw.Connection(str(path))
    outside.execute("DROP TRIGGER events_remain")
    outside.execute("DELETE FROM events WHERE seq = 2")
    outside.close()
    with SqliteLog(path) as log, pytest.raises(DamagedRecord, match="event 2 is missing"):
        log.read()


def test_a_file_that_is_no_database_is_named(path):
    path.write_text("label,text\n" * 1000)
    with pytest.raises(DamagedRecord, match=r"log\.db: is not an event log"):
        SqliteLog(path)
    assert path.read_text().startswith("label")


def test_a_database_of_another_program_is_left_alone(path):
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE events (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(InputError, match="is a database of another program"):
        SqliteLog(path)
    assert path.read_bytes() == before


def test_a_log_of_a_newer_version_is_refused(path):
    SqliteLog(path).close()
    newer = apsw.Connection(str(path))
    newer.pragma("user_version", 99)
    newer.close()
    with pytest.raises(WrongMoment, match=r"version 99, written by a newer Labelwise.*pip install"):
        SqliteLog(path)


@pytest.mark.parametrize("version", ["3.7.0", "3.40.1", "3.51.2"])
def test_an_sqlite_that_corrupts_is_refused(path, version, monkeypatch):
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)
    with pytest.raises(WrongMoment, match=rf"SQLite {version} .*3\.51\.3 or newer.*pip install"):
        SqliteLog(path)
    assert not path.exists()


@pytest.mark.parametrize("version", ["3.51.3", "3.52.0", "4.0.0"])
def test_a_sound_sqlite_is_accepted(version):
    sqlite.refuse_old(version)


def test_a_setting_that_is_not_in_force_is_refused(path, monkeypatch):
    monkeypatch.setattr(sqlite, "WHILE_RUNNING", ("nonsense", 2))
    with pytest.raises(WrongMoment, match="synchronous="):
        SqliteLog(path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(WrongMoment, match=r"cannot be opened\. The folder must exist"):
        SqliteLog(tmp_path / "nowhere" / "log.db")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET data = '{}'",
        "DELETE FROM events",
        "INSERT OR REPLACE INTO events SELECT 1, 'new', kind, actor, data, at, seal FROM events WHERE seq = 1",
        "INSERT OR REPLACE INTO events SELECT 3, 'one', kind, actor, data, at, seal FROM events WHERE seq = 1",
        "INSERT INTO events SELECT 9, 'nine', kind, actor, data, at, seal FROM events WHERE seq = 1",
    ],
)
def test_other_programs_cannot_rewrite_history(path, statement):
    with SqliteLog(path) as log:
        kept = log.append(event("one"), event("two"))
        outside = apsw.Connection(str(path))
        with pytest.raises(apsw.ConstraintError, match="append-only"):
            outside.execute(statement)
        outside.close()
        assert log.read() == kept


def test_a_closed_log_says_so(path):
    log = SqliteLog(path)
    log.close()
    log.close()
    for use in (log.read, lambda: log.append(event("k"))):
        with pytest.raises(WrongMoment, match="was closed"):
            use()


@pytest.mark.parametrize("field", ["key", "kind", "actor"])
@pytest.mark.parametrize("value", ["", "a\0b", "\ud800", None, 3])
def test_names_that_cannot_be_recorded_are_refused(path, field, value):
    names = {"key": "k", "kind": "voted", "actor": "ann", "data": {}, field: value}
    with SqliteLog(path) as log:
        with pytest.raises(InputError, match=rf"event\.{field}"):
            log.append(Event(**names))
        assert log.read() == []


def test_data_that_is_no_object_is_refused(path):
    with SqliteLog(path) as log, pytest.raises(InputError, match="is not an object"):
        log.append(Event("voted", "k", "ann", ["a"]))


@pytest.mark.parametrize("time", [-0.0, 0, 5e-324, 1e300])
def test_any_time_is_read_as_it_was_recorded(path, time):
    with SqliteLog(path, clock=lambda: time) as log:
        assert log.append(event("k")) == log.read()


def test_one_string_as_kinds_is_refused(path):
    with SqliteLog(path) as log, pytest.raises(InputError, match=r"\['voted'\]"):
        log.read(kinds="voted")
