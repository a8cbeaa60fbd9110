"""The page on rare classes runs as it stands, and what it says of strategies can be written."""

from __future__ import annotations

import csv
import tomllib
from pathlib import Path

from labelwise.project.components import build
from tests.docs.pages import blocks_of, environment, run

PAGE = "how-to/rare-classes.md"


def test_the_rare_class_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "somewhere"
    folder.mkdir()
    said = run(blocks_of(PAGE, "sh"), folder, environment(tmp_path / "bin"))
    assert 'hints = { hazard = ["smoke or fire", "electric shock"] }' in said
    with (folder / "messages.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 1 + 309
    assert int(said.splitlines()[-1]) >= 7, "of nine; 40 random ones of 309 hold one or two"


def test_every_setting_on_the_page_is_one() -> None:
    lines = [line for block in blocks_of(PAGE, "toml") for line in block.splitlines()]
    strategies = [tomllib.loads(line)["strategy"] for line in lines if line.startswith("strategy")]
    assert len([build("strategies", spec) for spec in strategies]) == 4
