"""Penalised logistic regression, solved to the one optimum it has.

Minimises  sum_i w_i loss_i / sum_i w_i  +  |W|^2 / (2 C n)  over weights W (k, d) and free
intercepts (k,), which is scikit-learn's objective with weights of mean one. One solver serves
softmax (one answer per text) and sigmoid (every label for itself, all labels in one product).

Why not scikit-learn's own lbfgs: its stopping rule looks at the raw gradient, which on unit-norm
vectors says little about the probabilities; benchmarks/solver.py prints how far from the optimum
either stops and how long it takes. Here the vectors are rotated to their
principal axes and each axis is scaled by the curvature that a Bohning bound gives it (Bohning
1992, "Multinomial logistic regression algorithm"), so that the gradient measures the distance
to the optimum. The tests compare with scikit-learn as the oracle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from labelwise.core.halves import single

Array = npt.NDArray[Any]
Link = Literal["softmax", "sigmoid"]
Solution = tuple[Array, Array]

# Below this share of the largest variance an axis is rounding noise of float32 vectors.
NEGLIGIBLE = 1e-10
CURVATURE = {"softmax": 0.3, "sigmoid": 0.1}
CHUNK = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Examples in their principal axes, ready to be solved for any C.

    axes (n, r) centred and rotated vectors; variances (r,); basis (d, r); centre (d,);
    targets (n, k) of 0 and 1; weights (n,) summing to one.
    """

    link: Link
    axes: Array
    variances: Array
    basis: Array
    centre: Array
    targets: Array
    weights: Array


def prepare(vectors: Array, targets: Array, weights: Array, link: Link) -> Problem:
    """Rotate vectors (n, d) to their weighted principal axes. O(n d min(n, d) + d^3 if n >= d), in float64."""
    share = np.asarray(weights, dtype=np.float64) / np.sum(weights, dtype=np.float64)
    full = np.asarray(vectors, dtype=np.float64)
    centre = share @ full
    centred = full - centre
    if len(full) < full.shape[1]:
        _, lengths, rows = np.linalg.svd(centred * np.sqrt(share)[:, None], full_matrices=False)
        variances, basis = lengths**2, rows.T
    else:
        variances, basis = np.linalg.eigh((centred * share[:, None]).T @ centred)
    keep = variances > NEGLIGIBLE * max(variances.max(initial=0.0), np.finfo(np.float64).tiny)
    basis = basis[:, keep]
    return Problem(link, centred @ basis, variances[keep], basis, centre, targets.astype(np.float64), share)


def solve(
    problem: Problem, c: float, starts: Sequence[Solution], tolerance: float = 1e-6, precision: str = "float64"
) -> Solution:
    """The weights (k, d) and intercepts (k,) for one C, from the best of the starts (zero if there are none).

    tolerance bounds the largest entry of the gradient in curvature-scaled coordinates; 1e-6
    brings probabilities within about 1e-4 of the optimum for C <= 100. O(n r k) per iteration.
    """
    from scipy.optimize import minimize

    n, k = problem.targets.shape
    penalty = 1.0 / (c * n)
    curvature = CURVATURE[problem.link] / (k if problem.link == "softmax" else 1)
    scale = 1.0 / np.sqrt(curvature * problem.variances + penalty)
    free = 1.0 / np.sqrt(curvature)
    objective = _Objective(problem, scale, free, penalty, np.dtype(precision))
    begins = [
        np.column_stack([(coef @ problem.basis) / scale, (intercept + coef @ problem.centre) / free]).ravel()
        for coef, intercept in starts
    ] or [np.zeros(k * (len(scale) + 1))]
    found = minimize(
        objective,
        begins[0] if len(begins) == 1 else min(begins, key=lambda begin: objective(begin)[0]),
        jac=True,
        method="L-BFGS-B",
        options={"gtol": tolerance, "ftol": 0.0, "maxiter": 1000, "maxcor": 10},
    )
    table = found.x.reshape(k, -1)
    coef = (table[:, :-1] * scale) @ problem.basis.T
    return coef, table[:, -1] * free - coef @ problem.centre


class _Objective:
    """Value and gradient at flattened (k, r + 1) coordinates; the data live in ``precision``."""

    def __init__(self, problem: Problem, scale: Array, free: float, penalty: float, precision: np.dtype[Any]) -> None:
        self.softmax = problem.link == "softmax"
        self.free = free
        self.axes = (problem.axes * scale).astype(precision)
        self.targets = problem.targets.astype(precision)
        self.weights = problem.weights.astype(precision)[:, None]
        self.penalty = penalty * scale**2
        self.precision = precision

    def __call__(self, flat: Array) -> tuple[float, Array]:
        table = flat.reshape(self.targets.shape[1], -1)
        weights, intercept = table[:, :-1], table[:, -1] * self.free
        logits = self.axes @ weights.T.astype(self.precision)
        logits += intercept.astype(self.precision)
        loss = self._softmax(logits) if self.softmax else self._sigmoid(logits)
        logits -= self.targets
        logits *= self.weights
        gradient = np.empty_like(table)
        gradient[:, :-1] = logits.T @ self.axes
        gradient[:, :-1] += weights * self.penalty
        gradient[:, -1] = logits.sum(axis=0, dtype=np.float64) * self.free
        return loss + 0.5 * float(np.sum(weights * weights * self.penalty)), gradient.ravel()

    def _softmax(self, logits: Array) -> float:
        """Turn logits into probabilities in place and return the data's loss."""
        logits -= logits.max(axis=1, keepdims=True)
        true = np.einsum("ij,ij->i", logits, self.targets)
        np.exp(logits, out=logits)
        total = logits.sum(axis=1)
        logits /= total[:, None]
        return float(np.sum(self.weights[:, 0] * (np.log(total) - true), dtype=np.float64))

    def _sigmoid(self, logits: Array) -> float:
        per_text = np.logaddexp(0, logits).sum(axis=1) - np.einsum("ij,ij->i", logits, self.targets)
        logits[:] = 0.5 * (1.0 + np.tanh(0.5 * logits))
        return float(np.sum(self.weights[:, 0] * per_text, dtype=np.float64))


def probabilities(coef: Array, intercept: Array, vectors: Array, link: Link) -> Array:
    """(m, k) float32, in Fortran order, for vectors (m, d) of any float type, memory-mapped or not.

    Works in chunks of about 16 MB, so memory is that of the answer. O(m d k). A label's
    probabilities lie side by side: sums over labels then run along whole columns, many times faster.
    """
    k, d = coef.shape
    weights, offset = np.ascontiguousarray(coef, dtype=np.float32), intercept.astype(np.float32)[:, None]
    out = np.empty((k, len(vectors)), dtype=np.float32)
    step = max(1, CHUNK // max(d, k, 1))
    for first in range(0, len(vectors), step):
        logits = weights @ single(vectors[first : first + step]).T
        logits += offset
        if link == "softmax":
            logits -= logits.max(axis=0)
            np.exp(logits, out=logits)
            logits /= logits.sum(axis=0)
        else:
            logits *= 0.5
            np.tanh(logits, out=logits)
            logits += 1.0
            logits *= 0.5
        out[:, first : first + step] = logits
    return out.T
