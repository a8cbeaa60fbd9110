"""Projects that the tests of the command line share."""

from pathlib import Path

import pytest

from tests.cli.running import done, fill, new_project, write_inbox


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with nothing in it."""
    return new_project(tmp_path / "inbox")


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two answered rounds and two models; tests only read it."""
    folder = new_project(tmp_path_factory.mktemp("lived") / "inbox")
    done("add", write_inbox(folder / "tickets.csv"), "--id-column", "ticket", within=folder)
    for number in range(2):
        done("advance", within=folder)
        done("label", "export", f"batch{number}.csv", within=folder)
        fill(folder / f"batch{number}.csv")
        done("label", "import", f"batch{number}.csv", within=folder)
    done("advance", within=folder)
    return folder
