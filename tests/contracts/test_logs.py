"""The promises of a log: kept by ours, and broken by every planted fault under the right name."""

from __future__ import annotations

import itertools
import json
import threading
from dataclasses import replace

import pytest

from labelwise.core import ContractError, InputError
from labelwise.core.canon import canonical_json
from labelwise.core.checks import check, promises
from labelwise.store.log import SqliteLog


class ListLog:
    """A right log in a list, with seams at which the faulty ones differ."""

    def __init__(self):
        self.events = []
        self.lock = threading.Lock()

    def append(self, *events):
        with self.lock:
            plain = [self.accept(event) for event in events]
            return [self.own(self.record(event)) for event in plain]

    def accept(self, event):
        if not event.key or not event.kind:
            raise InputError("empty name")
        return replace(event, data=json.loads(canonical_json(event.data)))

    def record(self, event):
        for known in self.events:
            if known.key == event.key:
                return known
        self.events.append(replace(event, at=1.0, seq=len(self.events) + 1))
        return self.events[-1]

    def read(self, after=0, kinds=()):
        return [self.own(e) for e in list(self.events) if e.seq > after and (not kinds or e.kind in kinds)]

    def own(self, event):
        return replace(event, data=json.loads(canonical_json(event.data)))


class KeepsTheLast(ListLog):
    def record(self, event):
        self.events = [known for known in self.events if known.key != event.key]
        return super().record(event)


class RecordsAgain(ListLog):
    def record(self, event):
        self.events.append(replace(event, at=1.0, seq=len(self.events) + 1))
        return self.events[-1]


class ReturnsWhatWasSent(ListLog):
    def append(self, *events):
        super().append(*events)
        return list(events)


class ForgetsRepeats(ListLog):
    def append(self, *events):
        known = {event.key for event in self.events}
        with self.lock:
            return [
                self.own(self.record(event)) if event.key in known else self.own(RecordsAgain.record(self, event))
                for event in map(self.accept, events)
            ]


class StoresHalf(ListLog):
    def append(self, *events):
        return [result for event in events for result in ListLog.append(self, event)]


class AcceptsAnything(ListLog):
    def accept(self, event):
        return replace(event, data=json.loads(json.dumps(event.data, default=str)))


class SharesItsData(ListLog):
    def own(self, event):
        return event


class BelievesTheCaller(ListLog):
    def record(self, event):
        found = super().record(event)
        self.events[found.seq - 1] = replace(found, at=event.at)
        return self.events[found.seq - 1]


class ReadsFromAfter(ListLog):
    def read(self, after=0, kinds=()):
        return super().read(after - 1 if after else 0, kinds)


class SkipsOne(ListLog):
    def read(self, after=0, kinds=()):
        return super().read(after + 1 if after else 0, kinds)


class IgnoresKinds(ListLog):
    def read(self, after=0, kinds=()):
        return super().read(after)


class FillsGapsLater(ListLog):
    """Numbers inside the lock but publishes out of order, as a database sequence does."""

    def __init__(self):
        super().__init__()
        self.numbers = itertools.count(1)
        self.late = []

    def record(self, event):
        known = next((e for e in self.events + self.late if e.key == event.key), None)
        if known:
            return known
        recorded = replace(event, at=1.0, seq=next(self.numbers))
        if threading.current_thread() is threading.main_thread() or recorded.seq % 2:
            self.events = sorted([*self.events, recorded, *self.late], key=lambda e: e.seq)
            self.late = []
        else:
            self.late.append(recorded)
        return recorded


FAULTS = {
    KeepsTheLast: "the_same_key_is_one_fact",
    RecordsAgain: "the_same_key_is_one_fact",
    ReturnsWhatWasSent: "returns_what_is_recorded",
    ForgetsRepeats: "a_key_repeated_in_one_call_is_one_fact",
    StoresHalf: "append_is_all_or_nothing",
    AcceptsAnything: "append_is_all_or_nothing",
    SharesItsData: "recorded_facts_cannot_be_changed",
    BelievesTheCaller: "positions_count_from_one",
    ReadsFromAfter: "read_skips_nothing",
    SkipsOne: "read_skips_nothing",
    IgnoresKinds: "read_gives_the_kinds_asked_for",
    FillsGapsLater: "threads_agree",
}


@pytest.fixture
def sqlite_log(tmp_path):
    """Makes empty logs, closed at the end."""
    made = []

    def make():
        made.append(SqliteLog(tmp_path / f"{len(made)}.db"))
        return made[-1]

    yield make
    for log in made:
        log.close()


def test_the_sqlite_log_keeps_every_promise(sqlite_log):
    assert check("logs", sqlite_log) == list(promises("logs"))


def test_a_right_log_keeps_every_promise():
    assert check("logs", ListLog) == list(promises("logs"))


@pytest.mark.parametrize(("faulty", "promise"), FAULTS.items(), ids=[fault.__name__ for fault in FAULTS])
def test_a_planted_fault_is_caught_by_its_promise(faulty, promise):
    with pytest.raises(ContractError, match=f"breaks '{promise}'"):
        check("logs", faulty)


def test_what_is_not_json_is_refused_by_itself():
    with pytest.raises(ContractError, match="accepted"):
        promises("logs")["what_is_not_json_is_refused"](AcceptsAnything)


def test_every_promise_says_what_it_is():
    assert all(promise.__doc__ for promise in promises("logs").values())
