"""From a burst of 100 labels to the next batch, in a project of a million texts: seconds of every step.

    python benchmarks/update.py                            # 1,000,000 texts: first some minutes to build the project
    python benchmarks/update.py --folder ../million        # keeps the built project there and uses it again
    python benchmarks/update.py --quick                    # 50,000 texts, one strategy, under 50 s

The whole path: ``submit`` of 100 answers, then ``advance`` until the next batch of 100 is recorded (data version,
training, calibration, evaluation, verdict, beliefs about all texts, choice). In one long-lived process, as a server
holds a project, after 500 labels were imported: medians and maxima over the bursts. Then once in a process that has
just begun, which must first read and check what is on disk. Texts are Reddit titles from ../shared/data when present,
else generated ones; eight labels follow rules of the text, one answer in ten is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scale import tables

GOAL = 2.0
BURST, BEFORE = 100, 500
STRATEGIES: dict[str, Any] = {"auto": "auto", "power margin": {"use": "power", "scorer": "margin"}}
LABELS = ("question", "bracketed", "first person", "number", "exclaimed", "long", "short", "other")
SHOWN = ("submit", "snapshot", "train", "calibrate", "evaluate", "judge", "select", "between", "total")


def said(texts: Sequence[str], ids: Sequence[str]) -> list[str]:
    """What the annotator answers: a rule of the text; in one of ten, by its id, something else."""
    out = []
    for text, name in zip(texts, ids, strict=True):
        rules = (
            "?" in text, "[" in text, text[:2] in ("I ", "My", "I'"), any(c.isdigit() for c in text), "!" in text,
            len(text) > 80, len(text) < 30, True,
        )  # fmt: skip
        place = rules.index(True) if int(name[-4:], 16) % 10 else int(name[:4], 16) % len(LABELS)
        out.append(LABELS[place])
    return out


def build(folder: Path, count: int) -> None:
    """A project with ``count`` texts, up to its first batch."""
    from labelwise.project.plan import advance
    from labelwise.project.starting import start
    from labelwise.project.steps.ingest import ingest
    from labelwise.project.workspace import Workspace

    start(folder, LABELS, "single", "update")
    with Workspace.open(folder) as workspace:
        ingest(workspace, tables(count), "titles")
        advance(workspace, until="divide")


def copied(source: Path, target: Path, strategy: Any) -> Path:
    """The project again, with this strategy: big files are shared, as they never change."""
    from labelwise.project import config as configs
    from labelwise.project.starting import written

    def share(one: str, other: str) -> str:
        if one.endswith((".safetensors", ".parquet")):
            os.link(one, other)
            return other
        return str(shutil.copy2(one, other))

    shutil.copytree(source, target, copy_function=share)
    values = configs.load(target / configs.FILE).written_out()
    values["task"] = {"kind": "single", "labels": list(LABELS)}
    values["selection"] |= {"strategy": strategy, "initial": BURST, "batch": BURST}
    (target / configs.FILE).write_text(written(configs.parse(values).written_out()), encoding="utf-8")
    return target


def burst(workspace: Any, steps: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Answer what waits and advance to the next batch: wall and processor seconds of every step."""
    from labelwise.project.plan import STEPS, advance
    from labelwise.project.steps.submit import Submission, submit

    ledger = workspace.now()
    pending = ledger.pending
    answers = said(workspace.texts.get(list(ledger.shards), pending), pending)
    given = [Submission(i, "rule", answer) for i, answer in zip(pending, answers, strict=True)]
    spent = dict.fromkeys(SHOWN, (0.0, 0.0))

    def clock(name: str, act: Any) -> None:
        begun, cpu = time.perf_counter(), time.process_time()
        act()
        spent[name] = time.perf_counter() - begun, time.process_time() - cpu

    STEPS.update({name: lambda w, todo, name=name: clock(name, lambda: steps[name](w, todo)) for name in steps})

    def all_of_it() -> None:
        clock("submit", lambda: submit(workspace, given))
        advance(workspace)

    own = time.thread_time()
    clock("total", all_of_it)
    own = time.thread_time() - own
    wall, cpu = (spent["total"][i] - sum(spent[name][i] for name in SHOWN[:-2]) for i in (0, 1))
    # what a machine without other work would take, but for its disk: this thread's part, and a half of the others'
    idle = own + (spent["total"][1] - own) / 2
    return spent | {"between": (wall, cpu), "idle": (idle, spent["total"][1])}


def measure(folder: Path, bursts: int, labels: int) -> dict[str, Any]:
    """Seconds of every burst in this process; the first is the one that begins it."""
    from labelwise.project.plan import STEPS, advance
    from labelwise.project.steps.submit import Submission, submit
    from labelwise.project.workspace import Workspace

    steps = dict(STEPS)
    begun = time.perf_counter()
    with Workspace.open(folder) as workspace:
        if labels:
            shard, *_ = workspace.now().shards
            ids = [one.decode() for one in workspace.ids(shard)[:: max(1, len(workspace.ids(shard)) // labels)]]
            texts = workspace.texts.get(list(workspace.now().shards), ids)
            submit(workspace, [Submission(i, "rule", s) for i, s in zip(ids, said(texts, ids), strict=True)])
            advance(workspace)
        opened = time.perf_counter() - begun
        rows = [burst(workspace, steps) for _ in range(bursts)]
        models = [workspace.model(entry["version"]) for entry in workspace.now().models[-bursts:]]
        searched = [bool(model.facts["searched"]) for model in models]
        stored = workspace.now().texts
    return {"texts": stored, "open": opened, "bursts": rows, "searched": searched}


def child(folder: Path, bursts: int, labels: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", str(folder), "--bursts", str(bursts), "--labels", str(labels)]
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return {**json.loads(done.stdout), "process": time.perf_counter() - begun}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="50,000 texts and auto alone, under 50 seconds")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--folder", type=Path, help="where the project is, or is to be kept")
    parser.add_argument("--bursts", type=int, default=9)
    parser.add_argument("--labels", type=int, default=BEFORE, help=argparse.SUPPRESS)
    parser.add_argument("--only", help="one strategy: " + ", ".join(STRATEGIES))
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child, arguments.bursts, arguments.labels)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder.parent if arguments.folder else None) as temporary:
        source = arguments.folder or Path(temporary) / "project"
        if not source.exists():
            build(source, 50_000 if arguments.quick else 1_000_000)
        found: dict[str, Any] = {}
        for name in STRATEGIES if not arguments.only else [arguments.only]:
            if arguments.quick and name != "auto":
                continue
            folder = copied(source, Path(temporary) / name.replace(" ", "-"), STRATEGIES[name])
            warm = child(folder, 3 if arguments.quick else arguments.bursts, arguments.labels)
            found[name] = {"warm": warm, "cold": child(folder, 1, 0)}
    medians = {name: statistics.median(b["total"][0] for b in each["warm"]["bursts"]) for name, each in found.items()}
    value = round(max(medians.values()), 2)
    targets = {"next_batch_after_100_labels_seconds": {"value": value, "goal": GOAL, "met": value <= GOAL}}
    if arguments.json:
        print(json.dumps({"strategies": found, "targets": targets}))
        return
    for name, each in found.items():
        rows, cold = each["warm"]["bursts"], each["cold"]["bursts"][0]
        texts, searched = each["warm"]["texts"], sum(each["warm"]["searched"])
        print(f"\n{name}, {texts:,} texts, {len(rows)} bursts, C searched for in {searched}; seconds")
        print(f"  {'':<10} {'median':>8} {'most':>8} {'CPU':>8} {'cold':>8}")
        for step in SHOWN:
            wall, cpu = zip(*(row[step] for row in rows), strict=True)
            shown = (statistics.median(wall), max(wall), statistics.median(cpu), cold[step][0])
            print(f"  {step:<10} " + " ".join(f"{one:8.3f}" for one in shown))
        idle = statistics.median(row["idle"][0] for row in rows)
        print(f"  processor seconds one after the other if two cores do nothing else: {idle:.2f}")
        print(f"  cold process, from its start to its end: {each['cold']['process']:.1f} s")
    print(f"\nload of the machine over the last minutes: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(json.dumps({"targets": targets}, indent=1))


if __name__ == "__main__":
    main()
