"""The commands of a project's daily work: init, add, status, plan, advance, label, report, doctor."""

from pathlib import Path
from typing import Annotated, Any

import typer

from labelwise.cli import ui

label_app = typer.Typer(help="Answers in and out of files.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(init)
    app.command()(add)
    app.command()(status)
    app.command()(plan)
    app.command()(advance)
    app.add_typer(label_app, name="label")
    app.command()(report)
    app.command()(doctor)


def init(
    folder: Annotated[Path, typer.Argument(help="The new project's folder.")] = Path(),
    labels: Annotated[str, typer.Option(help="The labels, separated by commas.")] = "",
    labels_from: Annotated[str, typer.Option(help="A file whose label column names the labels.")] = "",
    label_column: Annotated[str, typer.Option(help="That column.")] = "label",
    task: Annotated[str, typer.Option(help="single, multi or spans.")] = "single",
    name: Annotated[str, typer.Option(help="The project's name; the folder's name if empty.")] = "",
    hint: Annotated[list[str] | None, typer.Option(help="LABEL=TEXT: an example or keyword; repeatable.")] = None,
) -> None:
    """Make a project: writes labelwise.toml with every setting and its default.

    Example: labelwise init inbox --labels "billing,bug,praise"
    """
    from labelwise.project import starting

    names = [part.strip() for part in labels.split(",") if part.strip()]
    if labels_from:
        from labelwise.connect.labels import label_names

        names = label_names(labels_from, label_column)
    path = starting.start(folder, names, task, name, _hints(hint or []))
    ui.say(f"{path} written. Next: labelwise add FILE --project {folder}")


def _hints(given: list[str]) -> dict[str, list[str]]:
    from labelwise.core import InputError

    hints: dict[str, list[str]] = {}
    for hint in given:
        label, equals, text = hint.partition("=")
        if not equals:
            raise InputError(f'--hint: {hint!r} is not LABEL=TEXT; write e.g. --hint "billing=charged twice".')
        hints.setdefault(label.strip(), []).append(text.strip())
    return hints


def add(
    files: Annotated[list[str], typer.Argument(help="Files, folders or globs: Parquet, CSV, TSV, JSON Lines, text.")],
    text_column: Annotated[str | None, typer.Option(help="The column with the texts.", show_default="text")] = None,
    id_column: Annotated[str | None, typer.Option(help="The column with your ids.")] = None,
    split_column: Annotated[str | None, typer.Option(help="The column with train, test or val.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report what would happen.")] = False,
    rejects: Annotated[Path | None, typer.Option(help="Where to list rejected rows.")] = None,
    project: ui.Folder = Path(),
    json: ui.Json = False,
) -> None:
    """Bring texts in. Repeated texts are kept once; rejected rows are listed in a file with reasons.

    Example: labelwise add "tickets/*.csv.gz" --text-column body --id-column ticket
    """
    from labelwise.connect.readers import Columns, expand, read
    from labelwise.connect.rejects import RejectFile
    from labelwise.core.intake import Rejects
    from labelwise.project.steps.ingest import ingest

    with ui.workspace(project) as workspace:
        paths = expand(files)
        target = rejects or project / "rejects.jsonl"
        columns = Columns(text=text_column, id=id_column, split=split_column)
        with RejectFile(None if dry_run else target) as listed:
            refused = Rejects(listed)
            tables = ui.counted(read(paths, columns, refused), workspace.progress, "reading")
            found = ingest(workspace, tables, ", ".join(p.name for p in paths)[:200], refused, dry_run=dry_run)
    facts = {"rows": found.rows, "added": found.added, "duplicates": found.duplicates,
             "rejected": found.rejected, "reasons": found.reasons,
             "reject_file": str(target) if found.rejected and not dry_run else None, "dry_run": dry_run}  # fmt: skip
    ui.show_json(facts) if json else ui.pairs(facts)
    if not json and not dry_run:
        ui.say("Next: labelwise advance")


def status(project: ui.Folder = Path(), json: ui.Json = False) -> None:
    """Where the project stands.

    Example: labelwise status
    """
    from labelwise.project.plan import plan as make_plan
    from labelwise.project.steps.report import standing

    with ui.workspace(project) as workspace:
        ledger = workspace.now()
        facts = standing(ledger)
        todo = make_plan(ledger, workspace.config)
    facts["next"] = todo[0].why if todo[0].step == "wait" else f"labelwise advance ({todo[0].why})"
    ui.show_json(facts) if json else ui.pairs(facts)


def plan(project: ui.Folder = Path(), json: ui.Json = False) -> None:
    """What is out of date, why, and roughly how long it takes.

    Example: labelwise plan
    """
    from labelwise.project.plan import plan as make_plan

    with ui.workspace(project) as workspace:
        todo = make_plan(workspace.now(), workspace.config)
    if json:
        ui.show_json([{"step": t.step, "why": t.why, "seconds": round(t.seconds, 1)} for t in todo])
    else:
        ui.table(["step", "why", "about"], [[t.step, t.why, f"{t.seconds:.0f} s" if t.seconds else ""] for t in todo])


def advance(project: ui.Folder = Path(), json: ui.Json = False) -> None:
    """Do everything that is due, until people are needed. Safe to stop and to repeat.

    Example: labelwise advance
    """
    from labelwise.project.plan import advance as go
    from labelwise.project.plan import plan as make_plan

    with ui.workspace(project) as workspace:
        taken = go(workspace)
        waiting = make_plan(workspace.now(), workspace.config)[0].why
    if json:
        return ui.show_json({"taken": taken, "waiting": waiting})
    ui.tell(f"{len(taken)} steps taken{': ' + ', '.join(taken) if taken else ''}.")
    ui.tell(waiting)
    return None


@label_app.command("export")
def label_export(
    file: Annotated[Path, typer.Argument(help="Where to write: .csv, .jsonl or .parquet.")],
    project: ui.Folder = Path(),
) -> None:
    """Write the texts that wait for an answer to a file, with an empty label column to fill in.

    Example: labelwise label export batch.csv
    """
    import pyarrow as pa

    from labelwise.connect.writers import write_table
    from labelwise.core import WrongMoment
    from labelwise.project.plan import plan as make_plan

    with ui.workspace(project) as workspace:
        ledger = workspace.now()
        pending = ledger.pending
        if not pending:
            due = make_plan(ledger, workspace.config)[0]
            hint = due.why if due.step == "wait" else f"run `labelwise advance` first ({due.why})"
            raise WrongMoment(f"no text waits for an answer: {hint}.")
        texts = workspace.texts.get(list(ledger.shards), pending)
    empty = pa.array([None] * len(pending), pa.string())
    write_table(pa.table({"id": pending, "text": texts, "label": empty, "annotator": empty}), file)
    ui.say(f"{len(pending)} texts in {file}. Fill in the label column, then: labelwise label import {file}")


@label_app.command("import")
def label_import(
    file: Annotated[Path, typer.Argument(help="A file with labels: .csv, .tsv, .jsonl or .parquet.")],
    label_column: Annotated[str, typer.Option(help="The column with the labels.")] = "label",
    id_column: Annotated[str, typer.Option(help="The column with text ids.")] = "id",
    text_column: Annotated[str, typer.Option(help="The column with the texts, used where there is no id.")] = "text",
    annotator: Annotated[str, typer.Option(help="Who answered, where the file has no annotator column.")] = "import",
    separator: Annotated[str, typer.Option(help="Between several labels of one text.")] = "|",
    rejects: Annotated[Path | None, typer.Option(help="Record the good rows and list the others here.")] = None,
    skip_rest: Annotated[
        bool, typer.Option("--skip-rest", help="Texts still unanswered after this are skipped.")
    ] = False,
    project: ui.Folder = Path(),
    json: ui.Json = False,
) -> None:
    """Record answers from a file. Rows without a label are passed over; importing twice changes nothing.

    Columns: id (or text), label, and optionally annotator and seconds.

    Example: labelwise label import batch.csv --annotator ana
    """
    from labelwise.connect.labels import read_labels
    from labelwise.connect.rejects import RejectFile
    from labelwise.core.intake import Reject
    from labelwise.project.steps.submit import check, skip, submit

    with ui.workspace(project) as workspace:
        found = read_labels(
            file, workspace.config.task.kind, label=label_column, key=id_column, text=text_column,
            annotator=annotator, separator=separator,
        )  # fmt: skip
        refused = 0
        if rejects:
            problems = check(workspace, found)
            refused = sum(map(bool, problems))
            with RejectFile(rejects) as listed:
                for place, problem in ((s.place, p) for s, p in zip(found, problems, strict=True) if p):
                    listed(Reject(place, problem, ""))
            found = [s for s, problem in zip(found, problems, strict=True) if not problem]
        recorded = submit(workspace, found)
        passed = skip(workspace, workspace.now().pending, annotator) if skip_rest else []
    facts: dict[str, Any] = {"read": len(found) + refused, "recorded": len(recorded),
                             "unchanged": len(found) - len(recorded), "rejected": refused,
                             "skipped": len(passed)}  # fmt: skip
    ui.show_json(facts) if json else ui.pairs(facts)
    if not json:
        ui.say("Next: labelwise advance")


def report(
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file to write.")] = Path("report.html"),
    texts: Annotated[bool, typer.Option("--texts", help="Show beginnings of selected texts.")] = False,
    picture: ui.Picture = None,
    project: ui.Folder = Path(),
    json: ui.Json = False,
) -> None:
    """What the annotation bought so far: one HTML file, and the JSON it is made from beside it.

    Example: labelwise report -o report.html
    """
    from labelwise.project.steps.report import project_facts

    with ui.workspace(project) as workspace:
        facts = project_facts(workspace, with_texts=texts)
    ui.write_report(facts, out, picture)
    if json:
        return ui.show_json(facts)
    ui.tell(facts["verdict"])
    ui.say(f"{out} written.")
    return None


def doctor(project: ui.Folder = Path(), json: ui.Json = False) -> None:
    """Check the installation and, in a project, every file and promise.

    Example: labelwise doctor
    """
    from labelwise.project.health import examine

    findings = examine(project)
    if json:
        ui.show_json([{"check": f.check, "ok": f.ok, "found": f.found} for f in findings])
    else:
        for f in findings:
            ui.tell(f"{'ok ' if f.ok else 'BAD'}  {f.check}: {f.found}")
    if not all(f.ok for f in findings):
        raise typer.Exit(5)
