"""The linear trainer's solver against scikit-learn's: CPU seconds, and how far from the optimum it stops.

    python benchmarks/solver.py [--quick] [--json]

Both minimise the same function on the same vectors (Banking77 with the static encoder when the data are
present, else the demo's inbox). The optimum is the solver's own answer at a far tighter tolerance,
checked by its gradient; distance is the largest difference of any probability on held-out texts.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

import argparse
import json
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from labelwise.core import stream
from labelwise.learn.logistic import prepare, probabilities, solve
from labelwise.represent.static import Static

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "banking77.parquet"


def load(n: int) -> tuple[Any, Any, Any]:
    """(vectors of n training texts, their labels as numbers, vectors of other texts)."""
    if DATA.is_file():
        rows = pq.read_table(DATA, columns=["text", "label"]).to_pydict()
        texts, labels = rows["text"], rows["label"]
    else:
        from labelwise.project.inbox import inbox

        made = inbox(stream(0, "inbox"), 6000)
        texts, labels = [row["text"] for row in made], [row["intent"] for row in made]
    rng = stream(0, "solver", n)
    order = rng.permutation(len(texts))[: n + 2000]
    texts = [texts[i] for i in order]
    vectors = Static().fit(texts, rng).encode(texts)
    return vectors[:n], np.unique([labels[i] for i in order], return_inverse=True)[1][:n], vectors[n:]


def ours(vectors: Any, targets: Any, c: float, tolerance: float) -> tuple[Any, Any]:
    columns = np.unique(targets)
    problem = prepare(vectors, targets[:, None] == columns, np.ones(len(vectors)), "softmax")
    return solve(problem, c, [], tolerance)


def sklearns(vectors: Any, targets: Any, c: float) -> tuple[Any, Any]:
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LogisticRegression(C=c, max_iter=5000).fit(vectors.astype(np.float64), targets)
    return model.coef_, model.intercept_


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under 50 seconds")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    arguments = parser.parse_args()
    repetitions = 3 if arguments.quick else 7
    rows = []
    for n in (200, 1000):
        vectors, targets, others = load(n)
        for c in (1.0, 10.0, 100.0):
            best = probabilities(*ours(vectors, targets, c, 1e-9), others, "softmax")
            found: dict[str, list[tuple[float, float]]] = {"labelwise": [], "scikit-learn": []}
            for _ in range(repetitions):
                for name in found:
                    began = time.process_time()
                    fitted = ours(vectors, targets, c, 1e-6) if name == "labelwise" else sklearns(vectors, targets, c)
                    spent = time.process_time() - began
                    gap = float(np.abs(probabilities(*fitted, others, "softmax") - best).max())
                    found[name].append((spent, gap))
            for name, runs in found.items():
                seconds = [spent for spent, _ in runs]
                rows.append({"n": n, "c": c, "solver": name, "seconds": statistics.median(seconds),
                             "least": min(seconds), "most": max(seconds), "distance": runs[0][1]})  # fmt: skip
    ratio = max(a["distance"] / b["distance"] for a, b in zip(rows[::2], rows[1::2], strict=True))
    out = {"rows": rows, "targets": {"worst_distance_ratio": {"value": ratio, "goal": 1.0, "met": ratio <= 1.0}}}
    if not arguments.json:
        print("| n | C | solver | CPU s (least to most) | distance from the optimum |\n|---|---|---|---|---|")
        for r in rows:
            print(f"| {r['n']} | {r['c']:g} | {r['solver']} | {r['seconds']:.2f} ({r['least']:.2f} to {r['most']:.2f}) "
                  f"| {r['distance']:.1e} |")  # fmt: skip
    print(json.dumps(out if arguments.json else {"targets": out["targets"]}, indent=1))


if __name__ == "__main__":
    main()
