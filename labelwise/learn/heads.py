"""The linear map from vectors to probabilities, and one fit of it at a given C."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import Categorical, Multilabel, Task
from labelwise.learn.logistic import Link, Problem, Solution, prepare, probabilities, solve

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Labels learned, ``seen`` (k,) of c columns with coef (k, d) and intercept (k,), and constants ``rest`` (c,)."""

    link: Link
    seen: Array
    coef: Array
    intercept: Array
    rest: Array

    def probs(self, vectors: Array) -> Array:
        """(m, c) float32. O(m d k) time, memory of the answer."""
        if len(self.seen) == len(self.rest):
            return probabilities(self.coef, self.intercept, vectors, self.link)
        out = np.tile(self.rest.astype(np.float32), (len(vectors), 1))
        if len(self.seen):
            learned = probabilities(self.coef, self.intercept, vectors, self.link)
            out[:, self.seen] = learned * np.float32(1.0 - self.rest.sum()) if self.link == "softmax" else learned
        return out


@dataclass(frozen=True, slots=True, eq=False)
class Fitting:
    """One training set: which labels can be learned from it, and what the others get."""

    link: Link
    seen: Array
    rest: Array
    dimensions: int
    problem: Problem | None

    @classmethod
    def of(cls, task: Task, vectors: Array, targets: Array, weights: Array) -> Fitting:
        """Smoothed constants: 1/(n+c) for an unseen class, (positives+1)/(n+2) for a one-sided label."""
        link, n, c = link_of(task.kind), len(targets), len(task.labels)
        columns = targets if targets.ndim == 2 else targets[:, None] == np.arange(c)
        counts = columns.sum(axis=0)
        if link == "softmax":
            seen = np.flatnonzero(counts)
            solvable = len(seen) > 1
            rest = np.where(counts > 0, 0.0, 1.0 / (n + c))
        else:
            seen = np.flatnonzero((counts > 0) & (counts < n))
            solvable = len(seen) > 0
            rest = (counts + 1.0) / (n + 2.0)
        problem = prepare(vectors, columns[:, seen], weights, link) if solvable else None
        return cls(link, seen, rest, vectors.shape[1], problem)

    def head(self, c: float, starts: Sequence[Solution], tolerance: float, precision: str) -> Head:
        """The fitted head; a start covers all labels, coef (c, d) and intercept (c,)."""
        if self.problem is None:
            coef, intercept = np.zeros((len(self.seen), self.dimensions)), np.zeros(len(self.seen))
        else:
            begin = [(coef[self.seen], intercept[self.seen]) for coef, intercept in starts]
            coef, intercept = solve(self.problem, c, begin, tolerance, precision)
        return Head(self.link, self.seen, coef, intercept, self.rest)


def link_of(kind: str) -> Link:
    """Softmax for one label a text, sigmoid for several."""
    return "softmax" if kind == "single" else "sigmoid"


def form_of(link: Link, probs: Array) -> Categorical | Multilabel:
    """Probabilities (n, c) as beliefs."""
    return Categorical(probs) if link == "softmax" else Multilabel(probs)


def spread(head: Head) -> Solution:
    """The head's solution as rows of all labels, 0 where nothing was learned."""
    coef = np.zeros((len(head.rest), head.coef.shape[1]))
    intercept = np.zeros(len(head.rest))
    coef[head.seen], intercept[head.seen] = head.coef, head.intercept
    return coef, intercept


def mean_of(starts: Sequence[Solution]) -> Solution:
    """The mean of several solutions."""
    return np.mean([coef for coef, _ in starts], axis=0), np.mean([intercept for _, intercept in starts], axis=0)
