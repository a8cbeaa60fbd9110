"""How the labelled texts decide C, and how to look at their vectors: by held-out log-loss.

A view is a scale per dimension (d,), which weighs the parts that vectors are joined from, or a linear map
(d, r); it folds into the coefficients, so a model is as fast with it as without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import Examples, InputError, WrongMoment
from labelwise.learn.folds import assign, strata_of
from labelwise.learn.heads import Fitting, form_of, link_of, spread
from labelwise.learn.logistic import Link, Solution

Array = npt.NDArray[Any]

FEW = 100  # below this many examples, twice the folds: each then trains on 90 % instead of 80 %
# The search needs log-loss to three digits: 1e-3 and 1e-5 choose alike, the first in a third of the time.
SEARCH_TOLERANCE = 1e-3
# A C ten times larger must lower log-loss by more than this share: overfitting costs more than it gains.
# So must another view of the vectors than the one the encoder gives.
WORTHWHILE = 0.01
SCREEN = 300  # held-out texts on which weights of parts are compared
CONTROL_ENOUGH = 50  # random texts from which on views are compared on them alone


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The chosen C, its held-out probabilities (n, c), and every fold's solution, which knows none of its labels."""

    c: float
    losses: list[tuple[float, float]]
    held_out: Array
    starts: list[Solution]

    def surprise(self, link: Link, targets: Array) -> Array:
        return form_of(link, self.held_out).surprise(targets)


def choose(
    grid: Sequence[float],
    examples: Examples,
    vectors: Array,
    weights: Array,
    fold_of: Array,
    views: Mapping[str, Array],
) -> tuple[Array | None, Choice, dict[str, Any]]:
    """How to look at the vectors: as they are (None), parts weighed by (d,), or through a map (d, r); and the facts."""
    plain = search(grid, examples, vectors, weights, fold_of)
    found: dict[str, tuple[Array | None, Choice]] = {"as encoded": (None, plain)}
    facts: dict[str, Any] = {}
    link = link_of(examples.task.kind)
    if len(examples.blocks) > 1:
        share, scales, facts["block_log_loss"] = _weigh(examples, vectors, weights, fold_of, plain)
        if scales is not None:
            near = [c for c in grid if plain.c / 11 < c < plain.c * 11]
            found[share] = scales, search(near, examples, vectors * scales, weights, fold_of)
    for name, view in views.items():
        found[name] = view, search(grid, examples, vectors @ view, weights, fold_of)
    if len(found) == 1 and not facts:
        return None, plain, {}
    judges = np.ones(len(vectors), dtype=bool)
    if examples.control is not None and examples.control.sum() >= CONTROL_ENOUGH:
        judges = examples.control
    losses = {
        name: float(np.average(choice.surprise(link, examples.targets)[judges], weights=weights[judges]))
        for name, (_, choice) in found.items()
    }
    best = min(losses, key=lambda name: losses[name])
    if losses[best] > (1.0 - WORTHWHILE) * losses["as encoded"]:
        best = "as encoded"
    return *found[best], {**facts, "view": best, "view_log_loss": losses}


def _weigh(
    examples: Examples, vectors: Array, weights: Array, fold_of: Array, plain: Choice
) -> tuple[str, Array | None, list[list[Any]]]:
    """The best weights of the parts as text and per dimension (None: as they are), and the log-loss of all tried.

    Scaled so that the mean squared norm of the vectors stays, and with it the meaning of C.
    """
    targets, b = examples.targets, len(examples.blocks)
    folds = 1 + int(np.argmax(np.append(np.cumsum(np.bincount(fold_of))[:-1] >= SCREEN, True)))
    tests = np.flatnonzero(fold_of < folds)
    link = link_of(examples.task.kind)
    loss = float(np.average(plain.surprise(link, targets)[tests], weights=weights[tests]))
    energy = np.add.reduceat(np.square(vectors, dtype=np.float64).mean(axis=0), _firsts(examples.blocks))
    tried: list[list[Any]] = [[[1.0] * b, loss]]
    scalings: list[Array | None] = [None]
    for parts in (*np.eye(b), *(1.0 + np.eye(b))):
        left = float(parts**2 @ energy)
        if left == 0.0:
            continue
        scales = np.repeat(parts * np.sqrt(energy.sum() / left), examples.blocks).astype(np.float32)
        starts = [(coef * scales, intercept) for coef, intercept in plain.starts[:folds]]
        probs, _ = Folds.of(examples, vectors * scales, weights, fold_of, folds).held_out(plain.c, starts)
        loss = float(np.average(form_of(link, probs[tests]).surprise(targets[tests]), weights=weights[tests]))
        tried.append([parts.tolist(), loss])
        scalings.append(scales)
    best = min(range(len(tried)), key=lambda i: tried[i][1])
    return "parts " + ":".join(f"{part:g}" for part in tried[best][0]), scalings[best], tried


def _firsts(blocks: Sequence[int]) -> Array:
    return np.concatenate([[0], np.cumsum(blocks)[:-1]])


@dataclass(frozen=True, slots=True, eq=False)
class Folds:
    """The first few folds, each with what can be learned from all others; the rows of the rest stay zero."""

    vectors: Array
    tests: list[Array]
    fittings: list[Fitting]

    @classmethod
    def of(cls, examples: Examples, vectors: Array, weights: Array, fold_of: Array, folds: int) -> Folds:
        trains = [np.flatnonzero(fold_of != fold) for fold in range(folds)]
        fittings = [Fitting.of(examples.task, vectors[rows], examples.targets[rows], weights[rows]) for rows in trains]
        return cls(vectors, [np.flatnonzero(fold_of == fold) for fold in range(folds)], fittings)

    def held_out(self, c: float, starts: Sequence[Solution]) -> tuple[Array, list[Solution]]:
        """Probabilities (n, c) of every fold by a model of the others, and the solutions."""
        probs = np.zeros((len(self.vectors), len(starts[0][1])), dtype=np.float32)
        ends = []
        for fitting, test, start in zip(self.fittings, self.tests, starts, strict=True):
            head = fitting.head(c, [start], SEARCH_TOLERANCE, "float32")
            ends.append(spread(head))
            probs[test] = head.probs(self.vectors[test])
        return probs, ends


def search(grid: Sequence[float], examples: Examples, vectors: Array, weights: Array, fold_of: Array) -> Choice:
    """Walk up the grid, every fold starting from its last solution; stop when log-loss rose twice running."""
    targets, labels = examples.targets, len(examples.task.labels)
    folds = Folds.of(examples, vectors, weights, fold_of, int(fold_of.max()) + 1)
    starts: list[Solution] = [(np.zeros((labels, vectors.shape[1])), np.zeros(labels))] * len(folds.fittings)
    losses: list[tuple[float, float]] = []
    tried: list[tuple[Array, list[Solution]]] = []
    rises = 0
    for c in grid:
        probs, starts = folds.held_out(c, starts)
        loss = float(np.average(form_of(link_of(examples.task.kind), probs).surprise(targets), weights=weights))
        rises = rises + 1 if losses and loss > losses[-1][1] else 0
        losses.append((c, loss))
        tried.append((probs, starts))
        if rises == 2:
            break
    least = min(loss for _, loss in losses)
    chosen = next(i for i, (_, loss) in enumerate(losses) if loss <= least * (1.0 + WORTHWHILE))
    return Choice(losses[chosen][0], losses, *tried[chosen])


def folds_of(folds: int, examples: Examples, vectors: Array, rng: np.random.Generator) -> Array:
    """Fold of every example; keys are a random projection, so they belong to the text, not to its place."""
    keys = vectors.astype(np.float64) @ rng.standard_normal(vectors.shape[1])
    units = len(examples) if examples.groups is None else len(np.unique(examples.groups))
    wanted = folds if len(examples) >= FEW else 2 * folds
    return assign(strata_of(examples.targets), examples.groups, keys, min(wanted, units))


def seen_through(vectors: Array, view: Array | None) -> Array:
    """(n, d) or (n, r) what a view shows of vectors (n, d); None shows them as they are."""
    return vectors if view is None else vectors * view if view.ndim == 1 else vectors @ view


def pulled(coef: Array, view: Array | None) -> Array:
    """Coefficients (c, d) on plain vectors as coefficients on what the view shows: roughly, it is only a start."""
    return coef if view is None else coef * view if view.ndim == 1 else coef @ view


def vectors_of(examples: Examples) -> Array:
    """(n, d) the vectors. WrongMoment without examples, InputError for spans, without vectors and for infinite ones."""
    if len(examples) == 0:
        raise WrongMoment("nothing to learn from: 0 labelled texts; label at least one text, better 50.")
    if examples.task.kind == "spans":
        raise InputError("trainer: 'linear' cannot learn 'spans'; allowed kinds of task are 'single' and 'multi'.")
    if examples.vectors is None:
        raise InputError(
            "examples.vectors: None is not allowed; 'linear' reads vectors (n, d). Encode the texts first."
        )
    vectors = np.asarray(examples.vectors)
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise InputError(f"examples.vectors: row {row} is not finite; encode the texts again.")
    return vectors
