"""A linear classifier that says how sure it is: logistic regression, C chosen by held-out log-loss.

C is chosen by log-loss, not accuracy, which is already half of calibration, and
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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import Beliefs, DamagedRecord, Examples, InputError, Kind, Model, State, Task
from labelwise.learn.heads import Fitting, Head, form_of, link_of, mean_of, spread
from labelwise.learn.logistic import Solution
from labelwise.learn.refit import Kept, keys_of, surprised
from labelwise.learn.search import Choice, Folds, choose, folds_of, pulled, seen_through, vectors_of

Array = npt.NDArray[Any]

FINAL_TOLERANCE = 1e-6
VIEW = ("view", "view_log_loss", "block_log_loss")
"""Facts about how the vectors are looked at."""


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
        return form_of(self.head.link, self.head.probs(inputs))

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
        return self.learn(examples, start_from, rng, dict)

    def learn(
        self,
        examples: Examples,
        start_from: Model | None,
        rng: np.random.Generator,
        views: Callable[[], Mapping[str, Array]],
    ) -> LinearModel:
        """``fit``, where each of ``views()``, a linear map (d, r), may take the place of the vectors.

        The view with the least held-out log-loss is used, measured on the control texts if there are
        enough of them, and folded into the coefficients. Views must not know any label. An update keeps
        the view, and does not ask for new ones.
        """
        vectors = vectors_of(examples)
        weights = np.asarray(examples.weights, dtype=np.float64)
        updated = _update(self, start_from, examples, vectors, weights)
        choice, kept, told = updated or self._search(examples, vectors, weights, rng, views())
        view = kept.view
        whole = Fitting.of(examples.task, seen_through(vectors, view), examples.targets, weights)
        starts = [mean_of(choice.starts)]
        if isinstance(start_from, LinearModel) and start_from.facts["dimensions"] == vectors.shape[1]:
            coef, intercept = _renamed(start_from, examples.task)
            starts.append((pulled(coef, view), intercept))
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
            "searched": updated is None,
            "grid_end": {self.grid[0]: "lowest", self.grid[-1]: "highest"}.get(choice.c),
            **told,
        }
        return LinearModel(head, facts, form_of(head.link, choice.held_out), kept)

    def _search(
        self, examples: Examples, vectors: Array, weights: Array, rng: np.random.Generator, views: Mapping[str, Array]
    ) -> tuple[Choice, Kept, dict[str, Any]]:
        fold_of = folds_of(self.folds, examples, vectors, rng)
        view, choice, told = choose(self.grid, examples, vectors, weights, fold_of, views)
        return choice, _kept(keys_of(vectors), examples.targets, fold_of, choice, view, len(vectors), 0), told

    def restore(self, state: State) -> LinearModel:
        """The model that ``state`` describes; DamagedRecord if something is missing."""
        try:
            link = link_of(state.facts["kind"])
            head = Head(link, *(np.asarray(state.arrays[name]) for name in ("seen", "coef", "intercept", "rest")))
            kept = Kept.of(state.arrays)
        except KeyError as missing:
            raise DamagedRecord(f"a linear model's state lacks {missing}; train the model again.") from None
        held_out = state.arrays.get("held_out")
        said = None if held_out is None else form_of(link, held_out)
        return LinearModel(head, dict(state.facts), said, kept)


def _update(
    trainer: Linear, model: Model | None, examples: Examples, vectors: Array, weights: Array
) -> tuple[Choice, Kept, dict[str, Any]] | None:
    """The last search's view, C and folds on these examples; None where a new one is due (see ``Linear.growth``)."""
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
    seen = Fitting.of(examples.task, vectors[:, :0], targets, weights).seen
    if changed > trainer.growth * kept.searched or not np.array_equal(seen, model.head.seen):
        return None
    if surprised(model.held_out, kept.targets, model.believe(vectors[new]), targets[new]):
        return None
    fold_of = kept.dealt(targets, examples.groups, keys)
    folds = Folds.of(examples, seen_through(vectors, kept.view), weights, fold_of, len(kept.coef))
    probs, ends = folds.held_out(c, list(zip(kept.coef, kept.intercept, strict=True)))
    loss = float(np.average(form_of(link_of(examples.task.kind), probs).surprise(targets), weights=weights))
    choice = Choice(c, [(c, loss)], probs, ends)
    told = {name: model.facts[name] for name in VIEW if name in model.facts}
    return choice, _kept(keys, targets, fold_of, choice, kept.view, kept.searched, changed), told


def _kept(
    keys: Array, targets: Array, folds: Array, choice: Choice, view: Array | None, searched: int, changed: int
) -> Kept:
    coef, intercept = (np.array(parts, dtype=np.float32) for parts in zip(*choice.starts, strict=True))
    return Kept(keys, np.asarray(targets), folds.astype(np.int8), coef, intercept, view, searched, changed)


def _renamed(model: LinearModel, task: Task) -> Solution:
    """The model's solution in the rows of this task's labels, matched by name."""
    coef, intercept = spread(model.head)
    place = {label: i for i, label in enumerate(model.facts["labels"])}
    out, offset = np.zeros((len(task.labels), coef.shape[1])), np.zeros(len(task.labels))
    for i, label in enumerate(task.labels):
        if label in place:
            out[i], offset[i] = coef[place[label]], intercept[place[label]]
    return out, offset
