"""A recorded model -> a file for other programs; and such a file -> a scikit-learn Pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from labelwise.core import Calibration, DamagedRecord, InputError, State
from labelwise.learn.export import to_onnx, to_sklearn
from labelwise.learn.temperature import Tempered
from labelwise.project.components import build
from labelwise.project.ledger import ref
from labelwise.project.workspace import Workspace
from labelwise.store import tensors
from labelwise.store.files import write_atomically

PARTS = {"encoder": "encoders", "trainer": "trainers", "calibrator": "calibrators"}


def export(workspace: Workspace, version: int, path: Path) -> None:
    """Write a model version with its calibration to ``.onnx`` (vectors in) or ``.safetensors`` (with its encoder).

    InputError for an unknown version, another ending, a missing folder or a model that is not linear.
    """
    if path.suffix not in (".onnx", ".safetensors"):
        raise InputError(
            f"{path}: cannot write {path.suffix or 'a file without an ending'}; use .onnx or .safetensors."
        )
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first.")
    model, entry = workspace.model(version), workspace.now().model(version)
    config, task = entry["config"], entry["config"]["task"]
    calibrated = "calibration" in entry
    states = {"encoder": workspace.artefacts.get(ref(entry["encoder"])), "trainer": model.state()}
    if calibrated:
        states["calibrator"] = workspace.artefacts.get(ref(entry["calibration"]["ref"]))
    facts = {
        "version": version, "kind": task["kind"], "labels": task["labels"], "data": entry["snapshot"],
        "calibrated": calibrated, **{part: config[part] for part in PARTS},
    }  # fmt: skip
    if path.suffix == ".onnx":
        notes = {name: json.dumps(value, ensure_ascii=False) for name, value in facts.items()}
        write_atomically(path, to_onnx(model, _calibration(facts, states), notes))
        return
    arrays = {f"{part}/{name}": array for part, state in states.items() for name, array in state.arrays.items()}
    facts["states"] = {part: dict(state.facts) for part, state in states.items()}
    plain, written = tensors.plain("model", State(arrays, facts))
    write_atomically(path, lambda file: tensors.write(file, plain, {"facts": written}))


def load(path: Path | str) -> Any:
    """The Pipeline (texts in) of a ``.safetensors`` that ``export`` wrote.

    InputError if there is no such file, DamagedRecord if it is not what was written.
    """
    try:
        arrays, header = tensors.open_mapped(Path(path), verify=True)
        facts = json.loads(header["facts"])
        states = {
            part: State({n.split("/", 1)[1]: a for n, a in arrays.items() if n.startswith(f"{part}/")}, kept)
            for part, kept in facts["states"].items()
        }
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; `labelwise model export` writes one.") from None
    except (KeyError, ValueError) as error:
        raise DamagedRecord(f"{path}: holds no exported model ({error}); export it again.") from None
    encoder, model = (build(PARTS[part], facts[part]).restore(states[part]) for part in ("encoder", "trainer"))
    return to_sklearn(model, _calibration(facts, states), facts["labels"], encoder)


def _calibration(facts: dict[str, Any], states: dict[str, State]) -> Calibration:
    if "calibrator" not in states:
        return Tempered(1.0)
    calibration: Calibration = build("calibrators", facts["calibrator"]).restore(states["calibrator"])
    return calibration
