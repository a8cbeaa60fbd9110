"""A disk that remembers what was synced, and what may be left of it after a power cut.

A shim between SQLite and the file system records every write, truncation, sync and unlink. A cut at
some point of that record keeps what was synced, and of every later write a random part of its
512-byte sectors; an unlink that was not made durable may come undone.
"""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path

import apsw

SECTOR = 512


class Disk:
    """The record: (what, file, offset or size or whether durable, bytes) in order of happening."""

    def __init__(self):
        self.record = []

    def note(self, what, name, number=0, data=b""):
        self.record.append((what, Path(name).name, number, data))

    def cut(self, point, rng):
        """The files after a power cut that let the first ``point`` operations happen: {name: bytes}."""
        durable, pending = {}, defaultdict(list)
        for what, name, number, data in self.record[:point]:
            if what == "sync":
                durable[name] = _apply(durable.get(name, b""), pending.pop(name, []))
            elif what == "delete":
                pending.pop(name, None)
                if number or rng.random() < 0.5:
                    durable.pop(name, None)
            else:
                pending[name].append((what, number, data))
        survival = rng.choice([0.0, 0.5, 0.9, 1.0])
        for name, operations in pending.items():
            if name in durable or rng.random() < survival:
                durable[name] = _apply(durable.get(name, b""), list(_survivors(operations, survival, rng)))
        return durable


def _survivors(operations, survival, rng):
    for what, number, data in operations:
        if what == "truncate":
            if rng.random() < survival:
                yield what, number, data
            continue
        for begin in range(0, len(data), SECTOR):
            if rng.random() < survival:
                yield what, number + begin, data[begin : begin + SECTOR]


def _apply(content, operations):
    content = bytearray(content)
    for what, number, data in operations:
        if what == "truncate":
            del content[number:]
        else:
            content.extend(b"\0" * (number - len(content)))
            content[number : number + len(data)] = data
    return bytes(content)


class RecordingVFS(apsw.VFS):
    """Becomes SQLite's default file system until ``unregister``; ``failing`` breaks every sync."""

    def __init__(self):
        super().__init__("recording", "unix", makedefault=True)
        self.disk = Disk()
        self.failing = False

    def xOpen(self, name, flags):
        return RecordingFile(self, name, flags)

    def xDelete(self, filename, syncdir):
        super().xDelete(filename, syncdir)
        self.disk.note("delete", filename, int(syncdir))


class RecordingFile(apsw.VFSFile):
    def __init__(self, vfs, name, flags):
        super().__init__("unix", name, flags)
        self.vfs = vfs
        self.name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)

    def xWrite(self, data, offset):
        super().xWrite(data, offset)
        self.vfs.disk.note("write", self.name, offset, bytes(data))

    def xTruncate(self, newsize):
        super().xTruncate(newsize)
        self.vfs.disk.note("truncate", self.name, newsize)

    def xSync(self, flags):
        if self.vfs.failing:
            raise apsw.IOError("the disk is broken on purpose")
        super().xSync(flags)
        self.vfs.disk.note("sync", self.name)


def chooser(seed):
    return random.Random(seed)  # noqa: S311 (not for secrets)
