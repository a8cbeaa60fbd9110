"""A fine-tuned encoder (extra ``transformers``): ``linear`` on a local encoder's vectors, then both trained on.

Training begins at the linear model on the frozen encoder (Kumar et al. 2022, "Fine-Tuning can
Distort Pretrained Features and Underperform Out-of-Distribution"), so that zero epochs are the
linear model and every epoch has to earn its place: how many are taken is decided by log-loss on
held-out folds, as ``linear`` decides C, and all examples are then trained that long. The folds'
beliefs are the held-out beliefs that a calibrator needs.

Known trade-offs: k folds cost about k - 1 times the final training more; with ``folds = 0`` all
epochs are taken and there is nothing to calibrate on, which the project records. A start is used
only with ``shrink`` > 0, because unlike a linear model's optimum the result then depends on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from threading import Lock
from typing import Any, Literal

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
    WrongMoment,
)
from labelwise.learn import tuning
from labelwise.learn.folds import assign, strata_of
from labelwise.learn.heads import Head
from labelwise.learn.linear import Linear
from labelwise.learn.search import WORTHWHILE

Array = npt.NDArray[Any]
PREFIX = "encoder/"
ONE_AT_A_TIME = Lock()
"""A network uses every core by itself: blocks of beliefs asked for side by side would only wait for each other."""


@dataclass(frozen=True, slots=True)
class Transformer:
    """Fine-tunes the encoder in a local folder, for one label or several per text.

    model          folder with config.json, tokenizer.json and model.safetensors
    epochs         passes over the examples at most (1..100)
    batch          texts per step (1..1024)
    learning_rate  of the encoder at its highest, > 0; LoRA wants about ten times more
    warmup         share of the steps in which it rises (0..0.9); then it falls to 0
    frozen         lowest layers that do not train, besides the embeddings
    lora           rank of low-rank additions that train instead of the weights (0 = the weights)
    max_tokens     what is read of a text, special tokens included
    folds          held-out folds that decide the epochs (2..10); 0 = take them all, hold out nothing
    patience       epochs without a better held-out log-loss after which a fold stops
    shrink         share [0, 1) of an earlier model's change of the encoder to start from; 0 = start afresh
    threads        0 = one for every core; results differ in the last bits between numbers of them
    device         "auto" takes a GPU if there is one, where equal seeds need not give equal bits

    Raises InputError for a value out of range.
    """

    model: str
    epochs: int = 4
    batch: int = 16
    learning_rate: float = 1e-4
    warmup: float = 0.1
    frozen: int = 0
    lora: int = 0
    max_tokens: int = 128
    folds: int = 2
    patience: int = 2
    shrink: float = 0.0
    threads: int = 0
    device: Literal["auto", "cpu"] = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model:
            raise InputError(f"transformer.model: {self.model!r} is not a path; name the folder of the encoder.")
        whole = {"epochs": (1, 100), "batch": (1, 1024), "frozen": (0, 1000), "lora": (0, 1024),
                 "max_tokens": (3, 8192), "folds": (0, 10), "patience": (1, 100), "threads": (0, 1024)}  # fmt: skip
        for name, (least, most) in whole.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most or (name == "folds" and value == 1):
                also = " other than 1" if name == "folds" else ""
                raise InputError(
                    f"transformer.{name}: {value!r} is not allowed; give a whole number from {least} to {most}{also}."
                )
        if not (math.isfinite(self.learning_rate) and 0 < self.learning_rate < 1):
            raise InputError(f"transformer.learning_rate: {self.learning_rate!r} is not allowed; give one in (0, 1).")
        for name, above in (("warmup", 0.9), ("shrink", 0.99)):
            if not 0 <= getattr(self, name) <= above:
                raise InputError(
                    f"transformer.{name}: {getattr(self, name)!r} is not allowed; give a number from 0 to {above}."
                )
        if self.device not in ("auto", "cpu"):
            raise InputError(f"transformer.device: {self.device!r} is not allowed; give 'auto' or 'cpu'.")

    @property
    def reads(self) -> str:
        return "texts"

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return ("single", "multi")

    def fit(self, examples: Examples, start_from: Model | None, rng: np.random.Generator) -> TransformerModel:
        """Choose the epochs on held-out folds, then train on all examples.

        rng decides folds, batches and dropout; examples in another order give the same model. The folds
        never see start_from. Raises WrongMoment without examples, InputError without texts, for spans, for a
        folder that cannot be used or a learning rate that diverges; MissingExtra without torch.
        """
        _check(examples)
        texts, targets = list(examples.texts or ()), examples.targets
        groups = np.zeros(len(texts)) if examples.groups is None else examples.groups
        order = sorted(
            range(len(texts)), key=lambda i: (texts[i], *np.ravel(targets[i]), examples.weights[i], groups[i])
        )
        seeds = [int(seed) for seed in rng.integers(2**62, size=self.folds + 2)]
        base = tuning.fingerprint(self.model)
        with tuning.isolated(seeds[0], self.threads):
            vectors = tuning.load(self).encode([texts[i] for i in order])
        sorted_ = replace(examples.take(np.array(order)), vectors=vectors)
        choice = _search(self, sorted_, seeds[2:], rng)
        course = _Course(self, sorted_, np.random.default_rng(seeds[1]), seeds[1])
        start = _usable(start_from, base, self)
        epochs = math.ceil(choice.epochs * (1 - self.shrink if start else 1)) if course.separable else 0
        head, weights = course.run(epochs, start)
        facts = {
            "kind": examples.task.kind,
            "labels": list(examples.task.labels),
            "base": base,
            "dimensions": vectors.shape[1],
            "n": len(examples),
            "epochs": epochs,
            "cv_log_loss": choice.losses,
            "folds": choice.folds,
            "c": course.c,
            "started": bool(start and weights),
        }
        held_out = None
        if choice.held_out is not None:
            back = np.empty_like(choice.held_out)
            back[order] = choice.held_out
            held_out = _form(head, back)
        return TransformerModel(self, head, weights, facts, held_out)

    def restore(self, state: State) -> TransformerModel:
        """The model that ``state`` describes; DamagedRecord if something is missing or the folder's files changed."""
        try:
            kind, base = state.facts["kind"], state.facts["base"]
            parts = [np.asarray(state.arrays[name]) for name in ("seen", "coef", "intercept", "rest")]
        except KeyError as missing:
            raise DamagedRecord(f"a tuned encoder's state lacks {missing}; train the model again.") from None
        found = tuning.fingerprint(self.model)
        if found != base:
            raise DamagedRecord(
                f"transformer.model: the model was tuned from an encoder with fingerprint {base}, but {self.model!r} "
                f"has {found}. Put the files back that it was trained with, or train the model again."
            )
        head = Head("softmax" if kind == "single" else "sigmoid", *parts)
        weights = {n.removeprefix(PREFIX): a for n, a in state.arrays.items() if n.startswith(PREFIX)}
        held_out = state.arrays.get("held_out")
        told = None if held_out is None else _form(head, held_out)
        return TransformerModel(self, head, weights, dict(state.facts), told)


@dataclass(frozen=True, eq=False)
class TransformerModel:
    """A fitted ``Transformer``: what training changed of the encoder (nothing after 0 epochs), and a linear head."""

    trainer: Transformer
    head: Head
    weights: Mapping[str, Array] = field(repr=False)
    facts: Mapping[str, Any]
    held_out: Beliefs | None = field(default=None, repr=False)

    def believe(self, inputs: Any) -> Beliefs:
        """Beliefs (float32) about n texts. Raises InputError for anything but a sequence of texts."""
        if isinstance(inputs, str) or not all(isinstance(text, str) for text in inputs):
            raise InputError("texts: 'transformer' reads a list of texts, not vectors or a single text.")
        with ONE_AT_A_TIME:
            vectors = self._encoder.encode(inputs)
        return _form(self.head, self.head.probs(vectors))

    @cached_property
    def _encoder(self) -> tuning.Encoder:
        with tuning.isolated(0, self.trainer.threads):
            encoder = tuning.load(self.trainer)
        if self.weights:
            encoder.mix(self.weights, 1.0)
        return encoder

    def state(self) -> State:
        head = self.head
        arrays = {"seen": head.seen, "coef": head.coef, "intercept": head.intercept, "rest": head.rest}
        arrays |= {PREFIX + name: array for name, array in self.weights.items()}
        if self.held_out is not None:
            arrays["held_out"] = next(iter(self.held_out.arrays().values()))
        return State(arrays, dict(self.facts))


class _Course:
    """Training on one set of examples (with the base encoder's vectors), from the linear model on."""

    def __init__(self, trainer: Transformer, examples: Examples, rng: np.random.Generator, seed: int) -> None:
        self.trainer, self.examples, self.seed = trainer, examples, seed
        probe = Linear().fit(examples, None, rng)
        self.head, self.c = probe.head, probe.facts["c"]
        self.separable = len(self.head.seen) >= (2 if self.head.link == "softmax" else 1)

    def heads(self, encoder: tuning.Encoder, start: Head) -> Iterator[Head]:
        """The head after each epoch, from ``start`` on; none if there is nothing to tell apart.

        The encoder is trained in place.
        """
        if not self.separable:
            return
        targets, seen = self.examples.targets, start.seen
        known = np.searchsorted(seen, targets) if start.link == "softmax" else targets[:, seen]
        weights = np.asarray(self.examples.weights, dtype=np.float64)
        penalty = 1.0 / (self.c * len(weights))
        lesson = tuning.Lesson(self.examples.texts or (), known, weights / weights.mean(), penalty)
        for coef, intercept in tuning.tuned(
            encoder, start.coef, start.intercept, lesson, self.trainer.epochs, self.seed
        ):
            yield replace(start, coef=coef, intercept=intercept)

    def run(self, epochs: int, start: Mapping[str, Array] | None) -> tuple[Head, dict[str, Array]]:
        """The head and the encoder's changed weights after so many epochs, from an earlier encoder if one is given."""
        head = self.head
        if not epochs:
            return head, {}
        with tuning.isolated(self.seed, self.trainer.threads):
            encoder = tuning.load(self.trainer)
            if start:
                # C comes from vectors that know no label: on the start's own, labels it has seen look easy
                encoder.mix(start, self.trainer.shrink)
                seen = replace(self.examples, vectors=encoder.encode(self.examples.texts or ()))
                head = Linear(grid=(self.c,)).fit(seen, None, np.random.default_rng(self.seed)).head
            *_, head = islice(self.heads(encoder, head), epochs)
            return head, encoder.weights()


@dataclass(frozen=True, slots=True, eq=False)
class _Choice:
    epochs: int
    losses: list[float]
    held_out: Array | None
    folds: int


def _search(trainer: Transformer, examples: Examples, seeds: Sequence[int], rng: np.random.Generator) -> _Choice:
    """The fewest epochs, from 0, with about the least log-loss over all folds; a stopped fold counts as it stopped.

    About: as in ``linear``, what costs more must gain more than WORTHWHILE.
    """
    if not trainer.folds:
        return _Choice(trainer.epochs, [], None, 0)
    n, labels, texts = len(examples), len(examples.task.labels), examples.texts or ()
    units = n if examples.groups is None else len(np.unique(examples.groups))
    folds = min(trainer.folds, units)
    fold_of = assign(strata_of(examples.targets), examples.groups, rng.random(n), folds)
    told = np.empty((trainer.epochs + 1, n, labels), dtype=np.float32)
    reached = 0
    for fold in range(folds):
        train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        if not len(train):
            told[:, test] = 1 / labels if examples.task.kind == "single" else 0.5
            continue
        course = _Course(trainer, examples.take(train), rng, seeds[fold])
        truth, weights = examples.targets[test], examples.weights[test]
        told[:, test] = course.head.probs(np.asarray(examples.vectors)[test])
        losses = [_loss(course.head, told[0, test], truth, weights)]
        with tuning.isolated(course.seed, trainer.threads):
            encoder = tuning.load(trainer)
            for epoch, head in enumerate(course.heads(encoder, course.head), start=1):
                told[epoch:, test] = head.probs(encoder.encode([texts[int(row)] for row in test]))
                losses.append(_loss(head, told[epoch, test], truth, weights))
                reached = max(reached, epoch)
                if epoch - int(np.argmin(losses)) >= trainer.patience:
                    break
    form = Categorical if examples.task.kind == "single" else Multilabel
    pooled = [
        float(np.average(form(t).surprise(examples.targets), weights=examples.weights)) for t in told[: reached + 1]
    ]
    best = next(epoch for epoch, loss in enumerate(pooled) if loss <= min(pooled) * (1.0 + WORTHWHILE))
    return _Choice(best, pooled, told[best], folds)


def _loss(head: Head, probs: Array, truth: Array, weights: Array) -> float:
    return float(np.average(_form(head, probs).surprise(truth), weights=weights))


def _form(head: Head, probs: Array) -> Categorical | Multilabel:
    return Categorical(probs) if head.link == "softmax" else Multilabel(probs)


def _usable(model: Model | None, base: str, trainer: Transformer) -> Mapping[str, Array] | None:
    """What an earlier model changed of the same encoder, in the same places; None if there is no use for it."""
    if not trainer.shrink or not isinstance(model, TransformerModel) or model.facts["base"] != base:
        return None
    same = (model.trainer.lora, model.trainer.frozen) == (trainer.lora, trainer.frozen)
    return model.weights or None if same else None


def _check(examples: Examples) -> None:
    if len(examples) == 0:
        raise WrongMoment("nothing to learn from: 0 labelled texts; label at least one text, better 50.")
    if examples.task.kind == "spans":
        raise InputError("trainer: 'transformer' cannot learn 'spans'; allowed kinds of task are 'single' and 'multi'.")
    if examples.texts is None:
        raise InputError("examples.texts: None is not allowed; 'transformer' reads texts.")
