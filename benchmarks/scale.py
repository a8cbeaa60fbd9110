"""A million short texts on one machine: seconds and memory of every step up to the second batch.

    python benchmarks/scale.py             # 1,000,000 texts: a few minutes
    python benchmarks/scale.py --quick     # 50,000 texts

Texts are Reddit titles from ../shared/data when present, else generated ones. Each run is its own
process, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

TITLES = Path(__file__).parents[1].parent / "shared" / "data" / "reddit_titles.parquet"
CEILING_GB = 4.0


def tables(count: int) -> Iterator[Any]:
    """``count`` texts, as a reader gives them."""
    if TITLES.exists():
        left = count
        for batch in pq.ParquetFile(TITLES).iter_batches(4096, columns=["text"]):
            part = pa.table({"text": batch.column(0)}).slice(0, left)
            left -= len(part)
            yield part.filter(pc.not_equal(pc.utf8_trim_whitespace(part["text"]), ""))
            if not left:
                return
    else:
        from labelwise.core import stream
        from labelwise.project.inbox import inbox

        for block in range(-(-count // 5_000)):
            rows = inbox(stream(block, "scale"), 5_000)
            yield pa.table({"text": [f"{row['text']} {block}" for row in rows]})


def measure(count: int) -> dict[str, Any]:
    """Every step of a project with ``count`` texts: seconds each, and the process's peak memory."""
    from labelwise.project.plan import STEPS, plan
    from labelwise.project.starting import start
    from labelwise.project.steps.ingest import ingest
    from labelwise.project.steps.submit import Submission, submit
    from labelwise.project.workspace import Workspace

    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        start(Path(folder), ["long", "short"], "single", "scale")
        with Workspace.open(folder) as workspace:
            began = time.perf_counter()
            ingest(workspace, tables(count), "titles")
            seconds["add"] = time.perf_counter() - began
            while len(workspace.now().batches) < 2:
                todo = plan(workspace.now(), workspace.config)[0]
                if todo.step == "wait":
                    pending = workspace.now().pending
                    texts = workspace.texts.get(list(workspace.now().shards), pending)
                    said = ["long" if len(text) > 50 else "short" for text in texts]
                    submit(workspace, [Submission(i, "rule", s) for i, s in zip(pending, said, strict=True)])
                    continue
                name = f"{todo.step} (round {len(workspace.now().batches)})" if todo.step == "select" else todo.step
                began = time.perf_counter()
                STEPS[todo.step](workspace, todo)
                seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - began
            stored = workspace.now().texts
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"texts": stored, "seconds": seconds, "total": sum(seconds.values()), "peak_gb": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="50,000 texts, under 50 seconds")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    count = 50_000 if arguments.quick else arguments.texts
    if arguments.child:
        print(json.dumps(measure(count)))
        return
    command = [sys.executable, __file__, "--child", "--texts", str(count)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    found["targets"] = {
        "peak_gb": {"value": round(found["peak_gb"], 2), "goal": CEILING_GB, "met": found["peak_gb"] <= CEILING_GB}
    }
    if not arguments.json:
        print(f"{found['texts']:,} texts, {found['total']:.0f} s in all, peak memory {found['peak_gb']:.2f} GB")
        for name, seconds in found["seconds"].items():
            print(f"  {name:<20} {seconds:8.1f} s")
    print(json.dumps(found if arguments.json else {"targets": found["targets"]}, indent=1))


if __name__ == "__main__":
    main()
