"""A disk that is full: told plainly, nothing lost, and the work goes on once there is room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from labelwise.core import WrongMoment
from labelwise.project.plan import advance
from labelwise.project.steps.ingest import ingest
from labelwise.project.workspace import Workspace
from tests.project.live import answer, begin, configure, events


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("may not mount a small file system")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def _fill(place: Path, leave: int) -> Path:
    """Leave so many bytes free."""
    free = os.statvfs(place)
    filler = place / "filler"
    filler.write_bytes(b"\0" * (free.f_bavail * free.f_frsize - leave))
    return filler


@pytest.mark.parametrize("leave", [0, 64, 128, 192, 256, 320])
def test_a_full_disk_stops_a_round_and_nothing_is_lost(disk: Path, tmp_path: Path, leave: int) -> None:
    with begin(tmp_path / "elsewhere") as workspace:
        advance(workspace)
        answer(workspace, workspace.now().pending)
        advance(workspace)
        expected = events(workspace)
    with begin(disk / "p") as workspace:
        filler = _fill(disk, leave << 10)
        before = events(workspace)
        with pytest.raises(WrongMoment, match="the disk is full; nothing was written") as caught:
            advance(workspace)
        assert caught.value.exit_code == 3
        assert events(workspace)[: len(before)] == before
        filler.unlink()
        advance(workspace)
        answer(workspace, workspace.now().pending)
        advance(workspace)
        assert events(workspace) == expected


def test_a_full_disk_takes_no_texts(disk: Path) -> None:
    configure(disk / "p")
    with Workspace.open(disk / "p") as workspace:
        filler = _fill(disk, 40 << 10)
        many = pa.table({"text": [f"{n} {os.urandom(40).hex()}" for n in range(2000)]})
        before = events(workspace)
        with pytest.raises(WrongMoment, match=r"parquet: the disk is full; nothing was written"):
            ingest(workspace, [many], "many")
        assert events(workspace) == before
        assert not list((disk / "p/.labelwise/texts").iterdir())
        filler.unlink()
        assert ingest(workspace, [many], "many").added == 2000
