"""A tagger for spans: a linear-chain conditional random field over what words look like.

Lafferty, McCallum and Pereira (2001), "Conditional Random Fields: Probabilistic Models for Segmenting and
Labeling Sequence Data". CRFsuite (Okazaki 2007) finds the weights; they are then kept as plain arrays and
beliefs are worked out here, for all texts of a block at a time, so no file of CRFsuite's is ever read back.

A token is described by its word, shape, prefixes and suffixes, by word and shape of two neighbours on
either side, by the pairs it forms with the nearest, and by what stands around it up to white space.

Known trade-offs: nothing but the text is read, so a word never seen tells by its form and neighbours only;
CRFsuite cannot start from an earlier model, so every fit is a full one.
"""

from __future__ import annotations

import hashlib
import math
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core import (
    DamagedRecord,
    Examples,
    InputError,
    Kind,
    MissingExtra,
    Model,
    State,
    Tagged,
    Tags,
    WrongMoment,
    keys_of,
    text_id,
    uniform_of,
)
from labelwise.core.tokens import bounds
from labelwise.learn.folds import assign

Array = npt.NDArray[Any]

MOST_COPIES = 10  # CRFsuite knows no weights: an example of ten times the weight is given ten times
TOGETHER = 256  # texts whose chains are worked out side by side
NEAR = (-2, -1, 1, 2)
TINY = 1e-100
# Held-out beliefs need fewer digits than the model: training stops when 10 iterations gain less than this share.
FOLD_GAIN, FINAL_GAIN = 1e-3, 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """Weights of the tags seen, ``seen`` (k,) of c columns: ``weights`` (a, k) of ``attributes``, ``moves`` (k, k).

    ``rest`` (c,) is the probability of each tag never seen, 0 for the others.
    """

    attributes: tuple[str, ...]
    weights: Array
    moves: Array
    seen: Array
    rest: Array
    place: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", {name: row for row, name in enumerate(self.attributes)})

    def tagged(self, texts: Sequence[str]) -> Tagged:
        """Marginals of every token. O(t k^2) after the features, which take most of the time."""
        offsets, slots = _described(texts)
        scores = np.zeros((int(offsets[-1]), len(self.seen)), dtype=np.float64)
        for units, names in slots:
            table = np.zeros((len(names), len(self.seen)))
            for row, own in enumerate(names):
                known = [self.place[name] for name in own if name in self.place]
                if known:
                    table[row] = self.weights[known].sum(axis=0, dtype=np.float64)
            scores += table[units]
        probs = np.zeros((len(scores), len(self.rest)), dtype=np.float32)
        probs[:, self.seen] = _marginals(scores, offsets, self.moves) * (1.0 - self.rest.sum())
        return Tagged(probs + self.rest.astype(np.float32), offsets)

    def arrays(self) -> dict[str, Array]:
        attributes = np.frombuffer("\n".join(self.attributes).encode(), dtype=np.uint8)
        return {"attributes": attributes, "weights": self.weights, "moves": self.moves, "seen": self.seen,
                "rest": self.rest}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class CRFModel:
    """A fitted ``CRF``."""

    chain: Chain
    facts: Mapping[str, Any]
    held_out: Tagged | None = field(default=None, repr=False)

    def believe(self, inputs: Any) -> Tagged:
        """Tag probabilities (float32) of the tokens of m texts. InputError for anything but strings."""
        if isinstance(inputs, str) or not all(isinstance(text, str) for text in inputs):
            raise InputError("texts: a 'crf' model reads a list of texts; give them instead of vectors.")
        return self.chain.tagged(inputs)

    def state(self) -> State:
        arrays = self.chain.arrays()
        facts = {**self.facts, "digest": _digest(arrays)}
        if self.held_out is not None:
            arrays |= {f"held_out/{name}": array for name, array in self.held_out.arrays().items()}
        return State(arrays, facts)


@dataclass(frozen=True, slots=True)
class CRF:
    """A linear-chain CRF with L1 and L2 penalties ``l1`` and ``l2`` (>= 0), fitted in at most ``iterations`` (1..1000).

    folds (2..10): parts for held-out beliefs. Weights of examples act as whole multiples of the smallest, at most 10.
    Needs the extra ``spans``.
    """

    l1: float = 0.05
    l2: float = 0.01
    iterations: int = 100
    folds: int = 3

    def __post_init__(self) -> None:
        for name, value in (("l1", self.l1), ("l2", self.l2)):
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name}: {value!r} is not allowed; give a finite number >= 0.")
        if not 1 <= self.iterations <= 1000:
            raise InputError(f"iterations: {self.iterations!r} is not allowed; give a whole number from 1 to 1000.")
        if not 2 <= self.folds <= 10:
            raise InputError(f"folds: {self.folds!r} is not allowed; give a whole number from 2 to 10.")

    @property
    def reads(self) -> str:
        return "texts"

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return ("spans",)

    def fit(self, examples: Examples, start_from: Model | None, rng: np.random.Generator) -> CRFModel:
        """Fit all examples, and for held-out beliefs all but one fold in turn.

        rng decides the folds; start_from is of no use to a CRF. Raises WrongMoment without examples, InputError
        without texts or for another kind of task, MissingExtra without python-crfsuite.
        """
        texts, targets = _readable(examples)
        keys = keys_of([text_id(text) for text in texts])
        heads = [targets.codes[a:b].tobytes() for a, b in pairwise(targets.offsets)]
        order = sorted(range(len(texts)), key=lambda row: (keys[row], heads[row]))  # so that theirs is of no account
        copies = np.clip(np.rint(examples.weights / np.min(examples.weights)), 1, MOST_COPIES).astype(np.int64)
        units = len(examples) if examples.groups is None else len(np.unique(examples.groups))
        folds = min(self.folds, units)
        chance = uniform_of(keys, int(rng.integers(2**63)))
        fold_of = assign(_strata(targets), examples.groups, chance, folds)
        solver = _Solver.of(texts, targets, copies, fold_of, order, examples.task.columns)
        chain = solver.chain(self, -1, FINAL_GAIN)
        facts = {
            "labels": list(examples.task.labels),
            "n": len(examples),
            "tokens": len(targets.codes),
            "attributes": len(chain.attributes),
            "folds": folds,
            "widened": 0 if targets.widened is None else int(targets.widened.sum()),
            "lost": 0 if targets.lost is None else int(targets.lost.sum()),
        }
        return CRFModel(chain, facts, _held_out(self, solver, texts, fold_of, folds))

    def restore(self, state: State) -> CRFModel:
        """The model that ``state`` describes; DamagedRecord if something is missing or changed."""
        names = ("attributes", "weights", "moves", "seen", "rest")
        try:
            arrays = {name: np.asarray(state.arrays[name]) for name in names}
            if state.facts["digest"] != _digest(arrays):
                raise DamagedRecord("a CRF's arrays are not those that were stored; train the model again.")
        except KeyError as missing:
            raise DamagedRecord(f"a CRF's state lacks {missing}; train the model again.") from None
        attributes = tuple(arrays.pop("attributes").tobytes().decode().split("\n"))
        held_out = None
        if "held_out/tagged" in state.arrays:
            held_out = Tagged(state.arrays["held_out/tagged"], state.arrays["held_out/offsets"])
        return CRFModel(Chain(attributes, **arrays), dict(state.facts), held_out)


def _readable(examples: Examples) -> tuple[list[str], Tags]:
    if len(examples) == 0:
        raise WrongMoment("nothing to learn from: 0 labelled texts; label at least one text, better 50.")
    if examples.task.kind != "spans":
        raise InputError(f"trainer: 'crf' cannot learn {examples.task.kind!r}; the allowed kind of task is 'spans'.")
    if examples.texts is None:
        raise InputError("examples.texts: None is not allowed; 'crf' reads texts.")
    return list(examples.texts), examples.targets


def _strata(targets: Tags) -> Array:
    """(n,) the rarest label in each text, 0 for none."""
    owner = np.repeat(np.arange(len(targets)), np.diff(targets.offsets))
    labels = (targets.codes + 1) >> 1
    counts = np.bincount(labels, minlength=1)
    out = np.zeros(len(targets), dtype=np.int64)
    for label in np.argsort(-counts[1:], kind="stable") + 1:
        out[owner[labels == label]] = label
    return out


def _held_out(trainer: CRF, solver: _Solver, texts: list[str], fold_of: Array, folds: int) -> Tagged:
    targets = solver.targets
    probs = np.zeros((len(targets.codes), solver.columns), dtype=np.float32)
    for fold in range(folds):
        rows = np.flatnonzero(fold_of == fold)
        said = solver.chain(trainer, fold, FOLD_GAIN).tagged([texts[row] for row in rows])
        probs[np.repeat(fold_of == fold, np.diff(targets.offsets))] = said.probs
    return Tagged(probs, targets.offsets)


@dataclass(frozen=True, slots=True, eq=False)
class _Solver:
    """Examples as CRFsuite has them, read once for all folds."""

    trainer: Any
    targets: Tags
    fold_of: Array
    columns: int

    @classmethod
    def of(
        cls, texts: list[str], targets: Tags, copies: Array, fold_of: Array, order: Sequence[int], columns: int
    ) -> _Solver:
        try:
            import pycrfsuite
        except ImportError:
            raise MissingExtra("trainer crf", "spans") from None
        trainer = pycrfsuite.Trainer(verbose=False)
        for start in range(0, len(order), TOGETHER):
            rows = order[start : start + TOGETHER]
            offsets, slots = _described([texts[row] for row in rows])
            items = [[name for units, names in slots for name in names[units[token]]] for token in range(offsets[-1])]
            for i, row in enumerate(rows):
                tags = targets.codes[targets.offsets[row] : targets.offsets[row + 1]]
                if len(tags):
                    sequence = pycrfsuite.ItemSequence(items[offsets[i] : offsets[i + 1]])
                    for _ in range(copies[row]):
                        trainer.append(sequence, [str(tag) for tag in tags], int(fold_of[row]))
        return cls(trainer, targets, fold_of, columns)

    def chain(self, config: CRF, without: int, gain: float) -> Chain:
        """The CRF of all examples but those of one fold (-1: of all)."""
        import pycrfsuite

        kept = np.repeat(self.fold_of != without, np.diff(self.targets.offsets))
        counts = np.bincount(self.targets.codes[kept], minlength=self.columns)
        counts[0] = max(counts[0], 1)
        seen = np.flatnonzero(counts)
        rest = np.where(counts > 0, 0.0, 1.0 / (counts.sum() + self.columns))
        if len(seen) == 1:
            return Chain((), np.zeros((0, 1), np.float32), np.zeros((1, 1), np.float32), seen, rest)
        settings = {"c1": config.l1, "c2": config.l2, "max_iterations": config.iterations, "delta": gain,
                    "feature.possible_transitions": True}  # fmt: skip
        self.trainer.set_params(settings)
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / "crf")
            self.trainer.train(file, holdout=without)
            tagger = pycrfsuite.Tagger()
            tagger.open(file)
            found = tagger.info()
            tagger.close()
        column = {str(tag): i for i, tag in enumerate(seen)}
        place: dict[str, int] = {}
        for name, _ in found.state_features:
            place.setdefault(name, len(place))
        weights = np.zeros((len(place), len(seen)), dtype=np.float32)
        for (name, tag), weight in found.state_features.items():
            weights[place[name], column[tag]] = weight
        moves = np.zeros((len(seen), len(seen)), dtype=np.float32)
        for (before, after), weight in found.transitions.items():
            if before in column and after in column:  # CRFsuite also knows tags that only the fold left out has
                moves[column[before], column[after]] = weight
        return Chain(tuple(place), weights, moves, seen, rest)


def _marginals(scores: Array, offsets: Array, moves: Array) -> Array:
    """(t, k) P(tag | text) by forward and backward sums, texts of like length side by side."""
    out = np.empty_like(scores)
    # never quite 0, so that weights without penalty cannot rule out every tag
    step = np.maximum(np.exp(moves.astype(np.float64) - moves.max(initial=0.0)), TINY)
    heat = np.maximum(np.exp(scores - scores.max(axis=1, keepdims=True)), TINY)
    lengths = np.diff(offsets)
    order = np.argsort(-lengths, kind="stable")
    order = order[: int((lengths > 0).sum())]
    for at in range(0, len(order), TOGETHER):
        rows = order[at : at + TOGETHER]
        first, size = offsets[:-1][rows], lengths[rows]
        for t in range(int(size[0])):
            live = int(np.searchsorted(-size, -t, "left"))  # texts longer than t come first
            here = first[:live] + t
            out[here] = heat[here] * (1.0 if t == 0 else out[here - 1] @ step)
            out[here] /= out[here].sum(axis=1, keepdims=True)
        back = np.ones((len(rows), len(step)))
        for t in range(int(size[0]) - 2, -1, -1):
            live = int(np.searchsorted(-size, -(t + 1), "left"))
            after = first[:live] + t + 1
            back[:live] = (heat[after] * back[:live]) @ step.T
            back[:live] /= back[:live].sum(axis=1, keepdims=True)
            out[after - 1] *= back[:live]
            out[after - 1] /= out[after - 1].sum(axis=1, keepdims=True)
    return out


def _described(texts: Sequence[str]) -> tuple[Array, list[tuple[Array, list[list[str]]]]]:
    """Offsets (n+1,) of the tokens and what describes them, slot by slot.

    A slot gives every token a unit (t,), a position in the list of units' attributes; the last unit stands
    for "nothing there". Training joins a token's attributes over the slots, beliefs add up weights unit by unit.
    """
    places = [bounds(text) for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in places])]).astype(np.int64)
    words, word = _units(text[a:b] for text, p in zip(texts, places, strict=True) for a, b in p)
    chunks, chunk = _units(part for text, p in zip(texts, places, strict=True) for part in _chunks(text, p))
    position = np.arange(len(word)) - np.repeat(offsets[:-1], np.diff(offsets))
    left = np.repeat(np.diff(offsets), np.diff(offsets)) - 1 - position
    shapes = [_shape(w) for w in words]

    def shifted(units: Array, by: int) -> Array:
        """The unit ``by`` tokens on, -1 beyond the text's ends."""
        inside = position >= -by if by < 0 else left >= by
        out = np.full(len(units), -1)
        out[inside] = units[np.flatnonzero(inside) + by]
        return out

    keyed, pair = np.unique(shifted(word, -1) * len(words) + word, return_inverse=True)
    pair = np.where(position > 0, pair, -1)
    both = [(int(key) // max(len(words), 1), int(key) % max(len(words), 1)) for key in keyed]
    paired = [[f"w={words[a].lower()}_{words[b].lower()}", f"s={shapes[a]}_{shapes[b]}"] for a, b in both]
    slots = [(word, [[f"0{name}" for name in _own(w)] for w in words] + [[]])]
    for by in NEAR:
        beyond = [[f"{by}|"]] if abs(by) == 1 else [[]]
        named = [[f"{by}w={w.lower()}", f"{by}s={s}"] for w, s in zip(words, shapes, strict=True)]
        slots.append((shifted(word, by), named + beyond))
    for sign, units in (("<", pair), (">", shifted(pair, 1))):
        slots.append((units, [[sign + name for name in names] for names in paired] + [[]]))
    alone = np.array([len(w) for w in words])[word] == np.array([len(c) for c in chunks])[chunk] if len(word) else word
    slots.append((np.where(alone, -1, chunk), [[f"c={c.lower()}", f"cs={_shape(c)}"] for c in chunks] + [[]]))
    loud = np.repeat([_loud(text) for text in texts], np.diff(offsets)) if len(word) else word
    slots.append((np.where(loud, word, -1), [["loud", f"louds={s}"] for s in shapes] + [[]]))
    starts, ends = (np.array([at[side] for p in places for at in p], dtype=np.int64) for side in (0, 1))
    touches = np.zeros(len(word), dtype=np.int64)
    if len(word):
        glued = (position[1:] > 0) & (starts[1:] == ends[:-1])
        touches[1:] += glued
        touches[:-1] += 2 * glued
    slots.append((touches, [[], ["glued<"], ["glued>"], ["glued<", "glued>"]]))
    return offsets, slots


def _units(values: Iterable[str]) -> tuple[list[str], Array]:
    """Distinct values and the position among them of every value."""
    place: dict[str, int] = {}
    units = np.array([place.setdefault(value, len(place)) for value in values], dtype=np.int64)
    return list(place), units


def _chunks(text: str, places: Sequence[tuple[int, int]]) -> list[str]:
    """What stands between white space around every token."""
    out: list[str] = []
    found = re.finditer(r"\S+", text)
    end, part = 0, ""
    for start, _ in places:
        while start >= end:
            match = next(found)
            end, part = match.end(), match.group()
        out.append(part)
    return out


def _loud(text: str) -> bool:
    """Whether most words are in capitals, as in a headline: there capitals say nothing."""
    words = [word for word in text.split() if word.isalpha()]
    return 2 * sum(word.isupper() for word in words) > len(words)


@lru_cache(1 << 16)
def _shape(word: str) -> str:
    """ "Obama" -> "Xx+", "F16" -> "Xd+": capitals, small letters, digits, other signs; runs shortened."""
    kinds = (
        "X" if c.isupper() else "x" if c.islower() else "d" if c.isdigit() else "o" if c.isalpha() else c for c in word
    )
    return re.sub(r"(.)\1+", r"\1+", "".join(kinds))


@lru_cache(1 << 16)
def _own(word: str) -> tuple[str, ...]:
    lower = word.lower()
    names = [f"w={lower}", f"W={word}", f"s={_shape(word)}"]
    for k in range(1, min(len(lower), 5)):
        names += [f"p={lower[:k]}", f"e={lower[-k:]}"]
    if word.isupper():
        names.append("upper")
    elif word[0].isupper():
        names.append("capital")
    if word.isdigit():
        names.append(f"digits={min(len(word), 5)}")
    return tuple(names)


def _digest(arrays: Mapping[str, Array]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
