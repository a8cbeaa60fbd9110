"""What every trainer promises. Small data, so that a slow trainer can be checked too."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core.beliefs import Beliefs, Committee
from labelwise.core.checks import ensure
from labelwise.core.errors import LabelwiseError
from labelwise.core.protocols import Examples, Model, Trainer
from labelwise.core.streams import stream
from labelwise.core.task import Kind, Task

Array = npt.NDArray[Any]

TOLERANCE = 0.02  # in probability; a fit is an optimum found to a tolerance, not a formula
WIDTH = 32
SIZES = ((30, 2, 0), (60, 3, 1), (150, 5, 2))  # texts, classes, seed


def _task(classes: int, kind: Kind = "single") -> Task:
    return Task(kind, tuple(f"label{k}" for k in range(classes)))


def _examples(n: int, classes: int, seed: int, *, kind: Kind = "single", labels: int | None = None) -> Examples:
    """Well separated classes, as unit vectors (n, 32) and as texts of telling words."""
    rng = stream(seed, "trainer check")
    y = np.arange(n) % classes
    centres = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0][:classes]
    vectors = centres[y] + 0.1 * rng.standard_normal((n, WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [f"word{k} thing{k} note{rng.integers(1000)}" for k in y]
    task = _task(labels or classes, kind)
    targets = y if kind == "single" else y[:, None] == np.arange(len(task.labels))
    return Examples(task, targets, np.ones(n), vectors.astype(np.float32), texts)


def _noise(n: int, seed: int, *, copies: int = 1) -> Examples:
    """Labels that nothing in the text tells; ``copies`` near-duplicates of each text form a group."""
    rng = stream(seed, "trainer noise")
    groups = np.repeat(np.arange(n), copies)
    vectors = rng.standard_normal((n, WIDTH))[groups] + 0.01 * rng.standard_normal((len(groups), WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    targets = rng.permutation(np.arange(n) % 2)[groups]
    names = rng.integers(10**9, size=(n, 6))[groups]
    texts = [" ".join(f"w{name}" for name in row) for row in names]
    return Examples(_task(2), targets, np.ones(len(groups)), vectors.astype(np.float32), texts, groups)


def _fit(trainer: Trainer, examples: Examples, start: Model | None = None, seed: int = 0) -> Model:
    return trainer.fit(examples, start, stream(seed, "trainer fit"))


def _believe(trainer: Trainer, model: Model, examples: Examples) -> Beliefs:
    return model.believe(examples.vectors if trainer.reads == "vectors" else examples.texts)


def _probs(beliefs: Beliefs | None) -> Array:
    """(n, c) of any form that describes whole texts."""
    form = beliefs.mean() if isinstance(beliefs, Committee) else beliefs
    probs = getattr(form, "probs", None)
    ensure(isinstance(probs, np.ndarray), f"beliefs must be Categorical, Multilabel or Committee, not {type(beliefs)}")
    return np.asarray(probs, dtype=np.float64)


def _near(one: Array, other: Array, what: str, tolerance: float = TOLERANCE) -> None:
    gap = float(np.abs(one - other).max(initial=0.0))
    ensure(gap <= tolerance, f"{what} moved a probability by {gap:.3g}; allowed is {tolerance:g}")


def learns_separable_data(trainer: Trainer) -> None:
    """New texts of classes that are easy to tell apart are answered right (at least 9 of 10), single and multi."""
    for n, classes, seed in SIZES:
        for kind in ("single", "multi"):
            both = _examples(2 * n, classes, seed, kind=kind)
            model = _fit(trainer, both.take(np.arange(n)))
            new = both.take(np.arange(n, 2 * n))
            right = np.mean(_believe(trainer, model, new).hard() == new.targets)
            ensure(right >= 0.9, f"{right:.0%} right on separable {kind} data with {n} texts")


def covers_every_label(trainer: Trainer) -> None:
    """Beliefs have a column for every label of the task, float and finite; single rows sum to one."""
    for n, classes, seed in SIZES:
        for kind in ("single", "multi"):
            examples = _examples(n, classes, seed, kind=kind, labels=classes + 2)
            probs = _probs(_believe(trainer, _fit(trainer, examples), examples))
            ensure(probs.shape == (n, classes + 2), f"shape {probs.shape} for {n} texts and {classes + 2} labels")
            ensure(bool(np.isfinite(probs).all()), "probabilities must be finite")
            if kind == "single":
                _near(probs.sum(axis=1), np.ones(n), "a row's sum", 1e-3)


def keeps_unseen_labels_possible(trainer: Trainer) -> None:
    """A label nobody has given yet is neither impossible nor likely: 0 < p < 0.5."""
    for n, classes, seed in SIZES:
        for kind in ("single", "multi"):
            examples = _examples(n, classes, seed, kind=kind, labels=classes + 1)
            unseen = _probs(_believe(trainer, _fit(trainer, examples), examples))[:, -1]
            possible = bool((unseen > 0).all() and (unseen < 0.5).all())
            ensure(possible, f"an unseen label got {unseen.min()} to {unseen.max()}")


def survives_one_class_only(trainer: Trainer) -> None:
    """One class, even one text, gives a model that prefers it and is not certain."""
    for n in (1, 2, 25):
        examples = _examples(n, 1, n, labels=3)
        probs = _probs(_believe(trainer, _fit(trainer, examples), examples))
        ensure(bool((probs.argmax(axis=1) == 0).all()), "the only class seen is not preferred")
        ensure(bool((probs[:, 0] < 1).all()), f"certain of a class after {n} text(s)")


def says_when_there_is_nothing_to_learn(trainer: Trainer) -> None:
    """No examples end in one of Labelwise's own errors."""
    try:
        _fit(trainer, _examples(4, 2, 0).take(np.arange(0)))
    except LabelwiseError:
        return
    ensure(False, "fitted a model to no examples")


def starts_change_nothing(trainer: Trainer) -> None:
    """Starting from an earlier model gives the same beliefs as starting cold."""
    for n, classes, seed in SIZES:
        examples = _examples(n, classes, seed)
        cold = _fit(trainer, examples)
        for earlier in (_fit(trainer, examples.take(np.arange(n // 2))), _fit(trainer, _noise(n, seed)), cold):
            warm = _fit(trainer, examples, earlier)
            _near(_probs(_believe(trainer, warm, examples)), _probs(_believe(trainer, cold, examples)), "the start")


def holds_out_what_it_says(trainer: Trainer) -> None:
    """Held-out beliefs, if kept, cover every example and cannot know labels that nothing tells.

    The traps: labels that only the example itself or its near-duplicates (one group) reveal, and
    a start that was trained on all of them.
    """
    for copies, seed in ((1, 0), (1, 1), (3, 2)):
        noise = _noise(80, seed, copies=copies)
        for start in (None, _fit(trainer, noise)):
            held_out = _fit(trainer, noise, start).held_out
            if held_out is None:
                return
            ensure(len(held_out) == len(noise), f"{len(held_out)} held-out beliefs for {len(noise)} examples")
            right = float(np.mean(held_out.hard() == noise.targets))
            # 80 fair coins come up right more than 0.72 of the time once in 25,000 tries
            ensure(right <= 0.72, f"held-out beliefs are right on {right:.0%} of coin flips: they saw the labels")
    shuffled = _examples(90, 3, 5).take(stream(0, "shuffle").permutation(90))
    held_out = _fit(trainer, shuffled).held_out
    in_order = held_out is not None and np.mean(held_out.hard() == shuffled.targets) >= 0.9
    ensure(in_order, "held-out beliefs are not in the order of the examples")


def never_changes_its_examples(trainer: Trainer) -> None:
    """Fitting leaves targets, weights, vectors and groups as they were."""
    for n, classes, seed in SIZES:
        examples = _examples(n, classes, seed)
        arrays = [array for array in (examples.targets, examples.weights, examples.vectors) if array is not None]
        before = [array.copy() for array in arrays]
        _fit(trainer, examples, _fit(trainer, examples))
        same = all(np.array_equal(old, new) for old, new in zip(before, arrays, strict=True))
        ensure(same, "the examples were changed")


def restores_what_it_stored(trainer: Trainer) -> None:
    """The state is plain (numeric arrays, JSON facts) and the model made of it believes the same."""
    for n, classes, seed in SIZES:
        for kind in ("single", "multi"):
            examples = _examples(n, classes, seed, kind=kind, labels=classes + 1)
            model = _fit(trainer, examples)
            state = model.state()
            json.dumps(dict(state.facts), allow_nan=False)
            plain = all(isinstance(a, np.ndarray) and a.dtype.kind in "biufSU" for a in state.arrays.values())
            ensure(plain, "state arrays must be plain numpy arrays")
            again = _believe(trainer, trainer.restore(state), examples)
            original = _believe(trainer, model, examples)
            ensure(type(again) is type(original), "the restored model answers in another form")
            _near(_probs(again), _probs(original), "restoring", 0.0)


def does_not_care_about_order(trainer: Trainer) -> None:
    """The same examples in another order give the same beliefs, also where labels contradict each other."""
    for n, classes, seed in SIZES:
        clean = _examples(n, classes, seed)
        doubtful = stream(seed, "doubt").random(n) < 0.25
        targets = np.where(doubtful, (clean.targets + 1) % classes, clean.targets)
        examples = Examples(clean.task, targets, clean.weights, clean.vectors, clean.texts)
        turned = examples.take(stream(seed, "order").permutation(n))
        one, other = (_probs(_believe(trainer, _fit(trainer, e), examples)) for e in (examples, turned))
        _near(one, other, "the order of the examples")


def respects_weights(trainer: Trainer) -> None:
    """Of two answers about equal texts the heavier one is believed."""
    for n in (20, 60):
        both = _examples(n, 1, n, labels=2)
        doubled = both.take(np.repeat(np.arange(n), 2))
        targets = np.arange(2 * n) % 2
        for heavy in (0, 1):
            weights = np.where(targets == heavy, 5.0, 1.0)
            groups = np.repeat(np.arange(n), 2)
            examples = Examples(both.task, targets, weights, doubled.vectors, doubled.texts, groups)
            right = np.mean(_believe(trainer, _fit(trainer, examples), both).hard() == heavy)
            ensure(right >= 0.9, f"{right:.0%} of texts follow the answer of five times the weight")


def is_deterministic(trainer: Trainer) -> None:
    """Equal generators give equal beliefs."""
    for n, classes, seed in SIZES:
        examples = _examples(n, classes, seed)
        one, other = (_probs(_believe(trainer, _fit(trainer, examples), examples)) for _ in range(2))
        _near(one, other, "fitting twice", 1e-6)


PROMISES = (
    learns_separable_data,
    covers_every_label,
    keeps_unseen_labels_possible,
    survives_one_class_only,
    says_when_there_is_nothing_to_learn,
    starts_change_nothing,
    holds_out_what_it_says,
    never_changes_its_examples,
    restores_what_it_stored,
    does_not_care_about_order,
    respects_weights,
    is_deterministic,
)
