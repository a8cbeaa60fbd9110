"""The reference is complete and up to date; the tutorial runs as it stands."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest
import typer

from labelwise.cli.main import app
from labelwise.project.components import KINDS, build, describe, installed
from tests.docs.pages import blocks_of, environment, run

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def reference():
    """docs/make_reference.py as a module."""
    spec = importlib.util.spec_from_file_location("make_reference", DOCS / "make_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["cli.md", "components.md"])
def test_the_committed_page_is_what_the_code_says_now(page, reference):
    committed = (DOCS / "reference" / page).read_text(encoding="utf-8")
    assert committed == reference.PAGES[page](), "out of date: run python docs/make_reference.py"


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one."""
    return re.split(r"^#+ ", text.split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_every_command_and_option_is_described(reference):
    page = (DOCS / "reference/cli.md").read_text(encoding="utf-8")
    found = list(reference.commands(typer.main.get_command(app)))
    assert len(found) > 15
    for name, command in found:
        described = section(page, f"## labelwise {name}")
        for parameter in command.params:
            shown = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.name.upper()
            assert re.search(rf"`{re.escape(shown)}[`,].* \| \S", described), (name, shown)


@pytest.mark.parametrize("kind", KINDS.values())
def test_every_component_says_what_it_is_and_every_setting_is_listed(kind, reference):
    page = (DOCS / "reference/components.md").read_text(encoding="utf-8")
    assert installed(kind)
    for name, point in installed(kind).items():
        cls = point.load()
        assert cls.__doc__, f"{kind}: {name} has no docstring"
        assert not cls.__doc__.startswith(f"{cls.__name__}("), f"{kind}: {name} has no docstring of its own"
        described = section(page.split(f"## {kind.capitalize()}\n", 1)[1], f"### {name}")
        for field in reference.settings(cls):
            assert f"| `{field.name}` |" in described, (name, field.name)


@pytest.mark.parametrize("kind", KINDS.values())
def test_a_component_is_read_back_from_its_written_config(kind, reference):
    for name, point in installed(kind).items():
        if all(has_default(field) for field in reference.settings(point.load())):
            component = build(kind, name)
            assert describe(build(kind, describe(component))) == describe(component)


def has_default(field) -> bool:
    from dataclasses import MISSING

    return field.default is not MISSING or field.default_factory is not MISSING


def test_the_tutorial_runs_as_it_stands(tmp_path):
    blocks = blocks_of("tutorial.md", "sh")
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    assert text.count("```") == 2 * len(blocks), "every block is run"
    folder, env = tmp_path / "somewhere", environment(tmp_path / "bin")
    folder.mkdir()
    run(blocks, folder, env)
    assert "model 2: identical" in "".join(log_of(folder, env, "model", "reproduce", "2"))
    assert len((folder / "labels.csv").read_text().splitlines()) == 13
    assert (folder / "report.html").stat().st_size > 1000
    assert "not known yet" in log_of(folder, env, "status")


def log_of(folder, env, *command) -> str:
    return subprocess.run(
        ["labelwise", *command, "--project", "desk"], cwd=folder, env=env, capture_output=True, text=True, check=True
    ).stdout
