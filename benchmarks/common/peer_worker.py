"""Runs inside the peers' own environment and answers requests for batches: no labelwise, no torch, no network.

One JSON object per line on stdin, one per line on stdout. {"pool": path.npy} loads the vectors (n, d).
{"strategy": name, "path": npz, "seed": s, "batch": b} answers {"rows": [...], "cpu": seconds, "wall": seconds,
"peak": MB above what it held before} or {"error": text}; with "whole" no library's wrapper subsamples, and "options"
go to the strategy. {"library": name, "most": bytes} imports it and bounds the process. The npz holds
``labelled`` (m,) rows, ``targets`` (m,) and our
model: ``coef``, ``intercept``, ``seen``, ``rest``, ``temperature``, and ``told`` (k, c), what it says about the first k
texts, to check the copy. Every strategy has the defaults of its library unless the constants below say otherwise.
"""

from __future__ import annotations

import ast
import importlib
import json
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

WIDEST = 250 * 10**6
"""Bytes of one of BADGE's gradient matrices; a larger pool is subsampled by the library's own wrapper."""
SQUARE = {"probcover": 4096, "max-herding": 2048}
"""What compares all pairs of texts gets so many at random, by the library's own wrapper: 18,000 need over 8 GB."""
FAR = 1e-12
BLOCK = 8192
STATUS = Path("/proc/self/status")
MODULES = {"scikit-activeml": "skactiveml.pool", "small-text": "small_text.query_strategies"}


class Told:
    """Our calibrated linear model, as arrays say it is."""

    def __init__(self, arrays: Any) -> None:
        self.arrays = {name: arrays[name] for name in ("coef", "intercept", "seen", "rest", "temperature")}

    def probs(self, vectors: Any) -> Any:
        """In blocks, as ours: the cost is the strategy's, not that of a copy of the vectors."""
        starts = range(0, max(len(vectors), 1), BLOCK)
        return np.concatenate([self._probs(np.asarray(vectors[at : at + BLOCK])) for at in starts])

    def _probs(self, vectors: Any) -> Any:
        model = self.arrays
        out = np.tile(model["rest"].astype(np.float64), (len(vectors), 1))
        if len(model["seen"]):
            logits = vectors.astype(np.float64) @ model["coef"].T + model["intercept"]
            logits -= logits.max(axis=1, keepdims=True)
            learned = np.exp(logits)
            out[:, model["seen"]] = learned / learned.sum(axis=1, keepdims=True) * (1.0 - model["rest"].sum())
        logits = np.log(np.maximum(out, FAR)) / float(model["temperature"])
        out = np.exp(logits - logits.max(axis=1, keepdims=True))
        return out / out.sum(axis=1, keepdims=True)


def scikit(name: str, vectors: Any, given: Any, seed: int, batch: int, whole: bool, options: Any) -> Any:
    """scikit-activeml's batch."""
    from skactiveml import pool
    from skactiveml.base import SkactivemlClassifier

    told = Told(given)
    classes = len(given["rest"])

    class Shim(SkactivemlClassifier):
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            return self

        def predict_proba(self, X: Any) -> Any:
            return told.probs(X)

        def predict(self, X: Any) -> Any:
            return told.probs(X).argmax(axis=1)

    classifier = Shim(classes=list(range(classes)))
    classifier.classes_ = np.arange(classes)
    targets = np.full(len(vectors), np.nan)
    targets[given["labelled"]] = given["targets"]
    makers: dict[str, tuple[Callable[[], Any], str]] = {
        "margin": (lambda: pool.UncertaintySampling(method="margin_sampling", random_state=seed), "clf"),
        "core-set": (lambda: pool.CoreSet(random_state=seed), ""),
        "badge": (lambda: pool.Badge(random_state=seed), "clf"),
        "typiclust": (lambda: pool.TypiClust(random_state=seed), ""),
        "clue": (lambda: pool.Clue(random_state=seed), "estimator"),
        "probcover": (lambda: pool.ProbCover(random_state=seed), ""),
        "max-herding": (lambda: pool.MaxHerding(random_state=seed), ""),
        "dropquery": (lambda: pool.DropQuery(random_state=seed), "clf"),
        "falcun": (lambda: pool.Falcun(random_state=seed), "clf"),
        "contrastive": (lambda: pool.ContrastiveAL(random_state=seed), "clf"),
    }
    make, learner = makers[name]
    strategy = make().set_params(**options)
    more = {learner: classifier, f"fit_{learner}": False} if learner else {}
    most = {"badge": _badge_texts(vectors, classes, batch), **SQUARE}.get(name, len(vectors))
    if not whole and most < len(vectors) - len(given["labelled"]):
        strategy = pool.SubSamplingWrapper(
            query_strategy=strategy, max_candidates=most, exclude_non_subsample=name in SQUARE, random_state=seed
        )
    return strategy.query(X=vectors, y=targets, batch_size=batch, **more)


def small_text(name: str, vectors: Any, given: Any, seed: int, batch: int, whole: bool, options: Any) -> Any:
    """small-text's batch. It takes no seed, so numpy's global one is set."""
    from small_text import query_strategies as theirs
    from small_text.data.datasets import SklearnDataset

    np.random.seed(seed)  # noqa: NPY002
    told, classes = Told(given), len(given["rest"])

    class Shim:
        num_classes = classes

        def predict_proba(self, dataset: Any) -> Any:
            return told.probs(dataset.x)

        def embed(self, dataset: Any, return_proba: bool = False, pbar: Any = None) -> Any:
            return (np.asarray(dataset.x), told.probs(dataset.x)) if return_proba else np.asarray(dataset.x)

    makers: dict[str, Callable[[], Any]] = {
        "breaking-ties": theirs.BreakingTies,
        "prediction-entropy": theirs.PredictionEntropy,
        "lightweight-coreset": theirs.LightweightCoreset,
        "embedding-kmeans": theirs.EmbeddingKMeans,
        "contrastive": theirs.ContrastiveActiveLearning,
        "greedy-coreset": theirs.GreedyCoreset,
        "badge": lambda: _small_text_badge(classes),
        "seals": lambda: theirs.SEALS(theirs.BreakingTies()),
        "anchoral": lambda: theirs.AnchorSubsampling(theirs.BreakingTies()),
    }
    strategy = makers[name]()
    if name == "badge" and classes > 2 and not whole:
        most = _badge_texts(vectors, classes, batch)
        strategy = theirs.SubsamplingQueryStrategy(strategy, subsample_size=most)
    everything = SklearnDataset(vectors, np.zeros(len(vectors), dtype=int), target_labels=np.arange(classes))
    unlabelled = np.setdiff1d(np.arange(len(vectors)), given["labelled"])
    return strategy.query(Shim(), everything, unlabelled, given["labelled"], given["targets"], n=batch)


def _badge_texts(vectors: Any, classes: int, batch: int) -> int:
    return int(max(4 * batch, WIDEST // (classes * vectors.shape[1] * 8)))


def _small_text_badge(classes: int) -> Any:
    """Their class as it is; only its module cannot be imported without torch, which the class does not use."""
    import small_text
    from small_text.query_strategies import EmbeddingBasedQueryStrategy
    from small_text.utils.clustering import init_kmeans_plusplus_safe

    path = Path(small_text.__file__).parent / "integrations/pytorch/query_strategies/strategies.py"
    tree = ast.parse(path.read_text())
    found = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "BADGE"]
    for node in found:
        node.decorator_list = []
    names = {
        "np": np,
        "EmbeddingBasedQueryStrategy": EmbeddingBasedQueryStrategy,
        "init_kmeans_plusplus_safe": init_kmeans_plusplus_safe,
    }
    exec(compile(ast.Module(found, []), str(path), "exec"), names)  # noqa: S102
    return names["BADGE"](classes)


LIBRARIES = {"scikit-activeml": scikit, "small-text": small_text}


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints is no answer
    warnings.simplefilter("ignore")
    vectors = None
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if "pool" in asked:
                vectors = np.load(asked["pool"])
                answer: dict[str, Any] = {"texts": len(vectors)}
            elif "library" in asked:
                importlib.import_module(MODULES[asked["library"]])
                resource.setrlimit(resource.RLIMIT_AS, (asked["most"], asked["most"]))
                answer = {}
            else:
                library, name = asked["strategy"].split(" ", 1)
                with np.load(asked["path"]) as file:
                    given = {part: file[part] for part in file.files}
                told = given["told"]
                worst = float(np.abs(Told(given).probs(vectors[: len(told)]) - told).max(initial=0.0))
                if worst > 1e-3:
                    raise ValueError(f"the model's copy differs from the model by {worst}")
                more = asked.get("whole", False), asked.get("options", {})
                before, start, wall = _forget(), time.process_time(), time.perf_counter()
                rows = LIBRARIES[library](name, vectors, given, asked["seed"], asked["batch"], *more)
                answer = {
                    "rows": np.asarray(rows).astype(int).tolist(),
                    "cpu": time.process_time() - start,
                    "wall": time.perf_counter() - wall,
                    "peak": _peak() - before,
                }
        except Exception as error:  # noqa: BLE001
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def _peak() -> float:
    """MB, the most since ``_forget``. What getrusage says may be the memory of the process that started this one."""
    if not STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")) / 1024


def _forget() -> float:
    """From here on the peak counts anew, where the system lets it. MB held now."""
    if STATUS.exists():
        STATUS.with_name("clear_refs").write_text("5")
    return _peak()


if __name__ == "__main__":
    main()
