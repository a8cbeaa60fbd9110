"""The ledger: the event log folded into what is true now. It can be dropped and rebuilt at any time.

Event kinds and what they add are listed in ``FOLDS``; a kind that is not listed there is somebody
else's and is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from labelwise.core import Event, Ref, Task, Vote

FORMAT = 1


@dataclass(slots=True)
class Asked:
    """A text that some batch asked about."""

    round: int
    arm: str
    propensity: float


@dataclass(slots=True)
class Given:
    """An annotator's current answer (plain data), how often it was changed, and what it cost."""

    answer: Any
    version: int
    seconds: float
    seq: int


@dataclass
class Ledger:
    """What is true after event ``seq``. Built only by ``apply``; read by plan, steps and faces."""

    seq: int = 0
    key: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    shards: dict[str, dict[str, Any]] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    encoders: dict[str, str] = field(default_factory=dict)
    vectors: dict[str, dict[str, str]] = field(default_factory=dict)
    division: dict[str, Any] = field(default_factory=dict)
    batches: list[dict[str, Any]] = field(default_factory=list)
    asked: dict[str, Asked] = field(default_factory=dict)
    given: dict[str, dict[str, Given]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    answers: int = 0
    last_answer: int = 0
    seconds: float = 0.0
    snapshots: list[dict[str, Any]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    promotions: list[dict[str, Any]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)

    def apply(self, events: Iterable[Event]) -> Ledger:
        """Fold further events in, in order of seq. O(events). Returns itself."""
        for event in events:
            fold = FOLDS.get(event.kind)
            if fold:
                fold(self, event)
            self.seq, self.key = event.seq, event.key
        return self

    @property
    def texts(self) -> int:
        return sum(int(shard["rows"]) for shard in self.shards.values())

    @property
    def pending(self) -> list[str]:
        """Asked and neither answered nor skipped by anybody, in the order they were chosen."""
        return [text for text in self.asked if text not in self.given and text not in self.skipped]

    @property
    def annotated(self) -> int:
        """Texts of the pool that somebody was paid to answer: the budget's unit."""
        return sum(text in self.given for text in self.asked)

    def model(self, version: int) -> dict[str, Any]:
        return self.models[version - 1]

    @property
    def champion(self) -> dict[str, Any] | None:
        """The model version in use, or None."""
        return self.model(self.promotions[-1]["version"]) if self.promotions else None

    @property
    def distrusted(self) -> str:
        """Why the beliefs of the model in use cannot be taken at their word; empty = nothing speaks against it."""
        champion = self.champion or {}
        gate = champion.get("evaluation", {}).get("gate", {})
        return f"model {champion['version']}: {gate['why']}" if gate.get("passes") is False else ""

    def votes(self, task: Task) -> list[Vote]:
        """All current answers as votes."""
        return [
            Vote(text, annotator, task.parse(given.answer))
            for text, answers in self.given.items()
            for annotator, given in answers.items()
        ]

    def dump(self) -> dict[str, Any]:
        """Plain JSON data from which ``load`` makes an equal ledger."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Ledger:
        """KeyError, TypeError or ValueError when the data are not of this format."""
        if data["format"] != FORMAT:
            raise ValueError("another format")
        ledger = cls(**{name: data[name] for name in cls.__dataclass_fields__})
        ledger.asked = {text: Asked(**asked) for text, asked in data["asked"].items()}
        ledger.given = {
            text: {annotator: Given(**given) for annotator, given in answers.items()}
            for text, answers in data["given"].items()
        }
        return ledger


def ref(text: str) -> Ref:
    """A Ref from its written form ``name/digest``."""
    name, _, digest = text.partition("/")
    return Ref(name, digest)


def _config(ledger: Ledger, event: Event) -> None:
    ledger.config = dict(event.data["config"])


def _texts(ledger: Ledger, event: Event) -> None:
    ledger.shards[event.data["shard"]] = {name: event.data[name] for name in ("rows", "source", "duplicates")}
    ledger.moved.update(event.data["moved"])


def _encoder(ledger: Ledger, event: Event) -> None:
    ledger.encoders[event.data["config"]] = event.data["ref"]


def _represented(ledger: Ledger, event: Event) -> None:
    ledger.vectors.setdefault(event.data["encoder"], {})[event.data["shard"]] = event.data["ref"]


def _divided(ledger: Ledger, event: Event) -> None:
    ledger.division = dict(event.data)


def _selected(ledger: Ledger, event: Event) -> None:
    ledger.batches.append({**event.data, "seq": event.seq})
    for item in event.data["items"]:
        ledger.asked[item["text"]] = Asked(event.data["round"], item["arm"], item["propensity"])


def _answered(ledger: Ledger, event: Event) -> None:
    data = event.data
    answers = ledger.given.setdefault(data["text"], {})
    answers[data["annotator"]] = Given(data["answer"], data["version"], data["seconds"], event.seq)
    ledger.answers += 1
    ledger.last_answer = event.seq
    ledger.seconds += data["seconds"]


def _skipped(ledger: Ledger, event: Event) -> None:
    ledger.skipped[event.data["text"]] = event.data["annotator"]


def _snapshot(ledger: Ledger, event: Event) -> None:
    ledger.snapshots.append(dict(event.data))


def _trained(ledger: Ledger, event: Event) -> None:
    ledger.models.append({**event.data, "at": event.at})


def _calibrated(ledger: Ledger, event: Event) -> None:
    ledger.model(event.data["version"])["calibration"] = dict(event.data)


def _evaluated(ledger: Ledger, event: Event) -> None:
    ledger.model(event.data["version"])["evaluation"] = dict(event.data)


def _judged(ledger: Ledger, event: Event) -> None:
    ledger.model(event.data["version"])["verdict"] = {"kind": event.kind, "why": event.data["why"]}
    if event.kind != "model.refused":
        ledger.promotions.append({**event.data, "kind": event.kind, "at": event.at, "actor": event.actor})


def _tagged(ledger: Ledger, event: Event) -> None:
    ledger.tags[event.data["tag"]] = event.data["snapshot"]


FOLDS: dict[str, Callable[[Ledger, Event], None]] = {
    "config.set": _config,
    "texts.added": _texts,
    "encoder.fitted": _encoder,
    "shard.represented": _represented,
    "pool.divided": _divided,
    "batch.selected": _selected,
    "answer.given": _answered,
    "text.skipped": _skipped,
    "snapshot.taken": _snapshot,
    "model.trained": _trained,
    "model.calibrated": _calibrated,
    "model.evaluated": _evaluated,
    "model.promoted": _judged,
    "model.refused": _judged,
    "model.rolled-back": _judged,
    "data.tagged": _tagged,
}
