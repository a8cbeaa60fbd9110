"""Real data sets as vectors: prepared once per encoder, kept in a cache folder, the same for every benchmark.

    python -m benchmarks.common.vectors --cache folder    # all sets and encoders; minilm takes a quarter of an hour

Layout: ``<cache>/vectors/<encoder>/<set>.npz`` with ``pool`` (n, d) and ``test`` (m, d) float16 of unit norm,
``targets``, ``test_targets`` int64, ``groups`` (n,) near-duplicates, ``labels`` names, ``form`` this file's version.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from labelwise.core import stream
from labelwise.core.text import digest
from labelwise.represent.duplicates import groups, signatures
from labelwise.represent.minilm import MiniLM
from labelwise.represent.static import Static

from . import bert

Array = npt.NDArray[Any]

DATA = Path(__file__).parents[2].parent / "shared" / "data"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "labelwise-benchmarks"
FORM = 1
POOL, TEST = 10_000, 3_000
TEST_SHARE = 0.25
SAMPLE = 20_000
MAX_TOKENS = 128
RARE = {"hate_1": 0.01, "hate_5": 0.05}
"""Prevalence of the class "hate" of hate_davidson against all others, in pool and test; these are kept whole."""
SETS = ("trec", "sst2", "banking77", "clinc150", "hate_1", "hate_5", "ag_news", "amazon_domains")
ENCODERS = ("static", "minilm")


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """One set as texts: ``test`` shares no text with ``pool``, and neither repeats one."""

    pool: list[str]
    targets: Array
    test: list[str]
    test_targets: Array
    labels: list[str]


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """One set as an encoder sees it; vectors as float32."""

    pool: Array
    targets: Array
    test: Array
    test_targets: Array
    groups: Array
    labels: list[str]


class Encodes(Protocol):
    def encode(self, texts: Sequence[str]) -> Array: ...


@dataclass(frozen=True, slots=True, eq=False)
class Remembering:
    """An encoder that encodes every text once: the two hate sets share most of theirs."""

    encoder: Encodes
    rows: dict[str, Array] = field(default_factory=dict)

    def encode(self, texts: Sequence[str]) -> Array:
        new = [text for text in dict.fromkeys(texts) if text not in self.rows]
        self.rows.update(zip(new, self.encoder.encode(new).astype(np.float16), strict=True))
        return np.stack([self.rows[text] for text in texts])


def read(name: str, data: Path = DATA, pool_most: int = POOL) -> Texts:
    """The texts of one set: no text twice, none of the pool in the test, large sets subsampled by a fixed seed."""
    table = pq.read_table(data / f"{'hate_davidson' if name in RARE else name}.parquet").to_pydict()
    rows = list(zip(table["text"], table["label"], table["split"], strict=True))
    if name == "clinc150":
        rows = [row for row, outside in zip(rows, table["is_oos"], strict=True) if not outside]
    if {split for *_, split in rows} == {"all"}:
        # the same for both prevalences, so that one is part of the other
        is_test = stream(0, "split", len(rows)).random(len(rows)) < TEST_SHARE
        rows = [(*row[:2], "test" if test else "train") for row, test in zip(rows, is_test, strict=True)]
    if name in RARE:
        rows = [(text, "hate" if label == "hate" else "other", split) for text, label, split in rows]
    pool = {digest(text): (text, label) for text, label, split in reversed(rows) if split == "train" and text.strip()}
    test = {digest(text): (text, label) for text, label, split in reversed(rows) if split == "test" and text.strip()}
    apart = [value for key, value in test.items() if key not in pool]
    parts = [
        _thinned(part, RARE[name], part_name) if name in RARE else _capped(part, most, part_name)
        for part, most, part_name in ((list(pool.values()), pool_most, "pool"), (apart, TEST, "test"))
    ]
    labels = sorted({label for part in parts for _, label in part})
    code = {label: i for i, label in enumerate(labels)}
    texts = [[text for text, _ in part] for part in parts]
    targets = [np.array([code[label] for _, label in part], dtype=np.int64) for part in parts]
    return Texts(texts[0], targets[0], texts[1], targets[1], labels)


def _capped(rows: list[tuple[str, str]], most: int, part: str) -> list[tuple[str, str]]:
    keep = np.sort(stream(0, "cap", part).permutation(len(rows))[:most])
    return [rows[i] for i in keep]


def _thinned(rows: list[tuple[str, str]], prevalence: float, part: str) -> list[tuple[str, str]]:
    """All others and as many of "hate" as make up ``prevalence``; a lower one keeps some of a higher one's."""
    hate = [i for i, (_, label) in enumerate(rows) if label == "hate"]
    others = len(rows) - len(hate)
    keep = stream(0, "thin", part).permutation(hate)[: round(prevalence / (1 - prevalence) * others)]
    drop = set(hate) - set(keep.tolist())
    return [row for i, row in enumerate(rows) if i not in drop]


def encoder_of(name: str, cache: Path) -> Encodes | None:
    """The encoder, or None for ``static``: that one learns its mean from each pool."""
    if name == "static":
        return None
    return Remembering(MiniLM(str(bert.folder(cache)), max_tokens=MAX_TOKENS, threads=1))


def place_of(name: str, encoder: str, cache: Path) -> Path:
    return cache / "vectors" / encoder / f"{name}.npz"


def is_ready(name: str, encoder: str, cache: Path) -> bool:
    """Whether the set's file is there and made by this version."""
    place = place_of(name, encoder, cache)
    if not place.is_file():
        return False
    with np.load(place) as kept:
        return int(kept["form"]) == FORM


def prepare(name: str, encoder: str, cache: Path, ready: Encodes | None = None, data: Path = DATA) -> Path:
    """The file of one set, made unless it is there. ``ready`` is what ``encoder_of`` returned, if it was called."""
    place = place_of(name, encoder, cache)
    if is_ready(name, encoder, cache):
        return place
    texts = read(name, data)
    use = ready or encoder_of(encoder, cache) or Static().fit(texts.pool[:SAMPLE], stream(0, "encoder"))
    arrays = {
        "pool": use.encode(texts.pool).astype(np.float16),
        "targets": texts.targets,
        "test": use.encode(texts.test).astype(np.float16),
        "test_targets": texts.test_targets,
        "groups": groups(signatures(texts.pool), texts.pool),
        "labels": np.array(texts.labels),
        "form": np.array(FORM),
    }
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, **arrays)
    part.replace(place)
    return place


def load(name: str, encoder: str, cache: Path) -> Data:
    """One prepared set; raises FileNotFoundError if it has not been prepared."""
    with np.load(place_of(name, encoder, cache)) as kept:
        vectors = [np.ascontiguousarray(kept[part], dtype=np.float32) for part in ("pool", "test")]
        return Data(
            vectors[0], kept["targets"], vectors[1], kept["test_targets"], kept["groups"], kept["labels"].tolist()
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--encoders", default=",".join(ENCODERS))
    arguments = parser.parse_args()
    for encoder in arguments.encoders.split(","):
        ready = encoder_of(encoder, arguments.cache)
        for name in arguments.sets.split(","):
            start = time.process_time()
            prepare(name, encoder, arguments.cache, ready)
            made = load(name, encoder, arguments.cache)
            counts = np.bincount(made.targets)
            print(f"{encoder} {name}: pool {made.pool.shape}, test {len(made.test)}, {len(made.labels)} labels of "
                  f"{counts.min()} to {counts.max()} texts, {np.mean(made.groups >= 0):.1%} with near-duplicates, "
                  f"{time.process_time() - start:.0f} CPU s", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
