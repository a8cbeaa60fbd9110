"""Answers from files of any tool that can write a table: id or text, label, annotator, seconds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labelwise.connect.readers import expand, source_of
from labelwise.connect.writers import unguarded
from labelwise.core import InputError, text_id, unknown
from labelwise.core.intake import Reject
from labelwise.project.steps.submit import Submission


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, row) of every row. InputError for the first row that cannot be read."""

    def refuse(reject: Reject) -> None:
        raise InputError(f"{reject.place}: {reject.reason} ({reject.value[:60]!r}). Nothing was recorded.")

    source = source_of(path)
    if source is None:
        raise InputError(f"{path}: cannot be read as a table of labels.")
    for chunk in source(path, path.name, refuse):
        columns = {n: c.to_pylist() if hasattr(c, "to_pylist") else c for n, c in chunk.columns.items()}
        for position, number in enumerate(chunk.numbers):
            yield f"{path.name}:{number}", {name: unguarded(values[position]) for name, values in columns.items()}


def read_labels(
    file: Path, kind: str, *, label: str, key: str, text: str, annotator: str, separator: str
) -> list[Submission]:
    """The labelled rows of a file as submissions; rows with an empty label are passed over.

    InputError when the label column, or both the id and the text column, are missing.
    """
    found = []
    for place, row in _rows(expand([str(file)])[0]):
        if label not in row:
            raise unknown("column", label, row, f"{file.name} (--label-column)")
        if key not in row and text not in row:
            raise InputError(f"{file.name}: neither {key!r} nor {text!r} is a column. Columns: {', '.join(row)}.")
        if _empty(row[label]):
            continue
        named = str(row[key]) if not _empty(row.get(key)) else text_id(str(row.get(text) or ""))
        found.append(
            Submission(
                text=named,
                annotator=str(row.get("annotator") or annotator),
                answer=answer_of(row[label], kind, separator, place),
                seconds=_seconds(row.get("seconds"), place),
                place=place,
            )
        )
    return found


def _empty(value: Any) -> bool:
    return (
        value is None
        or (isinstance(value, str) and not value.strip())
        or (isinstance(value, float) and math.isnan(value))
    )


def answer_of(value: Any, kind: str, separator: str, place: str) -> Any:
    """A cell as plain answer data: a name, names between separators, or JSON for lists and spans."""
    if kind == "single":
        return value.strip() if isinstance(value, str) else str(value)
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            raise InputError(f"{place}: {value[:80]!r} is not a JSON list: {error.msg}.") from None
    if kind == "multi" and isinstance(value, str):
        return [part.strip() for part in value.split(separator) if part.strip()]
    return value


def _seconds(value: Any, place: str) -> float:
    if _empty(value):
        return 0.0
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{place}: seconds {value!r} is not a number; give seconds, or leave it empty.") from None


def label_names(file: str, column: str) -> list[str]:
    """Every label in a column, sorted; lists and names between '|' count each. InputError when it is missing."""
    names: set[str] = set()
    for path in expand([file]):
        for place, row in _rows(path):
            if column not in row:
                raise unknown("column", column, row, f"{path.name} (--label-column)")
            if not _empty(row[column]):
                found = answer_of(row[column], "multi", "|", place)
                names.update(str(name) for name in (found if isinstance(found, list) else [found]))
            if len(names) > 5_000:
                raise InputError(f"{path.name}: column {column!r} has over 5,000 values; these are not labels.")
    return sorted(names)
