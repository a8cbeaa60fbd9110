"""Derived values by the hash of their inputs: on disk or in memory.

Known trade-offs: two processes that make the same artefact at once both do the work, and the later
file replaces the earlier, which readers of the earlier keep; a file is verified when a process first
opens it and again whenever its size, time or place changed, not at every read.
"""

from __future__ import annotations

import json
import re
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from labelwise.core import DamagedRecord, InputError, Ref, State
from labelwise.core.canon import canonical_json, digest_of
from labelwise.store import tensors
from labelwise.store.files import write_atomically, writing

NAME = re.compile(r"[a-z][a-z0-9-]*")
DIGEST = re.compile(r"[0-9a-f]{32}")
REMEDY = "Run `labelwise advance`, which recomputes it."

Make = Callable[[], State]


class DamagedArtefact(UserWarning):
    """A stored artefact was not what had been written; it was moved aside and made again."""


class DiskArtefacts:
    """Artefacts as ``<folder>/<name>/<digest>.safetensors``; arrays come back memory-mapped, read-only.

    Threads and processes may share a folder. Names match [a-z][a-z0-9-]*, so nothing leaves it.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._verified: dict[Path, tuple[int, int, int]] = {}

    def once(self, name: str, inputs: Mapping[str, Any], make: Make) -> Ref:
        """The artefact of these inputs, made only if it is not there in good order.

        A damaged file is moved aside to ``<digest>.damaged`` with the warning DamagedArtefact. Raises
        InputError for a bad name or inputs that are not JSON, ContractError if ``make`` returns what
        cannot be stored, WrongMoment when the disk is full; nothing is stored then.
        """
        ref = _ref(name, inputs)
        path = self._path(ref)
        try:
            self._open(path)
            return ref
        except FileNotFoundError:
            pass
        except DamagedRecord as error:
            aside = path.with_suffix(".damaged")
            with writing(aside), suppress(FileNotFoundError):  # another process may have moved it already
                path.replace(aside)
            warnings.warn(f"{error} Moved to {aside.name} and made again.", DamagedArtefact, stacklevel=2)
        arrays, facts = tensors.plain(name, make())
        header = {"name": name, "inputs": canonical_json(inputs), "facts": facts}
        write_atomically(path, lambda file: tensors.write(file, arrays, header))
        return ref

    def get(self, ref: Ref) -> State:
        """The artefact's content. Raises DamagedRecord if it is missing or changed. O(1) after the first time."""
        path = self._path(ref)
        try:
            return self._open(path)
        except FileNotFoundError:
            raise DamagedRecord(f"{path}: is missing. {REMEDY}") from None
        except DamagedRecord as error:
            raise DamagedRecord(f"{error} {REMEDY}") from error

    def damaged(self) -> list[str]:
        """What is wrong with the stored files, in words; empty if nothing is. Reads every byte."""
        found = []
        for path in sorted(self.folder.glob("*/*.safetensors")):
            self._verified.pop(path, None)
            try:
                self._open(path)
            except FileNotFoundError:
                continue  # moved aside since we listed it
            except DamagedRecord as error:
                found.append(f"{error} {REMEDY}")
        return found

    def _path(self, ref: Ref) -> Path:
        _check_name(ref.name)
        if not DIGEST.fullmatch(ref.digest):
            raise InputError(f"artefact {ref.name!r}: {ref.digest!r} is not a digest; use one that `once` returned.")
        return self.folder / ref.name / f"{ref.digest}.safetensors"

    def _open(self, path: Path) -> State:
        status = path.stat()
        seen = (status.st_ino, status.st_size, status.st_mtime_ns)
        fresh = self._verified.get(path) != seen
        arrays, header = tensors.open_mapped(path, verify=fresh)
        if fresh:
            self._check_identity(path, header)
            self._verified[path] = seen
        return State(arrays, json.loads(header["facts"]))

    def _check_identity(self, path: Path, header: Mapping[str, str]) -> None:
        written = _ref(header["name"], json.loads(header["inputs"]))
        if path != self._path(written):
            raise DamagedRecord(f"{path}: holds the artefact {written}.")


class MemoryArtefacts:
    """Artefacts in memory, for rehearsals: at most ``capacity`` of them, the least recently used leave first."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise InputError(f"capacity: {capacity} artefacts cannot be kept; give 1 or more.")
        self.capacity = capacity
        self._kept: OrderedDict[Ref, tuple[dict[str, tensors.Array], str]] = OrderedDict()
        self._lock = threading.Lock()

    def once(self, name: str, inputs: Mapping[str, Any], make: Make) -> Ref:
        """The artefact of these inputs, made only if it is not kept. Errors as on disk."""
        ref = _ref(name, inputs)
        with self._lock:
            if ref in self._kept:
                self._kept.move_to_end(ref)
                return ref
        arrays, facts = tensors.plain(name, make())
        copies = {key: array.copy() for key, array in arrays.items()}
        for array in copies.values():
            array.flags.writeable = False
        with self._lock:
            self._kept.setdefault(ref, (copies, facts))
            while len(self._kept) > self.capacity:
                self._kept.popitem(last=False)
        return ref

    def get(self, ref: Ref) -> State:
        """The artefact's content, read-only. Raises DamagedRecord if it was never made or had to leave."""
        with self._lock:
            if ref not in self._kept:
                raise DamagedRecord(
                    f"artefact {ref}: is not among the {self.capacity} kept in memory. "
                    "Make it again with `once`, or keep more."
                )
            self._kept.move_to_end(ref)
            arrays, facts = self._kept[ref]
        return State(dict(arrays), json.loads(facts))


def _ref(name: str, inputs: Mapping[str, Any]) -> Ref:
    _check_name(name)
    return Ref(name, digest_of({"name": name, "inputs": inputs}))


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise InputError(f"artefact name {name!r}: use lower-case letters, digits and hyphens, a letter first.")
