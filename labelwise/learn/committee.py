"""Committees around a linear model: what the labels leave open becomes visible as disagreement.

Two ways to several models for little more than the price of one. Both keep the linear model's C, cover every
label of the task as it does, and answer with a ``Committee``, so that BALD, vote entropy, disagreement and
core-MSE can choose by it; calibration tempers every member alike.

``Bootstrap`` fits the same labels under random weights (Rubin 1981, "The Bayesian Bootstrap"; Newton and
Raftery 1994, weighted likelihood bootstrap). Weights are never 0, so no member loses a rare class.
``Laplace`` draws the weights of the linear map from a normal distribution around the optimum, with the
curvature there as precision (MacKay 1992, "The Evidence Framework Applied to Classification Networks").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import (
    Beliefs,
    Committee,
    DamagedRecord,
    Examples,
    InputError,
    Kind,
    Model,
    State,
    Trainer,
    uniform_of,
)
from labelwise.learn.heads import Fitting, Head, form_of, spread
from labelwise.learn.linear import Linear, LinearModel
from labelwise.learn.logistic import Link, Solution, probabilities
from labelwise.learn.search import SEARCH_TOLERANCE, WORTHWHILE, folds_of, vectors_of

Array = npt.NDArray[Any]

TINY = 1e-12
SHARED = 20
"""With more labels than this they share one covariance: one d x d matrix instead of one each."""
SCALES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.125, 0.09)
LEVERAGE = 0.99


@dataclass(frozen=True, slots=True, eq=False)
class CommitteeModel:
    """``centre`` is the linear model around which the ``members`` lie; held-out beliefs are a committee's too."""

    centre: LinearModel
    members: tuple[Head, ...]
    held_out: Beliefs | None = field(default=None, repr=False)

    def believe(self, inputs: Any) -> Beliefs:
        """What every member says (float32) about vectors (m, d). InputError for another width. O(e m d c)."""
        return Committee(tuple(self._said(head, inputs) for head in self.members))

    def _said(self, head: Head, inputs: Any) -> Any:
        return replace(self.centre, head=head).believe(inputs)

    def state(self) -> State:
        centre = self.centre.state()
        arrays = {
            **centre.arrays,
            "members/coef": np.stack([head.coef for head in self.members]),
            "members/intercept": np.stack([head.intercept for head in self.members]),
        }
        if isinstance(self.held_out, Committee):
            arrays["members/held_out"] = np.stack([member.probs for member in self.held_out.members])
        return State(arrays, centre.facts)


@dataclass(frozen=True)
class _Around:
    """What both kinds of committee share: a linear model in the middle, and how it is stored."""

    base: Trainer = field(default_factory=Linear)
    members: int = 10

    def __post_init__(self) -> None:
        if not isinstance(self.base, Linear):
            raise InputError(f'base: {self.base!r} is not allowed; give a linear trainer: {{ use = "linear" }}.')
        if type(self.members) is not int or not 2 <= self.members <= 100:
            raise InputError(f"members: {self.members!r} is not allowed; give a whole number from 2 to 100.")

    @property
    def linear(self) -> Linear:
        """The trainer of the model in the middle."""
        assert isinstance(self.base, Linear)  # noqa: S101  __post_init__ has seen to it
        return self.base

    @property
    def reads(self) -> str:
        return "vectors"

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return self.base.kinds

    def _centre(self, examples: Examples, start_from: Model | None, rng: np.random.Generator) -> LinearModel:
        start = start_from.centre if isinstance(start_from, CommitteeModel) else start_from
        return self.linear.fit(examples, start, rng)

    def restore(self, state: State) -> CommitteeModel:
        """The model that ``state`` describes; DamagedRecord if something is missing."""
        centre = self.linear.restore(state)
        try:
            both = zip(state.arrays["members/coef"], state.arrays["members/intercept"], strict=True)
        except KeyError as missing:
            raise DamagedRecord(f"a committee's state lacks {missing}; train the model again.") from None
        members = tuple(replace(centre.head, coef=coef, intercept=intercept) for coef, intercept in both)
        held_out = state.arrays.get("members/held_out")
        return CommitteeModel(centre, members, None if held_out is None else _committee(centre.head.link, held_out))


@dataclass(frozen=True)
class Bootstrap(_Around):
    """``members`` (2..100) linear models of the same labels, each under weights drawn from Exp(1).

    Every member starts at the fitted ``base`` and is solved in float32 to three digits of log-loss; members of
    every held-out fold likewise, from that fold's own model. A text's weights belong to its vector, not to its
    place, and equal vectors have equal weights. O(e n d c) per iteration, folds + 1 times: with 10 members
    about 10 times the time of ``linear`` at one C.
    """

    def fit(self, examples: Examples, start_from: Model | None, rng: np.random.Generator) -> CommitteeModel:
        """Errors as those of ``Linear``; the start only serves the model in the middle."""
        centre = self._centre(examples, start_from, rng)
        vectors, c = vectors_of(examples), float(centre.facts["c"])
        weights = exponential(vectors, self.members, rng) * np.asarray(examples.weights, dtype=np.float64)[:, None]
        heads = _heads(examples, vectors, weights, c, spread(centre.head))
        fold_of = folds_of(self.linear.folds, examples, vectors, rng)
        said = np.empty((self.members, len(examples), len(examples.task.labels)), dtype=np.float32)
        for fold in np.unique(fold_of):
            train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
            members = _heads(examples.take(train), vectors[train], weights[train], c, None)
            said[:, test] = [head.probs(vectors[test]) for head in members]
        held_out = _committee(centre.head.link, said)
        return CommitteeModel(replace(centre, held_out=None), heads, held_out)


def exponential(vectors: Array, members: int, rng: np.random.Generator) -> Array:
    """(n, e) draws from Exp(1) that belong to the vectors (n, d), wherever they stand. O(n (d + e))."""
    keys = [int.from_bytes(blake2b(row.tobytes(), digest_size=8).digest(), "little") for row in vectors]
    ids, salts = np.array(keys, dtype=np.uint64), rng.integers(2**63, size=members)
    return np.column_stack([-np.log(uniform_of(ids, int(salt))) for salt in salts])


def _heads(examples: Examples, vectors: Array, weights: Array, c: float, start: Solution | None) -> tuple[Head, ...]:
    """One head for every column of weights (n, e); all begin at ``start`` or at the fit under the examples' own."""
    fitting = Fitting.of(examples.task, vectors, examples.targets, examples.weights)
    if start is None:
        zero = np.zeros((len(fitting.rest), vectors.shape[1])), np.zeros(len(fitting.rest))
        start = spread(fitting.head(c, [zero], SEARCH_TOLERANCE, "float32"))
    heads = []
    for column in weights.T:
        # the axes of the common weights do: they only scale the search, the optimum is that of the member
        own = None if fitting.problem is None else replace(fitting.problem, weights=column / column.sum())
        heads.append(_light(replace(fitting, problem=own).head(c, [start], SEARCH_TOLERANCE, "float32")))
    return tuple(heads)


@dataclass(frozen=True)
class Laplace(_Around):
    """``members`` (2..100) draws of the linear map from a normal distribution around the fitted ``base``.

    A label's precision is  sum_i w_i p_i (1 - p_i) x_i x_i' + I / C  over the vectors with a 1 for the
    intercept, labels taken as independent; with more than 20 they share the mean. For softmax it is
    multiplied by k / (k - 1): only differences between labels count, and so those have the right spread where
    all k are equally likely. With few labels and a large C the normal distribution is far wider than the
    posterior (Daxberger et al. 2021, "Laplace Redux", tune the prior for it). Deviations are therefore scaled
    down, from 1 to 0.09, until the held-out log-loss of the committee is at most 1 % above that of the base.
    Held-out deviations are those without the text itself (Sherman and Morrison 1950). O(min(c, 20) (n d^2 +
    d^3) + e n d c).
    """

    def fit(self, examples: Examples, start_from: Model | None, rng: np.random.Generator) -> CommitteeModel:
        """Errors as those of ``Linear``; the start only serves the model in the middle."""
        centre = self._centre(examples, start_from, rng)
        head, vectors, base = centre.head, vectors_of(examples), centre.held_out
        weights = np.asarray(examples.weights, dtype=np.float64)
        weights /= weights.mean()
        noise = rng.standard_normal((self.members, len(head.seen), vectors.shape[1] + 1))
        assert base is not None  # noqa: S101  Linear keeps them
        said = next(iter(base.arrays().values()))
        if not len(head.seen):
            alike = _committee(head.link, np.stack([said] * self.members))
            return CommitteeModel(replace(centre, held_out=None), (_light(head),) * self.members, alike)
        steps, wider = _deviations(head, vectors, weights, float(centre.facts["c"]), noise)
        extended = np.column_stack([vectors, np.ones(len(vectors))]).astype(np.float32)
        apart = np.stack([extended @ step.T.astype(np.float32) for step in steps]) * wider
        logits, share = _logits(head.link, said[:, head.seen]), said[:, head.seen].sum(axis=1, keepdims=True)
        allowed = (1.0 + WORTHWHILE) * float(np.average(base.surprise(examples.targets), weights=weights))
        for scale in SCALES:
            probs = np.stack([said] * self.members)
            for member, deviation in zip(probs, apart, strict=True):
                member[:, head.seen] = _probs(head.link, logits + np.float32(scale) * deviation, share)
            held_out = _committee(head.link, probs)
            if np.average(held_out.surprise(examples.targets), weights=weights) <= allowed:
                break
        heads = tuple(
            _light(replace(head, coef=head.coef + scale * s[:, :-1], intercept=head.intercept + scale * s[:, -1]))
            for s in steps
        )
        facts = {**centre.facts, "deviations": scale}
        return CommitteeModel(LinearModel(head, facts), heads, held_out)


def _deviations(head: Head, vectors: Array, weights: Array, c: float, noise: Array) -> tuple[Array, Array]:
    """Draws (e, k, d + 1) around the head, and by how much a text's own deviation grows when it is held out (n, k)."""
    from scipy.linalg import solve_triangular

    k, full = len(head.seen), np.column_stack([vectors, np.ones(len(vectors))]).astype(np.float64)
    p = probabilities(head.coef, head.intercept, vectors, head.link).astype(np.float64)
    curvature = weights[:, None] * p * (1.0 - p) * (k / (k - 1) if head.link == "softmax" and k > 1 else 1.0)
    shared = k > SHARED
    steps, wider = np.empty_like(noise), np.empty((len(full), k), dtype=np.float32)
    for label in range(1 if shared else k):
        labels = slice(0, k) if shared else slice(label, label + 1)
        w = curvature[:, labels].mean(axis=1)
        precision = (full * w[:, None]).T @ full
        precision.flat[:: full.shape[1] + 1] += 1.0 / c
        root = np.linalg.cholesky(precision)
        flat = noise[:, labels].reshape(-1, full.shape[1]).T
        steps[:, labels] = solve_triangular(root, flat, trans="T", lower=True).T.reshape(noise[:, labels].shape)
        leverage = w * (solve_triangular(root, full.T, lower=True) ** 2).sum(axis=0)
        wider[:, labels] = (1.0 / np.sqrt(1.0 - np.minimum(leverage, LEVERAGE)))[:, None]
    return steps, wider


def _logits(link: Link, probs: Array) -> Array:
    """(n, k) float32, for softmax up to a constant of each text."""
    p = np.clip(probs.astype(np.float64), TINY, 1.0 - TINY)
    return np.asarray(np.log(p) - (np.log1p(-p) if link == "sigmoid" else 0.0), dtype=np.float32)


def _probs(link: Link, logits: Array, share: Array) -> Array:
    """(n, k) probabilities; those of softmax add up to ``share`` (n, 1)."""
    if link == "sigmoid":
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e * (share / e.sum(axis=1, keepdims=True)))


def _light(head: Head) -> Head:
    return replace(head, coef=head.coef.astype(np.float32), intercept=head.intercept.astype(np.float32))


def _committee(link: Link, probs: Sequence[Array] | Array) -> Committee:
    return Committee(tuple(form_of(link, member) for member in probs))
