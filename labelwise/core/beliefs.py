"""What a model says about n texts: three forms and a committee, one face.

All forms answer the same questions row by row: how torn (``margin``), how spread
(``entropy``), how sure (``confidence``), how surprised by a given truth (``surprise``), and
what they would answer (``hard``). They convert to plain arrays and back, so that they can be
stored without pickle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from labelwise.core.errors import ContractError
from labelwise.core.threads import side_by_side
from labelwise.core.tokens import Tags, gathered

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]

TINY = 1e-12
BLOCK = 8192
"""Texts whose beliefs are worked out at a time: a block and its vectors stay in the processor's cache."""
FEW = 256
"""Below this many rows, sorting them is faster than going through their columns."""


@runtime_checkable
class Beliefs(Protocol):
    """The face every form shares; all results have one entry per text unless said otherwise."""

    def __len__(self) -> int: ...

    def take(self, rows: Array) -> Beliefs:
        """The beliefs about some rows, in the order given."""
        ...

    def margin(self) -> Floats:
        """(n,) in [0, 1]; 0 = torn between two answers."""
        ...

    def entropy(self) -> Floats:
        """(n,) in [0, 1]; 1 = knows nothing."""
        ...

    def confidence(self) -> Floats:
        """(n,) in [0, 1]; probability of the preferred answer (mean over decisions)."""
        ...

    def surprise(self, truth: Any) -> Floats:
        """(n,) in nats; -log probability of the truth, in the form of ``Task.targets`` (mean over decisions)."""
        ...

    def hard(self) -> Any:
        """The preferred answers in the form of ``Task.targets``."""
        ...

    def arrays(self) -> dict[str, Array]:
        """Plain arrays from which ``from_arrays`` makes an equal value."""
        ...


def _checked(probs: Array, kind: str) -> Array:
    if probs.ndim != 2 or probs.shape[1] < 1:
        raise ContractError(f"{kind} needs probabilities of shape (n, c) with c >= 1, not {probs.shape}")
    if probs.size and not (probs.min() >= 0 and probs.max() <= 1 + 1e-3):  # false for nan, too
        raise ContractError(f"{kind} needs finite probabilities in [0, 1]")
    return probs


def _distributions(probs: Array, kind: str) -> None:
    total = np.einsum("ij->i", _checked(probs, kind), dtype=np.result_type(probs, np.float32), casting="safe")
    if len(total) and not (total.min() >= 1 - 5e-3 and total.max() <= 1 + 5e-3):
        raise ContractError(f"{kind} needs rows that sum to 1")


def _margin(probs: Array) -> Floats:
    """By the two largest of every column in turn, a block at a time: many times faster than sorting short rows."""
    n, c = probs.shape
    if c < 2 or n < FEW:
        top = np.partition(probs, -2, axis=1)[:, -2:].astype(np.float64) if c > 1 else np.array([[0.0, 1.0]] * n)
        return np.asarray(np.clip(top[:, 1] - top[:, 0], 0.0, 1.0)) if n else np.zeros(0)
    lead = np.empty(n)
    for start in range(0, n, BLOCK):
        columns = np.ascontiguousarray(probs[start : start + BLOCK].T, dtype=np.result_type(probs, np.float32))
        best, second = np.maximum(columns[0], columns[1]), np.minimum(columns[0], columns[1])
        for column in columns[2:]:
            np.maximum(second, np.minimum(best, column), out=second)
            np.maximum(best, column, out=best)
        np.subtract(best, second, out=lead[start : start + BLOCK], dtype=np.float64)
    return np.clip(lead, 0.0, 1.0, out=lead)


def _entropy(probs: Array) -> Floats:
    spread = np.empty(len(probs))
    for start in range(0, len(probs), BLOCK):
        p = np.asarray(probs[start : start + BLOCK], dtype=np.result_type(probs, np.float32))
        terms = np.log(np.maximum(p, TINY))
        terms *= p
        spread[start : start + BLOCK] = terms.sum(axis=1)
    spread /= -np.log(max(probs.shape[1], 2))
    return np.clip(spread, 0.0, 1.0, out=spread)


def _binary_entropy(probs: Array) -> Floats:
    p = probs.astype(np.float64)
    h = -p * np.log(np.maximum(p, TINY)) - (1 - p) * np.log(np.maximum(1 - p, TINY))
    return np.asarray(np.clip(h / np.log(2.0), 0.0, 1.0))


@dataclass(frozen=True, slots=True, eq=False)
class Categorical:
    """One answer per text: ``probs`` (n, c), rows sum to 1."""

    probs: Array

    def __post_init__(self) -> None:
        _distributions(self.probs, "Categorical")

    def __len__(self) -> int:
        return len(self.probs)

    def take(self, rows: Array) -> Categorical:
        return Categorical(self.probs[rows])

    def margin(self) -> Floats:
        return _margin(self.probs)

    def entropy(self) -> Floats:
        return _entropy(self.probs)

    def confidence(self) -> Floats:
        return np.asarray(np.minimum(self.probs.max(axis=1).astype(np.float64), 1.0))

    def surprise(self, truth: Array) -> Floats:
        chosen = self.probs[np.arange(len(self.probs)), truth].astype(np.float64)
        return np.asarray(-np.log(np.clip(chosen, TINY, 1.0)))

    def hard(self) -> Array:
        return np.asarray(self.probs.argmax(axis=1))

    def arrays(self) -> dict[str, Array]:
        return {"categorical": self.probs}


@dataclass(frozen=True, slots=True, eq=False)
class Multilabel:
    """Any number of answers per text: ``probs`` (n, c), each label's own probability.

    A label is preferred where its probability is above its threshold, of ``thresholds`` (c,), or above 0.5.
    Margin is that of the most torn label; entropy, confidence and surprise are means over labels.
    """

    probs: Array
    thresholds: Array | None = None

    def __post_init__(self) -> None:
        _checked(self.probs, "Multilabel")
        if self.thresholds is not None and self.thresholds.shape != self.probs.shape[1:]:
            raise ContractError(f"Multilabel needs a threshold for each of {self.probs.shape[1]} labels")

    def __len__(self) -> int:
        return len(self.probs)

    def take(self, rows: Array) -> Multilabel:
        return Multilabel(self.probs[rows], self.thresholds)

    def margin(self) -> Floats:
        return np.asarray(np.clip(np.abs(2.0 * self.probs.astype(np.float64) - 1.0).min(axis=1), 0.0, 1.0))

    def entropy(self) -> Floats:
        return np.asarray(_binary_entropy(self.probs).mean(axis=1))

    def confidence(self) -> Floats:
        p = self.probs.astype(np.float64)
        return np.asarray(np.minimum(np.maximum(p, 1 - p), 1.0).mean(axis=1))

    def surprise(self, truth: Array) -> Floats:
        p = np.clip(self.probs.astype(np.float64), TINY, 1 - TINY)
        return np.asarray(-np.where(truth, np.log(p), np.log1p(-p)).mean(axis=1))

    def hard(self) -> Array:
        return np.asarray(self.probs > (0.5 if self.thresholds is None else self.thresholds))

    def arrays(self) -> dict[str, Array]:
        return {"multilabel": self.probs} | ({} if self.thresholds is None else {"thresholds": self.thresholds})


@dataclass(frozen=True, slots=True, eq=False)
class Tagged:
    """A tag for every token: ``probs`` (t, c) over all tokens, text i owns rows offsets[i]:offsets[i+1].

    Rows sum to 1. Margin is that of the most torn token, confidence that of the least sure one; entropy and
    surprise are means over tokens. A text without tokens is certain.
    """

    probs: Array
    offsets: Array

    def __post_init__(self) -> None:
        _distributions(self.probs, "Tagged")
        o = self.offsets
        if o.ndim != 1 or len(o) < 1 or o[0] != 0 or o[-1] != len(self.probs) or (np.diff(o) < 0).any():
            raise ContractError("Tagged needs offsets (n+1,) that rise from 0 to the number of tokens")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: Array) -> Tagged:
        tokens, offsets = gathered(self.offsets, rows)
        return Tagged(self.probs[tokens], offsets)

    def _fold(self, values: Floats, how: np.ufunc, empty: float) -> Floats:
        out = np.full(len(self), empty)
        lengths = np.diff(self.offsets)
        if lengths.any():
            out[lengths > 0] = how.reduceat(values, self.offsets[:-1][lengths > 0])
        return out

    def margin(self) -> Floats:
        return self._fold(_margin(self.probs), np.minimum, 1.0)

    def entropy(self) -> Floats:
        return self._fold(_entropy(self.probs), np.add, 0.0) / np.maximum(np.diff(self.offsets), 1)

    def confidence(self) -> Floats:
        best = np.minimum(self.probs.max(axis=1).astype(np.float64), 1.0)
        return self._fold(best, np.minimum, 1.0)

    def surprise(self, truth: Tags) -> Floats:
        per_token = Categorical(self.probs).surprise(truth.codes)
        return self._fold(per_token, np.add, 0.0) / np.maximum(np.diff(self.offsets), 1)

    def hard(self) -> Tags:
        return Tags(self.probs.argmax(axis=1), self.offsets)

    def arrays(self) -> dict[str, Array]:
        return {"tagged": self.probs, "offsets": self.offsets}


@dataclass(frozen=True, slots=True, eq=False)
class Committee:
    """Several opinions of one form about the same texts; answers with their mean, keeps the members."""

    members: tuple[Categorical | Multilabel | Tagged, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(self.members))
        shapes = {(type(member), member.probs.shape) for member in self.members}
        tagged = [member.offsets for member in self.members if isinstance(member, Tagged)]
        if len(shapes) != 1 or not all(np.array_equal(tagged[0], offsets) for offsets in tagged):
            raise ContractError("Committee needs at least one member, all of one form and shape")

    def mean(self) -> Categorical | Multilabel | Tagged:
        first = self.members[0]
        probs = np.asarray(np.mean([member.probs for member in self.members], axis=0, dtype=np.float64))
        return replace(first, probs=probs)

    def __len__(self) -> int:
        return len(self.members[0])

    def take(self, rows: Array) -> Committee:
        return Committee(tuple(member.take(rows) for member in self.members))

    def margin(self) -> Floats:
        return self.mean().margin()

    def entropy(self) -> Floats:
        return self.mean().entropy()

    def confidence(self) -> Floats:
        return self.mean().confidence()

    def surprise(self, truth: Any) -> Floats:
        return self.mean().surprise(truth)

    def hard(self) -> Any:
        return self.mean().hard()

    def arrays(self) -> dict[str, Array]:
        parts = [member.arrays() for member in self.members]
        return {f"{i}/{name}": array for i, part in enumerate(parts) for name, array in part.items()}


@dataclass(frozen=True, eq=False)
class Streamed:
    """Beliefs about ``size`` texts, worked out block by block when asked: (n, c) is never held.

    ``tell`` gives the beliefs about some rows (a slice or positions). Values of one number per
    text are kept once they are known; ``take`` of more than BLOCK rows is again streamed, and
    ``part_of`` the whole: where it is most of it, the whole is worked out once and in place.
    """

    size: int
    tell: Callable[[Any], Beliefs]
    part_of: tuple[Streamed, Rows] | None = field(default=None, repr=False)
    kept: dict[str, Floats] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return self.size

    def take(self, rows: Array) -> Beliefs:
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        if len(rows) <= BLOCK:
            return self.tell(rows)
        return Streamed(len(rows), lambda part: self.tell(rows[part]), (self, rows))

    def blocks(self) -> Iterator[Beliefs]:
        """The beliefs about BLOCK texts after the other."""
        for start in range(0, self.size, BLOCK):
            yield self.tell(slice(start, min(start + BLOCK, self.size)))

    def _each(self, name: str) -> Floats:
        if name not in self.kept:
            whole, rows = self.part_of or (self, None)
            if rows is not None and 2 * self.size > whole.size:
                self.kept[name] = whole._each(name)[rows]
            else:
                self.kept[name] = self._told(name)
        return self.kept[name]

    def _told(self, name: str) -> Floats:
        out = np.empty(self.size)

        def tell(start: int) -> None:
            part = slice(start, min(start + BLOCK, self.size))
            out[part] = getattr(self.tell(part), name)()

        # each block is worked out by itself and put in its place
        side_by_side(tell, range(0, self.size, BLOCK))
        return out

    def margin(self) -> Floats:
        return self._each("margin")

    def entropy(self) -> Floats:
        return self._each("entropy")

    def confidence(self) -> Floats:
        return self._each("confidence")

    def surprise(self, truth: Any) -> Floats:
        return self.tell(slice(0, self.size)).surprise(truth)

    def hard(self) -> Any:
        parts = [block.hard() for block in self.blocks()] or [self.tell(slice(0, 0)).hard()]
        return Tags.join(parts) if isinstance(parts[0], Tags) else np.concatenate(parts)

    def arrays(self) -> dict[str, Array]:
        return self.tell(slice(0, self.size)).arrays()


def from_arrays(arrays: Mapping[str, Array]) -> Categorical | Multilabel | Tagged | Committee:
    """The beliefs that ``arrays()`` described. Raises ContractError for anything else."""
    numbers = sorted({int(name.split("/")[0]) for name in arrays if name.split("/")[0].isdigit()})
    if numbers:
        return Committee(tuple(_form(_strip(arrays, f"{i}/")) for i in numbers))
    return _form(arrays)


def _form(arrays: Mapping[str, Array]) -> Categorical | Multilabel | Tagged:
    if "categorical" in arrays:
        return Categorical(arrays["categorical"])
    if "multilabel" in arrays:
        return Multilabel(arrays["multilabel"], arrays.get("thresholds"))
    if "tagged" in arrays and "offsets" in arrays:
        return Tagged(arrays["tagged"], arrays["offsets"])
    raise ContractError(f"arrays {sorted(arrays)} are no beliefs")


def _strip(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def stack(parts: Sequence[Beliefs]) -> Beliefs:
    """Beliefs of several shards as one. Raises ContractError when the forms differ."""
    if len({_columns(part) for part in parts}) != 1:
        raise ContractError("only beliefs of one form and number of columns can be stacked")
    first = parts[0]
    if isinstance(first, Committee):
        seats = zip(*[part.members for part in parts if isinstance(part, Committee)], strict=True)
        return Committee(tuple(_stack_form(seat) for seat in seats))
    return _stack_form(parts)


_BY_ROW = ("categorical", "multilabel", "tagged")


def _columns(part: Beliefs) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((name, array.shape[1:]) for name, array in part.arrays().items())


def _stack_form(parts: Sequence[Beliefs]) -> Categorical | Multilabel | Tagged:
    arrays = [part.arrays() for part in parts]
    joined = {name: np.concatenate([a[name] for a in arrays]) for name in arrays[0] if name in _BY_ROW}
    joined |= {name: array for name, array in arrays[0].items() if name == "thresholds"}
    if "offsets" in arrays[0]:
        lengths = np.concatenate([np.diff(a["offsets"]) for a in arrays])
        joined["offsets"] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return _form(joined)
