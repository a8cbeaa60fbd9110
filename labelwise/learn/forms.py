"""The forms of beliefs as calibrators see them: plain rows to learn from, and the same form back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from labelwise.core import Beliefs, Categorical, Committee, ContractError, Multilabel, Tagged
from labelwise.core.beliefs import Array

TINY = 1e-12
Change = Callable[[Array, bool], Array]
"""Probabilities (m, c), and whether each label answers for itself, to probabilities (m, c)."""


def rows(beliefs: Beliefs, truth: Any, weights: Array) -> tuple[Array, Array, Array]:
    """Decisions to learn from: probabilities (m, c) float64, truth (m, c) of 0 and 1, weights (m,) summing to one.

    Texts, or tokens, which share the weight of their text equally; a committee speaks by its mean.
    """
    form = beliefs.mean() if isinstance(beliefs, Committee) else beliefs
    if not isinstance(form, Categorical | Multilabel | Tagged):
        raise ContractError(f"{type(form).__name__} cannot be calibrated")
    probs, each = form.probs.astype(np.float64), np.asarray(weights, dtype=np.float64)
    if isinstance(form, Tagged):
        lengths = np.diff(form.offsets)
        each = np.repeat(each / np.maximum(lengths, 1), lengths)
        truth = truth.codes
    table = np.asarray(truth) if isinstance(form, Multilabel) else truth[:, None] == np.arange(probs.shape[1])
    return probs, table.astype(np.float64), each / max(each.sum(), np.finfo(np.float64).tiny)


def width(beliefs: Beliefs) -> int:
    """How many labels, classes or tags the beliefs are about."""
    return int(next(array.shape[1] for array in beliefs.arrays().values() if array.ndim == 2))


def changed(beliefs: Beliefs, change: Change) -> Beliefs:
    """The same form with other probabilities, float32 or float64 as given (float16 becomes float32).

    Every member of a committee is changed alike, so that their disagreement stays visible.
    Raises ContractError for a form it does not know.
    """
    if isinstance(beliefs, Committee):
        return Committee(tuple(_form(member, change) for member in beliefs.members))
    if isinstance(beliefs, Categorical | Multilabel | Tagged):
        return _form(beliefs, change)
    raise ContractError(f"{type(beliefs).__name__} cannot be calibrated")


def _form(beliefs: Categorical | Multilabel | Tagged, change: Change) -> Categorical | Multilabel | Tagged:
    probs = change(beliefs.probs, isinstance(beliefs, Multilabel))
    probs = probs.astype(np.result_type(beliefs.probs.dtype, np.float32), copy=False)
    return Tagged(probs, beliefs.offsets) if isinstance(beliefs, Tagged) else type(beliefs)(probs)


def scaled(probs: Array, several: bool, slope: Array | float, offset: Array | float = 0.0) -> Array:
    """softmax(slope * ln p + offset), or sigmoid(slope * logit p + offset) of each label; slope, offset (c,) or one.

    In Fortran order: each answer's probabilities lie side by side, so sums over answers are many times faster.
    """
    slope, offset = np.broadcast_to(slope, probs.shape[1])[:, None], np.broadcast_to(offset, probs.shape[1])[:, None]
    if several:
        p = np.clip(probs.T.astype(np.float64), TINY, 1 - TINY)
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * ((np.log(p) - np.log1p(-p)) * slope + offset)))).T
    logits = np.array(probs.T, dtype=np.result_type(probs, np.float32), order="C")
    np.log(np.maximum(logits, TINY, out=logits), out=logits)
    logits *= slope.astype(logits.dtype)
    logits += offset.astype(logits.dtype)
    logits -= logits.max(axis=0, initial=-np.inf)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=0)
    return logits.T
