"""``labelwise data``: versions of the labelled data."""

from collections import Counter
from dataclasses import asdict
from json import loads
from pathlib import Path
from typing import Annotated

import typer

from labelwise.cli import ui

app = typer.Typer(help="Labelled-data versions: log, show, diff, tag, export.", no_args_is_help=True)

SHOWN = 20
"""Changed labels that diff lists for people."""

Name = Annotated[str, typer.Argument(help="A tag, (the start of) a version's name, or 'latest'.")]


@app.command()
def log(project: ui.Folder = Path(), json: ui.Json = False) -> None:
    """Every data version, oldest first.

    Example: labelwise data log
    """
    with ui.workspace(project) as workspace:
        ledger = workspace.now()
    tags: dict[str, list[str]] = {}
    for tag, name in ledger.tags.items():
        tags.setdefault(name, []).append(tag)
    rows = [{**s, "tags": tags.get(s["name"], [])} for s in ledger.snapshots]
    if json:
        return ui.show_json(rows)
    if not rows:
        return ui.say("no data version yet; the first is made by labelwise advance, once there are answers.")
    ui.table(
        ["version", "train", "evaluation", "test", "tags"],
        [[r["name"][:12], *(r["counts"].get(k, 0) for k in ("train", "evaluation", "test")), ", ".join(r["tags"])]
         for r in rows],
    )  # fmt: skip
    return None


@app.command()
def show(name: Name = "latest", project: ui.Folder = Path(), json: ui.Json = False) -> None:
    """What a data version holds: counts per split, and how often each label was given.

    Example: labelwise data show latest
    """
    from labelwise.project.steps.snapshot import read_snapshot, resolve

    with ui.workspace(project) as workspace:
        rows, facts = read_snapshot(workspace, name)
        full = resolve(workspace.now(), name)
    counts = Counter(name for answer in rows["label"].to_pylist() for name in _labels(answer))
    out = {"name": full, "rows": rows.num_rows, "splits": facts["counts"], "labels": dict(sorted(counts.items()))}
    ui.show_json(out) if json else ui.pairs(out)


def _labels(answer: str) -> list[str]:
    """The labels in an answer, which is stored as JSON: a name, a list of names, or a list of spans."""
    plain = loads(answer)
    return [plain] if isinstance(plain, str) else [part if isinstance(part, str) else part[2] for part in plain]


@app.command()
def diff(old: Name, new: Name = "latest", project: ui.Folder = Path(), json: ui.Json = False) -> None:
    """What changed between two data versions: labels added, removed, changed.

    Example: labelwise data diff before-cleanup latest
    """
    from labelwise.project.steps.snapshot import read_snapshot
    from labelwise.store import snapshots

    with ui.workspace(project) as workspace:
        change = snapshots.diff(read_snapshot(workspace, old)[0], read_snapshot(workspace, new)[0])
    if json:
        return ui.show_json(asdict(change))
    ui.tell(f"{len(change.added)} added, {len(change.removed)} removed, {len(change.changed)} changed")
    for text, (before, after) in list(change.changed.items())[:SHOWN]:
        ui.tell(f"  {text}  {before} -> {after}")
    if len(change.changed) > SHOWN:
        ui.say(f"and {len(change.changed) - SHOWN} more changed; --json shows all.")
    return None


@app.command()
def tag(
    tag: Annotated[str, typer.Argument(help="The tag.")], name: Name = "latest", project: ui.Folder = Path()
) -> None:
    """Give a data version a name of your own; a tag given again moves.

    Example: labelwise data tag paper-v1
    """
    from labelwise.project.steps.snapshot import tag_snapshot

    with ui.workspace(project) as workspace:
        full = tag_snapshot(workspace, tag, name)
    ui.say(f"{tag} is {full[:12]}.")


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to write: .csv, .jsonl or .parquet.")],
    name: Annotated[str, typer.Option("--version", help="Tag, name or 'latest'.")] = "latest",
    texts: Annotated[bool, typer.Option(help="Include the texts.")] = True,
    project: ui.Folder = Path(),
) -> None:
    """Write a data version to a file: id, text, label, split, weight, propensity, arm, guideline version.

    Example: labelwise data export labels.parquet --version paper-v1
    """
    from labelwise.connect.writers import write_table
    from labelwise.project.steps.snapshot import export_rows

    with ui.workspace(project) as workspace:
        rows = export_rows(workspace, name, texts)
    write_table(rows, file)
    ui.say(f"{rows.num_rows} rows in {file}.")
