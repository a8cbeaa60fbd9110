"""How many texts per CPU second the encoders take, and near-duplicate signatures, on one thread.

``python benchmarks/encoding_speed.py [--quick] [--json]``. The compact encoder is compared with
the plain loop it replaces (tokenise, mean of rows, one text after the other) on the same texts,
in turns, so that a busy machine slows both. Real texts from ../shared/data where present.
"""

from __future__ import annotations

import os

os.environ |= {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from labelwise.core import stream
from labelwise.represent import static
from labelwise.represent.common import readable
from labelwise.represent.duplicates import groups, signatures
from labelwise.represent.hashing import Hashing
from labelwise.represent.static import Static

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SETS = ("reddit_titles", "banking77", "ag_news")
GOAL = 1.0


def sample(name: str, n: int) -> list[str]:
    """n texts of a real data set, or made-up sentences where it is not there."""
    path = DATA / f"{name}.parquet"
    if path.is_file():
        return list(pq.read_table(path, columns=["text"])["text"].slice(0, n).to_pylist())
    rng = stream(0, "benchmark", name)
    words = np.array([f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("n", "ter", "sing", "l", "ment")])
    return [" ".join(rng.choice(words, rng.integers(4, 30))) for _ in range(n)]


def plain_loop(texts: list[str]) -> np.ndarray:
    """The direct way: one text after the other, tokens to rows to mean, unit norm."""
    tokenizer, table = static._installed()
    out = np.zeros((len(texts), table.shape[1]), dtype=np.float32)
    for row, text in enumerate(texts):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if ids:
            mean = table[ids].mean(axis=0)
            out[row] = mean / max(float(np.linalg.norm(mean)), 1e-9)
    return out


def rates(jobs: dict[str, Callable[[], object]], texts: int, repetitions: int) -> dict[str, list[float]]:
    """Texts per CPU second of every job, all jobs in turns."""
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repetitions):
        for name, job in jobs.items():
            start = time.process_time()
            job()
            found[name].append(texts / max(time.process_time() - start, 1e-9))
    return found


def measure(name: str, n: int, repetitions: int) -> dict[str, list[float]]:
    texts = sample(name, n)
    compact = Static(centre=False).fit([], stream(0, "fit"))
    hashed = Hashing().fit(texts[:1000], stream(0, "fit"))
    # the encoder also normalises (blanks, NFC), which the loop is spared; on normalised texts they agree
    read = [readable(text) for text in texts[:500]]
    assert np.allclose(compact.encode(texts[:500]), plain_loop(read), atol=1e-5), name
    prints = signatures(texts)
    jobs: dict[str, Callable[[], object]] = {
        "loop": lambda: plain_loop(texts),
        "static": lambda: compact.encode(texts),
        "hashing": lambda: hashed.encode(texts),
        "signatures": lambda: signatures(texts),
        "groups": lambda: groups(prints, texts),
    }
    return rates(jobs, len(texts), repetitions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer texts and repetitions, under 50 seconds")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()
    n, repetitions = (1000, 5) if given.quick else (5000, 9)
    results = {name: measure(name, n, repetitions) for name in SETS}
    ratios = {
        name: statistics.median(s / p for s, p in zip(found["static"], found["loop"], strict=True))
        for name, found in results.items()
    }
    worst = min(ratios.values())
    targets = {"static_vs_loop": {"value": round(worst, 3), "goal": GOAL, "met": worst >= GOAL}}
    if given.json:
        print(json.dumps({"texts_per_cpu_second": results, "static_vs_loop": ratios, "targets": targets}))
        return
    print(f"texts per CPU second, median (lowest to highest) of {repetitions} runs in turns, {n} texts, one thread")
    for name, found in results.items():
        for job, values in found.items():
            print(f"{name:14} {job:11} {statistics.median(values):9,.0f}  ({min(values):,.0f} to {max(values):,.0f})")
        print(f"{name:14} static is {ratios[name]:.2f} times the loop")
    print(json.dumps({"targets": targets}, indent=1))


if __name__ == "__main__":
    main()
