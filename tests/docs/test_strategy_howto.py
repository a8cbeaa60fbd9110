"""The how-to's package is the one in examples/, is found as a plugin, keeps the contract and runs."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks_of, environment, run

PAGE = "how-to/strategy.md"
PACKAGE = ROOT / "examples" / "labelwise-frontier"
BUILD = """
from labelwise.project.components import build, describe
from labelwise.select import Entropy

strategy = build("strategies", {"use": "frontier", "scorer": "entropy"})
assert type(strategy).__module__ == "labelwise_frontier" and strategy.scorer == Entropy()
assert describe(strategy) == {"use": "frontier", "scorer": {"use": "entropy"}}
build("strategies", {"use": "mix", "parts": ["frontier", "typiclust"], "shares": [1, 1]})
"""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """An environment in which the package is installed as pip would, but without a build."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    facts = tmp_path / "site" / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {target}" for name, target in points.items())])
        for group, points in project["entry-points"].items()
    ]
    (facts / "entry_points.txt").write_text("\n".join(groups) + "\n")
    (facts.parent / "labelwise_frontier.py").symlink_to(PACKAGE / "labelwise_frontier.py")
    return environment(tmp_path / "bin", facts.parent)


def test_its_code_is_that_of_the_package() -> None:
    written = [(PACKAGE / name).read_text() for name in ("labelwise_frontier.py", "test_frontier.py")]
    assert blocks_of(PAGE, "python") == written, "cut the page's code from the package anew"
    assert blocks_of(PAGE, "toml") == [(PACKAGE / "pyproject.toml").read_text()]


def test_the_class_has_twenty_lines() -> None:
    body = (PACKAGE / "labelwise_frontier.py").read_text().split("\nclass ", 1)[1]
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    assert sum(not line.startswith('"""') for line in lines) <= 20


def test_it_is_found_built_and_checked_by_its_own_tests(installed: dict[str, str], tmp_path: Path) -> None:
    install, check, _ = blocks_of(PAGE, "sh")
    assert install == "pip install ./examples/labelwise-frontier\n"
    run([f"python3 - <<'END'\n{BUILD}END\n"], tmp_path, installed)
    assert "passed" in run([check], ROOT, installed)


def test_it_takes_part_in_a_rehearsal(installed: dict[str, str], tmp_path: Path) -> None:
    endings = {"bug": "crashes when I save", "praise": "is a great help", "billing": "was charged twice"}
    colours, things = (
        ("old", "new", "red", "blue", "wet"),
        ("app", "phone", "card", "note", "map", "pen", "lamp", "desk"),
    )
    rows = [
        f"the {colour} {thing} {ending},{label}"
        for colour in colours for thing in things for label, ending in endings.items()
    ]  # fmt: skip
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    (rehearsal,) = blocks_of(PAGE, "sh")[2:]
    run([rehearsal.rstrip() + " --workers 1\n"], tmp_path, installed)
    shown = json.loads((tmp_path / "frontier" / "results.json").read_text())["example"]
    assert shown["strategy"] == "frontier"
    _, *later = shown["batches"]
    assert [batch["fallback"] for batch in later] == ["", ""]
    own = [item for batch in later for item in batch["items"] if item["arm"] == "strategy"]
    assert own
    assert all("at distance" in item["reason"] for item in own)
    assert sum(item["propensity"] < 1 for item in own) > len(own) / 2
