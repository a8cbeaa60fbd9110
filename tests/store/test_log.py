"""The event log: the model it must equal, and the faults it must survive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import apsw
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import labelwise
from labelwise.core import DamagedRecord, Event, InputError, LabelwiseError, WrongMoment
from labelwise.store import sqlite
from labelwise.store.log import SqliteLog
from tests.store.conftest import event
from tests.store.powercut import RecordingVFS, chooser

ROOT = str(Path(labelwise.__file__).parents[1])


@pytest.fixture
def connection_hook():
    """Run something on every connection opened from now on."""
    added = []

    def add(hook):
        apsw.connection_hooks.append(hook)
        added.append(hook)

    yield add
    for hook in added:
        apsw.connection_hooks.remove(hook)


@pytest.fixture
def vfs():
    recording = RecordingVFS()
    yield recording
    recording.unregister()


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
EVENTS = st.builds(
    Event,
    kind=st.sampled_from(["voted", "leased"]) | NAMES,
    key=st.sampled_from("abcdefgh") | NAMES,
    actor=NAMES,
    data=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), JSON, max_size=3),
)


class LogEqualsDict(RuleBasedStateMachine):
    """A log is a dict from key to first event, in order of insertion."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "log.db"
        self.time = 0.0
        self.log = SqliteLog(self.path, self.clock)
        self.model = {}

    def clock(self):
        return self.time

    @rule(events=st.lists(EVENTS, max_size=4), time=st.floats(-1e12, 1e12))
    def append(self, events, time):
        self.time = time
        expected = []
        for e in events:
            fresh = Event(e.kind, e.key, e.actor, e.data, at=time, seq=len(self.model) + 1)
            expected.append(self.model.setdefault(e.key, fresh))
        assert self.log.append(*events) == expected

    @rule(events=st.lists(EVENTS, max_size=2), bad=st.sampled_from([float("nan"), b"", {1: 2}, {1}, "\udcff"]))
    def refuse(self, events, bad):
        with pytest.raises(InputError, match="'bad'"):
            self.log.append(*events, event("bad", value=bad))

    @rule(after=st.integers(-1, 20), kinds=st.lists(st.sampled_from(["voted", "leased", "nothing"]), max_size=2))
    def read(self, after, kinds):
        expected = [e for e in self.model.values() if e.seq > after and (not kinds or e.kind in kinds)]
        assert self.log.read(after, kinds) == expected

    @rule()
    def reopen(self):
        self.log.close()
        self.log = SqliteLog(self.path, self.clock)

    @invariant()
    def holds_the_same(self):
        assert self.log.read() == list(self.model.values())

    def teardown(self):
        damage = self.log.damaged()
        self.log.close()
        self.folder.cleanup()
        assert damage == []


LogEqualsDict.TestCase.settings = settings(max_examples=20, stateful_step_count=15, deadline=None)
TestLogEqualsDict = LogEqualsDict.TestCase


# Power cuts


def record_a_life(vfs, path):
    """Three openings of a log with checkpoints in between; returns [(point of acknowledgement, key)]."""
    acknowledged = []
    for life in range(3):
        with SqliteLog(path) as log:
            for i in range(12):
                keys = [f"{life}-{i}-{j}" for j in range(1 + i % 3)]
                log.append(*[event(key, text="x" * 300) for key in keys])
                acknowledged += [(len(vfs.disk.record), key) for key in keys]
    return acknowledged


def losses(disk, acknowledged, folder, cuts=60):
    """What is wrong after each of some random cuts."""
    rng = chooser(20)
    wrong = []
    for number in range(cuts):
        point = rng.randrange(len(disk.record) + 1)
        home = folder / f"cut{number}"
        home.mkdir()
        for name, content in disk.cut(point, rng).items():
            (home / name).write_bytes(content)
        try:
            with SqliteLog(home / "log.db") as log:
                keys = [e.key for e in log.read()]
                damage = log.damaged()
        except LabelwiseError as error:
            wrong.append(str(error))
            continue
        promised = sum(when <= point for when, _ in acknowledged)
        if damage or len(keys) < promised or keys != [key for _, key in acknowledged[: len(keys)]]:
            wrong.append(f"cut {number} at {point}: {promised} acknowledged, {len(keys)} found, {damage}")
    return wrong


@pytest.fixture
def power_cuts(path, vfs, connection_hook):
    """A function that lives a life with checkpoints every few pages, cuts the power, and gives the losses."""

    def run():
        connection_hook(lambda connection: connection.pragma("wal_autocheckpoint", 6))
        acknowledged = record_a_life(vfs, path)
        apsw.set_default_vfs("unix")
        return losses(vfs.disk, acknowledged, path.parent)

    return run


def test_a_power_cut_loses_nothing_acknowledged(power_cuts):
    assert power_cuts() == []


@pytest.mark.parametrize("careless", [("normal", 1), ("off", 0)])
def test_the_power_cuts_catch_careless_settings(power_cuts, careless, monkeypatch):
    monkeypatch.setattr(sqlite, "WHILE_RUNNING", careless)
    monkeypatch.setattr(sqlite, "WHILE_CREATING", careless)
    assert power_cuts() != []


def test_after_a_failed_sync_the_log_stops_writing_but_still_reads(path, vfs):
    with SqliteLog(path) as log:
        kept = log.append(event("before"))
        vfs.failing = True
        with pytest.raises(DamagedRecord, match=r"log\.db: the disk failed .* may or may not be stored"):
            log.append(event("during"))
        vfs.failing = False
        with pytest.raises(DamagedRecord, match="the disk failed before"):
            log.append(event("after"))
        assert log.read() == kept
    with SqliteLog(path) as log:
        assert log.append(event("after"))[0].seq == len(log.read())


# Other processes

WRITER = """
import sys
from labelwise.core import Event
from labelwise.store.log import SqliteLog
with SqliteLog(sys.argv[1]) as log:
    number = len(log.read())
    while True:
        log.append(*[Event("voted", f"k{number + i}", "ann", {"text": "x" * 500}) for i in range(2)])
        number += 2
        print(number, flush=True)
"""

RACER = """
import sys
from labelwise.core import Event
from labelwise.store.log import SqliteLog
print("ready", flush=True)
sys.stdin.readline()
with SqliteLog(sys.argv[1]) as log:
    for i in range(40):
        shared, own = log.append(*[Event("voted", key, sys.argv[2], {}) for key in (f"k{i}", f"{sys.argv[2]}-{i}")])
        print(shared.seq, shared.actor, flush=True)
"""


def python(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": ROOT},
    )  # fmt: skip


def test_kill_9_loses_nothing_acknowledged(path):
    rng = chooser(9)
    for _ in range(5):
        with python(WRITER, path) as writer:
            for _ in range(rng.randrange(1, 30)):
                acknowledged = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
        with SqliteLog(path) as log:
            keys = [e.key for e in log.read()]
            assert log.damaged() == []
        assert len(keys) >= acknowledged
        assert len(keys) % 2 == 0, "half of an append was stored"
        assert keys == [f"k{i}" for i in range(len(keys))]


def test_processes_that_race_from_the_first_moment_agree(path):
    with python(RACER, path, "a") as one, python(RACER, path, "b") as two:
        for racer in (one, two):
            assert racer.stdout.readline() == "ready\n"
        for racer in (one, two):
            racer.stdin.write("\n")
            racer.stdin.flush()
        told = [racer.stdout.read() for racer in (one, two)]
    assert told[0] == told[1]
    assert len(told[0].splitlines()) == 40
    with SqliteLog(path) as log:
        assert len(log.read()) == 3 * 40
        assert log.damaged() == []


def test_a_log_held_too_long_by_another_says_so(path, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.01)
    with SqliteLog(path) as log:
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(WrongMoment, match="another process has held the event log"):
            log.append(event("k"))
        other.close()
        assert log.append(event("k"))[0].seq == 1


# A full disk


def fill(log):
    """Append until the disk is full; returns what was acknowledged."""
    kept = []

    def go_on():
        for i in range(10_000):
            kept.extend(log.append(event(f"{i}a", text="x" * 2000), event(f"{i}b")))

    with pytest.raises(WrongMoment, match="the disk is full; nothing was written"):
        go_on()
    return kept


def test_a_full_database_keeps_all_it_acknowledged(path, connection_hook):
    connection_hook(lambda connection: connection.pragma("max_page_count", 20))
    with SqliteLog(path) as log:
        kept = fill(log)
        assert log.read() == kept
        assert log.damaged() == []


def test_a_full_disk_keeps_all_it_acknowledged_and_goes_on_with_space(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        with SqliteLog(tmp_path / "log.db") as log:
            kept = fill(log)
            assert log.read() == kept
            subprocess.run(["mount", "-o", "remount,size=4m", str(tmp_path)], check=True)
            kept += log.append(event("with space"))
            assert log.read() == kept
            assert log.damaged() == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
