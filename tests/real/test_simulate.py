"""The main job on real texts, through the command line, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.real

CURVES = ("labels", "accuracy", "macro_f1", "log_loss", "ece", "seconds")


def simulate(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "labelwise.cli.main", "simulate", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def majority(path: Path) -> float:
    labels = pq.read_table(path, columns=["label"])["label"].to_pylist()
    return Counter(labels).most_common(1)[0][1] / len(labels)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("trec", ["--split-column", "split"]),
        ("sst2", ["--split-column", "split", "--encoder", "hashing"]),
        ("sms_spam", ["--start", "typiclust"]),
        ("clinc150", ["--split-column", "split", "--strategy", "typiclust"]),
        ("fb_multilingual", ["--encoder", "{ use = 'concat', parts = ['static', 'hashing'] }"]),
    ],
)
def test_the_main_job(name: str, options: list[str], real_data: Path, tmp_path: Path) -> None:
    path = real_data / f"{name}.parquet"
    common = ["--label-column", "label", "--strategy", "margin", "--strategy", "random", *options]
    common += ["--initial", "50", "--batch", "50", "--budget", "150", "--seeds", "2", "--out", str(tmp_path / "out")]
    result = simulate(str(path), *common)
    names = {"margin", "random"} | ({"typiclust"} if "typiclust" in options and "--start" not in options else set())
    assert {(arm["strategy"], arm["seed"]) for arm in result["arms"]} == {(n, s) for n in names for s in (0, 1)}
    for arm in result["arms"]:
        assert arm["labels"] == [50, 100, 150]
        assert {len(arm[curve]) for curve in CURVES} == {3}
        assert arm["seconds"] == sorted(arm["seconds"])
    by_seed = {(arm["strategy"], arm["seed"]): arm for arm in result["arms"]}
    assert all(by_seed["margin", s]["accuracy"][0] == by_seed["random", s]["accuracy"][0] for s in (0, 1))
    finals = {row["strategy"]: row["final"] for row in result["summary"]}
    assert finals["random"] > min(majority(path), 0.8) - 0.05
    assert (tmp_path / "out" / "report.html").stat().st_size < 2_000_000
    assert simulate(str(path), *common) == result


def test_several_labels_per_text(real_data: Path, tmp_path: Path) -> None:
    result = simulate(
        str(real_data / "goemotions.parquet"), "--task", "multi", "--split-column", "split", "--budget", "200",
        "--initial", "100", "--batch", "100", "--seeds", "1", "--workers", "1", "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert result["task"]["labels"] == 28
    assert all(0 < value < 0.5 for arm in result["arms"] for value in arm["log_loss"])


def test_a_typiclust_start_on_banking77_is_where_it_was_published(real_data: Path, tmp_path: Path) -> None:
    """60.9 % at 154 labels and 76.5 % at 354 (means of three seeds); one seed is within a few points."""
    result = simulate(
        str(real_data / "banking77.parquet"), "--split-column", "split", "--start", "typiclust",
        "--strategy", "typiclust", "--strategy", "random", "--initial", "154", "--batch", "100", "--budget", "354",
        "--control", "0", "--seeds", "1", "--out", str(tmp_path / "out"),
    )  # fmt: skip
    (arm,) = [arm for arm in result["arms"] if arm["strategy"] == "typiclust"]
    assert arm["accuracy"][0] == pytest.approx(0.609, abs=0.04)
    assert arm["accuracy"][2] == pytest.approx(0.765, abs=0.04)
