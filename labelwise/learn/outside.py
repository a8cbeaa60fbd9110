"""How far a text lies outside of what was labelled: four views of it, averaged by rank.

Views, all larger for texts unlike the labelled ones:

logit      - the largest logit (Hendrycks et al. 2022, "Scaling Out-of-Distribution Detection for Real-World
           Settings"): unlike a probability it falls when no answer fits
neighbour  - cosine to the k-th nearest labelled text (Sun et al. 2022, "Out-of-Distribution Detection with Deep
           Nearest Neighbors")
centre     - cosine to the nearest mean of a class: steadier than a neighbour while a class has few labels
relative   Mahalanobis distance to the nearest class less that to all labelled texts as one (Ren et al. 2021, "A
           Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection"), the pooled covariance shrunk
           as Ledoit and Wolf (2004) do

A view is turned into the share of labelled texts, each scored when it was held out, that look less outside; the
score is the mean of these shares, turned into a share once more. So nothing outside is needed to fit it. Which
views and which k were chosen with whole intents and whole domains of CLINC150's training split left out as the
outside (docs/benchmarks.md).

It is a signal for routing, not worth a label by itself: junk scores as high as a new topic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import DamagedRecord, Examples, InputError, Model, State, WrongMoment
from labelwise.learn.committee import CommitteeModel
from labelwise.learn.folds import strata_of
from labelwise.learn.heads import Fitting, Head
from labelwise.learn.linear import LinearModel
from labelwise.learn.search import SEARCH_TOLERANCE, folds_of

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

BLOCK = 1 << 22
"""Numbers held at a time when texts are compared with the labelled ones: 16 MB."""
FLAT = 1e-6
"""Axes of less than this share of the largest variance count as having it: rounding noise of float32 vectors."""
NOTHING = 1e-12
NAMES = ("logit", "neighbour", "centre", "relative")


@dataclass(frozen=True, slots=True, eq=False)
class Distances:
    """Normal classes of one covariance: means (k, d) and counts (k,), and a normal of all: ``mean`` (d,).

    ``within`` and ``overall`` (d, d) are whitening: rows times them have unit covariance.
    """

    means: Array
    counts: Array
    mean: Array
    within: Array
    overall: Array

    @classmethod
    def of(cls, vectors: Array, classes: Array) -> Distances:
        """Fit to vectors (n, d), n >= 1, of classes (n,). O(n d^2 + d^3)."""
        found, place = np.unique(classes, return_inverse=True)
        n, k, full = len(vectors), len(found), np.asarray(vectors, dtype=np.float64)
        counts = np.bincount(place)
        means = np.zeros((k, full.shape[1]))
        np.add.at(means, place, full)
        means /= counts[:, None]
        mean = full.mean(axis=0)
        overall = _whitening(full - mean, n - 1)
        # where every class has one text nothing is known of how texts of a class differ
        within = _whitening(full - means[place], n - k) if n > k else overall
        parts = (means, counts, mean, within, overall)
        return cls(*(np.asarray(part, dtype=np.float32) for part in parts))

    def squared(self, vectors: Array) -> tuple[Array, Array]:
        """(m, k) squared distance to every class, less the more uncertain its mean is, and (m,) to all as one."""
        x, means = (vectors - self.mean) @ self.within, (self.means - self.mean) @ self.within
        apart = np.einsum("ij,ij->i", x, x)[:, None] - 2.0 * x @ means.T + np.einsum("ij,ij->i", means, means)
        overall = (vectors - self.mean) @ self.overall
        return np.maximum(apart, 0.0) * (self.counts / (self.counts + 1.0)), np.einsum("ij,ij->i", overall, overall)


def _whitening(deviations: Array, degrees: int) -> Array:
    """(d, d) that makes deviations (n, d) with so many degrees of freedom white; the identity if there are none."""
    from sklearn.covariance import ledoit_wolf

    n, d = deviations.shape
    if degrees < 1 or np.square(deviations).sum() <= NOTHING * n:
        return np.eye(d)
    covariance, _ = ledoit_wolf(deviations * np.sqrt(n / degrees), assume_centered=True)
    variances, axes = np.linalg.eigh(covariance)
    return np.asarray(axes / np.sqrt(np.maximum(variances, FLAT * variances[-1])))


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """What texts are compared with: labelled texts of unit norm (n, d), their classes, and a linear head or None."""

    labelled: Array
    distances: Distances
    head: Head | None
    neighbours: int

    @classmethod
    def of(cls, vectors: Array, classes: Array, head: Head | None, neighbours: int) -> Views:
        return cls(_unit(vectors), Distances.of(vectors, classes), head, min(neighbours, len(vectors)))

    @property
    def names(self) -> tuple[str, ...]:
        return NAMES[1:] if self.head is None else NAMES

    def columns(self, vectors: Array) -> Floats:
        """(m, v) one column for every name, larger = more outside. O(m d (n + k + d)), memory of that and a block.

        InputError for vectors of another width or with numbers that are not finite.
        """
        d = self.labelled.shape[1]
        if getattr(vectors, "ndim", 0) != 2 or vectors.shape[1] != d:
            raise InputError(
                f"vectors: shape {getattr(vectors, 'shape', None)} is not (m, {d}) as the labelled texts'."
            )
        out = np.empty((len(vectors), len(self.names)))
        step = max(1, BLOCK // max(len(self.labelled), d, len(self.distances.counts)))
        for start in range(0, len(vectors), step):
            block = _finite(vectors[start : start + step])
            out[start : start + step] = np.column_stack([getattr(self, f"_{name}")(block) for name in self.names])
        return out

    def _logit(self, block: Array) -> Array:
        assert self.head is not None  # noqa: S101  named only where there is one
        logits = block @ self.head.coef.T.astype(np.float32) + self.head.intercept.astype(np.float32)
        return np.asarray(-logits.max(axis=1, initial=-np.inf))

    def _neighbour(self, block: Array) -> Array:
        far = -(_unit(block) @ self.labelled.T)
        k = self.neighbours
        return np.asarray(far.min(axis=1) if k == 1 else np.partition(far, k - 1, axis=1)[:, k - 1])

    def _centre(self, block: Array) -> Array:
        return np.asarray(-(_unit(block) @ _unit(self.distances.means).T).max(axis=1))

    def _relative(self, block: Array) -> Array:
        apart, overall = self.distances.squared(block)
        # with one class the two are one distance, told by different amounts of shrinkage
        return np.asarray(apart.min(axis=1) - (overall if apart.shape[1] > 1 else 0.0))


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """A fitted ``Outside``: ``held`` (n, v) what each view said of held-out labelled texts, ``means`` (n,) their
    mean shares, every column ascending."""

    views: Views
    held: Array
    means: Array

    def scores(self, vectors: Array) -> Floats:
        """(m,) in [0, 1], 1 = outside: the share of labelled texts, when held out, that look less outside.

        Vectors (m, d) of any float type, memory-mapped or not. Ties follow the mean of the views. InputError for
        another width or numbers that are not finite. O(m d (n + k + d)).
        """
        mean = _shares(self.held, self.views.columns(vectors)).mean(axis=1)
        return np.asarray((np.searchsorted(self.means, mean) + mean) / (len(self.means) + 1.0))

    def state(self) -> State:
        views, where = self.views, self.views.distances
        arrays = {
            "held": self.held, "means": self.means, "labelled": views.labelled,
            **{f"distances/{name}": getattr(where, name) for name in Distances.__slots__},
        }  # fmt: skip
        if views.head is not None:
            arrays |= {f"head/{name}": getattr(views.head, name) for name in ("seen", "coef", "intercept", "rest")}
        return State(arrays, {"neighbours": views.neighbours, "link": views.head.link if views.head else None})


@dataclass(frozen=True, slots=True)
class Outside:
    """Compares with the k-th nearest of ``neighbours``; ``folds`` (2..20) hold labelled texts out.

    With few labels the nearest text tells most, and with 100 a class too: k = 1.
    """

    neighbours: int = 1
    folds: int = 5

    def __post_init__(self) -> None:
        if type(self.neighbours) is not int or self.neighbours < 1:
            raise InputError(f"neighbours: {self.neighbours!r} is not allowed; give a whole number >= 1.")
        if type(self.folds) is not int or not 2 <= self.folds <= 20:
            raise InputError(f"folds: {self.folds!r} is not allowed; give a whole number from 2 to 20.")

    def fit(self, examples: Examples, model: Model, rng: np.random.Generator) -> Detector:
        """Learn what the labelled texts look like, to ``model`` and among each other; rng decides the folds.

        Of a linear model or a committee around one the largest logit is a view too; for held-out texts its C is
        fitted anew in every fold. With several labels a text's class is its rarest label. Raises WrongMoment with
        fewer than two texts that are not near-duplicates, InputError without finite vectors.
        """
        linear = model.centre if isinstance(model, CommitteeModel) else model
        head, c = (linear.head, float(linear.facts["c"])) if isinstance(linear, LinearModel) else (None, 0.0)
        head = head if head is not None and len(head.seen) else None
        if examples.vectors is None:
            raise InputError("examples.vectors: None is not allowed; distances need vectors (n, d). Encode the texts.")
        vectors, classes, n = _finite(examples.vectors), strata_of(examples.targets), len(examples)
        units = n if examples.groups is None else len(np.unique(examples.groups))
        if units < 2:
            raise WrongMoment(f"{units} different labelled text(s) do not tell what is outside; label more, better 50.")
        views = Views.of(vectors, classes, head, self.neighbours)
        fold_of = folds_of(self.folds, examples, vectors, rng)
        held = np.empty((n, len(views.names)))
        for fold in np.unique(fold_of):
            train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
            part = None if head is None else _refitted(examples.take(train), c)
            held[test] = Views.of(vectors[train], classes[train], part, self.neighbours).columns(vectors[test])
        ordered = np.sort(held, axis=0)
        return Detector(views, ordered, np.sort(_shares(ordered, held).mean(axis=1)))

    def restore(self, state: State) -> Detector:
        """The detector that ``state`` describes; DamagedRecord if something is missing."""
        try:
            a, link = state.arrays, state.facts["link"]
            where = Distances(*(a[f"distances/{name}"] for name in Distances.__slots__))
            parts = [] if link is None else [a[f"head/{name}"] for name in ("seen", "coef", "intercept", "rest")]
            head = Head(link, *parts) if parts else None
            views = Views(a["labelled"], where, head, int(state.facts["neighbours"]))
            return Detector(views, a["held"], a["means"])
        except KeyError as missing:
            raise DamagedRecord(f"what is outside lacks {missing}; run `labelwise advance`.") from None


def _refitted(examples: Examples, c: float) -> Head:
    fitting = Fitting.of(examples.task, np.asarray(examples.vectors), examples.targets, examples.weights)
    return fitting.head(c, [], SEARCH_TOLERANCE, "float32")


def _shares(held: Array, columns: Array) -> Floats:
    """(m, v) the share of every ascending column of held (n, v) that is less."""
    pairs = zip(held.T, columns.T, strict=True)
    return np.column_stack([np.searchsorted(known, values) for known, values in pairs]) / len(held)


def _finite(vectors: Array) -> Array:
    block = np.asarray(vectors, dtype=np.float32)
    if not np.isfinite(block).all():
        raise InputError("vectors: nan or inf is not allowed; encode the texts again.")
    return block


def _unit(vectors: Array) -> Array:
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return np.asarray(vectors / np.maximum(norms, NOTHING), dtype=np.float32)
