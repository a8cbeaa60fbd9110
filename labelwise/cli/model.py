"""``labelwise model``: versions, and which one is in use."""

from pathlib import Path
from typing import Annotated, Any

import typer

from labelwise.cli import ui

app = typer.Typer(help="Model versions: list, show, promote, roll back, reproduce, export.", no_args_is_help=True)

Version = Annotated[int, typer.Argument(help="The model's version number.")]
Why = Annotated[str, typer.Option("--why", help="The reason, recorded with the fact.")]


@app.command("list")
def list_models(project: ui.Folder = Path(), json: ui.Json = False) -> None:
    """All model versions and what became of them.

    Example: labelwise model list
    """
    from labelwise.project.steps.report import versions

    with ui.workspace(project) as workspace:
        rows = versions(workspace.now())
    if json:
        return ui.show_json(rows)
    if not rows:
        return ui.say("no model yet; the first is trained by labelwise advance, once there are answers.")
    ui.table(
        ["model", "data", "labels", "accuracy", "log-loss", "status", "why"],
        [[r["model"], r["snapshot"], r["labels"], _value(r, "accuracy"), _value(r, "log_loss"), r["status"], r["why"]]
         for r in rows],
    )  # fmt: skip
    return None


def _value(row: dict[str, Any], metric: str) -> float | str:
    found = row["metrics"].get(metric)
    return found["value"] if found else "-"


@app.command()
def show(version: Version, project: ui.Folder = Path()) -> None:
    """The complete run record of a version, as JSON.

    Example: labelwise model show 3
    """
    with ui.workspace(project) as workspace:
        workspace.model(version)
        ui.show_json(workspace.now().model(version))


@app.command()
def promote(version: Version, why: Why = "", project: ui.Folder = Path()) -> None:
    """Put a version into use.

    Example: labelwise model promote 3 --why "checked by Ana"
    """
    from labelwise.project.steps import evaluate

    with ui.workspace(project) as workspace:
        evaluate.promote(workspace, version, why)
    ui.say(f"model {version} is in use.")


@app.command()
def rollback(why: Why = "", project: ui.Folder = Path()) -> None:
    """Return to the version used before, with its calibration.

    Example: labelwise model rollback --why "complaints since Monday"
    """
    from labelwise.project.steps import evaluate

    with ui.workspace(project) as workspace:
        version = evaluate.rollback(workspace, why)
    ui.say(f"model {version} is in use again.")


@app.command()
def reproduce(version: Version, project: ui.Folder = Path(), json: ui.Json = False) -> None:
    """Retrain a version from its record and compare every number.

    Example: labelwise model reproduce 3
    """
    from labelwise.project.steps import train

    with ui.workspace(project) as workspace:
        result = train.reproduce(workspace, version)
    if json:
        ui.show_json(result)
    else:
        same = "identical" if result["identical"] else f"differs by up to {result['max_difference']:.3g}"
        ui.tell(f"model {version}: {same}")
        for name, change in result["code"].items():
            ui.tell(f"  {name} has changed: {change}")
    if not result["identical"] and not result["code"]:
        raise typer.Exit(5)


@app.command()
def export(
    version: Version,
    file: Annotated[Path, typer.Argument(help="Where to write: .onnx or .safetensors.")],
    project: ui.Folder = Path(),
) -> None:
    """Write a model with its calibration for other programs.

    .onnx: a graph from vectors to probabilities; the texts are encoded outside of it. .safetensors: encoder,
    model and calibration, which labelwise.project.steps.export.load turns into a scikit-learn Pipeline.

    Example: labelwise model export 3 model.onnx
    """
    from labelwise.project.steps.export import export as write

    with ui.workspace(project) as workspace:
        write(workspace, version, file)
    ui.say(f"model {version} in {file}.")
