"""What every store of Artefacts promises. Each promise takes a function that makes an empty store.

The suite keeps at most twenty artefacts in one store, so a bounded store must be made for as many.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from labelwise.core.checks import ensure
from labelwise.core.errors import DamagedRecord, InputError, LabelwiseError
from labelwise.core.protocols import Artefacts, Ref, State

Factory = Callable[[], Artefacts]
DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
)  # fmt: skip


class _Maker:
    """Makes a state and counts how often it was asked."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.calls = 0

    def __call__(self) -> State:
        self.calls += 1
        return self.state


def _state(value: float = 1.0, **facts: object) -> State:
    return State({"x": np.full((3, 2), value, dtype=np.float32)}, facts)


def is_made_once(factory: Factory) -> None:
    """Equal inputs, in any order of their keys, are one artefact, made once."""
    store, maker = factory(), _Maker(_state())
    first = store.once("beliefs", {"shard": 1, "model": ["a"]}, maker)
    again = store.once("beliefs", {"model": ("a",), "shard": 1}, maker)
    ensure(first == again, f"equal inputs gave {first} and {again}")
    ensure(maker.calls == 1, f"make was called {maker.calls} times")


def other_inputs_are_other_artefacts(factory: Factory) -> None:
    """Other inputs, or another name, never give an artefact made before."""
    store = factory()
    inputs: list[tuple[str, dict[str, Any]]] = [
        ("beliefs", {"shard": 1}), ("beliefs", {"shard": 2}), ("beliefs", {"shard": "1"}),
        ("beliefs", {"shard": [1]}), ("beliefs", {}), ("vectors", {"shard": 1}),
    ]  # fmt: skip
    refs = [store.once(name, given, _Maker(_state(i))) for i, (name, given) in enumerate(inputs)]
    ensure(len(set(refs)) == len(refs), "different inputs share a name")
    for i, ref in enumerate(refs):
        ensure(float(store.get(ref).arrays["x"][0, 0]) == i, f"{ref} holds what other inputs made")


def gives_back_what_was_made(factory: Factory) -> None:
    """Every type and shape, also empty, strided and Fortran-ordered, comes back equal, and so do facts."""
    store = factory()
    grid = np.arange(12).reshape(3, 4)
    arrays: dict[str, Any] = {dtype: grid.astype(dtype) for dtype in DTYPES}
    arrays |= {"none": np.zeros((0, 5), np.float16), "odd": np.arange(5, dtype=np.uint8), "fortran": grid.T}
    arrays |= {"strided": grid[::2, ::-1], "not finite": np.array([np.nan, np.inf, -0.0])}
    facts = {"classes": ["ä", "b"], "nested": {"x": 0.1, "none": None}}
    ref = store.once("model", {}, _Maker(State(arrays, facts)))
    for _ in range(2):
        state = store.get(ref)
        ensure(dict(state.facts) == facts, f"the facts came back as {dict(state.facts)}")
        ensure(set(state.arrays) == set(arrays), f"the arrays came back as {sorted(state.arrays)}")
        for key, array in arrays.items():
            found = state.arrays[key]
            same = found.dtype == array.dtype and found.shape == array.shape and found.tobytes() == array.tobytes()
            ensure(same, f"array {key!r} came back as {found.dtype} {found.shape} {found!r}")


def arrays_cannot_be_changed(factory: Factory) -> None:
    """Arrays come back read-only, and facts as a value of one's own."""
    store = factory()
    ref = store.once("model", {}, _Maker(_state(votes=[1])))
    state = store.get(ref)
    ensure(not state.arrays["x"].flags.writeable, "an array that came back can be written to")
    state.facts["votes"].append(2)
    ensure(store.get(ref).facts == {"votes": [1]}, "the facts were changed from outside")


def the_maker_keeps_nothing(factory: Factory) -> None:
    """Changing the maker's array after it was stored changes nothing."""
    store, maker = factory(), _Maker(_state(1.0))
    ref = store.once("model", {}, maker)
    maker.state.arrays["x"][:] = 7.0
    ensure(float(store.get(ref).arrays["x"].max()) == 1.0, "the stored array is the maker's own")


def a_failed_make_leaves_nothing(factory: Factory) -> None:
    """An error in make passes through, nothing is stored, and the next once makes it."""
    store = factory()

    def fail() -> State:
        raise KeyError("planned")

    try:
        store.once("model", {}, fail)
        ensure(False, "the error of make was swallowed")
    except KeyError:
        pass
    maker = _Maker(_state(2.0))
    ref = store.once("model", {}, maker)
    ensure(maker.calls == 1 and float(store.get(ref).arrays["x"][0, 0]) == 2.0, "a failed make left something behind")


def what_is_missing_is_named(factory: Factory) -> None:
    """Asking for what was never made raises DamagedRecord that names it."""
    store = factory()
    try:
        store.get(Ref("model", "0" * 32))
    except DamagedRecord as error:
        ensure("model" in str(error) and "0" * 32 in str(error), f"the message does not name it: {error}")
    else:
        ensure(False, "something was given that was never made")


def names_stay_inside(factory: Factory) -> None:
    """Names that are not [a-z][a-z0-9-]*, and inputs that are not JSON, raise InputError; nothing is made."""
    store, maker = factory(), _Maker(_state())
    for name in ("", "..", "../x", "/etc", "a/b", "A", "1a", "a.b", "a\n", "ä"):
        try:
            store.once(name, {}, maker)
        except InputError:
            continue
        ensure(False, f"the name {name!r} was accepted")
    try:
        store.once("model", {"x": float("nan")}, maker)
        ensure(False, "NaN was accepted as an input")
    except InputError:
        pass
    ensure(maker.calls == 0, "make was called for a name that is refused")


def what_cannot_be_stored_is_refused(factory: Factory) -> None:
    """Objects, strings and complex numbers are refused with an error that names the array; nothing is stored."""
    store = factory()
    for bad in (np.array([object()]), np.array(["text"]), np.array([1j])):
        try:
            store.once("model", {}, _Maker(State({"culprit": bad})))
        except LabelwiseError as error:
            ensure("culprit" in str(error), f"the message does not name the array: {error}")
        else:
            ensure(False, f"an array of {bad.dtype} was accepted")
    maker = _Maker(_state())
    store.once("model", {}, maker)
    ensure(maker.calls == 1, "a refused state was stored")


def threads_agree(factory: Factory) -> None:
    """Threads that make the same artefact at once get one ref with whole content."""
    store = factory()
    start = threading.Barrier(4)
    found: list[tuple[Ref, float]] = []

    def work() -> None:
        start.wait()
        for i in range(5):
            ref = store.once("beliefs", {"i": i}, _Maker(_state(i)))
            found.append((ref, float(store.get(ref).arrays["x"].sum())))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ensure(len(found) == 20, "a thread failed")
    ensure(len(set(found)) == 5, "threads got different artefacts for the same inputs")


PROMISES = (
    is_made_once,
    other_inputs_are_other_artefacts,
    gives_back_what_was_made,
    arrays_cannot_be_changed,
    the_maker_keeps_nothing,
    a_failed_make_leaves_nothing,
    what_is_missing_is_named,
    names_stay_inside,
    what_cannot_be_stored_is_refused,
    threads_agree,
)
