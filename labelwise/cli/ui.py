"""What all commands share: facts to stdout, everything else to stderr."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from labelwise.project.workspace import Progress, Workspace

Folder = Annotated[Path, typer.Option("--project", "-C", help="The project's folder.", show_default="here")]
Json = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]


KEPT = "\u00a0\u200c\u200d"
"""Not printable by Python's rules and harmless: the space that does not break, and what joins letters."""

SHORT = 24
"""Cells of up to this many characters are not wrapped."""


def visible(text: str) -> str:
    """Text as it may go to a terminal: on one line, with every character that could steer it escaped.

    Texts, labels and file names come from strangers: an escape sequence in them could hide output or
    type commands. Letters of all scripts stay; control, direction-changing and broken characters do not.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in KEPT else repr(c)[1:-1] for c in text)


def say(text: str) -> None:
    """A remark for people, on stderr; texts from strangers are shown, never interpreted."""
    print(visible(text), file=sys.stderr)


def tell(text: str) -> None:
    """One line of facts on stdout."""
    print(visible(text))


def show_json(value: Any) -> None:
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
    print(json.dumps(value, ensure_ascii=ascii_only, indent=1))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on stdout; numbers to the right, long texts wrapped, nothing cut off."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    cells = [[_cell(value) for value in row] for row in rows]
    for position, name in enumerate(columns):
        column = [row[position] for row in cells]
        numeric = all(cell.strip("-%").replace(".", "").isdecimal() or cell == "-" for cell in column)
        longest = max(map(len, column), default=0)
        least = max(longest if longest <= SHORT else 0, *map(len, name.split()))
        drawn.add_column(name, justify="right" if numeric else "left", min_width=least, overflow="fold")
    for row in cells:
        drawn.add_row(*map(Text, row))
    console = Console()
    # Drawn first and printed by us: Rich ends the program itself when the reader of its output has gone.
    with console.capture() as text:
        console.print(drawn)
    print(text.get(), end="")


def _cell(value: Any) -> str:
    """A value in words; of a nested one, what a person wants to know."""
    if value is None or value in ({}, [], ""):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, Mapping):
        if value.keys() >= {"value", "lo", "hi"}:
            return f"{_cell(value['value'])} (95 % interval {_cell(value['lo'])} to {_cell(value['hi'])})"
        return ", ".join(f"{visible(str(name))} {_cell(part)}" for name, part in value.items())
    return visible(str(value))


def pairs(facts: Mapping[str, Any]) -> None:
    """Names and values, one a line, on stdout; on a terminal, long values are wrapped beside their name."""
    left = max((len(name) for name in facts), default=0) + 2
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for name, value in facts.items():
        line = f"{name.replace('_', ' '):<{left}}{_cell(value)}"
        print(textwrap.fill(line, max(width, left + 20), subsequent_indent=" " * left) if width else line)


@contextmanager
def progress() -> Iterator[Progress]:
    """A Progress that draws bars on a terminal and is silent elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bars = Progress(
        SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(), console=console, disable=not console.is_terminal, transient=True,
        redirect_stdout=False,  # what a command prints meanwhile belongs to stdout, which may be a file
    )  # fmt: skip
    tasks: dict[str, Any] = {}

    def update(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(visible(what), total=total or None)
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


Picture = Annotated[Path | None, typer.Option(help="Also write the learning curve as a PNG.")]


def write_report(facts: Mapping[str, Any], path: Path, drawing: Path | None = None) -> None:
    """The HTML report, the JSON it is made from beside it, and its main curve as a PNG if asked for."""
    from labelwise.core import InputError
    from labelwise.store.files import write_atomically
    from labelwise.web.report import picture, render

    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first.")
    if drawing is not None:
        write_atomically(drawing, picture(facts))
    write_atomically(path, render(facts).encode())
    write_atomically(path.with_suffix(".json"), json.dumps(facts, ensure_ascii=False, indent=1).encode())
