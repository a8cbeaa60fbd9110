"""How well texts outside are told from those inside, and what a committee costs.

    python benchmarks/outside.py             # static and minilm: about a quarter of an hour
    python benchmarks/outside.py --quick     # static, 5 texts a class, one seed: under 50 seconds

clinc150: models of the 150 intents of the training split; 4,500 test texts of these intents are inside, the test
split's 1,000 out-of-scope texts outside. No out-of-scope text is seen before the test. banking77: a quarter of the
77 intents, drawn by the seed, is left out of training and is outside. Texts per class and seeds are sub-samples of
the training split. The views and their mean are ``labelwise.learn.outside``'s at its defaults; confidence (MSP),
energy and the disagreement (BALD) of committees are printed beside them.

    python benchmarks/outside.py --choose    # what the defaults were chosen by: no out-of-scope text at all

leaves 2 of 10 domains, or 30 of 150 intents, of clinc150's training split out as the outside.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import vectors as sets
from labelwise.core import Examples, Task, stream
from labelwise.learn.committee import Bootstrap, Laplace
from labelwise.learn.linear import Linear
from labelwise.learn.outside import Outside, _shares
from labelwise.measure.detection import detection
from labelwise.represent.static import Static
from labelwise.select.committee import BALD

GOALS = {"auroc": 0.958, "fpr95": 0.19}
FORM = 1


def clinc(encoder: str, cache: Path) -> dict[str, Any]:
    """Vectors of all texts of clinc150 with intent (-1 = out of scope), domain and split; prepared once."""
    table = pq.read_table(sets.DATA / "clinc150.parquet").to_pydict()
    split, outside = np.array(table["split"]), np.array(table["is_oos"])
    names = sorted({label for label, out in zip(table["label"], outside, strict=True) if not out})
    code = {label: i for i, label in enumerate(names)}
    targets = np.array([-1 if out else code[label] for label, out in zip(table["label"], outside, strict=True)])
    place = cache / "vectors" / encoder / "clinc150_scope.npz"
    if not place.is_file():
        train = [text for text, s, out in zip(table["text"], split, outside, strict=True) if s == "train" and not out]
        use = sets.encoder_of(encoder, cache) or Static().fit(train, stream(0, "encoder"))
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_suffix(".part.npz")
        np.savez(part, vectors=use.encode(table["text"]).astype(np.float16), form=np.array(FORM))
        part.replace(place)
    with np.load(place) as kept:
        vectors = kept["vectors"].astype(np.float32)
    train, test = (split == "train") & ~outside, split == "test"
    return {
        "pool": vectors[train], "targets": targets[train], "domain": np.array(table["domain"])[train],
        "inside": vectors[test & ~outside], "outside": vectors[test & outside],
    }  # fmt: skip


def banking(encoder: str, cache: Path, seed: int) -> dict[str, Any]:
    """banking77 with a quarter of the intents left out."""
    made = sets.load("banking77", encoder, cache)
    out = stream(seed, "outside").permutation(len(made.labels))[: len(made.labels) // 4]
    kept, foreign = ~np.isin(made.targets, out), np.isin(made.test_targets, out)
    code = np.unique(made.targets[kept], return_inverse=True)[1]
    return {"pool": made.pool[kept], "targets": code, "inside": made.test[~foreign], "outside": made.test[foreign]}


def per_class(targets: Any, count: int, rng: np.random.Generator) -> Any:
    """Positions of ``count`` texts of every class, 0 = all."""
    if not count:
        return np.arange(len(targets))
    order = rng.permutation(len(targets))
    return np.sort(np.concatenate([order[targets[order] == label][:count] for label in np.unique(targets)]))


def examples_of(data: dict[str, Any], rows: Any) -> Examples:
    targets = data["targets"][rows]
    task = Task("single", tuple(f"label {i}" for i in range(int(data["targets"].max()) + 1)))
    return Examples(task, targets, np.ones(len(rows)), data["pool"][rows])


def scores(data: dict[str, Any], count: int, seed: int, committees: bool) -> dict[str, Any]:
    """Figures of every score, and seconds."""
    rng = stream(seed, "benchmark")
    examples = examples_of(data, per_class(data["targets"], count, rng))
    seconds: dict[str, float] = {}

    def timed(name: str, act: Any) -> Any:
        start = time.process_time()
        made = act()
        seconds[name] = round(time.process_time() - start, 2)
        return made

    model = timed("linear", lambda: Linear().fit(examples, None, stream(seed, "fit")))
    detector = timed("outside", lambda: Outside().fit(examples, model, stream(seed, "outside fit")))
    both = [data["inside"], data["outside"]]
    columns = [detector.views.columns(vectors) for vectors in both]
    found = {name: [column[:, i] for column in columns] for i, name in enumerate(detector.views.names)}
    logits = [vectors @ model.head.coef.T + model.head.intercept for vectors in both]
    found["confidence"] = [1.0 - model.believe(vectors).confidence() for vectors in both]
    found["energy"] = [-np.logaddexp.reduce(z, axis=1) for z in logits]
    for kind in (Bootstrap(Linear((model.facts["c"],))), Laplace(Linear((model.facts["c"],)))) if committees else ():
        name = type(kind).__name__.lower()
        made = timed(f"{name} (beside linear)", lambda kind=kind: kind.fit(examples, model, stream(seed, "fit")))
        found[f"BALD {name}"] = [BALD._information(made.believe(vectors)) for vectors in both]
    found["outside"] = timed("scoring", lambda: [detector.scores(vectors) for vectors in both])
    figures = {name: detection(*pair, rng=stream(seed, "bootstrap")) for name, pair in found.items()}
    accepted = float(np.mean(found["outside"][0] <= 0.95))
    return {
        "labels": len(examples),
        "c": model.facts["c"],
        "accepted": accepted,
        "seconds": seconds,
        "figures": figures,
    }


def merged(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, and the standard deviation where there are several; one run keeps its intervals."""
    first = runs[0]
    if len(runs) == 1:
        return first
    figures = {
        name: {
            key: {"value": float(np.mean(values)), "sd": float(np.std(values, ddof=1))}
            for key in ("auroc", "aupr", "fpr95")
            for values in [[run["figures"][name][key]["value"] for run in runs]]
        }
        for name in first["figures"]
    }
    seconds = {name: round(float(np.mean([run["seconds"][name] for run in runs])), 2) for name in first["seconds"]}
    accepted = float(np.mean([run["accepted"] for run in runs]))
    return {**first, "seeds": len(runs), "accepted": accepted, "seconds": seconds, "figures": figures}


def shown(title: str, run: dict[str, Any]) -> None:
    print(f"\n{title}: {run['labels']} labels, C {run['c']:g}, CPU seconds {run['seconds']}, "
          f"{run['accepted']:.1%} of texts inside score at most .95\n")  # fmt: skip
    print("| score | AUROC | AUPR | FPR95 |\n|---|---|---|---|")
    for name, figures in run["figures"].items():
        cells = []
        for key in ("auroc", "aupr", "fpr95"):
            one = figures[key]
            spread = f"{one['lo']:.3f} to {one['hi']:.3f}" if "lo" in one else f"± {one['sd']:.3f}"
            cells.append(f"{one['value']:.3f} ({spread})")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def choose(encoder: str, cache: Path) -> dict[str, Any]:
    """AUROC and FPR95 of every mean of views where parts of the training split are the outside, over 3 seeds."""
    data, found = clinc(encoder, cache), {}
    for count, part, k in itertools.product((5, 20), ("domain", "targets"), (1, 3)):
        tables: list[dict[str, Any]] = []
        for seed in range(3):
            rng = stream(seed, "choose")
            rows = per_class(data["targets"], count, rng)
            of = data[part][rows]
            values = np.unique(of)
            out = np.isin(of, rng.permutation(values)[: len(values) // 5])
            inside = rng.permutation(rows[~out])
            cut = int(0.8 * len(inside))
            examples = examples_of(data, inside[:cut])
            model = Linear((100.0,)).fit(examples, None, stream(seed, "fit"))
            detector = Outside(k).fit(examples, model, stream(seed, "outside fit"))
            shares = [
                _shares(detector.held, detector.views.columns(data["pool"][r])) for r in (inside[cut:], rows[out])
            ]
            table = {}
            for size in range(1, 5):
                for views in itertools.combinations(range(4), size):
                    pair = [share[:, views].mean(axis=1) for share in shares]
                    figures = detection(*pair, rng=rng, resamples=0)
                    name = " + ".join(detector.views.names[v] for v in views)
                    table[name] = (figures["auroc"]["value"], figures["fpr95"]["value"])
            tables.append(table)
        kind = "intents" if part == "targets" else "domains"
        found[f"{count} a class, {kind} left out, k = {k}"] = {
            name: [round(float(x), 4) for x in np.mean([t[name] for t in tables], axis=0)] for name in tables[0]
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="static, 5 texts a class, one seed")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--choose", action="store_true", help="what the defaults were chosen by")
    parser.add_argument("--cache", type=Path, default=sets.CACHE)
    parser.add_argument("--encoders", default="static,minilm")
    parser.add_argument("--counts", default="0,20,5", help="training texts a class, 0 = all")
    parser.add_argument("--seeds", type=int, default=5, help="sub-samples of the training split")
    arguments = parser.parse_args()
    encoders = ["static"] if arguments.quick else arguments.encoders.split(",")
    if arguments.choose:
        print(json.dumps({encoder: choose(encoder, arguments.cache) for encoder in encoders}, indent=1))
        return
    counts = [5] if arguments.quick else [int(count) for count in arguments.counts.split(",")]
    found: dict[str, Any] = {"targets": {}}
    for encoder, count in itertools.product(encoders, counts):
        seeds = range(1 if arguments.quick or not count else arguments.seeds)
        data = clinc(encoder, arguments.cache)
        for name, of in (("clinc150", lambda seed: data), ("banking77", None)):  # noqa: B023
            if of is None and not sets.is_ready("banking77", encoder, arguments.cache):
                sets.prepare("banking77", encoder, arguments.cache)
            runs = [
                scores(of(seed) if of else banking(encoder, arguments.cache, seed), count, seed, bool(count))
                for seed in seeds
            ]
            title = f"{name}, {encoder}, {count or 'all'} a class"
            found[title] = merged(runs)
            if not arguments.json:
                shown(title, found[title])
            if name == "clinc150" and not count:
                for key, goal in GOALS.items():
                    value = found[title]["figures"]["outside"][key]["value"]
                    met = value >= goal if key == "auroc" else value <= goal
                    found["targets"][f"{key}, {encoder}"] = {"value": round(value, 4), "goal": goal, "met": bool(met)}
    print(json.dumps(found if arguments.json else {"targets": found["targets"]}, indent=1))


if __name__ == "__main__":
    main()
