"""What the model in use says about a shard, what was asked, and the pool that strategies choose from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from labelwise.core import Beliefs, Calibrator, Hints, Known, Pool, State, Streamed, keys_of
from labelwise.project.components import build
from labelwise.project.config import LEARNING
from labelwise.project.ledger import Ledger, ref
from labelwise.project.steps.neighbours import ShardSearch
from labelwise.project.steps.snapshot import answers, part, read_snapshot
from labelwise.project.workspace import Workspace


def believe(workspace: Workspace, entry: dict[str, Any], inputs: Any) -> Beliefs:
    """The calibrated beliefs of a recorded model about some inputs."""
    return _calibration(workspace, entry)(workspace.model(entry["version"]).believe(inputs))


def inputs_of(workspace: Workspace, entry: dict[str, Any], ids: list[str]) -> Any:
    """What a recorded model reads of some texts: they themselves, or their vectors."""
    if _reads_texts(entry):
        return workspace.texts.get(list(workspace.now().shards), ids)
    return workspace.vectors_of(ids, entry["encoder"])


def _reads_texts(entry: dict[str, Any]) -> bool:
    return bool(build("trainers", entry["config"]["trainer"]).reads == "texts")


def _calibration(workspace: Workspace, entry: dict[str, Any]) -> Callable[[Beliefs], Beliefs]:
    if "calibration" not in entry:
        return lambda beliefs: beliefs
    calibrator: Calibrator = build("calibrators", entry["config"]["calibrator"])
    return calibrator.restore(workspace.artefacts.get(ref(entry["calibration"]["ref"]))).apply


def beliefs_of(workspace: Workspace, ledger: Ledger, shard: str) -> Streamed | None:
    """Beliefs of the model in use about a whole shard; None before there is one for the present config."""
    champion = ledger.champion
    if champion is None or champion["learning"] != workspace.config.digest(*LEARNING):
        return None
    model, calibrated = workspace.model(champion["version"]), _calibration(workspace, champion)
    if _reads_texts(champion):
        ids = workspace.ids(shard)
        return Streamed(
            len(ids),
            lambda rows: calibrated(model.believe(workspace.texts.get([shard], ids[rows].astype(str).tolist()))),
        )
    vectors = workspace.artefacts.get(ref(ledger.vectors[champion["encoder"]][shard])).arrays["vectors"]
    return Streamed(len(vectors), lambda rows: calibrated(model.believe(vectors[rows])))


def known_of(workspace: Workspace, ledger: Ledger) -> Known:
    """What the newest model was trained on, then the texts that came after it or still wait for an answer.

    Texts that never train (evaluation, test, validation) are not known: nothing is learned near them.
    """
    config, entry = workspace.config, ledger.models[-1] if ledger.models else {}
    ids: list[str] = []
    passed: set[str] = set()
    targets = beliefs = None
    if entry.get("learning") == config.digest(*LEARNING) and "calibration" in entry:
        rows, _ = read_snapshot(workspace, entry["snapshot"])
        columns = part(rows, "train")
        ids, passed = columns["id"], set(rows["id"].to_pylist())
        targets = config.task.targets(answers(config.task, columns["label"]))
        held_out = workspace.model(entry["version"]).held_out
        beliefs = None if held_out is None else _calibration(workspace, entry)(held_out)
    ids = ids + [text for text in _awaited(workspace, ledger) if text not in passed]
    width = workspace.encoder()[1].dimensions
    return Known(workspace.vectors_of(ids).reshape(len(ids), width), targets, beliefs)


def _awaited(workspace: Workspace, ledger: Ledger) -> list[str]:
    """Texts of the pool that were answered or wait for an answer, but for the evaluation's."""
    texts = [
        text
        for text in {**ledger.asked, **ledger.given}
        if (text in ledger.given or text not in ledger.skipped)
        and not (text in ledger.asked and ledger.asked[text].arm == "evaluation")
    ]
    division = workspace.artefacts.get(ref(ledger.division["ref"])).arrays
    places = zip(texts, *workspace.rows_of(texts), strict=True)
    return [text for text, shard, row in places if division[f"split/{shard}"][row] == 0]


def hints_of(workspace: Workspace) -> Hints | None:
    """The examples and keywords of ``selection.hints``, encoded as texts are; None if there are none."""
    said, labels = workspace.config.selection.hints, workspace.config.task.labels
    pairs = [(place, text) for place, label in enumerate(labels) for text in said.get(label, ())]
    if not pairs:
        return None
    (name, encoder), texts = workspace.encoder(), [text for _, text in pairs]
    inputs = {"encoder": name, "texts": texts}
    made = workspace.artefacts.once("hints", inputs, lambda: State({"vectors": encoder.encode(texts)}))
    return Hints(workspace.artefacts.get(made).arrays["vectors"], np.array([place for place, _ in pairs]))


def pools(workspace: Workspace, ledger: Ledger) -> list[Pool]:
    """Every shard as a Pool."""
    labelled, asked = keys_of(list(ledger.given)), keys_of(list(ledger.asked))
    known, hints, (encoder, _) = known_of(workspace, ledger), hints_of(workspace), workspace.encoder()
    division = workspace.artefacts.get(ref(ledger.division["ref"])).arrays
    found = []
    for shard in ledger.shards:
        keys, in_pool = workspace.texts.keys(shard), division[f"split/{shard}"] == 0
        done, beliefs = np.isin(keys, labelled), beliefs_of(workspace, ledger, shard)
        found.append(
            Pool(
                ids=keys,
                open=in_pool & ~done & ~np.isin(keys, asked),
                labelled=in_pool & done,
                costs=np.ones(len(keys)),
                beliefs=beliefs,
                calibrated=beliefs is not None and bool((ledger.champion or {})["calibration"]["labels"]),
                vectors=workspace.artefacts.get(ref(ledger.vectors[encoder][shard])).arrays["vectors"],
                groups=division[f"group/{shard}"],
                labels=workspace.config.task.labels,
                known=known,
                hints=hints,
                neighbours=ShardSearch(workspace, shard),
            )
        )
    return found
