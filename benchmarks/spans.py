"""Spans and several labels: the tagger on full data, what choosing texts is worth, and thresholds per label.

    python benchmarks/spans.py            # half an hour to an hour on one core
    python benchmarks/spans.py --quick    # a part of everything
    python benchmarks/spans.py --parts full,curves,thresholds --seeds 5 --json

Tokens of the sets are joined with blanks, so every entity of theirs lies between blanks; they are then split
again by the project's own tokeniser, whose tokens are what the budgets count. F1 is of exact entities on the
set's test split. Nothing was chosen on a test split: features, penalties and the form of the thresholds were chosen on
"val". Data sets are read from ../shared/data.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from labelwise.core import Examples, Pool, Task, stream
from labelwise.core.tokens import read_tags
from labelwise.learn.crf import CRF
from labelwise.learn.linear import Linear
from labelwise.learn.temperature import Temperature
from labelwise.learn.thresholds import best_thresholds
from labelwise.measure import metrics
from labelwise.represent.static import Static
from labelwise.select.scorers import MNLP, LeastConfidence, TokenEntropy

DATA = Path(__file__).parents[1].parent / "shared" / "data"
SETS = ("conll2003", "wnut17")
GOAL = 0.82
LENGTHS = (5, 60)
"""Tokens of the texts that curves choose from: shorter ones are no sentences."""
POOL = 3000
BUDGETS = (500, 1000, 2000, 4000, 8000)
RULES: dict[str, Any] = {
    "random": None, "mnlp": MNLP(), "ltp": LeastConfidence(), "token-entropy": TokenEntropy(),
}  # fmt: skip


def load(name: str, split: str) -> tuple[list[str], list[list[tuple[int, int, str]]]]:
    rows = [row for row in pq.read_table(DATA / f"{name}.parquet").to_pylist() if row["split"] == split]
    texts = [" ".join(row["tokens"]) for row in rows]
    return texts, [read_tags(row["tags"], text) for row, text in zip(rows, texts, strict=True)]


def examples(name: str, split: str) -> Examples:
    texts, spans = load(name, split)
    labels = sorted({label for _, known in (load(name, "train"),) for found in known for *_, label in found})
    task = Task("spans", tuple(labels))
    return Examples(task, task.targets(spans, texts), np.ones(len(texts)), texts=texts)


def quality(model: Any, test: Examples, resamples: int = 200) -> dict[str, Any]:
    labels = test.task.labels
    return metrics.evaluate(model.believe(test.texts), test.targets, labels, rng=stream(0, "q"), resamples=resamples)


def full(name: str, share: float) -> dict[str, Any]:
    train, test = examples(name, "train"), examples(name, "test")
    train = train.take(stream(0, "share").permutation(len(train))[: int(share * len(train))])
    start = time.process_time()
    model = CRF().fit(train, None, stream(0, "fit"))
    fitted = time.process_time()
    found = quality(model, test)
    return {
        "set": name, "texts": len(train), "tokens": len(train.targets.codes), "share": share,
        "fit_seconds": round(fitted - start, 1), "attributes": model.facts["attributes"],
        "test_tokens_per_second": round(len(test.targets.codes) / (time.process_time() - fitted)),
        **{key: {k: round(v, 4) for k, v in found["metrics"][key].items()} for key in
           ("micro_f1", "precision", "recall", "partial_f1", "ece", "log_loss")},
        "per_class": {row["label"]: round(row["f1"]["value"], 4) for row in found["per_class"]},
    }  # fmt: skip


def curve(pool: Examples, test: Examples, rule: str, budgets: tuple[int, ...], seed: int) -> list[float]:
    """F1 at each budget of tokens; every rule begins with the same random texts."""
    rng, lengths = stream(seed, "curve"), np.diff(pool.targets.offsets)
    order = rng.permutation(len(pool))
    chosen = order[: int(np.searchsorted(np.cumsum(lengths[order]), budgets[0])) + 1]
    out: list[float] = []
    model: Any = None
    for step, budget in enumerate(budgets):
        if step:
            still = np.setdiff1d(np.arange(len(pool)), chosen)
            if RULES[rule] is None:
                ranked = order[~np.isin(order, chosen)]
            else:
                asked = Pool.of(len(still), beliefs=model.believe([pool.texts[row] for row in still]))
                ranked = still[np.argsort(-RULES[rule].score(asked, np.arange(len(still))), kind="stable")]
            spent = int(lengths[chosen].sum()) + np.cumsum(lengths[ranked])
            chosen = np.concatenate([chosen, ranked[: int(np.searchsorted(spent, budget)) + 1]])
        model = CRF(folds=2).fit(pool.take(chosen), None, stream(seed, "fit", step))
        out.append(quality(model, test, 0)["metrics"]["micro_f1"]["value"])
    return out


def curves(name: str, budgets: tuple[int, ...], seeds: int, rules: list[str]) -> dict[str, Any]:
    whole, test = examples(name, "train"), examples(name, "test")
    lengths = np.diff(whole.targets.offsets)
    usable = np.flatnonzero((lengths >= LENGTHS[0]) & (lengths <= LENGTHS[1]))
    found: dict[str, list[list[float]]] = {rule: [] for rule in rules}
    for seed in range(seeds):
        pool = whole.take(stream(seed, "pool").permutation(usable)[:POOL])
        for rule in rules:
            found[rule].append(curve(pool, test, rule, budgets, seed))
    rows = {}
    for rule, values in found.items():
        mean, gain = np.mean(values, axis=0), np.array(values) - np.array(found["random"])
        rows[rule] = {
            "f1": [round(float(v), 4) for v in mean],
            "gain": [round(float(v), 4) for v in gain.mean(axis=0)],
            "seeds_ahead_at_end": int((gain[:, -1] > 0).sum()),
            "tokens_to_random_end": reached(budgets, mean, float(np.mean(found["random"], axis=0)[-1])),
        }
    return {"set": name, "budgets": budgets, "seeds": seeds, "pool": POOL, "rules": rows}


def reached(budgets: tuple[int, ...], mean: Any, goal: float) -> int | None:
    """Tokens at which the mean curve first reaches a value, on a logarithmic scale between budgets."""
    for i, value in enumerate(mean):
        if value >= goal - 1e-12:
            if i == 0:
                return budgets[0]
            share = (goal - mean[i - 1]) / (value - mean[i - 1])
            return round(float(np.exp(np.log(budgets[i - 1]) + share * np.log(budgets[i] / budgets[i - 1]))))
    return None


def thresholds(sizes: tuple[int, ...], seeds: int) -> list[dict[str, Any]]:
    """GoEmotions, static vectors: F1 at 0.5 and at thresholds chosen on held-out beliefs."""
    table = pq.read_table(DATA / "goemotions.parquet").to_pylist()
    train, test = ([row for row in table if row["split"] == split] for split in ("train", "test"))
    task = Task("multi", tuple(sorted({label for row in train for label in row["labels"]})))
    encoder = Static().fit([row["text"] for row in train[:5000]], stream(0, "encoder"))
    unseen = encoder.encode([row["text"] for row in test])
    truth = task.targets([tuple(row["labels"]) for row in test])
    out = []
    for size in sizes:
        found: dict[str, list[list[float]]] = {"0.5": [], "per label": []}
        for seed in range(seeds):
            rows = [train[i] for i in stream(seed, "rows").permutation(len(train))[:size]]
            targets = task.targets([tuple(row["labels"]) for row in rows])
            known = Examples(task, targets, np.ones(size), encoder.encode([row["text"] for row in rows]))
            model = Linear().fit(known, None, stream(seed, "fit"))
            calibration = Temperature().fit(model.held_out, targets, known.weights)
            chosen = best_thresholds(calibration.apply(model.held_out), targets, known.weights)
            said = calibration.apply(model.believe(unseen))
            for name, value in (("0.5", None), ("per label", chosen)):
                result = metrics.evaluate(type(said)(said.probs, value), truth, task.labels, rng=stream(0), resamples=0)
                names = ("macro_f1", "micro_f1", "accuracy", "lrap", "ranking_loss")
                found[name].append([result["metrics"][key]["value"] for key in names])
        means = {name: np.mean(values, axis=0).round(4).tolist() for name, values in found.items()}
        out.append({"labels": size, "seeds": seeds, "columns": names, **means})
    return out


def show(found: dict[str, Any]) -> None:
    for row in found.get("full", []):
        f1, value = row["micro_f1"], {name: row[name]["value"] for name in ("partial_f1", "precision", "recall", "ece")}
        print(
            f"\n{row['set']}: {row['texts']} texts, {row['tokens']} tokens, {row['fit_seconds']} s of one core to fit"
        )
        speed = f"{row['test_tokens_per_second']} tokens/s"
        print(f"  exact F1 {f1['value']:.4f} ({f1['lo']:.4f} to {f1['hi']:.4f}), {speed}")
        print("  " + ", ".join(f"{name} {one:.4f}" for name, one in value.items()))
        print("  " + ", ".join(f"{label} {one:.3f}" for label, one in row["per_class"].items()))
    for one in found.get("curves", []):
        print(f"\n{one['set']}, {one['seeds']} seeds, pool of {one['pool']} texts: exact F1 by labelled tokens")
        print("| rule | " + " | ".join(map(str, one["budgets"])) + " | ahead | tokens to random's end |")
        print("|---" * (len(one["budgets"]) + 3) + "|")
        for rule, row in one["rules"].items():
            values, end = " | ".join(f"{v:.3f}" for v in row["f1"]), row["tokens_to_random_end"] or "not reached"
            print(f"| {rule} | {values} | {row['seeds_ahead_at_end']} of {one['seeds']} | {end} |")
    for row in found.get("thresholds", []):
        print(f"\nGoEmotions, {row['labels']} labels, {row['seeds']} seeds: " + ", ".join(row["columns"]))
        for name in ("0.5", "per label"):
            print(f"  {name}: " + ", ".join(f"{value:.4f}" for value in row[name]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under 50 seconds")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--parts", default="full,curves,thresholds", help="full, curves, thresholds")
    parser.add_argument("--sets", default=",".join(SETS), help="conll2003, wnut17")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    parts, sets = options.parts.split(","), options.sets.split(",")
    found: dict[str, Any] = {}
    budgets, rules, seeds = BUDGETS, list(RULES), options.seeds
    if options.quick:
        sets, budgets, rules, seeds = sets[-1:], BUDGETS[:2], ["random", "ltp"], 1
    if "full" in parts:
        found["full"] = [full(name, 0.1 if options.quick else 1.0) for name in sets]
    if "curves" in parts:
        found["curves"] = [curves(name, budgets, seeds, rules) for name in sets]
    if "thresholds" in parts:
        found["thresholds"] = thresholds((250,) if options.quick else (250, 1000, 4000), seeds)
    targets = {}
    for row in found.get("full", []):
        if row["set"] == "conll2003" and row["share"] == 1.0:
            value = row["micro_f1"]["value"]
            targets["conll2003_test_f1"] = {"value": value, "goal": GOAL, "met": value >= GOAL}
    for one in found.get("curves", []):
        best = max(one["rules"][rule]["gain"][-1] for rule in one["rules"])
        targets[f"{one['set']}_best_rule_over_random"] = {"value": best, "goal": 0.0, "met": best > 0}
    for row in found.get("thresholds", []):
        gain = row["per label"][0] - row["0.5"][0]
        targets[f"thresholds_macro_f1_gain_{row['labels']}"] = {"value": round(gain, 4), "goal": 0.0, "met": gain > 0}
    found["targets"] = targets
    if options.json:
        print(json.dumps(found))
        return
    show(found)
    print(json.dumps({"targets": targets}, indent=1))


if __name__ == "__main__":
    main()
