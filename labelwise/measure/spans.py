"""How good a tagger is: entities found whole, entities found in part, and how sure it was of tokens.

An entity is right where its borders and its label are (Tjong Kim Sang and De Meulder 2003, "Introduction to the
CoNLL-2003 Shared Task"). In part, it counts as much as it overlaps: the shared share of its tokens, for the longest
overlap with an entity of its label. An entity no tag stands for (it overlaps a longer one) counts as missed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import Tagged, Tags
from labelwise.core.tokens import runs
from labelwise.measure.calibration import equal_bins
from labelwise.measure.metrics import FEWEST, _Facts, _interval, _ratio, _reliability

Array = npt.NDArray[Any]


def evaluate(
    beliefs: Tagged,
    truth: Tags,
    labels: Sequence[str],
    *,
    weights: Array,
    rng: np.random.Generator,
    resamples: int,
    slices: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """What ``metrics.evaluate`` says, for spans: n texts, metrics, per_class, reliability, slices.

    micro_f1, precision and recall are over all entities, macro_f1 is the mean over labels, partial_* let an entity
    count in part; accuracy is the share of texts with every tag right. log_loss and brier are means over tokens of
    means over texts; ece and reliability are over tokens. Intervals resample texts. O(resamples * (n labels + t)).
    """
    n, k = len(beliefs), len(labels)
    counts = counted(beliefs.hard(), truth, k)
    lengths = np.diff(beliefs.offsets)
    hard = beliefs.probs.argmax(axis=1)
    right = (hard == truth.codes).astype(np.float64)
    sure = beliefs.probs.max(axis=1).astype(np.float64).clip(max=1.0)
    squares = (beliefs.probs.astype(np.float64) ** 2).sum(axis=1)
    squares += 1 - 2 * beliefs.probs[np.arange(len(hard)), truth.codes]
    owner = np.repeat(np.arange(n), lengths)
    whole = np.bincount(owner, 1 - right, minlength=n) == 0
    losses = {
        "accuracy": whole & (truth.lost.sum(axis=1) == 0 if truth.lost is not None else True),
        "log_loss": beliefs.surprise(truth),
        "brier": np.bincount(owner, squares, minlength=n) / np.maximum(lengths, 1),
    }
    bins = equal_bins(sure, n)
    tokens = _Facts(False, owner, hard, truth.codes, k, weights[owner], {}, sure, right, bins)
    draws = [np.ones(n), *(np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(resamples))]
    scaled = np.stack([weights * draw for draw in draws])
    sums = {name: scaled @ table.reshape(n, -1) for name, table in counts.items()}
    total = scaled.sum(axis=1)
    gaps = np.stack([np.bincount(bins, drawn[owner] * (sure - right), minlength=1) for drawn in scaled])
    metrics = {name: _interval(_ratio(scaled @ values, total)) for name, values in losses.items()}
    return {
        "n": n,
        "metrics": {
            "micro_f1": _interval(_f1(sums, slice(None))),
            "macro_f1": _interval(_macro(sums)),
            "precision": _interval(_ratio(sums["hits"].sum(axis=1), sums["predicted"].sum(axis=1))),
            "recall": _interval(_ratio(sums["hits"].sum(axis=1), sums["actual"].sum(axis=1))),
            "partial_f1": _interval(_partial(sums)),
            **metrics,
            "ece": _interval(_ratio(np.abs(gaps).sum(axis=1), scaled @ lengths)),
        },
        "per_class": [_per_class(sums, counts, place, label) for place, label in enumerate(labels)],
        "reliability": _reliability(tokens) if len(owner) else [],
        "slices": {c: _slice(values, scaled, counts, losses["accuracy"]) for c, values in slices.items()},
    }


def counted(predicted: Tags, truth: Tags, labels: int) -> dict[str, Array]:
    """Entities of each text and label, (n, labels) each. O(t).

    hits, predicted, actual; and in part: ``found`` is the share of true entities' tokens that were predicted,
    ``meant`` the share of predicted entities' tokens that are true, each by the longest overlap.
    """
    n = len(truth)
    mine, theirs = runs(predicted.codes, predicted.offsets), runs(truth.codes, truth.offsets)
    shape = (n, labels)

    def tally(spans: tuple[Array, Array, Array], values: Array) -> Array:
        out = np.zeros(shape)
        np.add.at(out, (np.searchsorted(truth.offsets, spans[0], "right") - 1, spans[2]), values)
        return out

    keys = set(zip(*(part.tolist() for part in theirs), strict=True))
    hit = np.array([key in keys for key in zip(*(part.tolist() for part in mine), strict=True)], dtype=np.float64)
    actual = tally(theirs, np.ones(len(theirs[0])))
    return {
        "hits": tally(mine, hit),
        "predicted": tally(mine, np.ones(len(mine[0]))),
        "actual": actual if truth.lost is None else actual + truth.lost,
        "meant": tally(mine, _overlap(mine, theirs)),
        "found": tally(theirs, _overlap(theirs, mine)),
    }


def _overlap(spans: tuple[Array, Array, Array], others: tuple[Array, Array, Array]) -> Array:
    """(s,) the longest overlap of every span with one of the others of its label, as a share of its tokens."""
    out = np.zeros(len(spans[0]))
    # neither side overlaps itself, so both are in order and one walk meets all pairs
    at = 0
    for i, (start, end, label) in enumerate(zip(*(part.tolist() for part in spans), strict=True)):
        while at < len(others[0]) and others[1][at] <= start:
            at += 1
        other = at
        while other < len(others[0]) and others[0][other] < end:
            if others[2][other] == label:
                shared = min(end, int(others[1][other])) - max(start, int(others[0][other]))
                out[i] = max(out[i], shared / (end - start))
            other += 1
    return out


def _f1(sums: Mapping[str, Array], label: Any) -> Array:
    hits, predicted, actual = (sums[name][:, label] for name in ("hits", "predicted", "actual"))
    return _ratio(2 * hits.sum(axis=1), (predicted + actual).sum(axis=1))


def _macro(sums: Mapping[str, Array]) -> Array:
    f1 = _ratio(2 * sums["hits"], sums["predicted"] + sums["actual"])
    return _ratio(np.nansum(f1, axis=1), np.isfinite(f1).sum(axis=1))


def _partial(sums: Mapping[str, Array]) -> Array:
    """Harmonic mean of the precision and recall that count in part."""
    total = {name: table.sum(axis=1) for name, table in sums.items()}
    precision, recall = _ratio(total["meant"], total["predicted"]), _ratio(total["found"], total["actual"])
    nothing = (total["predicted"] == 0) != (total["actual"] == 0)
    return np.where(nothing | (precision + recall == 0), 0.0, _ratio(2 * precision * recall, precision + recall))


def _per_class(sums: Mapping[str, Array], counts: Mapping[str, Array], place: int, label: str) -> dict[str, Any]:
    hits, predicted, actual = (sums[name][:, place] for name in ("hits", "predicted", "actual"))
    return {
        "label": label,
        "n": int(counts["actual"][:, place].sum()),
        "precision": _interval(_ratio(hits, predicted)),
        "recall": _interval(_ratio(hits, actual)),
        "f1": _interval(_f1(sums, slice(place, place + 1))),
        "partial_f1": _interval(_partial({name: table[:, place : place + 1] for name, table in sums.items()})),
    }


def _slice(values: Sequence[str], scaled: Array, counts: Mapping[str, Array], whole: Array) -> dict[str, Any]:
    names, member = np.unique(np.asarray(values, dtype=str), return_inverse=True)
    sizes = np.bincount(member, minlength=len(names))
    shown = []
    for value in np.flatnonzero(sizes >= FEWEST):
        rows = np.flatnonzero(member == value)
        drawn = scaled[:, rows]
        sums = {name: drawn @ table[rows] for name, table in counts.items()}
        accuracy, macro = _ratio(drawn @ whole[rows], drawn.sum(axis=1)), _macro(sums)
        row = {"value": str(names[value]), "n": len(rows), "micro_f1": _interval(_f1(sums, slice(None)))}
        shown.append({**row, "accuracy": _interval(accuracy), "macro_f1": _interval(macro)})
    small = sizes[sizes < FEWEST]
    return {"values": shown, "too_few": {"values": len(small), "texts": int(small.sum())}}
