"""What every EventLog promises. Each promise takes a function that makes an empty log."""

from __future__ import annotations

import threading
from collections.abc import Callable

from labelwise.core.checks import ensure
from labelwise.core.errors import InputError
from labelwise.core.protocols import Event, EventLog

Factory = Callable[[], EventLog]


def _event(key: str, kind: str = "voted", **data: object) -> Event:
    return Event(kind=kind, key=key, actor="ann", data=data)


def an_empty_log_has_nothing(factory: Factory) -> None:
    """A new log reads empty, and appending nothing records nothing."""
    log = factory()
    ensure(list(log.read()) == [] and log.append() == [] and list(log.read()) == [], "an empty log holds events")


def returns_what_is_recorded(factory: Factory) -> None:
    """What append returns is what read gives afterwards, in the order of the call."""
    log = factory()
    sent = [_event(f"k{i}", "voted" if i % 2 else "leased", answer=i) for i in range(7)]
    returned = log.append(*sent[:4]) + log.append(*sent[4:])
    ensure(list(log.read()) == returned, "append returned something else than read gives")
    for given, kept in zip(sent, returned, strict=True):
        same = (given.kind, given.key, given.actor, given.data) == (kept.kind, kept.key, kept.actor, kept.data)
        ensure(same, f"sent {given}, recorded {kept}")


def positions_count_from_one(factory: Factory) -> None:
    """The log gives seq 1, 2, 3, ... and the time; what the caller put there is ignored."""
    log = factory()
    for i in range(5):
        log.append(Event("voted", f"k{i}", "ann", {}, at=-5.0, seq=90 - i))
    events = log.read()
    ensure([event.seq for event in events] == [1, 2, 3, 4, 5], f"positions are {[event.seq for event in events]}")
    ensure(all(event.at != -5.0 for event in events), "the time was taken from the caller")


def the_same_key_is_one_fact(factory: Factory) -> None:
    """A key recorded before is ignored, and the first fact is returned and kept."""
    log = factory()
    (first,) = log.append(_event("k", answer="bug"))
    (again,) = log.append(Event("leased", "k", "bob", {"answer": "praise"}))
    ensure(again == first, f"the second append returned {again} instead of {first}")
    ensure(list(log.read()) == [first], f"the log holds {list(log.read())}")


def a_key_repeated_in_one_call_is_one_fact(factory: Factory) -> None:
    """Repeated keys in one append give the first fact every time."""
    log = factory()
    log.append(_event("old", answer=0))
    keys = ["a", "b", "a", "old", "b"]
    returned = log.append(*[_event(key, answer=i) for i, key in enumerate(keys, 1)])
    ensure([event.key for event in returned] == keys, "the order of the call was lost")
    ensure([event.data["answer"] for event in returned] == [1, 2, 1, 0, 2], "a repeated key gave another fact")
    ensure([event.key for event in log.read()] == ["old", "a", "b"], "a repeated key was recorded twice")


def append_is_all_or_nothing(factory: Factory) -> None:
    """If one event cannot be recorded, none of the call is, and the log goes on."""
    log = factory()
    kept = log.append(_event("before"))
    _refused(log, _event("good"), _event("bad", answer=float("nan")))
    ensure(list(log.read()) == kept, "part of a refused append was recorded")
    after = log.append(_event("good"))
    ensure(list(log.read()) == kept + after and after[0].seq == 2, "a refused append left traces")


def what_is_not_json_is_refused(factory: Factory) -> None:
    """Data that JSON cannot give back unchanged, and empty names, raise InputError."""
    log = factory()
    for value in (float("inf"), {1, 2}, b"bytes", {1: "one"}, object(), "\ud800"):
        _refused(log, _event("k", answer=value))
    for field in ("kind", "key"):
        names = {"kind": "voted", "key": "k", "actor": "ann", "data": {}}
        _refused(log, Event(**{**names, field: ""}))  # type: ignore[arg-type]
    ensure(list(log.read()) == [], "a refused event was recorded")


def data_comes_back_equal(factory: Factory) -> None:
    """Any JSON data comes back equal; tuples become lists."""
    log = factory()
    data = {"text": "naïve 日本 \x00 ' \" \\", "n": 2**70, "x": 0.1, "nested": [{"a": None}, True, []], "": {}}
    log.append(Event("voted", "schlüssel ' --", "änn", {**data, "span": (0, 5)}))
    (event,) = log.read()
    ensure(event.data == {**data, "span": [0, 5]}, f"recorded {data}, read {event.data}")
    ensure((event.key, event.actor) == ("schlüssel ' --", "änn"), "key or actor changed")


def recorded_facts_cannot_be_changed(factory: Factory) -> None:
    """Changing what was sent, returned or read does not change the log."""
    log = factory()
    sent: dict[str, object] = {"votes": [1]}
    returned = log.append(Event("voted", "k", "ann", sent))
    for data in (sent, returned[0].data, log.read()[0].data):
        data["votes"].append(2)  # type: ignore[union-attr]
    ensure(log.read()[0].data == {"votes": [1]}, "a recorded fact was changed from outside")


def read_skips_nothing(factory: Factory) -> None:
    """Reading on after the last seen event gives every event exactly once, by rising seq."""
    log = factory()
    seen: list[Event] = []
    for i in range(6):
        log.append(*[_event(f"k{i}-{j}") for j in range(i % 3 + 1)])
        seen.extend(log.read(after=seen[-1].seq if seen else 0))
    ensure(seen == list(log.read()), "reading on skipped or repeated events")
    for i, event in enumerate(seen):
        ensure(list(log.read(after=event.seq)) == seen[i + 1 :], f"read(after={event.seq}) is not the rest")


def read_gives_the_kinds_asked_for(factory: Factory) -> None:
    """With kinds, exactly the events of these kinds, in order; an unknown kind has none."""
    log = factory()
    events = log.append(*[_event(f"k{i}", ("voted", "leased", "closed")[i % 3]) for i in range(9)])
    for kinds in (("voted",), ("closed", "voted"), ("nothing",), ["leased", "leased"]):
        wanted = [event for event in events if event.seq > 2 and event.kind in kinds]
        ensure(list(log.read(after=2, kinds=kinds)) == wanted, f"read(kinds={kinds}) gave other events")


def threads_agree(factory: Factory) -> None:
    """Threads that append the same keys at once get the same facts; a reader never sees a gap filled later."""
    log = factory()
    results: dict[int, list[Event]] = {}
    start = threading.Barrier(4)

    def write(number: int) -> None:
        start.wait()
        results[number] = [
            event for i in range(12) for event in log.append(_event(f"shared{i}", by=number), _event(f"{number}-{i}"))
        ]

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    start.wait()
    seen: list[Event] = []
    while any(thread.is_alive() for thread in threads):
        seen.extend(log.read(after=seen[-1].seq if seen else 0))
    for thread in threads:
        thread.join()
    seen.extend(log.read(after=seen[-1].seq if seen else 0))
    ensure(len(results) == 3, "an append failed in a thread")
    ensure(seen == list(log.read()) and len(seen) == 12 + 36, "a concurrent reader missed or repeated events")
    recorded = {event.key: event for event in seen}
    ensure(all(recorded[event.key] == event for got in results.values() for event in got), "threads got other facts")


def _refused(log: EventLog, *events: Event) -> None:
    try:
        log.append(*events)
    except InputError:
        return
    ensure(False, f"append accepted {events[-1]}")


PROMISES = (
    an_empty_log_has_nothing,
    returns_what_is_recorded,
    positions_count_from_one,
    the_same_key_is_one_fact,
    a_key_repeated_in_one_call_is_one_fact,
    append_is_all_or_nothing,
    what_is_not_json_is_refused,
    data_comes_back_equal,
    recorded_facts_cannot_be_changed,
    read_skips_nothing,
    read_gives_the_kinds_asked_for,
    threads_agree,
)
