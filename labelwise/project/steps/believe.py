"""What the model in use says about a shard, what was asked, and the pool that strategies choose from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np

from labelwise.core import Beliefs, Calibrator, Examples, Hints, Known, Lazy, Pool, State, Streamed, stream
from labelwise.core.threads import one_thread
from labelwise.learn.outside import Detector, Outside
from labelwise.learn.thresholds import with_thresholds
from labelwise.project.components import build
from labelwise.project.config import LEARNING
from labelwise.project.ledger import Ledger, ref
from labelwise.project.steps.neighbours import ShardSearch
from labelwise.project.steps.snapshot import groups_of, part, read_snapshot, targets_of
from labelwise.project.workspace import Array, Workspace

ENOUGH = 20
"""Labelled texts below which shares of them say too little to call a text outside."""


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
    state = workspace.artefacts.get(ref(entry["calibration"]["ref"]))
    calibration, thresholds = calibrator.restore(state), state.arrays.get("thresholds")
    return lambda beliefs: with_thresholds(calibration.apply(beliefs), thresholds)


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
        targets = None if config.task.kind == "spans" else targets_of(workspace, config.task, columns)
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


def outside_of(workspace: Workspace, ledger: Ledger) -> Callable[[str], Mapping[str, Lazy]]:
    """Signals of a shard by its name: how far each text lies outside of what the model in use was trained on.

    Worked out once somebody asks. None before there is a model for the present config, while it has seen fewer
    than ENOUGH texts, and for spans, which belong to no one class.
    """
    entry, config = ledger.champion, workspace.config
    if entry is None or entry["learning"] != config.digest(*LEARNING) or config.task.kind == "spans":
        return lambda shard: {}
    if entry["examples"] < ENOUGH:
        return lambda shard: {}
    method, version, recorded = Outside(), entry["version"], ledger.vectors[entry["encoder"]]

    def make() -> State:
        rows, _ = read_snapshot(workspace, entry["snapshot"])
        columns = part(rows, "train")
        examples = Examples(
            task=config.task,
            targets=targets_of(workspace, config.task, columns),
            weights=np.array(columns["weight"]),
            vectors=workspace.vectors_of(columns["id"], entry["encoder"]),
            groups=groups_of(workspace, entry["division"], columns["id"]),
        )
        # one thread a product, as in training
        with one_thread():
            return method.fit(examples, workspace.model(version), stream(entry["seed"], "outside", version)).state()

    @cache
    def detector() -> Detector:
        made = workspace.artefacts.once("outside", {"model": entry["ref"], "method": asdict(method)}, make)
        return method.restore(workspace.artefacts.get(made))

    def signals(shard: str) -> Mapping[str, Lazy]:
        vectors = workspace.artefacts.get(ref(recorded[shard])).arrays["vectors"]
        return {"outside": Lazy(len(vectors), lambda rows: detector().scores(vectors[rows]))}

    return signals


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


def _places(workspace: Workspace, texts: list[str]) -> dict[str, Array]:
    """The rows of some texts in every shard."""
    shard_of, row_of = workspace.find(texts)
    return {shard: row_of[shard_of == number] for number, shard in enumerate(workspace.now().shards)}


def _trusted(ledger: Ledger) -> bool:
    """Whether the beliefs of the model in use were calibrated, and no judgement says that it failed."""
    return bool((ledger.champion or {})["calibration"]["labels"]) and not ledger.distrusted


def pools(workspace: Workspace, ledger: Ledger) -> list[Pool]:
    """Every shard as a Pool. O(labels log N) besides a few passes over one number per text."""
    labelled, asked = (_places(workspace, list(texts)) for texts in (ledger.given, ledger.asked))
    known, hints, (encoder, _) = known_of(workspace, ledger), hints_of(workspace), workspace.encoder()
    division, signals = workspace.artefacts.get(ref(ledger.division["ref"])).arrays, outside_of(workspace, ledger)
    found = []
    for shard in ledger.shards:
        keys, in_pool = workspace.texts.keys(shard), division[f"split/{shard}"] == 0
        done, closed = np.zeros((2, len(keys)), dtype=bool)
        done[labelled[shard]] = closed[labelled[shard]] = closed[asked[shard]] = True
        beliefs = beliefs_of(workspace, ledger, shard)
        found.append(
            Pool(
                ids=keys,
                open=in_pool & ~closed,
                labelled=in_pool & done,
                costs=np.ones(len(keys)),
                beliefs=beliefs,
                calibrated=beliefs is not None and _trusted(ledger),
                vectors=workspace.artefacts.get(ref(ledger.vectors[encoder][shard])).arrays["vectors"],
                groups=division[f"group/{shard}"],
                labels=workspace.config.task.labels,
                known=known,
                hints=hints,
                signals=signals(shard),
                neighbours=ShardSearch(workspace, shard),
            )
        )
    return found
