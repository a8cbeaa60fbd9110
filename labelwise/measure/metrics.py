"""How good beliefs are, with intervals: accuracy, F1, log-loss, Brier score and calibration.

Give it beliefs about texts drawn at random (the control stream, or a test set), or the weights
that undo the drawing; on actively chosen texts the numbers mean nothing.

Known trade-offs: percentile bootstrap over texts (Efron 1979, "Bootstrap Methods: Another Look
at the Jackknife") is honest from about 50 texts on and too narrow below; the calibration error
is biased upwards by about sqrt(bins / n), so its resampled values lie above the
value itself, and the interval is widened to contain it. The squared error is freed of that bias;
its interval, and the gate's, are pivotal (``calibration``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import Beliefs, Categorical, Committee, InputError, Multilabel, Tagged, WrongMoment
from labelwise.measure import calibration
from labelwise.measure.ranking import ranking

Array = npt.NDArray[Any]

FEWEST = 20  # a slice smaller than this says nothing; it is counted, not shown
Z = 1.959963984540054


def evaluate(
    beliefs: Beliefs,
    truth: Any,
    labels: Sequence[str],
    *,
    weights: Array | None = None,
    rng: np.random.Generator,
    resamples: int = 200,
    slices: Mapping[str, Sequence[str]] | None = None,
    basis: str = "random texts",
) -> dict[str, Any]:
    """Everything a report says about n texts, JSON-ready.

    truth as ``Task.targets`` makes it; weights (n,) > 0, e.g. inverse propensities; slices name a
    column and give every text's value; basis says in words where they come from. Returns n, metrics
    (accuracy, macro_f1, log_loss, brier, ece, classwise_ece, squared_ece, aurc; for several labels
    per text also micro_f1 and how labels are ranked, for spans see ``spans``), per_class, reliability,
    gate (see ``calibration.gate``) and slices; every number with an interval is {"value", "lo", "hi"}
    (95 %), and null where it is undefined.

    macro_f1 is the mean over labels that occur in truth or prediction, as scikit-learn has it.
    brier is the sum over classes of (p - y)^2 for one answer per text, the mean over labels for
    several, where accuracy asks for the whole set and log_loss is the mean over labels. ece uses
    min(15, n / 20) bins of equal mass over the confidence in the answer, or over the
    probability of every label of every text; squared_ece is freed of bias (Kumar 2019), aurc the
    area under the risk-coverage curve. Raises WrongMoment for n = 0. O(resamples * n c).
    """
    n = len(beliefs)
    if n == 0:
        raise WrongMoment("nothing to evaluate on: 0 texts with a known answer; label at least 20 random texts.")
    weights = np.ones(n) if weights is None else np.asarray(weights, float)
    form = beliefs.mean() if isinstance(beliefs, Committee) else beliefs
    if isinstance(form, Tagged):
        from labelwise.measure import spans

        return spans.evaluate(form, truth, labels, weights=weights, rng=rng, resamples=resamples, slices=slices or {})
    whole = _Facts.of(form, truth, len(labels), weights)
    # how often each text was drawn; small integers, so that 200 resamples of 100,000 texts are 40 MB
    draws = [np.ones(n, np.uint16)]
    draws += [np.bincount(rng.integers(n, size=n), minlength=n).astype(np.uint16) for _ in range(resamples)]
    tally = whole.tallies(draws)
    more, gate = _calibration(beliefs, whole, draws, basis)
    return {
        "n": n,
        "metrics": _metrics(tally, whole.several) | more,
        "gate": gate,
        "per_class": _per_class(tally, whole, labels),
        "reliability": _reliability(whole),
        "slices": {column: _slice(whole, values, draws) for column, values in (slices or {}).items()},
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Facts:
    """What every text contributes to a sum: hits per label, losses, and its calibration bins."""

    several: bool
    rows: Array
    predicted: Array
    actual: Array
    labels: int
    weights: Array
    losses: dict[str, Array]
    confidence: Array
    hit: Array
    bins: Array

    @classmethod
    def of(cls, form: Beliefs, truth: Array, labels: int, weights: Array) -> _Facts:
        truth = np.asarray(truth)
        hard = form.hard()
        if isinstance(form, Categorical):
            p = form.probs.astype(np.float64)
            correct = hard == truth
            square = (p**2).sum(axis=1) - 2 * p[np.arange(len(p)), truth] + 1
            confidence, hit = form.confidence(), correct.astype(np.float64)
        elif isinstance(form, Multilabel):
            p = form.probs.astype(np.float64)
            correct = (hard == truth).all(axis=1)
            square = ((p - truth) ** 2).mean(axis=1)
            confidence, hit = p, truth.astype(np.float64)
        else:
            raise InputError(
                f"evaluate: {type(form).__name__} beliefs are not allowed; give Categorical, Multilabel or Tagged."
            )
        losses = {"correct": correct.astype(np.float64), "log_loss": form.surprise(truth), "brier": square}
        if isinstance(form, Multilabel):
            losses |= ranking(form.probs, truth)
        bins = calibration.equal_bins(confidence.ravel(), len(form)).reshape(confidence.shape)
        several = isinstance(form, Multilabel)
        return cls(several, np.arange(len(form)), hard, truth, labels, weights, losses, confidence, hit, bins)

    def take(self, rows: Array) -> _Facts:
        losses = {name: values[rows] for name, values in self.losses.items()}
        picked = (array[rows] for array in (self.confidence, self.hit, self.bins))
        predicted, actual, weights = self.predicted[rows], self.actual[rows], self.weights[rows]
        return _Facts(self.several, rows, predicted, actual, self.labels, weights, losses, *picked)

    def tally(self, weights: Array) -> _Tally:
        """Weighted sums over texts. O(n) or, for several labels per text, O(n c)."""
        c, m = self.labels, int(self.bins.max()) + 1
        if self.several:
            both = (self.predicted & self.actual, self.predicted, self.actual)
            hits, predicted, actual = (weights @ table for table in both)
            spread = np.repeat(weights, c)
        else:
            agreed = weights * self.losses["correct"]
            hits = np.bincount(self.actual, agreed, minlength=c)
            predicted = np.bincount(self.predicted, weights, minlength=c)
            actual = np.bincount(self.actual, weights, minlength=c)
            spread = weights
        gap = np.bincount(self.bins.ravel(), spread * (self.confidence - self.hit).ravel(), minlength=m)
        sums = {name: np.asarray(weights @ values) for name, values in self.losses.items()}
        sums["ece"] = np.abs(gap).sum() / (c if self.several else 1)
        return _Tally(hits, predicted, actual, sums, np.asarray(weights.sum()))

    def tallies(self, draws: Sequence[Array]) -> _Tally:
        """Tallies, stacked, for draws that say how often each text of the whole was drawn."""
        parts = [self.tally(self.weights * draw[self.rows]) for draw in draws]
        hits, predicted, actual, total = (
            np.stack([getattr(part, name) for part in parts]) for name in ("hits", "predicted", "actual", "total")
        )
        sums = {name: np.stack([part.sums[name] for part in parts]) for name in parts[0].sums}
        return _Tally(hits, predicted, actual, sums, total)


@dataclass(frozen=True, slots=True, eq=False)
class _Tally:
    """Sums, stacked: entry 0 is the sample itself, the others are resamples."""

    hits: Array
    predicted: Array
    actual: Array
    sums: dict[str, Array]
    total: Array

    def mean(self, name: str) -> Array:
        return _ratio(self.sums[name], self.total)

    def f1(self) -> Array:
        return _ratio(2 * self.hits, self.predicted + self.actual)

    def macro_f1(self) -> Array:
        f1 = self.f1()
        return _ratio(np.nansum(f1, axis=1), np.isfinite(f1).sum(axis=1))

    def micro_f1(self) -> Array:
        return _ratio(2 * self.hits.sum(axis=1), (self.predicted + self.actual).sum(axis=1))


def _ratio(above: Array, below: Array) -> Array:
    """above / below, NaN where below is 0 and the ratio says nothing."""
    return np.asarray(np.divide(above, below, out=np.full(np.shape(below), np.nan), where=np.asarray(below) > 0))


def _interval(values: Array) -> dict[str, float | None]:
    """Entry 0 with the 2.5th and 97.5th percentile of the others where they are defined."""
    value, draws = float(values[0]), values[1:][np.isfinite(values[1:])]
    if not np.isfinite(value):
        return {"value": None, "lo": None, "hi": None}
    lo, hi = np.percentile(draws, [2.5, 97.5]) if len(draws) else (value, value)
    return {"value": value, "lo": min(value, float(lo)), "hi": max(value, float(hi))}


def _metrics(tally: _Tally, several: bool) -> dict[str, Any]:
    values = {"accuracy": tally.mean("correct"), "macro_f1": tally.macro_f1()}
    if several:
        values["micro_f1"] = tally.micro_f1()
    ranked = ("lrap", "coverage_error", "ranking_loss") if several else ()
    values |= {name: tally.mean(name) for name in ("log_loss", "brier", "ece", *ranked)}
    return {name: _interval(draws) for name, draws in values.items()}


def _pivotal(values: Array) -> dict[str, float | None]:
    """As ``_interval``, with the noise of resampling taken out: twice the value less the percentiles."""
    return _interval(np.concatenate([values[:1], 2 * values[0] - values[1:]]))


def _calibration(
    beliefs: Beliefs, facts: _Facts, draws: Sequence[Array], basis: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Class-wise and unbiased calibration errors and selective risk, with intervals; and the gate."""
    form = beliefs.mean() if isinstance(beliefs, Committee) else beliefs
    probs = next(iter(form.arrays().values()))
    true = facts.actual if facts.several else facts.actual[:, None] == np.arange(probs.shape[1])
    weighted = np.stack(draws) * facts.weights.astype(np.float32)
    said, hit, bins = (array.ravel() for array in (facts.confidence, facts.hit, facts.bins))
    each = facts.labels if facts.several else 1
    squared = np.array([calibration.squared_error(said, hit, bins, np.repeat(draw, each)) for draw in weighted])
    risk = calibration.selective_risk(form.confidence(), 1 - facts.losses["correct"], weighted)
    found = {
        "classwise_ece": _interval(calibration.classwise_error(probs, true, weighted)),
        "squared_ece": _pivotal(squared),
        "aurc": _interval(risk),
    }
    return found, calibration.gate(len(form), squared, basis)


def _slice(whole: _Facts, values: Sequence[str], draws: Sequence[Array]) -> dict[str, Any]:
    """Accuracy and macro F1 of every value of one column that has enough texts."""
    names, member = np.unique(np.asarray(values, dtype=str), return_inverse=True)
    sizes = np.bincount(member, minlength=len(names))
    shown = []
    for value in np.flatnonzero(sizes >= FEWEST):
        tally = whole.take(np.flatnonzero(member == value)).tallies(draws)
        row = {"value": str(names[value]), "n": int(sizes[value])}
        shown.append({**row, "accuracy": _interval(tally.mean("correct")), "macro_f1": _interval(tally.macro_f1())})
    small = sizes[sizes < FEWEST]
    return {"values": shown, "too_few": {"values": len(small), "texts": int(small.sum())}}


def _per_class(tally: _Tally, facts: _Facts, labels: Sequence[str]) -> list[dict[str, Any]]:
    """One row per label in the task's order; n counts texts that truly have it."""
    sizes = facts.actual.sum(axis=0) if facts.several else np.bincount(facts.actual, minlength=len(labels))
    tables = {
        "precision": _ratio(tally.hits, tally.predicted),
        "recall": _ratio(tally.hits, tally.actual),
        "f1": tally.f1(),
    }
    return [
        {"label": label, "n": int(sizes[k]), **{name: _interval(table[:, k]) for name, table in tables.items()}}
        for k, label in enumerate(labels)
    ]


def _reliability(facts: _Facts) -> list[dict[str, Any]]:
    """Per bin, rising confidence: how sure, how often right, how many decisions, Wilson interval.

    Wilson (1927), "Probable Inference, the Law of Succession, and Statistical Inference"; with
    weights, n is Kish's effective size. Decisions about one text are taken as independent.
    """
    spread = np.repeat(facts.weights, facts.labels) if facts.several else facts.weights
    bins, m = facts.bins.ravel(), int(facts.bins.max()) + 1
    total, squares = np.bincount(bins, spread, minlength=m), np.bincount(bins, spread**2, minlength=m)
    sure = np.bincount(bins, spread * facts.confidence.ravel(), minlength=m) / total
    right = np.bincount(bins, spread * facts.hit.ravel(), minlength=m) / total
    size = total**2 / squares
    middle = (right + Z**2 / (2 * size)) / (1 + Z**2 / size)
    half = Z / (1 + Z**2 / size) * np.sqrt(right * (1 - right) / size + Z**2 / (4 * size**2))
    counts = np.bincount(bins, minlength=m)
    return [
        {
            "confidence": float(sure[b]),
            "accuracy": float(right[b]),
            "n": int(counts[b]),
            "lo": float(max(0.0, middle[b] - half[b])),
            "hi": float(min(1.0, middle[b] + half[b])),
        }
        for b in range(m)
    ]
