"""Do probabilities mean what they say, before and after each calibrator, and do prediction sets hold what they promise?

    python benchmarks/calibration.py                 # 8 sets, 10 seeds, 500 random labels, static vectors
    python benchmarks/calibration.py --encoder minilm
    python benchmarks/calibration.py --labels 2000   # where vector scaling is affordable for more sets
    python benchmarks/calibration.py --quick         # 3 sets, 2 seeds, under 50 seconds

500 random labels of the pool train the linear model; calibrators are fitted to its held-out beliefs
and judged on the control, 3,000 further random texts of the pool (what there is, if there are fewer), and on the
test split, of which nothing was tuned. ECE is that of ``metrics`` (adaptive,
15 bins); since it cannot be negative, noise alone makes it about sqrt(bins / n): ``noise`` prints what beliefs
that are right by construction get on as many texts, ``debiased`` the root of the mean squared error without that
part (Kumar, Liang and Ma 2019). Sets: 90 %, calibrated on 500 further random texts of the pool, judged on the test
split. The priors of ``vector`` were chosen by log-loss on parts of the pools of trec, sst2, hate_5, ag_news,
amazon_domains and banking77 (static vectors, seeds of their own); clinc150, hate_1 and minilm were not looked at.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

try:
    from .common import vectors
except ImportError:
    from common import vectors  # type: ignore[no-redef,import-not-found]

from labelwise.core import Beliefs, Calibrator, Categorical, Examples, Task, stream
from labelwise.learn import conformal
from labelwise.learn.adaptive import Adaptive
from labelwise.learn.isotonic import Isotonic
from labelwise.learn.linear import Linear
from labelwise.learn.temperature import Temperature
from labelwise.learn.vector import Vector
from labelwise.measure import calibration
from labelwise.measure.metrics import evaluate

GOAL, MISS = 0.05, 0.1
CONTROL = 3000
WORSE = 2.262  # Student's t, 9 degrees of freedom, 97.5 %: ten paired seeds
CALIBRATORS: dict[str, Calibrator] = {
    "temperature": Temperature(),
    "vector": Vector(),
    "isotonic": Isotonic(least=20),  # 1,000 by default, which 500 labels never reach
    "adaptive": Adaptive(),
}
SETS = {
    "lac": {"score": "lac"},
    "aps": {"score": "aps"},
    "by class": {"score": "lac", "by_class": True},
}


def judge(beliefs: Beliefs, truth: Any, labels: list[str]) -> dict[str, float]:
    """ECE and its unbiased square, class-wise ECE, log-loss, accuracy and the gate, without resamples."""
    found = evaluate(beliefs, truth, labels, rng=stream(0), resamples=0)
    names = ("ece", "squared_ece", "classwise_ece", "log_loss", "accuracy", "aurc")
    return {name: found["metrics"][name]["value"] for name in names}


def noise(probs: Any, labels: list[str], rng: np.random.Generator) -> float:
    """ECE of beliefs that are right: the truth is drawn from them."""
    drawn = (probs.cumsum(axis=1) < rng.random((len(probs), 1))).sum(axis=1).clip(max=probs.shape[1] - 1)
    return judge(Categorical(probs), drawn, labels)["ece"]


def one(data: vectors.Data, labels: int, seed: int) -> dict[str, Any]:
    """One seed on one set."""
    rng = stream(seed, "labels")
    order = rng.permutation(len(data.pool))
    rows, further, control = np.split(order[: labels + 500 + CONTROL], [labels, labels + 500])
    groups = np.where(data.groups[rows] < 0, -1 - np.arange(labels), data.groups[rows])
    task = Task("single", tuple(data.labels))
    examples = Examples(task, data.targets[rows], np.ones(labels), vectors=data.pool[rows], groups=groups)
    model = Linear().fit(examples, None, stream(seed, "train"))
    raw, seen, held_out = model.believe(data.test), model.believe(data.pool[control]), model.held_out
    assert held_out is not None

    def both(change: Callable[[Beliefs], Beliefs]) -> dict[str, float]:
        on_control = judge(change(seen), data.targets[control], data.labels)
        on_test = judge(change(raw), data.test_targets, data.labels)
        return on_control | {f"test_{name}": value for name, value in on_test.items()}

    found: dict[str, Any] = {"none": both(lambda beliefs: beliefs)}
    for name, calibrator in CALIBRATORS.items():
        fitted = calibrator.fit(held_out, examples.targets, examples.weights)
        found[name] = both(fitted.apply)
        if name == "adaptive":
            found["method"] = fitted.state().facts["method"]
            adapted = fitted
    after = adapted.apply(raw).arrays()["categorical"]
    found["noise"] = noise(adapted.apply(seen).arrays()["categorical"].astype(np.float64), data.labels, rng)
    found["test_noise"] = noise(after.astype(np.float64), data.labels, rng)
    said = adapted.apply(model.believe(data.pool[further])).arrays()["categorical"]
    for name, options in SETS.items():
        sets = conformal.fit(said, data.targets[further], MISS, rng=rng, **options)  # type: ignore[arg-type]
        inside = sets.sets(after, rng)
        held = inside[np.arange(len(after)), data.test_targets]
        each = [held[data.test_targets == k].mean() for k in np.unique(data.test_targets)]
        found[f"sets {name}"] = {
            "coverage": float(held.mean()), "size": float(inside.sum(axis=1).mean()), "worst_class": float(min(each)),
            "not_known": len(sets.unknown),
        }  # fmt: skip
    return found


def gate_rates(repeats: int) -> dict[str, dict[str, float]]:
    """How often the gate stops beliefs of 5 classes whose logits are so many times the honest ones, by texts.

    ``percentile``: how often it would if it asked whether the plain interval of the ECE lies above the tolerance.
    """
    out: dict[str, dict[str, float]] = {}
    for sharpness in (1.0, 1.5, 3.0):
        for n in (100, 300, 1000):
            fails = plain = 0
            for seed in range(repeats):
                rng = stream(seed, "gate")
                logits = 1.5 * rng.standard_normal((n, 5))
                honest, said = (np.exp(s * logits) for s in (1.0, sharpness))
                honest, said = (p / p.sum(axis=1, keepdims=True) for p in (honest, said))
                truth = (honest.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=4)
                found = evaluate(Categorical(said), truth, list("abcde"), rng=rng, resamples=100)
                fails += found["gate"]["passes"] is False
                plain += found["metrics"]["ece"]["lo"] > calibration.TOLERANCE
            out[f"logits x {sharpness:g}, {n} texts"] = {"stopped": fails / repeats, "percentile": plain / repeats}
    return out


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds; for calibrators also whether they are worse than temperature, seed by seed."""
    out: dict[str, Any] = {}
    for name in ("none", *CALIBRATORS):
        out[name] = {metric: float(np.mean([run[name][metric] for run in runs])) for metric in runs[0][name]}
        for part in ("", "test_"):
            out[name][f"{part}debiased"] = float(np.sqrt(max(0.0, out[name][f"{part}squared_ece"])))
        for metric in ("log_loss", "ece", "test_log_loss", "test_ece"):
            gaps = np.array([run[name][metric] - run["temperature"][metric] for run in runs])
            error = gaps.std(ddof=1) / np.sqrt(len(gaps)) if len(gaps) > 1 else 0.0
            out[name][f"{metric}_over_temperature"] = [float(gaps.mean()), float(WORSE * error)]
    for part in ("noise", "test_noise"):
        out[part] = float(np.mean([run[part] for run in runs]))
    out["method"] = {m: sum(run["method"] == m for run in runs) for m in sorted({run["method"] for run in runs})}
    for name in SETS:
        key = f"sets {name}"
        out[key] = {metric: float(np.mean([run[key][metric] for run in runs])) for metric in runs[0][key]}
    return out


def targets(found: dict[str, Any]) -> dict[str, Any]:
    """The goals: ECE on every set; adaptive never worse than temperature; coverage of the sets."""
    ece = {name: row["adaptive"]["ece"] for name, row in found.items()}
    default = {name: row["temperature"]["ece"] for name, row in found.items()}
    worse = [
        f"{name} {metric}"
        for name, row in found.items()
        for metric in ("log_loss", "ece", "test_log_loss", "test_ece")
        if np.diff(row["adaptive"][f"{metric}_over_temperature"][::-1])[0] > 0
    ]
    coverage = {name: row["sets lac"]["coverage"] for name, row in found.items()}
    most, last, far = (
        max(ece, key=ece.__getitem__),
        max(default, key=default.__getitem__),
        min(coverage, key=coverage.get),
    )  # type: ignore[arg-type]
    return {
        "worst_control_ece_adaptive": {"value": [most, round(ece[most], 4)], "goal": GOAL, "met": ece[most] < GOAL},
        "worst_control_ece_temperature": {"value": [last, round(default[last], 4)], "goal": GOAL,
                                          "met": default[last] < GOAL},
        "where_adaptive_is_significantly_worse": {"value": worse, "goal": [], "met": not worse},
        "least_coverage": {"value": [far, round(coverage[far], 4)], "goal": 1 - MISS,
                           "met": coverage[far] >= 1 - MISS - 0.02},
    }  # fmt: skip


def show(name: str, row: dict[str, Any]) -> None:
    print(f"{name}: adaptive chose {row['method']}; noise alone makes an ECE of {row['noise']:.4f} on the control, "
          f"{row['test_noise']:.4f} on the test split")  # fmt: skip
    print("  on control:    ECE  debiased  class-wise  log-loss  accuracy    AURC   on test:  ECE  debiased  log-loss")
    for method in ("none", *CALIBRATORS):
        m = row[method]
        print(f"  {method:<11} {m['ece']:.4f}    {m['debiased']:.4f}      {m['classwise_ece']:.4f}    "
              f"{m['log_loss']:.4f}    {m['accuracy']:.4f}  {m['aurc']:.4f}         {m['test_ece']:.4f}    "
              f"{m['test_debiased']:.4f}    {m['test_log_loss']:.4f}")  # fmt: skip
    for method in SETS:
        m = row[f"sets {method}"]
        print(f"  90 % sets, {method:<8} coverage {m['coverage']:.3f}, worst class {m['worst_class']:.3f}, "
              f"{m['size']:.2f} answers, {m['not_known']:.1f} classes not known")  # fmt: skip
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=vectors.CACHE, help="where prepared vectors lie")
    parser.add_argument("--encoder", default="static", choices=vectors.ENCODERS)
    parser.add_argument("--sets", default=",".join(vectors.SETS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--labels", type=int, default=500)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    arguments = parser.parse_args()
    names = ["trec", "sst2", "ag_news"] if arguments.quick else arguments.sets.split(",")
    found: dict[str, Any] = {}
    with threadpool_limits(1):
        for name in names:
            start = time.process_time()
            data = vectors.load(name, arguments.encoder, arguments.cache)
            runs = [one(data, arguments.labels, seed) for seed in range(2 if arguments.quick else arguments.seeds)]
            found[name] = summary(runs) | {"cpu_seconds": round(time.process_time() - start, 1)}
            if not arguments.json:
                show(name, found[name])
    result = {"encoder": arguments.encoder, "labels": arguments.labels, "tolerance": calibration.TOLERANCE,
              "sets": found, "gate": gate_rates(10 if arguments.quick else 200), "targets": targets(found)}  # fmt: skip
    if arguments.json:
        print(json.dumps(result, indent=1))
        return
    for name, rate in result["gate"].items():  # type: ignore[attr-defined]
        print(f"gate, {name}: stops {rate['stopped']:.1%} (by the plain interval {rate['percentile']:.1%})")
    for name, target in result["targets"].items():  # type: ignore[attr-defined]
        print(f"{name}: {target['value']}, goal {target['goal']}: {'met' if target['met'] else 'MISSED'}")


if __name__ == "__main__":
    main()
