"""The commands that rehearse: simulate, compare, demo."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from labelwise.cli import ui


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(simulate)
    app.command()(compare)
    app.command()(demo)


def simulate(
    files: Annotated[list[str], typer.Argument(help="Files with texts and their true labels.")],
    label_column: Annotated[str, typer.Option(help="The column with the true labels.")] = "label",
    text_column: Annotated[str | None, typer.Option(help="The column with the texts.", show_default="text")] = None,
    id_column: Annotated[str | None, typer.Option(help="The column with your ids.")] = None,
    split_column: Annotated[
        str | None, typer.Option(help="The column with train, test or val; without it a fifth is held out.")
    ] = None,
    task: Annotated[str, typer.Option(help="single, multi or spans.")] = "single",
    separator: Annotated[str, typer.Option(help="Between the labels of one text, for multi.")] = "|",
    encoder: Annotated[str, typer.Option(help="A name or a TOML fragment.")] = "static",
    strategy: Annotated[
        list[str] | None, typer.Option(help="A name or TOML fragment; repeat for several arms.")
    ] = None,
    start: Annotated[
        str, typer.Option(help="The strategy that chooses the first batch, the same in all arms.")
    ] = "random",
    initial: Annotated[int, typer.Option(help="Texts in the first batch.")] = 50,
    batch: Annotated[int, typer.Option(help="Texts in every later batch.")] = 50,
    budget: Annotated[int, typer.Option(help="Labels in all.")] = 1000,
    control: Annotated[float, typer.Option(help="Random share of every batch.")] = 0.1,
    seeds: Annotated[int, typer.Option(help="Repetitions, each with its own first batch.")] = 5,
    oracle: Annotated[str, typer.Option(help="Who answers: a name or a TOML fragment.")] = "perfect",
    trainer: Annotated[str, typer.Option(help="A name or a TOML fragment; by default linear, for spans crf.")] = "",
    workers: Annotated[int, typer.Option(help="Processes; 0 = one per core.")] = 0,
    out: Annotated[Path, typer.Option(help="The folder for results.json and report.html.")] = Path("simulation"),
    json: ui.Json = False,
) -> None:
    """Rehearse strategies on labelled texts: same first batch, model seed and test split for every arm.

    Stopped and started again with the same options, it goes on and ends with the same results.

    Example: labelwise simulate trec.parquet --split-column split --strategy margin --strategy random --budget 500
    """
    from labelwise.connect.readers import Columns, expand, read
    from labelwise.connect.rejects import fingerprint
    from labelwise.project import simulate as rehearsal
    from labelwise.project.config import fragment
    from labelwise.project.executors import local

    paths = expand(files)
    columns = Columns(text=text_column, id=id_column, split=split_column)
    base = {
        "encoder": fragment(encoder, "--encoder"),
        "selection": {"start": fragment(start, "--start"), "initial": initial, "batch": batch, "budget": budget,
                      "control": control, "holdout": 0.2},
    }  # fmt: skip
    if trainer:
        base["trainer"] = fragment(trainer, "--trainer")
    experiment = rehearsal.Experiment(
        out=out, source=", ".join(p.name for p in paths)[:200], label_column=label_column,
        strategies=tuple(fragment(s, "--strategy") for s in strategy or ["margin", "random"]),
        seeds=tuple(range(seeds)), kind=task, separator=separator, base=base, oracle=fragment(oracle, "--oracle"),
        fingerprint=fingerprint(paths, columns),
    )  # fmt: skip
    rehearsal.require_seeds(seeds)
    refused: list[Any] = []
    with ui.progress() as progress:
        results = rehearsal.simulate(experiment, lambda: read(paths, columns, refused.append), local(workers), progress)
    _finish(results, out, json)


def _finish(results: dict[str, Any], out: Path, json: bool) -> None:
    from labelwise.project.steps.report import simulation_facts

    facts = simulation_facts(results, shlex.join(["labelwise", *sys.argv[1:]]))
    ui.write_report(facts, out / "report.html")
    if json:
        return ui.show_json({key: results[key] for key in ("task", "arms", "summary")})
    summary_table(results["summary"])
    ui.tell(facts["verdict"])
    ui.say(f"{out / 'report.html'} and {out / 'results.json'} written.")
    return None


def summary_table(summary: list[dict[str, Any]]) -> None:
    """The arms side by side."""
    rows = []
    for row in summary:
        band = row["alc_interval"]
        reached = row["labels_to_random_final"]
        saving = row["saving"]
        rows.append([
            row["strategy"], row["seeds"], row["alc"], f"{band[0]:.3f} to {band[1]:.3f}" if band else "-", row["final"],
            "not reached" if reached is None else f"{reached:.0f}", "-" if saving is None else f"{saving:.0%}",
            "-" if row["p_value_vs_random"] is None else f"{row['p_value_vs_random']:.3f}",
        ])  # fmt: skip
    ui.table(["strategy", "seeds", "area", "95 % interval", "final", "labels needed", "saving", "p"], rows)
    ui.say("area: under the learning curve. labels needed: to reach random labelling's final accuracy.")


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders written by simulate.")],
    metric: Annotated[str, typer.Option(help="accuracy, macro_f1, log_loss or ece.")] = "accuracy",
    json: ui.Json = False,
) -> None:
    """Put arms of several rehearsals on the same data and test split side by side, paired by seed.

    Example: labelwise compare runs/static runs/hashing
    """
    from labelwise.project.comparing import compare as go

    summary = go(runs, metric)
    ui.show_json(summary) if json else summary_table(summary)


def demo(
    out: Annotated[Path, typer.Option(help="The folder for the rehearsal and the report.")] = Path("labelwise-demo"),
    texts: Annotated[int, typer.Option(help="Texts in the generated inbox.")] = 6000,
    workers: Annotated[int, typer.Option(help="Processes; 0 = one per core.")] = 0,
    json: ui.Json = False,
) -> None:
    """The whole loop in under two minutes, on a generated support inbox: synthetic data, real code.

    Three simulated annotators of different skill and speed label a multilingual inbox; the default
    strategy is compared with random labelling.

    Example: labelwise demo
    """
    from labelwise.project.demo import run
    from labelwise.project.executors import local

    with ui.progress() as progress:
        results = run(out, texts, local(workers), progress)
    if not json:
        print("SYNTHETIC DATA: a generated inbox and simulated annotators; the figures show the tool, not the world.")
    _finish(results, out, json)
    if not json:
        print(
            f"\nOpen {out / 'report.html'} in a browser.\n\n"
            "Now with your own texts (CSV, JSON Lines, Parquet or plain text):\n"
            '  labelwise init inbox --labels "billing,bug,praise"\n'
            "  labelwise add texts.csv -C inbox\n"
            "  labelwise advance -C inbox\n"
            "  labelwise label export batch.csv -C inbox     # fill in the label column\n"
            "  labelwise label import batch.csv -C inbox\n"
            "  labelwise advance -C inbox && labelwise report -C inbox"
        )
