"""Labels for new texts: `labelwise predict` from one file to another, texts per CPU second and memory.

    python benchmarks/predict.py             # 25,000 and 100,000 texts
    python benchmarks/predict.py --quick     # 5,000 and 20,000 texts, under 50 seconds

A project with 1,000 Reddit titles from ../shared/data (generated texts where there are none) and 200
labels trains a model; then other titles go from JSON Lines to Parquet. Each run is its own
process, so that its peak memory is its own; its start, about two seconds, counts. Memory is bounded if
four times the texts need hardly more of it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scale import tables

GOAL_SPEED = 5_000
GOAL_GROWTH = 0.1

CHILD = """
import resource, sys
from labelwise.cli.main import main
sys.argv = ["labelwise", *sys.argv[1:]]
try:
    main()
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20, file=sys.stderr)
"""


def texts(count: int) -> Iterator[str]:
    """So many different texts."""
    for table in tables(count):
        yield from table["text"].to_pylist()


def project(folder: Path, known: list[str]) -> None:
    """A project with a trained model: is a title longer than fifty characters?"""
    from labelwise.project.plan import advance
    from labelwise.project.starting import start
    from labelwise.project.steps.submit import Submission, submit
    from labelwise.project.workspace import Workspace

    start(folder, ["long", "short"], "single", "predict")
    (folder / "texts.txt").write_text("\n".join(" ".join(text.split()) for text in known))
    subprocess.run(
        [sys.executable, "-m", "labelwise.cli.main", "add", "texts.txt"],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with Workspace.open(folder) as workspace:
        advance(workspace)
        while workspace.now().annotated < 200:
            asked = workspace.now().pending
            found = workspace.texts.get(list(workspace.now().shards), asked)
            said = ["long" if len(text) > 50 else "short" for text in found]
            submit(workspace, [Submission(i, "rule", s) for i, s in zip(asked, said, strict=True)])
            advance(workspace)


def measure(folder: Path, name: str, count: int) -> dict[str, Any]:
    """Seconds from the command to its end, peak memory of its process, and that no text is missing."""
    began = time.perf_counter()
    found = subprocess.run(
        [sys.executable, "-c", CHILD, "predict", name, "--output", "out.parquet", "--no-texts", "--json"],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    facts = json.loads(found.stdout)
    assert facts["rows"] == count, facts
    cpu, peak = map(float, found.stderr.split()[-2:])
    return {"texts": count, "seconds": seconds, "cpu_seconds": cpu, "per_cpu_second": count / cpu, "peak_gb": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a fifth of the texts, under 50 seconds")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    arguments = parser.parse_args()
    count = 20_000 if arguments.quick else 100_000
    runs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        everything = list(texts(count + 2_000))
        project(folder, everything[:1_000])
        for size in (count // 4, count):
            file = folder / f"{size}.jsonl"
            with file.open("w", encoding="utf-8") as out:
                out.writelines(json.dumps({"text": text}) + "\n" for text in everything[-size:])
            runs.append(measure(folder, file.name, size))
    small, large = runs
    growth, speed = large["peak_gb"] - small["peak_gb"], large["per_cpu_second"]
    found = {
        "runs": runs,
        "targets": {
            "texts_per_cpu_second": {
                "value": round(speed), "goal": GOAL_SPEED, "met": speed >= GOAL_SPEED,
            },
            "gb_more_for_four_times_the_texts": {
                "value": round(growth, 3), "goal": GOAL_GROWTH, "met": growth <= GOAL_GROWTH,
            },
        },
    }  # fmt: skip
    if not arguments.json:
        print(f"{'texts':>9} {'seconds':>9} {'CPU s':>9} {'per CPU s':>9} {'peak GB':>9}")
        for run in runs:
            print(
                f"{run['texts']:>9,} {run['seconds']:>9.1f} {run['cpu_seconds']:>9.1f} "
                f"{run['per_cpu_second']:>9,.0f} {run['peak_gb']:>9.2f}"
            )
    print(json.dumps(found if arguments.json else {"targets": found["targets"]}, indent=1))


if __name__ == "__main__":
    main()
