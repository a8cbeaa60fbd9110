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
from labelwise.core.task import KINDS, Kind, Span, Task
from labelwise.core.tokens import Tags, bounds

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
    return Examples(task, _targets(task, y, texts), np.ones(n), vectors.astype(np.float32), texts)


def _targets(task: Task, y: Array, texts: list[str]) -> Any:
    """The class of each text in the form of the task; for spans, the label of its first token."""
    if task.kind == "spans":
        firsts = [bounds(text)[0] for text in texts]
        return task.targets([(Span(*at, task.labels[k]),) for at, k in zip(firsts, y, strict=True)], texts)
    return y if task.kind == "single" else y[:, None] == np.arange(len(task.labels))


def _kinds(trainer: Trainer) -> tuple[Kind, ...]:
    return tuple(kind for kind in KINDS if kind in trainer.kinds)


def _first(trainer: Trainer) -> Kind:
    return _kinds(trainer)[0]


def _right(said: Any, truth: Any) -> float:
    """The share of decisions that are right; for spans, of the tokens inside a span."""
    if isinstance(truth, Tags):
        inside = truth.codes > 0
        return float(np.mean(said.codes[inside] == truth.codes[inside]))
    return float(np.mean(said == truth))


def _noise(n: int, seed: int, *, copies: int = 1, kind: Kind = "single") -> Examples:
    """Labels that nothing in the text tells; ``copies`` near-duplicates of each text form a group."""
    rng = stream(seed, "trainer noise")
    groups = np.repeat(np.arange(n), copies)
    vectors = rng.standard_normal((n, WIDTH))[groups] + 0.01 * rng.standard_normal((len(groups), WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    targets = rng.permutation(np.arange(n) % 2)[groups]
    names = rng.integers(10**9, size=(n, 6))[groups]
    texts = [" ".join(f"w{name}" for name in row) for row in names]
    task, weights = _task(2, kind), np.ones(len(groups))
    return Examples(task, _targets(task, targets, texts), weights, vectors.astype(np.float32), texts, groups)


def _fit(trainer: Trainer, examples: Examples, start: Model | None = None, seed: int = 0) -> Model:
    return trainer.fit(examples, start, stream(seed, "trainer fit"))


def _believe(trainer: Trainer, model: Model, examples: Examples) -> Beliefs:
    return model.believe(examples.vectors if trainer.reads == "vectors" else examples.texts)


def _probs(beliefs: Beliefs | None) -> Array:
    """(n, c) about texts, or about all their tokens."""
    form = beliefs.mean() if isinstance(beliefs, Committee) else beliefs
    probs = getattr(form, "probs", None)
    ensure(isinstance(probs, np.ndarray), f"beliefs must be of a form of labelwise.core, not {type(beliefs)}")
    return np.asarray(probs, dtype=np.float64)


def _near(one: Array, other: Array, what: str, tolerance: float = TOLERANCE) -> None:
    gap = float(np.abs(one - other).max(initial=0.0))
    ensure(gap <= tolerance, f"{what} moved a probability by {gap:.3g}; allowed is {tolerance:g}")


def learns_separable_data(trainer: Trainer) -> None:
    """New texts of classes that are easy to tell apart are answered right (at least 9 of 10), in every kind of task."""
    for n, classes, seed in SIZES:
        for kind in _kinds(trainer):
            both = _examples(2 * n, classes, seed, kind=kind)
            model = _fit(trainer, both.take(np.arange(n)))
            new = both.take(np.arange(n, 2 * n))
            right = _right(_believe(trainer, model, new).hard(), new.targets)
            ensure(right >= 0.9, f"{right:.0%} right on separable {kind} data with {n} texts")


def covers_every_label(trainer: Trainer) -> None:
    """Beliefs have a column for every label (or tag) of the task, float and finite; single rows sum to one."""
    for n, classes, seed in SIZES:
        for kind in _kinds(trainer):
            examples = _examples(n, classes, seed, kind=kind, labels=classes + 2)
            probs = _probs(_believe(trainer, _fit(trainer, examples), examples))
            rows, columns = n if kind != "spans" else len(examples.targets.codes), examples.task.columns
            ensure(probs.shape == (rows, columns), f"shape {probs.shape} for {n} texts and {classes + 2} labels")
            ensure(bool(np.isfinite(probs).all()), "probabilities must be finite")
            if kind != "multi":
                _near(probs.sum(axis=1), np.ones(rows), "a row's sum", 1e-3)


def keeps_unseen_labels_possible(trainer: Trainer) -> None:
    """A label nobody has given yet is neither impossible nor likely: 0 < p < 0.5."""
    for n, classes, seed in SIZES:
        for kind in _kinds(trainer):
            examples = _examples(n, classes, seed, kind=kind, labels=classes + 1)
            unseen = _probs(_believe(trainer, _fit(trainer, examples), examples))[:, -1]
            possible = bool((unseen > 0).all() and (unseen < 0.5).all())
            ensure(possible, f"an unseen label got {unseen.min()} to {unseen.max()}")


def survives_one_class_only(trainer: Trainer) -> None:
    """One class, even one text, gives a model that prefers it and is not certain."""
    for n in (1, 2, 25):
        examples = _examples(n, 1, n, kind=_first(trainer), labels=3)
        beliefs = _believe(trainer, _fit(trainer, examples), examples)
        ensure(_right(beliefs.hard(), examples.targets) == 1, "the only class seen is not preferred")
        ensure(bool((_probs(beliefs) < 1).all()), f"certain of a class after {n} text(s)")


def says_when_there_is_nothing_to_learn(trainer: Trainer) -> None:
    """No examples end in one of Labelwise's own errors."""
    try:
        _fit(trainer, _examples(4, 2, 0, kind=_first(trainer)).take(np.arange(0)))
    except LabelwiseError:
        return
    ensure(False, "fitted a model to no examples")


def starts_change_nothing(trainer: Trainer) -> None:
    """Starting from an earlier model gives the same beliefs as starting cold."""
    for n, classes, seed in SIZES:
        examples = _examples(n, classes, seed, kind=_first(trainer))
        noise = _noise(n, seed, kind=_first(trainer))
        cold = _fit(trainer, examples)
        for earlier in (_fit(trainer, examples.take(np.arange(n // 2))), _fit(trainer, noise), cold):
            warm = _fit(trainer, examples, earlier)
            _near(_probs(_believe(trainer, warm, examples)), _probs(_believe(trainer, cold, examples)), "the start")


def holds_out_what_it_says(trainer: Trainer) -> None:
    """Held-out beliefs, if kept, cover every example and cannot know labels that nothing tells.

    The traps: labels that only the example itself or its near-duplicates (one group) reveal, and
    a start that was trained on all of them.
    """
    for copies, seed in ((1, 0), (1, 1), (3, 2)):
        noise = _noise(80, seed, copies=copies, kind=_first(trainer))
        for start in (None, _fit(trainer, noise)):
            held_out = _fit(trainer, noise, start).held_out
            if held_out is None:
                return
            ensure(len(held_out) == len(noise), f"{len(held_out)} held-out beliefs for {len(noise)} examples")
            right = _right(held_out.hard(), noise.targets)
            # 80 fair coins come up right more than 0.72 of the time once in 25,000 tries
            ensure(right <= 0.72, f"held-out beliefs are right on {right:.0%} of coin flips: they saw the labels")
    shuffled = _examples(90, 3, 5, kind=_first(trainer)).take(stream(0, "shuffle").permutation(90))
    held_out = _fit(trainer, shuffled).held_out
    in_order = held_out is not None and _right(held_out.hard(), shuffled.targets) >= 0.9
    ensure(in_order, "held-out beliefs are not in the order of the examples")


def never_changes_its_examples(trainer: Trainer) -> None:
    """Fitting leaves targets, weights, vectors and groups as they were."""
    for n, classes, seed in SIZES:
        examples = _examples(n, classes, seed, kind=_first(trainer))
        targets = examples.targets.codes if isinstance(examples.targets, Tags) else examples.targets
        arrays = [array for array in (targets, examples.weights, examples.vectors) if array is not None]
        before = [array.copy() for array in arrays]
        _fit(trainer, examples, _fit(trainer, examples))
        same = all(np.array_equal(old, new) for old, new in zip(before, arrays, strict=True))
        ensure(same, "the examples were changed")


def restores_what_it_stored(trainer: Trainer) -> None:
    """The state is plain (numeric arrays, JSON facts) and the model made of it believes the same."""
    for n, classes, seed in SIZES:
        for kind in _kinds(trainer):
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
        clean = _examples(n, classes, seed, kind=_first(trainer))
        doubtful, y = stream(seed, "doubt").random(n) < 0.25, np.arange(n) % classes
        targets = _targets(clean.task, np.where(doubtful, (y + 1) % classes, y), list(clean.texts or ()))
        examples = Examples(clean.task, targets, clean.weights, clean.vectors, clean.texts)
        turned = examples.take(stream(seed, "order").permutation(n))
        one, other = (_probs(_believe(trainer, _fit(trainer, e), examples)) for e in (examples, turned))
        _near(one, other, "the order of the examples")


def respects_weights(trainer: Trainer) -> None:
    """Of two answers about equal texts the heavier one is believed."""
    for n in (20, 60):
        both = _examples(n, 1, n, kind=_first(trainer), labels=2)
        doubled = both.take(np.repeat(np.arange(n), 2))
        targets = np.arange(2 * n) % 2
        for heavy in (0, 1):
            weights = np.where(targets == heavy, 5.0, 1.0)
            groups, texts = np.repeat(np.arange(n), 2), list(doubled.texts or ())
            formed = _targets(both.task, targets, texts)
            examples = Examples(both.task, formed, weights, doubled.vectors, texts, groups)
            wanted = _targets(both.task, np.full(n, heavy), list(both.texts or ()))
            right = _right(_believe(trainer, _fit(trainer, examples), both).hard(), wanted)
            ensure(right >= 0.9, f"{right:.0%} of texts follow the answer of five times the weight")


def is_deterministic(trainer: Trainer) -> None:
    """Equal generators give equal beliefs."""
    for n, classes, seed in SIZES:
        examples = _examples(n, classes, seed, kind=_first(trainer))
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
