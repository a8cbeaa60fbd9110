"""More from the same labels: choosing the representation and learning from the open texts, each ablated.

    python benchmarks/representation.py            # 10 seeds, 4 budgets, 5 sets: an hour; stops and goes on at any time
    python benchmarks/representation.py --quick    # one set, 3 seeds, 100 labels; under 50 seconds
    python benchmarks/representation.py --full     # only the scores at full training size
    python benchmarks/representation.py --report   # only the tables of what has been run

Arms: "plain", the linear trainer on ``static``; "choice", on ``concat`` of static and hashing, parts weighed by
held-out log-loss; "pool", neighbourly on static; "both", neighbourly on concat. Every arm of a seed has the same
random labels; curves are macro-F1 on the test split. Constants were chosen on held-out parts of the training splits
of trec, banking77, sst2, clinc150, ag_news and amazon_domains, with draws that are none of these seeds. Data sets are
read from ../shared/data; vectors and results (one line per fit) are kept in --cache.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from common import vectors
from sklearn.metrics import f1_score
from threadpoolctl import threadpool_limits

from labelwise.core import Examples, Task, stream
from labelwise.learn.linear import Linear
from labelwise.learn.neighbourly import Neighbourly
from labelwise.measure.curves import signed_rank
from labelwise.represent.common import unit
from labelwise.represent.concat import Concat
from labelwise.represent.hashing import Hashing
from labelwise.represent.static import Static

Array = npt.NDArray[Any]

SETS = ("ag_news", "trec", "banking77", "clinc150", "sst2")
BUDGETS = (100, 250, 500, 1000)
ARMS = {"plain": ("static", Linear()), "choice": ("concat", Linear()),
        "pool": ("static", Neighbourly()), "both": ("concat", Neighbourly())}  # fmt: skip
ANCHORS = {"trec": 90.8, "banking77": 92.8, "clinc150": 91.4}
"""Accuracy of a linear SVM at full size, on the best of static vectors, tf-idf of words, of characters, of both."""
LEVEL = 0.05
GAIN = 5.0
WIDE = 1024


def load(name: str, cache: Path) -> tuple[dict[str, tuple[Array, Array]], vectors.Data]:
    """Vectors of pool and test per representation, and the set."""
    vectors.prepare(name, "static", cache)
    data = vectors.load(name, "static", cache)
    place = cache / "vectors" / "hashing" / f"{name}.npz"
    if not place.is_file():
        texts = vectors.read(name)
        encoder = Hashing().fit(texts.pool, stream(0, "encoder"))
        place.parent.mkdir(parents=True, exist_ok=True)
        np.savez(place, pool=encoder.encode(texts.pool), test=encoder.encode(texts.test))
    with np.load(place) as kept:
        joined = tuple(unit(np.hstack([a, kept[part]])) for a, part in ((data.pool, "pool"), (data.test, "test")))
    return {"static": (data.pool, data.test), "concat": (joined[0], joined[1])}, data


def fit(data: vectors.Data, pool: Array, arm: str, rows: Array, seed: int) -> tuple[Any, float]:
    """The arm's model of some labelled rows, and its CPU seconds."""
    representation, trainer = ARMS[arm]
    rest = np.setdiff1d(np.arange(len(pool)), rows)
    sample = stream(seed, "unlabelled").permutation(rest)
    examples = Examples(
        Task("single", tuple(data.labels)), data.targets[rows], np.ones(len(rows)), pool[rows],
        groups=_groups(data, rows),
        blocks=(256, pool.shape[1] - 256) if representation == "concat" else (),
        unlabelled=(lambda count: pool[sample[:count]]) if len(rest) else None,
    )  # fmt: skip
    start = time.process_time()
    with threadpool_limits(1):
        model = trainer.fit(examples, None, stream(seed, "train"))
    return model, time.process_time() - start


def _groups(data: vectors.Data, rows: Array) -> Array:
    """Near-duplicates by group, every other text (-1) by itself."""
    groups = data.groups[rows]
    return np.where(groups < 0, len(data.groups) + np.arange(len(rows)), groups)


def cells(names: list[str], budgets: list[int], seeds: int) -> Iterator[tuple[int, str, int, str]]:
    """Small budgets first: what is cut off is what costs most."""
    for budget in budgets:
        for name in names:
            for seed in range(seeds):
                for arm in ARMS:
                    yield budget, name, seed, arm


def run(todo: Iterator[tuple[int, str, int, str]], file: Path, cache: Path) -> None:
    done = {key(row) for row in read(file)}
    name_of, views, data = "", {}, None
    for cell in todo:
        if cell in done:
            continue
        budget, name, seed, arm = cell
        if name != name_of:
            (views, data), name_of = load(name, cache), name
        assert data is not None
        pool, test = views[ARMS[arm][0]]
        rows = stream(seed, "labels", name).permutation(len(pool))[:budget]
        model, seconds = fit(data, pool, arm, rows, seed)
        beliefs = model.believe(test)
        hard = beliefs.hard()
        row = {
            "budget": budget, "set": name, "seed": seed, "arm": arm, "seconds": round(seconds, 2),
            "f1": 100 * float(f1_score(data.test_targets, hard, average="macro")),
            "accuracy": 100 * float(np.mean(hard == data.test_targets)),
            "log_loss": float(beliefs.surprise(data.test_targets).mean()),
            "view": model.facts.get("view", "as encoded"), "c": model.facts["c"],
        }  # fmt: skip
        with file.open("a") as out:
            out.write(json.dumps(row) + "\n")


def full(name: str, file: Path) -> None:
    """Accuracy at full training size: the choice among static and wider n-grams."""
    if (0, name, 0, "choice") in {key(row) for row in read(file)}:
        return
    texts = vectors.read(name, pool_most=10**9)
    encoder = Concat((Static(), Hashing(dimensions=WIDE))).fit(texts.pool, stream(0, "encoder"))
    examples = Examples(
        Task("single", tuple(texts.labels)), texts.targets, np.ones(len(texts.pool)), encoder.encode(texts.pool),
        blocks=encoder.config.blocks,
    )  # fmt: skip
    start = time.process_time()
    with threadpool_limits(1):
        model = Linear(grid=(1.0, 10.0, 100.0)).fit(examples, None, stream(0, "train"))
    seconds = time.process_time() - start
    hard = model.believe(encoder.encode(texts.test)).hard()
    row = {
        "budget": 0, "set": name, "seed": 0, "arm": "choice", "labels": len(examples), "seconds": round(seconds, 2),
        "accuracy": 100 * float(np.mean(hard == texts.test_targets)), "view": model.facts["view"],
        "c": model.facts["c"], "tried": model.facts["block_log_loss"],
    }  # fmt: skip
    with file.open("a") as out:
        out.write(json.dumps(row) + "\n")


def key(row: dict[str, Any]) -> tuple[int, str, int, str]:
    return row["budget"], row["set"], row["seed"], row["arm"]


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def report(rows: list[dict[str, Any]], names: list[str], quiet: bool) -> dict[str, Any]:
    """Tables of macro-F1 and differences; Wilcoxon paired by seed, Holm over sets x budgets for each arm."""
    by = {key(row): row for row in rows}
    budgets = sorted({row["budget"] for row in rows if row["budget"]})
    out: dict[str, Any] = {"cells": [], "means": [], "targets": {}}
    for arm in ARMS:
        compared = []
        for budget in budgets:
            for name in names:
                seeds = [s for s in range(100) if all((budget, name, s, a) in by for a in {arm, "plain"})]
                if not seeds:
                    continue
                ours, plain = ([by[budget, name, s, a] for s in seeds] for a in (arm, "plain"))
                f1, base = (np.array([row["f1"] for row in part]) for part in (ours, plain))
                compared.append({
                    "arm": arm, "budget": budget, "set": name, "seeds": len(seeds), "f1": float(f1.mean()),
                    "gain": float((f1 - base).mean()), "p": signed_rank(f1 - base),
                    "log_loss": float(np.mean([row["log_loss"] for row in ours])),
                    "seconds": float(np.median([row["seconds"] for row in ours])),
                    "views": sorted({row["view"] for row in ours}),
                })  # fmt: skip
        worst = 0.0  # Holm 1979: a p-value never falls below that of a smaller one
        for rank, cell in enumerate(sorted(compared, key=lambda cell: cell["p"])):
            worst = max(worst, min(1.0, cell["p"] * (len(compared) - rank)))
            cell["holm"] = worst
        out["cells"] += compared
        for budget in budgets:
            gains = [cell["gain"] for cell in compared if cell["budget"] == budget]
            if gains:
                out["means"].append({"arm": arm, "budget": budget, "sets": len(gains), "gain": float(np.mean(gains))})
    worse = [c for c in out["cells"] if c["arm"] == "both" and c["gain"] < 0 and c["holm"] < LEVEL]
    out["targets"]["both_significantly_worse"] = {"value": len(worse), "goal": 0, "met": not worse}
    first = [mean["gain"] for mean in out["means"] if mean["arm"] == "both" and mean["budget"] == 100]
    if first:
        out["targets"]["both_gain_at_100"] = {"value": round(first[0], 2), "goal": GAIN, "met": first[0] >= GAIN}
    for name, anchor in ANCHORS.items():
        scores = [
            row["accuracy"] for row in rows if row["budget"] == 0 and row["set"] == name and row["arm"] == "choice"
        ]
        if scores:
            out["targets"][f"{name}_full"] = {"value": round(scores[0], 1), "goal": anchor, "met": scores[0] >= anchor}
    if not quiet:
        show(out, budgets, names)
    return out


def show(out: dict[str, Any], budgets: list[int], names: list[str]) -> None:
    print("macro-F1; difference to plain, * = significant after Holm; median CPU s of a fit\n")
    for budget in budgets:
        print(f"| {budget} labels | " + " | ".join(names) + " | mean gain |\n" + "|---" * (len(names) + 2) + "|")
        for arm in ARMS:
            found = {c["set"]: c for c in out["cells"] if c["arm"] == arm and c["budget"] == budget}
            mean = next((m["gain"] for m in out["means"] if m["arm"] == arm and m["budget"] == budget), None)
            shown = [
                "-" if name not in found else "{f1:.1f} ({gain:+.1f}{0}) {seconds:.1f} s".format(
                    "*" if found[name]["holm"] < LEVEL else "", **found[name]) for name in names
            ]  # fmt: skip
            print(f"| {arm} | " + " | ".join(shown) + (" | - |" if mean is None else f" | {mean:+.2f} |"))
        print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--sets", default="")
    parser.add_argument("--budgets", default="")
    parser.add_argument("--seeds", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=vectors.CACHE)
    arguments = parser.parse_args()
    if not vectors.DATA.is_dir():
        sys.exit(f"{vectors.DATA} is absent: this benchmark needs the real data sets.")
    names = [n for n in arguments.sets.split(",") if n] or (["trec"] if arguments.quick else list(SETS))
    budgets = [int(b) for b in arguments.budgets.split(",") if b] or ([100] if arguments.quick else list(BUDGETS))
    seeds = arguments.seeds or (3 if arguments.quick else 10)
    file = arguments.cache / f"representation{'-quick' if arguments.quick else ''}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    if arguments.quick:
        file.unlink(missing_ok=True)
    if not arguments.report:
        if not arguments.full:
            run(cells(names, budgets, seeds), file, arguments.cache)
        else:
            for name in [name for name in ANCHORS if name in names]:
                full(name, file)
    out = report(read(file), names, arguments.json)
    print(json.dumps(out if arguments.json else {"targets": out["targets"]}, indent=1))


if __name__ == "__main__":
    main()
