"""Rows that could not be used: a file that lists each with its place and reason."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from labelwise.connect.readers import Columns
from labelwise.core.intake import Reject


class RejectFile:
    """Collects rejects into a JSON Lines file that appears, whole, only if there are any; without a path, nowhere.

    The list of an earlier time goes when this time had no rejects: it would be taken for this time's.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._file: Any = None

    @property
    def _part(self) -> Path:
        path = self.path or Path()
        return path.with_name(f".{path.name}.part")

    def __call__(self, reject: Reject) -> None:
        if self.path is None:
            return
        if self._file is None:
            self._file = self._part.open("w", encoding="utf-8")
        self._file.write(json.dumps(asdict(reject), ensure_ascii=False) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.path is None:
            return
        if self._file is None:
            if kind is None:
                self.path.unlink(missing_ok=True)
            return
        self._file.close()
        if kind is None:
            os.replace(self._part, self.path)
        else:
            self._part.unlink()


def fingerprint(paths: Sequence[Path], columns: Columns) -> str:
    """The content of files and how they are read, as 32 hex digits. Reads every byte once."""
    digest = hashlib.blake2b(repr(columns).encode(), digest_size=16)
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()
