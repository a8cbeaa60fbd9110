"""The promises of artefacts: kept by ours, and broken by every planted fault under the right name."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from labelwise.core import ContractError, DamagedRecord, Ref, State
from labelwise.core.canon import digest_of
from labelwise.core.checks import check, promises
from labelwise.store.artefacts import DiskArtefacts, MemoryArtefacts


class Wrapped:
    """A right store, for the faulty ones to differ from."""

    def __init__(self):
        self.inner = MemoryArtefacts(20)

    def once(self, name, inputs, make):
        return self.inner.once(name, inputs, make)

    def get(self, ref):
        return self.inner.get(ref)


class MakesEveryTime(Wrapped):
    def once(self, name, inputs, make):
        make()
        return super().once(name, inputs, make)


class MindsTheOrder(Wrapped):
    def once(self, name, inputs, make):
        return super().once(name, {"text": str(inputs)}, make)


class ForgetsTheName(Wrapped):
    def once(self, name, inputs, make):
        return super().once("model" if name == "beliefs" else name, {} if name == "beliefs" else inputs, make)


class LosesHalfPrecision(Wrapped):
    def get(self, ref):
        state = super().get(ref)
        arrays = {k: a.astype(np.float32) if a.dtype == np.float16 else a for k, a in state.arrays.items()}
        return State(arrays, state.facts)


class GivesWritableArrays(Wrapped):
    def get(self, ref):
        state = super().get(ref)
        return State({key: array.copy() for key, array in state.arrays.items()}, state.facts)


class KeepsTheMakersArray(Wrapped):
    def __init__(self):
        super().__init__()
        self.kept = {}

    def once(self, name, inputs, make):
        def remember():
            self.kept[Ref(name, digest_of({"name": name, "inputs": inputs}))] = state = make()
            return state

        return super().once(name, inputs, remember)

    def get(self, ref):
        facts = super().get(ref).facts
        arrays = {key: array.view() for key, array in self.kept[ref].arrays.items()}
        for array in arrays.values():
            array.flags.writeable = False
        return State(arrays, facts)


class SwallowsFailures(Wrapped):
    def once(self, name, inputs, make):
        try:
            return super().once(name, inputs, make)
        except KeyError:
            return super().once(name, inputs, State)


class GivesEmptyForMissing(Wrapped):
    def get(self, ref):
        try:
            return super().get(ref)
        except DamagedRecord:
            return State()


class AcceptsAnyName(Wrapped):
    def once(self, name, inputs, make):
        return super().once(name if name.isascii() and name.isalpha() and name.islower() else "x", inputs, make)


class StoresObjectsAsNothing(Wrapped):
    def once(self, name, inputs, make):
        def tamed():
            state = make()
            return State({k: a for k, a in state.arrays.items() if a.dtype.kind not in "OUc"}, state.facts)

        return super().once(name, inputs, tamed)


class CountsThreads(Wrapped):
    """Names an artefact by who asked second, as a store without content names does."""

    def __init__(self):
        super().__init__()
        self.asked = itertools.count()

    def once(self, name, inputs, make):
        number = next(self.asked) if set(inputs) == {"i"} else 0
        return super().once(name, {**inputs, "number": number}, make)


FAULTS = {
    MakesEveryTime: "is_made_once",
    MindsTheOrder: "is_made_once",
    ForgetsTheName: "other_inputs_are_other_artefacts",
    LosesHalfPrecision: "gives_back_what_was_made",
    GivesWritableArrays: "arrays_cannot_be_changed",
    KeepsTheMakersArray: "the_maker_keeps_nothing",
    SwallowsFailures: "a_failed_make_leaves_nothing",
    GivesEmptyForMissing: "what_is_missing_is_named",
    AcceptsAnyName: "names_stay_inside",
    StoresObjectsAsNothing: "what_cannot_be_stored_is_refused",
    CountsThreads: "threads_agree",
}


@pytest.fixture(params=["disk", "memory"])
def factory(request, tmp_path):
    number = itertools.count()

    def disk():
        return DiskArtefacts(tmp_path / str(next(number)))

    def memory():
        return MemoryArtefacts(20)

    return {"disk": disk, "memory": memory}[request.param]


def test_our_stores_keep_every_promise(factory):
    assert check("artefacts", factory) == list(promises("artefacts"))


@pytest.mark.parametrize(("faulty", "promise"), FAULTS.items(), ids=[fault.__name__ for fault in FAULTS])
def test_a_planted_fault_is_caught_by_its_promise(faulty, promise):
    with pytest.raises(ContractError, match=f"breaks '{promise}'"):
        check("artefacts", faulty)


def test_every_promise_says_what_it_is():
    assert all(promise.__doc__ for promise in promises("artefacts").values())
