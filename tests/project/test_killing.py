"""kill -9 at every moment of a round: the next start ends in the same record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PARTS = 2


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_any_moment_a_round_ends_in_the_same_record(tmp_path: Path, part: int) -> None:
    root = Path(__file__).parents[2]
    alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1") | {"TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.project.killing", str(tmp_path), str(part), str(PARTS)],
        cwd=root, env={**os.environ, **alone}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    kinds = [kind for _, kind, *_ in found["events"]]
    assert kinds[0] == "config.set"
    assert kinds.count("batch.selected") == 2
    assert kinds.count("model.promoted") == 1
    # 13 acts are appended (before, after); 8 files and the texts are synced before and after their rename.
    assert found["moments"] >= 2 * 13 + 2 * 9
    assert found["survived"] == []
    assert found["differing"] == []
