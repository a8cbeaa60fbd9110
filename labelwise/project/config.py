"""``labelwise.toml``: one file says everything a project does, and every default can be seen."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelwise.core import Aggregator, Calibrator, Encoder, InputError, Strategy, Task, Trainer, unknown
from labelwise.core.canon import digest_of
from labelwise.project.components import build, construct, describe

FILE = "labelwise.toml"
LEARNING = ("task", "encoder", "trainer")
"""The sections that decide what a model is; models of other settings are not comparable."""


def _between(place: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InputError(f"{place}: {value!r} is outside the allowed range; choose {low:g} to {high:g}.")


@dataclass(frozen=True)
class ProjectSection:
    """Name and seed. The seed decides every random choice of the project."""

    name: str = "labelwise project"
    seed: int = 0


@dataclass(frozen=True)
class SelectionSection:
    """How texts are chosen.

    batch       texts per round; initial: texts in the first round
    budget      labels at most; 0 = no limit
    control     share of every batch that is a uniformly random draw
    evaluation  share of the control that is set aside to judge models and never trained on;
                not used while the project has a labelled test split
    holdout     share of the texts kept out of the pool as a test split when no split was given
    hints       label -> examples or keywords of it, for strategies that can start from them
    """

    strategy: Strategy = field(default_factory=lambda: _strategy(DEFAULT_STRATEGY))
    start: Strategy = field(default_factory=lambda: _strategy(DEFAULT_STRATEGY))
    initial: int = 50
    batch: int = 50
    budget: int = 0
    control: float = 0.1
    evaluation: float = 0.5
    holdout: float = 0.0
    hints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _between("selection.initial", self.initial, 1, 1_000_000)
        _between("selection.batch", self.batch, 1, 1_000_000)
        _between("selection.budget", self.budget, 0, 1_000_000_000)
        for name in ("control", "evaluation", "holdout"):
            _between(f"selection.{name}", getattr(self, name), 0.0, 0.9 if name == "holdout" else 1.0)
        for label, texts in self.hints.items():
            for i, text in enumerate(texts):
                if not text.strip():
                    raise InputError(f"selection.hints.{label}[{i}]: is empty; give an example or a keyword of it.")


@dataclass(frozen=True)
class CostSection:
    """What an hour of annotation costs, for reports; 0 = count only time."""

    per_hour: float = 0.0
    currency: str = "EUR"

    def __post_init__(self) -> None:
        _between("cost.per_hour", self.per_hour, 0.0, 1_000_000.0)


@dataclass(frozen=True)
class Config:
    """A whole project's settings; ``written_out`` shows every default."""

    task: Task
    project: ProjectSection = field(default_factory=ProjectSection)
    encoder: Encoder = field(default_factory=lambda: build("encoders", "static"))
    selection: SelectionSection = field(default_factory=SelectionSection)
    trainer: Trainer = field(default_factory=lambda: build("trainers", "linear"))
    calibrator: Calibrator = field(default_factory=lambda: build("calibrators", "adaptive"))
    aggregator: Aggregator = field(default_factory=lambda: build("aggregators", "majority"))
    cost: CostSection = field(default_factory=CostSection)

    def __post_init__(self) -> None:
        for label in self.selection.hints:
            if label not in self.task.labels:
                raise unknown("label", label, self.task.labels, f"selection.hints.{label}")

    def written_out(self) -> dict[str, Any]:
        return dict(describe(self))

    def digest(self, *sections: str) -> str:
        """The name of these sections' settings (all when none are named)."""
        written = self.written_out()
        return digest_of({name: written[name] for name in sections or written})


DEFAULT_STRATEGY = "auto"


def _strategy(spec: Any) -> Strategy:
    strategy: Strategy = build("strategies", spec, "selection.strategy")
    return strategy


def parse(values: Mapping[str, Any]) -> Config:
    """A Config from plain data; InputError with the dotted path of the first thing that is wrong."""
    task = values.get("task")
    if "trainer" not in values and isinstance(task, Mapping) and task.get("kind") == "spans":
        values = {**values, "trainer": "crf"}
    config: Config = construct(Config, values, "")
    return config


def load(path: Path) -> Config:
    """The config in a TOML file. InputError when there is none, it is no TOML, or a setting is wrong."""
    try:
        text = path.read_bytes().decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{path.parent}: no {FILE} here, so this is not a project; run `labelwise init` in it first."
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); it must be a readable file.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8.") from None
    try:
        return parse(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not valid TOML: {error}.") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def fragment(text: str, place: str) -> Any:
    """A component given on the command line: a name, or a TOML fragment such as ``{ use = "power", beta = 2 }``."""
    if not text.lstrip().startswith("{"):
        return text.strip()
    try:
        return tomllib.loads(f"component = {text}")["component"]
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{place}: {text!r} is not a TOML fragment: {error}.") from None
