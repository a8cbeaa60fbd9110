"""What a strategy was worth: learning curves of paired experiments, summed up with intervals.

An arm is one run: {"strategy", "seed", "labels": [...], "accuracy": [...], ...}, one entry per
round. Arms of one seed share everything but the strategy, so all comparisons are paired by seed.
Everything is measured on the range of labels that all arms cover, interpolated between rounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import InputError, unknown

Array = npt.NDArray[Any]
Arm = Mapping[str, Any]

RESAMPLES = 1000


@dataclass(frozen=True, slots=True, eq=False)
class _Curves:
    """One strategy: seeds (s,) rising, grid (g,) of labels, values (s, g)."""

    seeds: Array
    grid: Array
    values: Array

    def of(self, seeds: Array) -> Array:
        return self.values[np.searchsorted(self.seeds, seeds)]


def summarise(
    arms: Sequence[Arm], metric: str = "accuracy", *, baseline: str | None = "random", rng: np.random.Generator
) -> list[dict[str, Any]]:
    """One row per strategy, the baseline first, the others by falling area; JSON-ready.

    alc: area under the curve over ln(labels), divided by the range of ln(labels),
    mean over seeds. final: mean metric at the last common number of labels.
    labels_to_random_final: labels at which the isotonic mean curve reaches the baseline's last
    value, null if it never does (censored), the first common number of labels if it starts
    above it. saving: 1 - that / the baseline's. Intervals are 95 % bootstrap over seeds, null
    below two seeds; a resample that never reaches the target counts as a saving below any
    number, so an end of saving_interval that falls among such resamples is null: no bound known.

    p_value_vs_random: exact two-sided Wilcoxon signed-rank test of the areas (Wilcoxon 1945,
    "Individual comparisons by ranking methods"). It can not fall below 2^(1 - seeds): 0.0625
    for 5 seeds, 0.031 for 6, 0.002 for 10. Correct for the number of strategies (Holm) before
    a claim. Without a baseline (None) there is nothing to save against, and these are null.
    Raises InputError for an unknown baseline or arms without a common range.
    """
    curves = _aligned(arms, metric, common=True)
    if baseline is not None and baseline not in curves:
        raise unknown("strategy", baseline, curves, "baseline")
    control = None if baseline is None else curves[baseline]
    rows = [_row(name, curve, control, name == baseline, rng) for name, curve in curves.items()]
    return sorted(rows, key=lambda row: (row["strategy"] != baseline, -row["alc"], row["strategy"]))


def bands(arms: Sequence[Arm], metric: str = "accuracy", *, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Per strategy: labels, mean, lo, hi (95 % bootstrap over seeds; nulls below two seeds), JSON-ready.

    Seeds whose rounds fell on slightly different numbers of labels are read off at those of the
    lowest seed, within the range that all seeds of the strategy cover.
    """
    rows = []
    for name, curve in _aligned(arms, metric, common=False).items():
        row: dict[str, Any] = {"strategy": name, "labels": [float(x) for x in curve.grid]}
        row["mean"] = curve.values.mean(axis=0).tolist()
        row["lo"] = row["hi"] = [None] * len(curve.grid)
        if len(curve.seeds) > 1:
            means = curve.values[_draws(len(curve.seeds), rng)].mean(axis=1)
            row["lo"], row["hi"] = np.percentile(means, [2.5, 97.5], axis=0).tolist()
        rows.append(row)
    return rows


def _row(
    name: str, curve: _Curves, control: _Curves | None, is_baseline: bool, rng: np.random.Generator
) -> dict[str, Any]:
    areas = _area(curve.grid, curve.values)
    finals = curve.values[:, -1]
    draws = _draws(len(curve.seeds), rng)
    seeds = np.intersect1d(curve.seeds, control.seeds) if control else curve.seeds[:0]
    mine, theirs = curve.of(seeds), (control or curve).of(seeds)
    reached, saving = _saving(curve.grid, mine.mean(axis=0), theirs.mean(axis=0)) if len(seeds) else (None, None)
    p_value = None
    if not is_baseline and len(seeds) > 1:
        p_value = signed_rank(_area(curve.grid, mine) - _area(curve.grid, theirs))
    return {
        "strategy": name,
        "seeds": len(curve.seeds),
        "alc": float(areas.mean()),
        "alc_interval": _interval(areas[draws].mean(axis=1)) if len(areas) > 1 else None,
        "final": float(finals.mean()),
        "final_interval": _interval(finals[draws].mean(axis=1)) if len(finals) > 1 else None,
        "labels_to_random_final": reached,
        "saving": 0.0 if is_baseline else saving,
        "saving_interval": [0.0, 0.0] if is_baseline else _saving_interval(curve.grid, mine, theirs, rng),
        "p_value_vs_random": p_value,
    }


def signed_rank(differences: Array) -> float:
    """Exact two-sided p-value of Wilcoxon's signed-rank test; ties get mean ranks, zeros are dropped.

    1.0 if every difference is zero. Counts all sign patterns by their rank sum: O(n^3).
    """
    from scipy.stats import rankdata

    nonzero = differences[differences != 0]
    doubled = np.rint(2 * rankdata(np.abs(nonzero))).astype(np.int64)
    ways = np.zeros(int(doubled.sum()) + 1)
    ways[0] = 1.0
    for rank in doubled:
        ways[rank:] += ways[: len(ways) - rank].copy()
    positive = int(doubled[nonzero > 0].sum())
    tail = min(positive, int(doubled.sum()) - positive)
    return float(min(1.0, 2 * ways[: tail + 1].sum() / ways.sum()))


def _aligned(arms: Sequence[Arm], metric: str, *, common: bool) -> dict[str, _Curves]:
    """Curves per strategy on one grid for all (``common``) or one grid each; names sorted."""
    if not arms:
        raise InputError("arms: none were given; run an experiment first.")
    for arm in arms:
        _check(arm, metric)
    out = {}
    for name in sorted({str(arm["strategy"]) for arm in arms}):
        own = sorted((arm for arm in arms if arm["strategy"] == name), key=lambda arm: int(arm["seed"]))
        seeds = np.array([int(arm["seed"]) for arm in own])
        if len(np.unique(seeds)) < len(seeds):
            raise InputError(f"arms: strategy {name!r} has two arms of one seed; give every run its own seed.")
        grid = _grid(arms if common else own, arms if common else own[:1])
        values = [np.interp(grid, np.asarray(arm["labels"], float), np.asarray(arm[metric], float)) for arm in own]
        out[name] = _Curves(seeds, grid, np.array(values))
    return out


def _check(arm: Arm, metric: str) -> None:
    if metric not in arm:
        raise unknown("metric", metric, [key for key in arm if key not in ("strategy", "seed", "labels")], "metric")
    labels = np.asarray(arm["labels"], float)
    values = np.asarray(arm[metric], float)
    sound = len(labels) > 0 and labels.shape == values.shape and bool(np.isfinite(values).all())
    if not sound or labels[0] < 1 or (np.diff(labels) <= 0).any():
        raise InputError(
            f"arms: strategy {arm['strategy']!r}, seed {arm['seed']!r}: labels must rise from at least 1, "
            f"with one finite {metric} each."
        )


def _grid(covering: Sequence[Arm], stops: Sequence[Arm]) -> Array:
    """The stops' label counts within the range that all covering arms share, ends included."""
    first = max(float(arm["labels"][0]) for arm in covering)
    last = min(float(arm["labels"][-1]) for arm in covering)
    if first > last:
        raise InputError(f"arms: no common range of labels; one begins at {first:g}, another ends at {last:g}.")
    points = np.unique(np.concatenate([np.asarray(arm["labels"], float) for arm in stops] + [[first, last]]))
    return np.asarray(points[(points >= first) & (points <= last)])


def _area(grid: Array, values: Array) -> Array:
    """(s,) normalised area over ln(labels); the value itself where there is one point only."""
    if len(grid) == 1:
        return np.asarray(values[:, 0])
    steps = np.diff(np.log(grid))
    return np.asarray(((values[:, 1:] + values[:, :-1]) / 2) @ steps / steps.sum())


def _saving(grid: Array, mine: Array, theirs: Array) -> tuple[float | None, float | None]:
    from scipy.optimize import isotonic_regression

    control = isotonic_regression(theirs).x
    needed = _reach(grid, control, control[-1])
    reached = _reach(grid, isotonic_regression(mine).x, control[-1])
    return (None, None) if reached is None or needed is None else (reached, 1.0 - reached / needed)


def _reach(grid: Array, rising: Array, target: float) -> float | None:
    """Where a rising curve first reaches the target, between points by linear interpolation."""
    enough = np.flatnonzero(rising >= target - 1e-12)
    if len(enough) == 0:
        return None
    i = int(enough[0])
    if i == 0:
        return float(grid[0])
    share = (target - rising[i - 1]) / (rising[i] - rising[i - 1])
    return float(grid[i - 1] + min(share, 1.0) * (grid[i] - grid[i - 1]))


def _saving_interval(grid: Array, mine: Array, theirs: Array, rng: np.random.Generator) -> list[float | None] | None:
    """95 % of the paired resamples; an end that falls among censored ones is None."""
    if len(mine) < 2:
        return None
    savings = []
    for rows in _draws(len(mine), rng):
        saving = _saving(grid, mine[rows].mean(axis=0), theirs[rows].mean(axis=0))[1]
        savings.append(-np.inf if saving is None else saving)
    # "nearest" never averages a number with -inf
    ends = np.percentile(savings, [2.5, 97.5], method="nearest")
    return [float(end) if np.isfinite(end) else None for end in ends]


def _draws(seeds: int, rng: np.random.Generator) -> Array:
    return rng.integers(seeds, size=(RESAMPLES, seeds))


def _interval(values: Array) -> list[float]:
    lo, hi = np.percentile(values, [2.5, 97.5])
    return [float(lo), float(hi)]
