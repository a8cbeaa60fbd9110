"""A linear classifier that says how sure it is: logistic regression, C chosen by held-out log-loss.

C is chosen by log-loss, not accuracy, which is already half of calibration (methods b.1), and
the held-out beliefs of the chosen C are kept, so that a calibrator never sees a belief about a
text the model was trained on. The model covers every label of the task: a class nobody has
given yet keeps the mass of Laplace's rule of succession (Laplace 1814, "Essai philosophique sur
les probabilités"), because a label with probability 0 could never be found by asking.

Known trade-offs: the grid is coarse (factor 10) because between neighbours the log-loss of
unit-norm vectors hardly differs and a finer grid costs proportionally; for multi-label tasks all
labels share one C, because rare labels cannot afford a choice of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
from labelwise.learn.refit import Kept, keys_of, surprised

Array = npt.NDArray[Any]

FEW = 100  # below this many examples, twice the folds: each then trains on 90 % instead of 80 %
# The search needs log-loss to three digits: 1e-3 and 1e-5 choose alike, the first in a third of the time.
SEARCH_TOLERANCE = 1e-3
FINAL_TOLERANCE = 1e-6
# A C ten times larger must lower log-loss by more than this share: overfitting costs more than it gains.
WORTHWHILE = 0.01


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
    kept: Kept | None = field(default=None, repr=False)

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
        if self.kept is not None:
            arrays |= self.kept.arrays()
        return State(arrays, dict(self.facts))


@dataclass(frozen=True, slots=True)
class Linear:
    """Multinomial (single) or one-vs-rest (multi) logistic regression on unit-norm vectors.

    grid: the C to try, each > 0, per example of mean weight; folds: held-out folds (2..20),
    doubled below 100 examples. Weights act relative to their mean, so rescaling them all
    changes nothing.

    growth: C is searched for again once more than this share of the examples of the last search came,
    left or were answered anew since (0 = in every fit); sooner if a label is seen for the first time, or
    if new labels surprise the earlier model more than its own doubts explain. Else the fit is an update: the
    last C and folds, every solution carried on to its optimum.
    """

    grid: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0, 1000.0)
    folds: int = 5
    growth: float = 0.25

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid", tuple(sorted(self.grid)))
        if not self.grid or not all(math.isfinite(c) and c > 0 for c in self.grid):
            raise InputError(f"grid: {list(self.grid)!r} is not allowed; give one or more finite numbers > 0.")
        if not 2 <= self.folds <= 20:
            raise InputError(f"folds: {self.folds!r} is not allowed; give a whole number from 2 to 20.")
        if not 0 <= self.growth <= 10:
            raise InputError(f"growth: {self.growth!r} is not allowed; give a share of the labels from 0 to 10.")

    @property
    def reads(self) -> str:
        return "vectors"

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return ("single", "multi")

    def fit(self, examples: Examples, start_from: Model | None, rng: np.random.Generator) -> LinearModel:
        """Choose C on held-out folds, or keep that of start_from while ``growth`` allows; then fit all examples.

        rng decides the folds of a search. The last fit begins at the folds' mean or at start_from (if that is
        a LinearModel on vectors of this width), whichever is nearer to the optimum; the folds
        never see it, since it may know their held-out labels: in an update each goes on from its own
        last solution. Raises WrongMoment without examples, InputError without vectors or for spans, or with
        vectors that are not finite.
        """
        vectors = _vectors(examples)
        weights = np.asarray(examples.weights, dtype=np.float64)
        updated = _update(self, start_from, examples, vectors, weights)
        choice = updated or _search(self, examples, vectors, weights, rng)
        whole = _Fitting.of(examples.task, vectors, examples.targets, weights)
        starts = [choice.start]
        if isinstance(start_from, LinearModel) and start_from.facts["dimensions"] == vectors.shape[1]:
            starts.append(_renamed(start_from, examples.task))
        head = whole.head(choice.c, starts, FINAL_TOLERANCE, "float64")
        facts = {
            "kind": examples.task.kind,
            "labels": list(examples.task.labels),
            "dimensions": vectors.shape[1],
            "n": len(examples),
            "classes_seen": len(whole.seen),
            "c": choice.c,
            "cv_log_loss": [[c, loss] for c, loss in choice.losses],
            "folds": choice.kept.coef.shape[0],
            "searched": updated is None,
            "grid_end": {self.grid[0]: "lowest", self.grid[-1]: "highest"}.get(choice.c),
        }
        return LinearModel(head, facts, _form(head.link, choice.held_out), choice.kept)

    def restore(self, state: State) -> LinearModel:
        """The model that ``state`` describes; DamagedRecord if something is missing."""
        try:
            link = _link(state.facts["kind"])
            head = Head(link, *(np.asarray(state.arrays[name]) for name in ("seen", "coef", "intercept", "rest")))
            kept = Kept.of(state.arrays)
        except KeyError as missing:
            raise DamagedRecord(f"a linear model's state lacks {missing}; train the model again.") from None
        held_out = state.arrays.get("held_out")
        said = None if held_out is None else _form(link, held_out)
        return LinearModel(head, dict(state.facts), said, kept)


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
    c: float
    losses: list[tuple[float, float]]
    held_out: Array
    start: Solution
    kept: Kept


def _update(trainer: Linear, model: Model | None, examples: Examples, vectors: Array, weights: Array) -> _Choice | None:
    """The last search's C and folds on these examples; None where a new search is due (see ``Linear.growth``)."""
    if not isinstance(model, LinearModel) or model.kept is None or model.held_out is None:
        return None
    same = {"kind": examples.task.kind, "labels": list(examples.task.labels), "dimensions": vectors.shape[1]}
    if {name: model.facts[name] for name in same} != same or model.facts["c"] not in trainer.grid:
        return None
    if len(model.kept.coef) not in (trainer.folds, 2 * trainer.folds):
        return None
    kept, targets, c = model.kept, examples.targets, float(model.facts["c"])
    keys = keys_of(vectors)
    new = kept.new(keys, targets)
    gone = max(0, len(kept.keys) - int(np.count_nonzero(kept.find(keys) >= 0)))
    changed = kept.changed + len(new) + gone
    # without vectors, only which labels can be learned
    seen = _Fitting.of(examples.task, vectors[:, :0], targets, weights).seen
    if changed > trainer.growth * kept.searched or not np.array_equal(seen, model.head.seen):
        return None
    if surprised(model.held_out, kept.targets, model.believe(vectors[new]), targets[new]):
        return None
    fold_of = kept.dealt(targets, examples.groups, keys)
    probs = np.empty((len(targets), len(examples.task.labels)), dtype=np.float32)
    ends = []
    for fold, begin in enumerate(zip(kept.coef, kept.intercept, strict=True)):
        train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        fitting = _Fitting.of(examples.task, vectors[train], targets[train], weights[train])
        head = fitting.head(c, [begin], SEARCH_TOLERANCE, "float32")
        probs[test] = head.probs(vectors[test])
        ends.append(_spread(head))
    link = _link(examples.task.kind)
    loss = float(np.average(_form(link, probs).surprise(targets), weights=weights))
    now = _kept(keys, targets, fold_of, ends, kept.searched, changed)
    return _Choice(c, [(c, loss)], probs, _mean(ends), now)


def _kept(keys: Array, targets: Array, folds: Array, ends: Sequence[Solution], searched: int, changed: int) -> Kept:
    coef, intercept = (np.array(parts, dtype=np.float32) for parts in zip(*ends, strict=True))
    return Kept(keys, np.asarray(targets), folds.astype(np.int8), coef, intercept, searched, changed)


def _search(trainer: Linear, examples: Examples, vectors: Array, weights: Array, rng: np.random.Generator) -> _Choice:
    """Walk up the grid, every fold starting from its last solution; stop when log-loss rose twice running."""
    targets = examples.targets
    fold_of = _folds(trainer.folds, examples, vectors, rng)
    tests = [np.flatnonzero(fold_of == fold) for fold in np.unique(fold_of)]
    trains = [np.flatnonzero(fold_of != fold) for fold in np.unique(fold_of)]
    fittings = [_Fitting.of(examples.task, vectors[rows], targets[rows], weights[rows]) for rows in trains]
    zero = np.zeros((len(examples.task.labels), vectors.shape[1])), np.zeros(len(examples.task.labels))
    starts = [zero] * len(trains)
    losses: list[tuple[float, float]] = []
    tried: list[tuple[Array, list[Solution]]] = []
    rises = 0
    for c in trainer.grid:
        probs = np.empty((len(targets), len(examples.task.labels)), dtype=np.float32)
        for i, (fitting, test) in enumerate(zip(fittings, tests, strict=True)):
            head = fitting.head(c, [starts[i]], SEARCH_TOLERANCE, "float32")
            starts[i] = _spread(head)
            probs[test] = head.probs(vectors[test])
        loss = float(np.average(_form(fittings[0].link, probs).surprise(targets), weights=weights))
        rises = rises + 1 if losses and loss > losses[-1][1] else 0
        losses.append((c, loss))
        tried.append((probs, list(starts)))
        if rises == 2:
            break
    least = min(loss for _, loss in losses)
    chosen = next(i for i, (_, loss) in enumerate(losses) if loss <= least * (1.0 + WORTHWHILE))
    held_out, ends = tried[chosen]
    kept = _kept(keys_of(vectors), targets, fold_of, ends, len(targets), 0)
    return _Choice(losses[chosen][0], losses, held_out, _mean(ends), kept)


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
    vectors = np.asarray(examples.vectors)
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise InputError(f"examples.vectors: row {row} is not finite; encode the texts again.")
    return vectors


def _link(kind: str) -> Link:
    return "softmax" if kind == "single" else "sigmoid"


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
