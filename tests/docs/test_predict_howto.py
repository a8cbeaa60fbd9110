"""The page on prediction runs as it stands: the commands, then the Python on what they wrote."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.docs.pages import blocks_of, environment, run

PAGE = "how-to/predict.md"


def test_the_page_runs(tmp_path: Path) -> None:
    folder = tmp_path / "somewhere"
    folder.mkdir()
    env = environment(tmp_path / "bin")
    said = run(blocks_of(PAGE, "sh"), folder, env)
    assert "17,monday.csv:2,The camera crashes all the time,bug," in said.replace('"', "")
    assert '"source": "stdin:1"' in said
    unsure = (folder / "unsure.csv").read_text().splitlines()
    assert len(unsure) == 4, "no row goes"
    for block in blocks_of(PAGE, "python"):
        found = subprocess.run(
            [sys.executable, "-c", block], cwd=folder, env=env, capture_output=True, text=True, check=False
        )
        assert found.returncode == 0, found.stderr
        assert not found.stderr
        said += found.stdout
    assert "['bug' 'praise']" in said
