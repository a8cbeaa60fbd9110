"""A new project: its folder and a labelwise.toml in which every setting can be seen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labelwise.core import InputError
from labelwise.project import config as configs
from labelwise.store.files import write_atomically

REMARKS = {
    "project": "The seed decides every random choice.",
    "task": "The question put to annotators. kind: single, multi or spans. Guidelines: one sentence per label.",
    "encoder": "Texts -> vectors. Also: hashing, concat, minilm (extra).",
    "selection": "strategy after the first round, start for the first. control: random share of every batch;\n"
    "# evaluation: share of the control that judges models and is never trained on;\n"
    "# hints: label = [examples or keywords], for strategies that can start from them.",
    "trainer": "Labels -> model. linear: one or several labels; crf (extra spans): labelled spans.",
    "calibrator": "Makes probabilities mean what they say.",
    "aggregator": "Several answers -> one label.",
    "cost": "Money per hour of annotation, for reports.",
}


def start(
    folder: Path, labels: Sequence[str], kind: str, name: str, hints: Mapping[str, Sequence[str]] | None = None
) -> Path:
    """Write ``labelwise.toml``; InputError when there is one already or the task makes no sense."""
    path = folder / configs.FILE
    if path.exists():
        raise InputError(f"{path}: there is a project here already; edit the file, or choose another folder.")
    if not labels:
        raise InputError('--labels: no labels are given; name them, e.g. --labels "billing,bug,praise".')
    values = {
        "project": {"name": name or folder.resolve().name or "project"},
        "task": {"kind": kind, "labels": list(labels), "guidelines": {}},
        "selection": {"hints": hints or {}},
    }
    config = configs.parse(values)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, written(config.written_out()).encode())
    return path


def written(values: Mapping[str, Any]) -> str:
    """A config as TOML, a section at a time, each with its remark."""
    parts = []
    for section, settings in sorted(values.items(), key=lambda item: list(REMARKS).index(item[0])):
        lines = [f"# {REMARKS[section]}", f"[{section}]"]
        lines += [f"{_key(name)} = {_toml(value)}" for name, value in settings.items()]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _key(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else _toml(name)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        # TOML's basic strings are JSON's, except that DEL must be escaped too.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
