"""Rows that could not be used: a file that lists each with its place and reason."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from labelwise.connect.readers import Columns
from labelwise.core.intake import Reject


class RejectFile:
    """Collects rejects into a JSON Lines file that appears, whole, only if there are any."""

    def __init__(self, path: Path, dry_run: bool) -> None:
        self.path = path
        self.reasons: Counter[str] = Counter()
        self._part = None if dry_run else path.with_name(f".{path.name}.part")
        self._file: Any = None

    @property
    def count(self) -> int:
        return self.reasons.total()

    def __call__(self, reject: Reject) -> None:
        self.reasons[reject.reason.split(":")[0]] += 1
        self._write({"place": reject.place, "reason": reject.reason, "value": reject.value})

    def add(self, problem: str) -> None:
        """A reject told in one sentence."""
        self.reasons["label"] += 1
        self._write({"reason": problem})

    def _write(self, row: dict[str, str]) -> None:
        if self._part is None:
            return
        if self._file is None:
            self._file = self._part.open("w", encoding="utf-8", errors="backslashreplace")
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is None or self._part is None:
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
