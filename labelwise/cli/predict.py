"""``labelwise predict``: labels for new texts."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from labelwise.cli import ui


def register(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command()(predict)


def predict(
    files: Annotated[
        list[str], typer.Argument(help="Files, folders or globs, as for add; - is stdin: a text a line, or JSON Lines.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write: .csv, .jsonl or .parquet; else stdout.")
    ] = None,
    version: Annotated[
        int | None, typer.Option("--model", help="A version number.", show_default="the one in use")
    ] = None,
    text_column: Annotated[str | None, typer.Option(help="The column with the texts.", show_default="text")] = None,
    id_column: Annotated[str | None, typer.Option(help="The column with your ids.", show_default="id")] = None,
    every: Annotated[bool, typer.Option("--all", help="Also the probability of every label.")] = False,
    least: Annotated[
        float, typer.Option("--min-confidence", help="Leave the label empty where the model is less sure (0 to 1).")
    ] = 0.0,
    miss: Annotated[
        float | None,
        typer.Option("--sets", help="Also sets of labels that lack the right one in this share of texts, such as 0.1."),
    ] = None,
    by_class: Annotated[bool, typer.Option(help="--sets within every label, rare ones too.")] = False,
    texts: Annotated[bool, typer.Option(help="Repeat the texts.")] = True,
    rejects: Annotated[Path | None, typer.Option(help="Where to list rows that are no texts.")] = None,
    project: ui.Folder = Path(),
    json: Annotated[
        bool, typer.Option("--json", help="JSON Lines instead of CSV on stdout; with --output, the facts as JSON.")
    ] = False,
) -> None:
    """Label new texts with the model in use; nothing is recorded in the project.

    Any number of texts goes through in little memory. An output file appears when it is complete. A model
    that is not calibrated yet says so in every row.

    Example: labelwise predict "new/*.csv" --text-column body --output labelled.parquet
    """
    from labelwise.connect.readers import Columns, expand, read
    from labelwise.connect.rejects import RejectFile
    from labelwise.connect.writers import write_tables
    from labelwise.core.intake import Reject, Rejects
    from labelwise.project.steps.predict import predict_tables, sets_of, version_of

    shown: list[Reject] = []
    rows = unsure = 0
    with ui.workspace(project) as workspace, RejectFile(rejects) as listed:
        number = version_of(workspace, version)
        calibrated = "calibration" in workspace.now().model(number)

        sets = None if miss is None else sets_of(workspace, number, miss, by_class)

        def refuse(reject: Reject) -> None:
            if not shown:
                shown.append(reject)
            listed(reject)

        refused = Rejects(refuse)
        found: Iterable[Any] = read(expand(files), Columns(text=text_column, id=id_column), refused)
        if output or not sys.stdout.isatty():
            found = ui.counted(found, workspace.progress, "predicting")
        schema, tables = predict_tables(workspace, found, number, texts=texts, every=every, least=least, sets=sets)

        def counted() -> Iterable[Any]:
            nonlocal rows, unsure
            for table in tables:
                rows, unsure = rows + len(table), unsure + table["label"].null_count
                yield table

        if output:
            write_tables(counted(), schema, output)
        else:
            _print(counted(), schema, json)
    facts = {"model": number, "calibrated": calibrated, "rows": rows, "unsure": unsure,
             "rejected": refused.reasons.total(), "reasons": dict(refused.reasons),
             "output": str(output) if output else None}  # fmt: skip
    if output:
        ui.show_json(facts) if json else ui.pairs(facts)
    if shown:
        ui.say(f"{facts['rejected']} rows left out, such as {shown[0].place}: {shown[0].reason}."
               + ("" if rejects else " --rejects FILE lists all."))  # fmt: skip
    if sets is not None and by_class and len(sets.unknown):
        ui.say(f"in every set, because too few labelled texts have them: {len(sets.unknown)} of the labels.")
    if not calibrated:
        ui.say(f"model {number} is not calibrated: take its confidence as an order, not as a probability.")


def _print(tables: Iterable[Any], schema: Any, json: bool) -> None:
    """Rows on stdout as they come: to a terminal with every character that could steer it escaped."""
    from labelwise.connect.writers import csv_lines, json_lines

    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
    if not json:
        _write(csv_lines(schema.empty_table(), header=True))
    for table in tables:
        _write(json_lines(table, ascii_only) if json else csv_lines(table))


def _write(lines: bytes) -> None:
    text = lines.decode()
    if sys.stdout.isatty():
        text = "".join(f"{ui.visible(line)}\n" for line in text.split("\n")[:-1])
    sys.stdout.write(text)
    sys.stdout.flush()
