"""Artefacts: round trips of every type and shape, and files that are damaged, missing, swapped or raced for."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from labelwise.core import ContractError, DamagedRecord, InputError, Ref, State, WrongMoment
from labelwise.core.canon import canonical_json, digest_of
from labelwise.core.checks.artefacts import DTYPES
from labelwise.store.artefacts import DamagedArtefact, DiskArtefacts, MemoryArtefacts
from labelwise.store.files import write_atomically

STATES = st.builds(
    State,
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5).filter(lambda key: key != "__metadata__"),
        st.sampled_from(DTYPES).flatmap(
            lambda dtype: hnp.arrays(
                st.sampled_from([np.dtype(dtype), np.dtype(dtype).newbyteorder(">")]),
                hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
            )
        ),
        max_size=4,
    ),
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=3), st.integers() | st.lists(st.booleans())
    ),
)


def vectors(value=1.0):
    return State({"vectors": np.full((100, 8), value, np.float16), "rows": np.arange(100)}, {"encoder": "hashing"})


def fail():
    raise AssertionError("made although it was there")


@pytest.fixture
def store(tmp_path):
    return DiskArtefacts(tmp_path)


@pytest.fixture
def ref(store):
    return store.once("vectors", {"shard": 1}, vectors)


def file_of(store, ref):
    return store.folder / ref.name / f"{ref.digest}.safetensors"


@settings(max_examples=40, deadline=None)
@given(STATES)
def test_any_state_comes_back_bit_by_bit(state):
    with tempfile.TemporaryDirectory() as folder:
        disk, memory = DiskArtefacts(folder), MemoryArtefacts(1)
        for store in (disk, memory, DiskArtefacts(folder)):
            found = store.get(store.once("model", {}, lambda: state))
            assert found.facts == state.facts
            assert found.arrays.keys() == state.arrays.keys()
            for key, array in state.arrays.items():
                little = array.astype(array.dtype.newbyteorder("<"))
                assert (found.arrays[key].dtype, found.arrays[key].shape) == (little.dtype, array.shape)
                assert found.arrays[key].tobytes() == little.tobytes()
                assert found.arrays[key].flags.aligned
        assert disk.damaged() == []


def test_any_safetensors_reader_opens_the_file(store, ref):
    arrays = safetensors.numpy.load_file(file_of(store, ref))
    np.testing.assert_array_equal(arrays["vectors"], vectors().arrays["vectors"])
    with safetensors.safe_open(file_of(store, ref), framework="np") as file:
        assert file.metadata()["name"] == "vectors"
        assert file.metadata()["inputs"] == '{"shard":1}'


def test_arrays_are_mapped_not_copied(store, ref):
    array = store.get(ref).arrays["vectors"]
    base = array
    while not isinstance(base, np.memmap):
        base = base.base
    assert np.shares_memory(base, array)
    assert not array.flags.writeable


def test_every_flipped_byte_is_noticed(store, ref):
    path = file_of(store, ref)
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = len(content[:start].rstrip(b" "))
    for position in [*range(0, header, 5), *range(start, len(content), 97), len(content) - 1]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(DamagedRecord, match=rf"{ref.digest}\.safetensors.*labelwise advance"):
            DiskArtefacts(store.folder).get(ref)
        assert len(store.damaged()) == 1


@pytest.mark.parametrize("length", [0, 7, 8, 100, -1])
def test_a_truncated_file_is_noticed(store, ref, length):
    path = file_of(store, ref)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedRecord, match=r"safetensors.*labelwise advance"):
        store.get(ref)


def test_a_change_after_the_first_reading_is_noticed(store, ref):
    store.get(ref)
    path = file_of(store, ref)
    write_atomically(path, path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(DamagedRecord, match="not what was written"):
        store.get(ref)


def test_a_missing_file_names_the_remedy(store, ref):
    file_of(store, ref).unlink()
    with pytest.raises(DamagedRecord, match=r"is missing\. Run `labelwise advance`"):
        store.get(ref)


def test_swapped_files_are_noticed(store, ref):
    other = store.once("vectors", {"shard": 2}, lambda: vectors(2.0))
    file_of(store, ref).replace(file_of(store, other))
    with pytest.raises(DamagedRecord, match=rf"{other.digest}.*holds the artefact vectors/{ref.digest}"):
        store.get(other)


def test_once_remakes_what_is_damaged_and_keeps_the_evidence(store, ref):
    path = file_of(store, ref)
    path.write_bytes(b"damage")
    with pytest.warns(DamagedArtefact, match=rf"{ref.digest}\.safetensors.*made again"):
        assert store.once("vectors", {"shard": 1}, vectors) == ref
    assert store.get(ref).facts == {"encoder": "hashing"}
    assert path.with_suffix(".damaged").read_bytes() == b"damage"
    assert store.damaged() == []


def test_another_process_finds_what_was_made(store, ref):
    assert DiskArtefacts(store.folder).once("vectors", {"shard": 1}, fail) == ref


def test_two_that_race_both_succeed(store):
    def overtaken():
        DiskArtefacts(store.folder).once("vectors", {"shard": 1}, vectors)
        return vectors()

    ref = store.once("vectors", {"shard": 1}, overtaken)
    np.testing.assert_array_equal(store.get(ref).arrays["rows"], np.arange(100))
    assert len(list(store.folder.rglob("*.*"))) == 1


@pytest.mark.parametrize(
    "ref",
    [Ref("..", "0" * 32), Ref("a/b", "0" * 32), Ref("a", "../" + "0" * 29), Ref("a", ""), Ref("a", "0" * 32 + "\n")],
)
def test_refs_cannot_leave_the_folder(store, ref):
    with pytest.raises(InputError, match="artefact"):
        store.get(ref)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (State({"x": np.array(["a"])}), "array 'x' is <U1; allowed are bool, float16"),
        (State({"x": [1, 2]}), "array 'x' is list"),
        (State({"__metadata__": np.zeros(1)}), "'__metadata__' cannot name an array"),
        (State({}, {"when": float("nan")}), "'model': facts: this cannot be recorded as JSON"),
    ],
)
@pytest.mark.parametrize("kind", [DiskArtefacts, lambda folder: MemoryArtefacts(3)])
def test_what_cannot_be_stored_is_named(kind, tmp_path, state, message):
    with pytest.raises(ContractError, match=message):
        kind(tmp_path).once("model", {}, lambda: state)
    assert list(tmp_path.iterdir()) == []


def test_memory_keeps_the_most_recently_used():
    store = MemoryArtefacts(2)
    one, two = (store.once("beliefs", {"i": i}, vectors) for i in range(2))
    store.get(one)
    store.once("beliefs", {"i": 2}, vectors)
    assert store.once("beliefs", {"i": 0}, fail) == one
    with pytest.raises(DamagedRecord, match="is not among the 2 kept in memory"):
        store.get(two)
    with pytest.raises(InputError, match="give 1 or more"):
        MemoryArtefacts(0)


# Files


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    write_atomically(path, b"old")
    write_atomically(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (errno.ENOSPC, WrongMoment, "the disk is full; nothing was written"),
        (errno.EIO, DamagedRecord, "the disk failed"),
        (errno.EACCES, WrongMoment, "cannot be written"),
    ],
)
def test_a_failed_write_keeps_the_old_file_and_no_rubbish(tmp_path, number, kind, message):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def write(file):
        file.write(b"half")
        raise OSError(number, "planned")

    with pytest.raises(kind, match=message):
        write_atomically(path, write)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_files_are_synced_before_and_folders_after_the_rename(tmp_path, monkeypatch):
    happened = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(
        os, "fsync", lambda handle: (happened.append(os.readlink(f"/proc/self/fd/{handle}")), fsync(handle))
    )
    monkeypatch.setattr(Path, "replace", lambda a, b: (happened.append("rename"), replace(a, b)))
    write_atomically(tmp_path / "file", b"content")
    temporary, rename, folder = happened
    assert temporary.endswith(".tmp")
    assert rename == "rename"
    assert folder == str(tmp_path)


def test_equal_data_has_one_text():
    assert canonical_json({"b": (1, 2.5), "a": "ä"}) == '{"a":"ä","b":[1,2.5]}'
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": (2,), "a": 1})
    assert len(digest_of(None)) == 32


def test_what_json_cannot_say_is_refused():
    endless: list[object] = []
    endless.append(endless)
    for value in (float("nan"), [float("inf")], {1: 2}, [{"a": {None: 1}}], {1}, b"", "\ud800", endless, np.int64(1)):
        with pytest.raises(InputError, match="cannot be recorded as JSON"):
            canonical_json(value)
