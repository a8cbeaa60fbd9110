"""Running the command line in this process, and a small inbox to run it on."""

import contextlib
import csv
import io
import random
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import typer

from labelwise.cli import main

WORDS = {
    "billing": ["invoice", "refund", "charge", "payment", "card", "money"],
    "bug": ["crash", "error", "broken", "fails", "freeze", "hang"],
    "praise": ["love", "great", "thanks", "wonderful", "superb", "nice"],
}
FILLERS = ["app", "today", "my", "the", "account", "page", "number", "please", "would", "again", "since", "monday"]


class Result(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


def run(*arguments: object, within: Path) -> Result:
    """``labelwise ARGUMENTS`` in a folder, as if typed there."""
    out, err = io.StringIO(), io.StringIO()
    before, shown = sys.argv, warnings.showwarning
    sys.argv = ["labelwise", *map(str, arguments)]
    try:
        with contextlib.chdir(within), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main.main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv, warnings.showwarning = before, shown
    return Result(code, out.getvalue(), err.getvalue())


def done(*arguments: object, within: Path) -> str:
    """The output of a command that succeeds."""
    result = run(*arguments, within=within)
    assert result.code == 0, result
    return result.out


def refused(*arguments: object, within: Path, code: int = 2) -> str:
    """The one-line message of a command that is refused with this exit code and prints nothing else."""
    result = run(*arguments, within=within)
    assert result.code == code, result
    assert result.err.startswith("labelwise: "), result
    assert result.err.count("\n") == 1, result
    assert not result.out
    return result.err


def commands() -> dict[str, typer.core.TyperCommand]:
    """Every command of the program by what is typed for it."""
    found = {}

    def walk(group, words):
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                walk(command, (*words, name))
            else:
                found[" ".join((*words, name))] = command

    walk(typer.main.get_command(main.app), ())
    return found


def label_of(text: str) -> str:
    """The label that a text of the inbox truly has."""
    return next(label for label, words in WORDS.items() if set(words) & set(text.split()))


def write_inbox(path: Path, size: int = 120) -> Path:
    """A CSV of short messages about three things: ticket, text, intent."""
    draw = random.Random(0)  # noqa: S311 - a fixed inbox, not a secret
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["ticket", "text", "intent"])
        for number in range(size):
            label = draw.choice(list(WORDS))
            words = draw.choices(WORDS[label], k=4) + draw.choices(FILLERS, k=5)
            rows.writerow([f"T{number}", f"{' '.join(words)} {number}", label])
    return path


def fill(path: Path, annotator: str = "ana") -> None:
    """Answer an exported batch the way a person with a spreadsheet does."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="") as file:
        out = csv.DictWriter(file, [*rows[0]])
        out.writeheader()
        out.writerows({**row, "label": label_of(row["text"]), "annotator": annotator} for row in rows)


def small(folder: Path, **settings: object) -> None:
    """Change settings of the project's [selection], by default so that rounds are small."""
    path = folder / "labelwise.toml"
    lines = path.read_text().splitlines()
    for name, value in ({"initial": 20, "batch": 10} | settings).items():
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{name} = "))
        lines[at] = f"{name} = {value}"
    path.write_text("\n".join(lines) + "\n")


def new_project(folder: Path, labels: str = "billing,bug,praise", **options: object) -> Path:
    """An empty project with small rounds."""
    given = [part for name, value in options.items() for part in (f"--{name}", value)]
    done("init", folder, "--labels", labels, *given, within=folder.parent)
    small(folder)
    return folder
