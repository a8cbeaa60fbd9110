"""What all commands share: facts to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from labelwise.project.workspace import Progress, Workspace

Folder = Annotated[Path, typer.Option("--project", "-C", help="The project's folder.", show_default="here")]
Json = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]


def say(text: str) -> None:
    """A remark for people, on stderr; texts from strangers are shown, never interpreted."""
    print(text, file=sys.stderr)


def show_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=1))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
    """A table on stdout; numbers to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title or None, title_justify="left", header_style="bold")
    for position, name in enumerate(columns):
        numeric = all(isinstance(row[position], int | float) or row[position] in ("", "-") for row in rows)
        drawn.add_column(name, justify="right" if numeric and rows else "left")
    for row in rows:
        drawn.add_row(*[Text(_cell(value)) for value in row])
    Console().print(drawn)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def pairs(facts: Mapping[str, Any]) -> None:
    """Names and values, one a line, on stdout."""
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        print(f"{name:<{width}}  {_cell(value)}")


@contextmanager
def progress() -> Iterator[Progress]:
    """A Progress that draws bars on a terminal and is silent elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bars = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal, transient=True,
    )  # fmt: skip
    tasks: dict[str, Any] = {}

    def update(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total or None)
        bars.update(tasks[what], completed=done, total=total or None, visible=not total or done < total)

    with bars:
        yield update


@contextmanager
def workspace(folder: Path) -> Iterator[Workspace]:
    """The project in a folder, with progress bars."""
    from labelwise.project.workspace import Workspace

    with progress() as update, Workspace.open(folder, update) as opened:
        yield opened


def counted(tables: Any, update: Progress, what: str) -> Iterator[Any]:
    """Pass tables on and tell how many rows have gone by."""
    done = 0
    for found in tables:
        done += len(found)
        update(what, done, 0)
        yield found


def write_report(facts: Mapping[str, Any], path: Path) -> None:
    """The HTML report, and the JSON it is made from beside it."""
    from labelwise.core import InputError
    from labelwise.store.files import write_atomically
    from labelwise.web.report import render

    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first.")
    write_atomically(path, render(facts).encode())
    write_atomically(path.with_suffix(".json"), json.dumps(facts, ensure_ascii=False, indent=1).encode())
