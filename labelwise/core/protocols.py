"""The seams: what a component promises. Each protocol has a contract suite in ``core.checks``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from labelwise.core.beliefs import Beliefs
from labelwise.core.errors import ContractError
from labelwise.core.pool import Nomination, Pool, Selection
from labelwise.core.task import Answer, Kind, Task

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What a fitted component learned: arrays and plain facts, storable without pickle."""

    arrays: Mapping[str, Array] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Labelled texts to learn from.

    targets as ``Task.targets`` makes them: (n,) int64, (n, c) bool or Tags; weights (n,) > 0;
    vectors (n, d) or None; texts n strings or None; groups (n,) int, examples of one group
    (near-duplicates) must not be split between training and held-out folds. ``blocks`` are the
    widths of the parts that vectors are joined from, () for one. ``control`` (n,) bool marks those
    drawn at random, or None. ``unlabelled`` gives at most so many open texts, a uniform sample, as
    vectors (m, d) or as texts.
    """

    task: Task
    targets: Any
    weights: Array
    vectors: Array | None = None
    texts: Sequence[str] | None = None
    groups: Array | None = None
    blocks: tuple[int, ...] = ()
    control: Array | None = None
    unlabelled: Callable[[int], Any] | None = None

    def __post_init__(self) -> None:
        for name in ("weights", "vectors", "texts", "groups", "control"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.targets):
                raise ContractError(f"examples.{name} has {len(value)} entries for {len(self.targets)} targets")
        if self.blocks and self.vectors is not None and sum(self.blocks) != self.vectors.shape[1]:
            raise ContractError(f"examples.blocks {self.blocks} do not add up to vectors of {self.vectors.shape[1]}")

    def take(self, rows: Array) -> Examples:
        """Some of the examples, in the order given."""
        texts = None if self.texts is None else [self.texts[row] for row in rows]
        vectors, groups, control = (
            None if part is None else part[rows] for part in (self.vectors, self.groups, self.control)
        )
        targets, weights = self.targets[rows], self.weights[rows]
        return replace(
            self, targets=targets, weights=weights, vectors=vectors, texts=texts, groups=groups, control=control
        )

    def __len__(self) -> int:
        return len(self.targets)


@runtime_checkable
class Scorer(Protocol):
    """Values texts one by one, so that it can be run shard by shard. Higher = more wanted, in [0, 1]."""

    def score(self, pool: Pool, rows: Array) -> Array:
        """(m,) finite scores of the given rows.

        A row's score depends on that row and on what all shards share (``known``, ``hints``), not on other rows.
        """
        ...

    def reason(self, pool: Pool, row: int, score: float) -> str:
        """Why this text was wanted, in one short sentence; a ``Reason`` carries the numbers behind it."""
        ...


@runtime_checkable
class Strategy(Protocol):
    """Chooses whom to ask. Never calls a model: what the model said is in the pool."""

    def nominate(self, pool: Pool, budget: int, rng: np.random.Generator) -> Nomination:
        """The open rows one shard sends up, at least min(budget, open texts) of them.

        All shards and the final choice receive equal generators. Labelled texts are not nominated:
        all shards and the final choice see the same ``pool.known``.
        """
        ...

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        """Exactly min(budget, open texts) distinct open rows, best first."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Texts to unit vectors. ``fit`` learns what it needs of a pool (a mean, a basis), once."""

    @property
    def dimensions(self) -> int: ...

    def fit(self, sample: Sequence[str], rng: np.random.Generator) -> Encoder:
        """A new, fitted encoder; never mutates."""
        ...

    def encode(self, texts: Sequence[str]) -> Array:
        """(n, d) float32, unit norm (all zeros for a text without content); row i depends on text i alone."""
        ...

    def state(self) -> State: ...

    def restore(self, state: State) -> Encoder:
        """The fitted encoder that ``state`` describes."""
        ...


@runtime_checkable
class Model(Protocol):
    """A fitted model: a value, never changed."""

    def believe(self, inputs: Any) -> Beliefs:
        """Beliefs about vectors (n, d) or about texts, as its trainer's ``reads`` says."""
        ...

    @property
    def held_out(self) -> Beliefs | None:
        """Out-of-fold beliefs about its own training examples, in their order; None if it keeps none."""
        ...

    def state(self) -> State: ...


@runtime_checkable
class Trainer(Protocol):
    """Labels to a model. ``reads`` is "vectors" or "texts"."""

    @property
    def reads(self) -> str: ...

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of task it can learn; for others answers are collected and versioned, not learned."""
        ...

    def fit(self, examples: Examples, start_from: Model | None, rng: np.random.Generator) -> Model:
        """A new model; the start only makes it faster, never different beyond tolerance."""
        ...

    def restore(self, state: State) -> Model: ...


@runtime_checkable
class Calibration(Protocol):
    """A fitted correction of probabilities."""

    def apply(self, beliefs: Beliefs) -> Beliefs: ...

    def state(self) -> State: ...


@runtime_checkable
class Calibrator(Protocol):
    """Held-out beliefs and the truth to a correction that never worsens log-loss on them."""

    def fit(self, beliefs: Beliefs, truth: Any, weights: Array) -> Calibration: ...

    def restore(self, state: State) -> Calibration: ...


@dataclass(frozen=True, slots=True)
class Vote:
    """One annotator's current answer about one text."""

    text: str
    annotator: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Consensus:
    """What the votes about one text amount to: an answer, how sure (0..1], and how many votes."""

    answer: Answer
    confidence: float
    votes: int


@runtime_checkable
class Aggregator(Protocol):
    """Votes to one consensus per text that has votes; order of votes does not matter."""

    def decide(self, task: Task, votes: Sequence[Vote]) -> Mapping[str, Consensus]: ...


@runtime_checkable
class Oracle(Protocol):
    """Answers in the annotator's chair when a project is rehearsed."""

    @property
    def annotators(self) -> Sequence[str]: ...

    def answer(
        self, task: Task, annotator: str, truth: Answer, length: int, rng: np.random.Generator
    ) -> tuple[Answer, float]:
        """An answer and the seconds it took (> 0) for a text of ``length`` characters."""
        ...


@dataclass(frozen=True, slots=True)
class Event:
    """A fact. ``key`` names the act, so the same act recorded twice is one fact.

    ``seq`` (position in the log, from 1) and ``at`` (seconds since the epoch) are given by the log.
    """

    kind: str
    key: str
    actor: str
    data: Mapping[str, Any]
    at: float = 0.0
    seq: int = 0


@runtime_checkable
class EventLog(Protocol):
    """Append-only memory. Implementations: SQLite (``store``); any other keeps the same two methods."""

    def append(self, *events: Event) -> list[Event]:
        """Record all or none, durably, and return what the log now holds under these keys, in order.

        An event whose key is already recorded is ignored and the recorded fact returned.
        """
        ...

    def read(self, after: int = 0, kinds: Sequence[str] = ()) -> Sequence[Event]:
        """Events with seq > after (of these kinds, or all), by rising seq; seq counts from 1 without gaps."""
        ...

    def close(self) -> None:
        """Release what the log holds open."""
        ...


@dataclass(frozen=True, slots=True)
class Ref:
    """The name of an artefact: what it is and the hash of all that decided its content."""

    name: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name}/{self.digest}"


@runtime_checkable
class Artefacts(Protocol):
    """Derived values by the hash of their inputs: arrays that may be memory-mapped, and plain facts."""

    def once(self, name: str, inputs: Mapping[str, Any], make: Callable[[], State]) -> Ref:
        """The artefact of these inputs, made only if it is not there in good order."""
        ...

    def get(self, ref: Ref) -> State:
        """The artefact's content; DamagedRecord if it is missing or changed."""
        ...
