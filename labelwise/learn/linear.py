"""A linear classifier that says how sure it is: logistic regression, C chosen by held-out log-loss.

C is chosen by log-loss, not accuracy, which is already half of calibration (methods b.1), and
the held-out beliefs of the chosen C are kept, so that a calibrator never sees a belief about a
text the model was trained on. The model covers every label of the task: a class nobody has
given yet keeps the mass of Laplace's rule of succession (Laplace 1814, "Essai philosophique sur
les probabilités"), because a label with probability 0 could never be found by asking.

Vectors joined from several parts (``Examples.blocks``) are weighed anew in every fit, by the same
held-out log-loss: no fixed weights suit all tasks (n-grams tell questions apart, embeddings
topics). The weights are folded into the coefficients, so the model reads the vectors as they are.

Known trade-offs: the grid is coarse (factor 10) because between neighbours the log-loss of
unit-norm vectors hardly differs and a finer grid costs proportionally; for multi-label tasks all
labels share one C, because rare labels cannot afford a choice of their own. Weights of parts are
few (equal, one alone, one double) and compared at one C on about SCREEN held-out texts: at 1,000
labels a full search for each would cost five times the fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import (
    Beliefs,
    Categorical,
    DamagedRecord,
    Examples,
    InputError,
    Kind,
    Model,
    Multilabel,
    State,
    Task,
    WrongMoment,
)
from labelwise.learn.folds import assign, strata_of
from labelwise.learn.logistic import Link, Problem, Solution, prepare, probabilities, solve

Array = npt.NDArray[Any]

FEW = 100  # below this many examples, twice the folds: each then trains on 90 % instead of 80 %
# The search needs log-loss to three digits: 1e-3 and 1e-5 choose alike, the first in a third of the time.
SEARCH_TOLERANCE = 1e-3
FINAL_TOLERANCE = 1e-6
# A C ten times larger must lower log-loss by more than this share: overfitting costs more than it gains.
# So must another view of the vectors than the one the encoder gives.
WORTHWHILE = 0.01
SCREEN = 300  # held-out texts on which weights of parts are compared
CONTROL_ENOUGH = 50  # random texts from which on views are compared on them alone


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
class LinearModel:
    """A fitted ``Linear``; ``facts`` say how C was chosen."""

    head: Head
    facts: Mapping[str, Any]
    held_out: Beliefs | None = field(default=None, repr=False)

    def believe(self, inputs: Any) -> Beliefs:
        """Beliefs (float32) about unit-norm vectors (m, d), float16 or float32, memory-mapped or not.

        Raises InputError if d is not that of the training vectors.
        """
        d = int(self.facts["dimensions"])
        if getattr(inputs, "ndim", 0) != 2 or inputs.shape[1] != d:
            raise InputError(
                f"vectors: shape {getattr(inputs, 'shape', None)} does not fit a model of (m, {d}); "
                "encode the texts with the encoder the model was trained with."
            )
        return _form(self.head.link, self.head.probs(inputs))

    def state(self) -> State:
        head = self.head
        arrays = {"seen": head.seen, "coef": head.coef, "intercept": head.intercept, "rest": head.rest}
        if self.held_out is not None:
            arrays["held_out"] = next(iter(self.held_out.arrays().values()))
        return State(arrays, dict(self.facts))


@dataclass(frozen=True, slots=True)
class Linear:
    """Multinomial (single) or one-vs-rest (multi) logistic regression on unit-norm vectors.

    grid: the C to try, each > 0, per example of mean weight; folds: held-out folds (2..20),
    doubled below 100 examples. Weights act relative to their mean, so rescaling them all
    changes nothing.
    """

    grid: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0, 1000.0)
    folds: int = 5

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid", tuple(sorted(self.grid)))
        if not self.grid or not all(math.isfinite(c) and c > 0 for c in self.grid):
            raise InputError(f"grid: {list(self.grid)!r} is not allowed; give one or more finite numbers > 0.")
        if not 2 <= self.folds <= 20:
            raise InputError(f"folds: {self.folds!r} is not allowed; give a whole number from 2 to 20.")

    @property
    def reads(self) -> str:
        return "vectors"

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return ("single", "multi")

    def fit(self, examples: Examples, start_from: Model | None, rng: np.random.Generator) -> LinearModel:
        """Choose C on held-out folds, then fit all examples.

        rng decides the folds. The last fit begins at the folds' mean or at start_from (if that is
        a LinearModel on vectors of this width), whichever is nearer to the optimum; the folds
        never see start_from, since it may know their held-out labels. Raises WrongMoment without
        examples, InputError without vectors or for spans.
        """
        return self.learn(examples, start_from, rng, {})

    def learn(
        self, examples: Examples, start_from: Model | None, rng: np.random.Generator, views: Mapping[str, Array]
    ) -> LinearModel:
        """``fit``, where each of ``views``, a linear map (d, r), may take the place of the vectors.

        The view with the least held-out log-loss is used, measured on the control texts if there are
        CONTROL_ENOUGH of them, and folded into the coefficients. ``views`` must not know any label.
        """
        vectors = _vectors(examples)
        weights = np.asarray(examples.weights, dtype=np.float64)
        fold_of = _folds(self.folds, examples, vectors, rng)
        view, choice, compared = _view(self, examples, vectors, weights, fold_of, views)
        whole = _Fitting.of(examples.task, _seen(vectors, view), examples.targets, weights)
        starts = [_mean(choice.starts)]
        if isinstance(start_from, LinearModel) and start_from.facts["dimensions"] == vectors.shape[1]:
            coef, intercept = _renamed(start_from, examples.task)
            starts.append((_pulled(coef, view), intercept))
        head = whole.head(choice.c, starts, FINAL_TOLERANCE, "float64")
        if view is not None:
            head = replace(head, coef=head.coef * view if view.ndim == 1 else head.coef @ view.T)
        facts = {
            "kind": examples.task.kind,
            "labels": list(examples.task.labels),
            "dimensions": vectors.shape[1],
            "n": len(examples),
            "classes_seen": len(whole.seen),
            "c": choice.c,
            "cv_log_loss": [[c, loss] for c, loss in choice.losses],
            "folds": len(choice.starts),
            "grid_end": {self.grid[0]: "lowest", self.grid[-1]: "highest"}.get(choice.c),
            **compared,
        }
        return LinearModel(head, facts, _form(head.link, choice.held_out))

    def restore(self, state: State) -> LinearModel:
        """The model that ``state`` describes; DamagedRecord if something is missing."""
        try:
            link = _link(state.facts["kind"])
            head = Head(link, *(np.asarray(state.arrays[name]) for name in ("seen", "coef", "intercept", "rest")))
        except KeyError as missing:
            raise DamagedRecord(f"a linear model's state lacks {missing}; train the model again.") from None
        held_out = state.arrays.get("held_out")
        return LinearModel(head, dict(state.facts), None if held_out is None else _form(link, held_out))


@dataclass(frozen=True, slots=True, eq=False)
class _Fitting:
    """One training set: which labels can be learned from it, and what the others get."""

    link: Link
    seen: Array
    rest: Array
    dimensions: int
    problem: Problem | None

    @classmethod
    def of(cls, task: Task, vectors: Array, targets: Array, weights: Array) -> _Fitting:
        """Smoothed constants: 1/(n+c) for an unseen class, (positives+1)/(n+2) for a one-sided label."""
        link, n, c = _link(task.kind), len(targets), len(task.labels)
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


@dataclass(frozen=True, slots=True, eq=False)
class _Choice:
    """The chosen C, its held-out probabilities (n, c), and every fold's solution, which knows none of its labels."""

    c: float
    losses: list[tuple[float, float]]
    held_out: Array
    starts: list[Solution]

    def surprise(self, link: Link, targets: Array) -> Array:
        return _form(link, self.held_out).surprise(targets)


def _view(
    trainer: Linear, examples: Examples, vectors: Array, weights: Array, fold_of: Array, views: Mapping[str, Array]
) -> tuple[Array | None, _Choice, dict[str, Any]]:
    """How to look at the vectors: as they are (None), parts weighed by (d,), or through a map (d, r); and the facts."""
    plain = _search(trainer.grid, examples, vectors, weights, fold_of)
    found: dict[str, tuple[Array | None, _Choice]] = {"as encoded": (None, plain)}
    facts: dict[str, Any] = {}
    link = _link(examples.task.kind)
    if len(examples.blocks) > 1:
        share, scales, facts["block_log_loss"] = _weigh(examples, vectors, weights, fold_of, plain)
        if scales is not None:
            near = [c for c in trainer.grid if plain.c / 11 < c < plain.c * 11]
            found[share] = scales, _search(near, examples, vectors * scales, weights, fold_of)
    for name, view in views.items():
        found[name] = view, _search(trainer.grid, examples, vectors @ view, weights, fold_of)
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
    examples: Examples, vectors: Array, weights: Array, fold_of: Array, plain: _Choice
) -> tuple[str, Array | None, list[list[Any]]]:
    """The best weights of the parts as text and per dimension (None: as they are), and the log-loss of all tried.

    Scaled so that the mean squared norm of the vectors stays, and with it the meaning of C.
    """
    targets, b = examples.targets, len(examples.blocks)
    folds = 1 + int(np.argmax(np.append(np.cumsum(np.bincount(fold_of))[:-1] >= SCREEN, True)))
    tests = np.flatnonzero(fold_of < folds)
    link = _link(examples.task.kind)
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
        probs, _ = _Folds.of(examples, vectors * scales, weights, fold_of, folds).held_out(plain.c, starts)
        loss = float(np.average(_form(link, probs[tests]).surprise(targets[tests]), weights=weights[tests]))
        tried.append([parts.tolist(), loss])
        scalings.append(scales)
    best = min(range(len(tried)), key=lambda i: tried[i][1])
    return "parts " + ":".join(f"{part:g}" for part in tried[best][0]), scalings[best], tried


def _firsts(blocks: Sequence[int]) -> Array:
    return np.concatenate([[0], np.cumsum(blocks)[:-1]])


@dataclass(frozen=True, slots=True, eq=False)
class _Folds:
    """The first few folds, each with what can be learned from all others; the rows of the rest stay zero."""

    vectors: Array
    tests: list[Array]
    fittings: list[_Fitting]

    @classmethod
    def of(cls, examples: Examples, vectors: Array, weights: Array, fold_of: Array, folds: int) -> _Folds:
        trains = [np.flatnonzero(fold_of != fold) for fold in range(folds)]
        fittings = [_Fitting.of(examples.task, vectors[rows], examples.targets[rows], weights[rows]) for rows in trains]
        return cls(vectors, [np.flatnonzero(fold_of == fold) for fold in range(folds)], fittings)

    def held_out(self, c: float, starts: Sequence[Solution]) -> tuple[Array, list[Solution]]:
        """Probabilities (n, c) of every fold by a model of the others, and the solutions."""
        probs = np.zeros((len(self.vectors), len(starts[0][1])), dtype=np.float32)
        ends = []
        for fitting, test, start in zip(self.fittings, self.tests, starts, strict=True):
            head = fitting.head(c, [start], SEARCH_TOLERANCE, "float32")
            ends.append(_spread(head))
            probs[test] = head.probs(self.vectors[test])
        return probs, ends


def _search(grid: Sequence[float], examples: Examples, vectors: Array, weights: Array, fold_of: Array) -> _Choice:
    """Walk up the grid, every fold starting from its last solution; stop when log-loss rose twice running."""
    targets, labels = examples.targets, len(examples.task.labels)
    folds = _Folds.of(examples, vectors, weights, fold_of, int(fold_of.max()) + 1)
    starts: list[Solution] = [(np.zeros((labels, vectors.shape[1])), np.zeros(labels))] * len(folds.fittings)
    losses: list[tuple[float, float]] = []
    tried: list[tuple[Array, list[Solution]]] = []
    rises = 0
    for c in grid:
        probs, starts = folds.held_out(c, starts)
        loss = float(np.average(_form(_link(examples.task.kind), probs).surprise(targets), weights=weights))
        rises = rises + 1 if losses and loss > losses[-1][1] else 0
        losses.append((c, loss))
        tried.append((probs, starts))
        if rises == 2:
            break
    least = min(loss for _, loss in losses)
    chosen = next(i for i, (_, loss) in enumerate(losses) if loss <= least * (1.0 + WORTHWHILE))
    return _Choice(losses[chosen][0], losses, *tried[chosen])


def _folds(folds: int, examples: Examples, vectors: Array, rng: np.random.Generator) -> Array:
    """Fold of every example; keys are a random projection, so they belong to the text, not to its place."""
    keys = vectors.astype(np.float64) @ rng.standard_normal(vectors.shape[1])
    units = len(examples) if examples.groups is None else len(np.unique(examples.groups))
    wanted = folds if len(examples) >= FEW else 2 * folds
    return assign(strata_of(examples.targets), examples.groups, keys, min(wanted, units))


def _vectors(examples: Examples) -> Array:
    if len(examples) == 0:
        raise WrongMoment("nothing to learn from: 0 labelled texts; label at least one text, better 50.")
    if examples.task.kind == "spans":
        raise InputError("trainer: 'linear' cannot learn 'spans'; allowed kinds of task are 'single' and 'multi'.")
    if examples.vectors is None:
        raise InputError(
            "examples.vectors: None is not allowed; 'linear' reads vectors (n, d). Encode the texts first."
        )
    return np.asarray(examples.vectors)


def _link(kind: str) -> Link:
    return "softmax" if kind == "single" else "sigmoid"


def _seen(vectors: Array, view: Array | None) -> Array:
    return vectors if view is None else vectors * view if view.ndim == 1 else vectors @ view


def _pulled(coef: Array, view: Array | None) -> Array:
    """Coefficients (c, d) on plain vectors as coefficients on what the view shows: roughly, it is only a start."""
    return coef if view is None else coef * view if view.ndim == 1 else coef @ view


def _form(link: Link, probs: Array) -> Categorical | Multilabel:
    return Categorical(probs) if link == "softmax" else Multilabel(probs)


def _spread(head: Head) -> Solution:
    """The head's solution as rows of all labels, 0 where nothing was learned."""
    coef = np.zeros((len(head.rest), head.coef.shape[1]))
    intercept = np.zeros(len(head.rest))
    coef[head.seen], intercept[head.seen] = head.coef, head.intercept
    return coef, intercept


def _mean(starts: Sequence[Solution]) -> Solution:
    return np.mean([coef for coef, _ in starts], axis=0), np.mean([intercept for _, intercept in starts], axis=0)


def _renamed(model: LinearModel, task: Task) -> Solution:
    """The model's solution in the rows of this task's labels, matched by name."""
    coef, intercept = _spread(model.head)
    place = {label: i for i, label in enumerate(model.facts["labels"])}
    out, offset = np.zeros((len(task.labels), coef.shape[1])), np.zeros(len(task.labels))
    for i, label in enumerate(task.labels):
        if label in place:
            out[i], offset[i] = coef[place[label]], intercept[place[label]]
    return out, offset
