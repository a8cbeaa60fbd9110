"""Running what a page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = {"labelwise": "-m labelwise.cli.main", "python3": "", "pytest": "-m pytest -p no:cacheprovider"}


def blocks_of(page: str, language: str) -> list[str]:
    """The fenced blocks of docs/``page`` in one language, in order."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def environment(bin_folder: Path, *paths: Path) -> dict[str, str]:
    """In which the interpreter that runs the tests is the one that a page's commands find."""
    bin_folder.mkdir()
    for name, started in PROGRAMS.items():
        program = bin_folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {started} "$@"\n')
        program.chmod(0o755)
    python = os.pathsep.join(map(str, (*paths, ROOT)))
    return {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": python}


def run(blocks: Sequence[str], folder: Path, env: dict[str, str]) -> str:
    """What the shell blocks print, one after the other; a failure or a warning fails the test."""
    said = []
    for block in blocks:
        found = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], cwd=folder, env=env, capture_output=True, text=True, check=False
        )
        assert found.returncode == 0, (block, found.stdout, found.stderr)
        assert "warning" not in found.stderr.lower(), (block, found.stderr)
        said.append(found.stdout)
    return "".join(said)
