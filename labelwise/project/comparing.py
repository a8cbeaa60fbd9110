"""Arms of several rehearsals side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labelwise.core import InputError, stream, unknown
from labelwise.measure import curves
from labelwise.project.simulate import METRICS


def compare(folders: Sequence[Path], metric: str) -> list[dict[str, Any]]:
    """The summary over all arms of these rehearsals, paired by seed.

    With several folders an arm is named ``folder/strategy``; the first arm called random is the baseline.
    InputError when a folder holds no results, or when data, test split or seeds differ.
    """
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS, "--metric")
    loaded = [(folder, _results(folder)) for folder in folders]
    first = loaded[0]
    for folder, results in loaded[1:]:
        if results["protocol"]["seeds"] != first[1]["protocol"]["seeds"]:
            raise InputError(
                f"{folder}: seeds {results['protocol']['seeds']} are {first[1]['protocol']['seeds']} in {first[0]}; "
                "run both with the same --seeds, finished arms are kept."
            )
        for what in ("dataset", "texts", "pool", "test"):
            if results["task"][what] != first[1]["task"][what]:
                raise InputError(
                    f"{folder}: {what} {results['task'][what]!r} is {first[1]['task'][what]!r} in {first[0]}; "
                    "only rehearsals on the same data and test split can be compared."
                )
    arms: list[dict[str, Any]] = []
    for folder, results in loaded:
        prefix = f"{folder.name}/" if len(loaded) > 1 else ""
        arms += [{**arm, "strategy": prefix + arm["strategy"]} for arm in results["arms"]]
    baseline = next((arm["strategy"] for arm in arms if arm["strategy"].rsplit("/", 1)[-1] == "random"), None)
    return curves.summarise(arms, metric=metric, baseline=baseline, rng=stream(0, "summary"))


def _results(folder: Path) -> dict[str, Any]:
    path = folder / "results.json"
    try:
        results: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"{folder}: holds no results.json; it is written by `labelwise simulate --out {folder}`."
        ) from None
    except ValueError as error:
        raise InputError(f"{path}: is not the JSON that simulate writes: {error}.") from None
    if results.get("version") != 1:
        raise InputError(f"{path}: version {results.get('version')!r} of results; this program reads version 1.")
    return results
