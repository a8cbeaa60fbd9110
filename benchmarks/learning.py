"""Learning curves on real data: the project's own rehearsal, every strategy against random labelling.

    python benchmarks/learning.py            # every set, 5 seeds, 1,000 labels: about half an hour on 2 cores
    python benchmarks/learning.py --quick    # one set, 2 seeds, 300 labels
    python benchmarks/learning.py --sets trec,sst2 --json

Data sets are read from ../shared/data. The Banking77 anchors are published means of three seeds with
the same embedding and a TypiClust start; they count as met within the spread those seeds had.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1].parent / "shared" / "data"
SETS = ("ag_news", "trec", "banking77", "clinc150", "sst2", "goemotions")
STRATEGIES = ("default", "typiclust", "margin", "random")
ANCHORS = {154: 0.609, 354: 0.765, 554: 0.811, 754: 0.820}
TOLERANCE = 0.015


def rehearse(name: str, out: Path, options: list[str]) -> dict[str, Any]:
    """One `labelwise simulate` in its own process; its JSON."""
    command = [
        sys.executable, "-m", "labelwise.cli.main", "simulate", str(DATA / f"{name}.parquet"),
        "--split-column", "split", "--out", str(out / name), "--json", *options,
    ]  # fmt: skip
    if name == "goemotions":
        command += ["--task", "multi"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def anchors(out: Path, seeds: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """TypiClust every round on Banking77 against the published means."""
    options = ["--start", "typiclust", "--strategy", "typiclust", "--strategy", "random", "--initial", "154"]
    options += ["--batch", "100", "--budget", "754", "--control", "0", "--seeds", str(seeds)]
    results = rehearse("banking77", out / "anchors", options)
    arms = [arm for arm in results["arms"] if arm["strategy"] == "typiclust"]
    targets, rows = {}, []
    for labels, published in ANCHORS.items():
        values = [arm["accuracy"][arm["labels"].index(labels)] for arm in arms]
        mean = sum(values) / len(values)
        met = mean >= published - TOLERANCE
        targets[f"banking77_typiclust_at_{labels}"] = {"value": round(mean, 4), "goal": published, "met": met}
        rows.append({"labels": labels, "mean": mean, "least": min(values), "most": max(values), "published": published})
    return targets, rows


def table(name: str, results: dict[str, Any]) -> None:
    task = results["task"]
    print(f"\n{name}: {task['labels']} labels, pool {task['pool']}, test {task['test']}")
    print("| strategy | area | 95 % | final | 95 % | labels to random's final | saving | p |")
    print("|---|---|---|---|---|---|---|---|")
    for row in results["summary"]:
        spans = [
            "-" if not row[k] else f"{row[k][0]:.3f} to {row[k][1]:.3f}" for k in ("alc_interval", "final_interval")
        ]
        needed = row["labels_to_random_final"]
        saving, p = row["saving"], row["p_value_vs_random"]
        print(
            f"| {row['strategy']} | {row['alc']:.3f} | {spans[0]} | {row['final']:.3f} | {spans[1]} "
            f"| {'not reached' if needed is None else round(needed)} | {'-' if saving is None else f'{saving:.0%}'} "
            f"| {'-' if p is None else f'{p:.3f}'} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under 50 seconds")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--sets", default="", help="comma-separated names; all by default")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--start", default="random", help="strategy of the first batch")
    arguments = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA} is absent: this benchmark needs the real data sets.")
    names = [n for n in arguments.sets.split(",") if n] or (["trec"] if arguments.quick else list(SETS))
    seeds, budget = (2, 200) if arguments.quick else (arguments.seeds, 1000)
    options = [
        "--initial",
        "50",
        "--batch",
        "50",
        "--budget",
        str(budget),
        "--seeds",
        str(seeds),
        "--start",
        arguments.start,
    ]
    for strategy in ("margin", "random") if arguments.quick else STRATEGIES:
        options += ["--strategy", strategy]
    out: dict[str, Any] = {"sets": {}, "targets": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            results = rehearse(name, Path(folder), options)
            out["sets"][name] = {"task": results["task"], "summary": results["summary"]}
            if not arguments.json:
                table(name, results)
        if not arguments.quick and not arguments.sets:
            out["targets"], rows = anchors(Path(folder), 3)
            if not arguments.json:
                print("\nBanking77, TypiClust every round, no control, 3 seeds: accuracy")
                for row in rows:
                    print(f"  {row['labels']} labels: {row['mean']:.3f} ({row['least']:.3f} to {row['most']:.3f}), "
                          f"published {row['published']:.3f}")  # fmt: skip
    print(json.dumps(out if arguments.json else {"targets": out["targets"]}, indent=1))


if __name__ == "__main__":
    main()
