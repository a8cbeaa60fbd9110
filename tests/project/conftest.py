"""What the tests of the corridor share: one project, three rounds old, of which every test gets a copy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from labelwise.project.workspace import Workspace
from tests.project.live import begin, rounds


@pytest.fixture(scope="session")
def grown_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grown") / "project"
    with rounds(begin(folder), 3):
        pass
    return folder


@pytest.fixture
def folder(grown_folder: Path, tmp_path: Path) -> Path:
    """A project whose fourth batch waits for answers; three models were trained."""
    return Path(shutil.copytree(grown_folder, tmp_path / "project"))


@pytest.fixture
def grown(folder: Path) -> Iterator[Workspace]:
    with Workspace.open(folder) as workspace:
        yield workspace


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Workspace]:
    """A project that has texts and nothing else."""
    with begin(tmp_path / "fresh") as workspace:
        yield workspace
