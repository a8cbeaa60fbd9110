"""The pool of texts as a strategy sees it, and the choice a strategy returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from labelwise.core.beliefs import BLOCK, Beliefs, stack
from labelwise.core.errors import ContractError, MissingInput

Array = npt.NDArray[Any]
Rest: TypeAlias = "float | tuple[Rest, ...]"
"""Weight of open texts not nominated; a strategy made of several keeps one entry for each of them."""

PROVIDERS = {
    "vectors": "run `labelwise advance` so that the encoder has represented every text",
    "beliefs": "label some texts so that a model can be trained; or choose a strategy that needs no model",
    "clusters": "cluster the pool's vectors and pass them as `clusters`",
    "groups": "run `labelwise advance` so that near-duplicates have been grouped",
}

_ARRAYS = ("open", "labelled", "costs", "beliefs", "vectors", "clusters", "groups")


class Neighbours(Protocol):
    """A search for near texts, such as an index over the pool's vectors."""

    def search(self, queries: Array, k: int) -> tuple[Array, Array]:
        """Rows of the pool (q, k), nearest first, and cosine similarities (q, k); row -1 where there are fewer."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Lazy:
    """A signal of ``size`` texts that nobody has worked out yet: read it as a numpy array and it will be, once.

    ``tell`` gives the values of some rows (positions), and is asked for BLOCK of them at a time. Some of it is
    lazy again, until the whole is known.
    """

    size: int
    tell: Callable[[Array], Array]
    kept: list[Array] = field(default_factory=list, repr=False)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, rows: Any) -> Array | Lazy:
        if self.kept:
            return np.asarray(self.kept[0][rows])
        rows = np.arange(self.size)[rows]
        return Lazy(len(rows), lambda part: self.tell(rows[part]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if not self.kept:
            blocks = [self.tell(np.arange(at, min(at + BLOCK, self.size))) for at in range(0, self.size, BLOCK)]
            self.kept.append(np.concatenate([np.zeros(0), *blocks]))
        return np.array(self.kept[0], dtype=dtype, copy=copy)


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What was asked so far, in all shards together; every shard's pool holds the same value.

    vectors  (m, d) float32 unit norm: t labelled texts, then those whose answer is awaited
    targets  (t,) int64 or (t, c) bool: the answers as ``Task.targets`` makes them; None for spans
    beliefs  held-out beliefs about the t labelled texts, or None
    """

    vectors: Array
    targets: Array | None = None
    beliefs: Beliefs | None = None

    def awaiting(self, vectors: Array) -> Known:
        """The same once these texts (m, d) have been asked about too."""
        return replace(self, vectors=np.concatenate([self.vectors, np.asarray(vectors, dtype=np.float32)]))


@dataclass(frozen=True, slots=True, eq=False)
class Hints:
    """What the user says labels look like: s examples, keywords or names as ``vectors`` (s, d) of ``labels`` (s,)."""

    vectors: Array
    labels: Array


class Reason(str):
    """Why a text was chosen, in one short sentence; ``numbers`` are the figures behind it."""

    numbers: Mapping[str, float]

    def __new__(cls, why: str, **numbers: float) -> Self:
        self = super().__new__(cls, why)
        self.numbers = {name: float(value) for name, value in numbers.items()}
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """n texts, one entry each in every array; what nobody has computed is None.

    ids        (n,) uint64, the texts' 64-bit keys: noise and ties follow them, not the row
    open       (n,) bool, may be asked about now
    labelled   (n,) bool, has a usable answer
    costs      (n,) seconds, > 0
    beliefs    what the current model says, or None before there is a model
    calibrated whether those beliefs are calibrated probabilities
    vectors    (n, d) unit norm, float16 or float32, may be memory-mapped
    clusters   (n,) int, cluster of each text
    groups     (n,) int, near-duplicate group of each text, one numbering for all shards; -1 = alone
    signals    named (n,) arrays (rarity, novelty, domain, ...), or ``Lazy`` ones (outside)
    labels     names of the answers, for reasons
    known      what was asked in all shards, or None: then only this pool's labelled rows are known
    hints      what the user says labels look like, or None
    neighbours a search among this pool's vectors, or None: then vectors are compared one by one
    rest       weight of open texts that were not nominated, by strategy-defined unit (second phase)
    """

    ids: Array
    open: Array
    labelled: Array
    costs: Array
    beliefs: Beliefs | None = None
    calibrated: bool = False
    vectors: Array | None = None
    clusters: Array | None = None
    groups: Array | None = None
    signals: Mapping[str, Array | Lazy] = field(default_factory=dict)
    labels: Sequence[str] = ()
    known: Known | None = None
    hints: Hints | None = None
    neighbours: Neighbours | None = None
    rest: Rest = 0.0

    def __post_init__(self) -> None:
        n = len(self.ids)
        for name, value in ({name: getattr(self, name) for name in _ARRAYS} | {**self.signals}).items():
            if value is not None and len(value) != n:
                raise ContractError(f"pool.{name} has {len(value)} entries for {n} texts")

    @classmethod
    def of(cls, n: int | None = None, *, ids: Array | None = None, **parts: Any) -> Self:
        """A pool from whatever is at hand; all texts open, none labelled, one second each unless given."""
        arrays = [ids, *(parts.get(name) for name in _ARRAYS), *parts.get("signals", {}).values()]
        size = next((len(part) for part in arrays if part is not None), None) if n is None else n
        if size is None:
            raise ContractError("Pool.of needs n or at least one array")
        labelled = parts.pop("labelled", None)
        labelled = np.zeros(size, dtype=bool) if labelled is None else np.asarray(labelled, dtype=bool)
        opened = parts.pop("open", None)
        return cls(
            ids=np.arange(size, dtype=np.uint64) if ids is None else ids,
            open=~labelled if opened is None else np.asarray(opened, dtype=bool),
            labelled=labelled,
            costs=parts.pop("costs", np.ones(size)),
            **parts,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def need(self, name: str) -> Any:
        """A part or signal of the pool, or MissingInput naming what provides it."""
        value = getattr(self, name) if name in PROVIDERS else self.signals.get(name)
        if value is None:
            how = PROVIDERS.get(name, f"provide the signal {name!r} (present: {', '.join(self.signals) or 'none'})")
            raise MissingInput(f"the pool has no {name}: {how}.")
        return value

    def candidates(self) -> npt.NDArray[np.intp]:
        """Rows that are open, ascending."""
        return np.flatnonzero(self.open)

    def without(self, rows: Array) -> Pool:
        """The same pool with these rows closed."""
        still = self.open.copy()
        still[rows] = False
        return self.replace(open=still)

    def replace(self, **parts: Any) -> Pool:
        """A copy with some parts exchanged."""
        return replace(self, **parts)

    def take(self, rows: Array) -> Pool:
        """The pool of these rows only, in this order."""

        def pick(value: Any) -> Any:
            return None if value is None else value[rows]

        return Pool(
            ids=self.ids[rows], open=self.open[rows], labelled=self.labelled[rows], costs=self.costs[rows],
            beliefs=None if self.beliefs is None else self.beliefs.take(rows), calibrated=self.calibrated,
            vectors=pick(self.vectors), clusters=pick(self.clusters), groups=pick(self.groups),
            signals={name: value[rows] for name, value in self.signals.items()},
            labels=self.labels, known=self.known, hints=self.hints, rest=self.rest,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Nomination:
    """What one shard sends up: rows of the shard's pool, and the weight of open rows left behind.

    ``rows`` are distinct open rows.
    """

    rows: Array
    rest: Rest = 0.0


def stack_pools(pools: Sequence[Pool]) -> Pool:
    """Pools one after the other as one; a part or signal that any of them lacks is lacking, rests add up.

    What all shards share (labels, known, hints) is taken from the first.
    """

    def joined(parts: list[Any]) -> Any:
        return None if any(part is None for part in parts) else np.concatenate(parts)

    beliefs = [pool.beliefs for pool in pools if pool.beliefs is not None]
    signals = [name for name in pools[0].signals if all(name in pool.signals for pool in pools)]
    return Pool(
        **{name: joined([getattr(p, name) for p in pools]) for name in ("ids", "open", "labelled", "costs")},
        beliefs=stack(beliefs) if len(beliefs) == len(pools) else None,
        calibrated=all(pool.calibrated for pool in pools),
        **{name: joined([getattr(p, name) for p in pools]) for name in ("vectors", "clusters", "groups")},
        signals={name: _end_to_end([pool.signals[name] for pool in pools]) for name in signals},
        labels=pools[0].labels,
        known=pools[0].known,
        hints=pools[0].hints,
        rest=_sum([pool.rest for pool in pools]),
    )


def _end_to_end(parts: Sequence[Array | Lazy]) -> Array | Lazy:
    if not any(isinstance(part, Lazy) for part in parts):
        return np.concatenate(parts)
    ends = np.cumsum([0, *(len(part) for part in parts)])

    def tell(rows: Array) -> Array:
        values = np.empty(len(rows))
        for part, start, end in zip(parts, ends, ends[1:], strict=False):
            here = (rows >= start) & (rows < end)
            values[here] = part[rows[here] - start]
        return values

    return Lazy(int(ends[-1]), tell)


def _sum(rests: Sequence[Rest]) -> Rest:
    if isinstance(rests[0], tuple):
        return tuple(_sum(entry) for entry in zip(*[r for r in rests if isinstance(r, tuple)], strict=True))
    return sum(rest for rest in rests if not isinstance(rest, tuple))


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The chosen rows, best first; every array has k entries.

    rows        positions in the pool, each at most once
    scores      what the strategy thought each was worth (higher = more wanted)
    propensity  probability in (0, 1] with which each pick was drawn given the picks before it;
                1 = the strategy had no choice (also: it is deterministic, so others had no chance)
    reason      one short sentence each; a ``Reason`` carries the numbers behind it
    fallback    why something else than the asked strategy chose (empty = it did choose)
    """

    rows: Array
    scores: Array
    propensity: Array
    reason: tuple[str, ...]
    fallback: str = ""

    def __post_init__(self) -> None:
        lengths = {len(self.rows), len(self.scores), len(self.propensity), len(self.reason)}
        if len(lengths) != 1:
            raise ContractError("a Selection's rows, scores, propensity and reason must have one length")

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def join(cls, parts: list[Selection]) -> Selection:
        """Several selections one after the other."""
        if not parts:
            return cls(np.zeros(0, np.intp), np.zeros(0), np.zeros(0), ())
        return cls(
            np.concatenate([part.rows for part in parts]).astype(np.intp),
            np.concatenate([part.scores for part in parts]).astype(np.float64),
            np.concatenate([part.propensity for part in parts]).astype(np.float64),
            tuple(reason for part in parts for reason in part.reason),
            "; ".join(dict.fromkeys(part.fallback for part in parts if part.fallback)),
        )
