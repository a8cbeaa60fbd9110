"""A spans project from its first text to its report, and a rehearsal of one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from labelwise.core import InputError, Tagged, stream
from labelwise.core.text import text_id
from labelwise.project.executors import Serial
from labelwise.project.plan import advance
from labelwise.project.simulate import Experiment, simulate, truth_of
from labelwise.project.starting import start
from labelwise.project.steps.believe import pools
from labelwise.project.steps.predict import predict, predict_tables
from labelwise.project.steps.report import project_facts, simulation_facts
from labelwise.project.steps.submit import Submission, submit
from labelwise.project.steps.train import reproduce
from labelwise.project.workspace import Workspace
from labelwise.web.report import render
from tests.project.live import begin

WORDS = [
    "apple",
    "river",
    "quickly",
    "stone",
    "paper",
    "green",
    "window",
    "market",
    "yellow",
    "slowly",
    "garden",
    "music",
    "letter",
    "bridge",
    "winter",
    "candle",
    "silver",
    "mountain",
    "table",
    "coffee",
    "engine",
    "forest",
    "planet",
    "thunder",
    "basket",
    "mirror",
    "harbour",
    "pencil",
    "carpet",
    "saddle",
]
NAMES = {"Anna Meier": "PER", "Bob Stone": "PER", "Paris": "LOC", "New York": "LOC", "Carla": "PER", "Rome": "LOC"}
SELECTION = {"initial": 12, "batch": 8, "control": 0.25}


def sentences(n: int) -> list[tuple[str, list[list[object]]]]:
    rng = stream(0, "sentences")
    out = []
    for _ in range(n):
        words, spans, text = list(rng.choice(WORDS, 8, replace=False)), [], ""
        words.insert(int(rng.integers(9)), str(rng.choice(list(NAMES))))
        for word in words:
            text += " " * bool(text)
            if word in NAMES:
                spans.append([len(text), len(text) + len(word), NAMES[word]])
            text += str(word)
        out.append((f"{text}.", spans))
    return out


ROWS = sentences(140)
TRUTH = {text_id(text): spans for text, spans in ROWS}


def table(*, tags: bool = False) -> pa.Table:
    def written(text: str, spans: list[list[object]]) -> str:
        if not tags:
            return json.dumps(spans)
        ((start, end, label),) = spans
        words, at = [], 0
        for word in text.split():
            here = text.index(word, at)
            at = here + len(word)
            words.append(f"{'B' if here == start else 'I'}-{label}" if start <= here < end else "O")
        return json.dumps(words)

    meta = [{"answer": written(text, spans)} for text, spans in ROWS]
    split = ["test" if row % 3 == 0 else "train" for row in range(len(ROWS))]
    return pa.table({"text": [text for text, _ in ROWS], "meta": pa.array(meta), "split": split})


def answer(workspace: Workspace, texts: list[str]) -> None:
    submit(workspace, [Submission(text, "ann", TRUTH[text], 2.0) for text in texts])


@pytest.fixture
def project(tmp_path: Path) -> Workspace:
    task = {"kind": "spans", "labels": ["PER", "LOC"]}
    trainer = {"use": "crf", "iterations": 30}
    return begin(tmp_path / "p", [table()], task=task, trainer=trainer, selection=SELECTION)


def test_a_new_spans_project_is_trained_by_the_crf(tmp_path: Path) -> None:
    start(tmp_path, ["PER", "LOC"], "spans", "names")
    assert "crf" in (tmp_path / "labelwise.toml").read_text().partition("[trainer]")[2]
    with Workspace.open(tmp_path) as workspace:
        assert workspace.config.trainer.reads == "texts"


def test_from_texts_to_the_report(project: Workspace) -> None:
    with project as workspace:
        assert advance(workspace)[-1] == "select"
        shard = next(iter(workspace.now().shards))
        declared = workspace.texts.column(shard, "split")
        test = [t for t, split in zip(workspace.texts.ids(shard), declared, strict=True) if split == "test"]
        answer(workspace, test)
        answer(workspace, workspace.now().pending)
        assert advance(workspace) == ["snapshot", "train", "calibrate", "evaluate", "judge", "select"]
        ledger = workspace.now()
        (batch,) = ledger.batches[1:]
        assert batch["fallback"] == ""
        assert batch["model"] == 1
        (pool,) = pools(workspace, ledger)
        assert pool.known is not None
        assert pool.known.targets is None
        said = pool.beliefs.take(np.arange(5))
        assert isinstance(said, Tagged)
        assert pool.beliefs.margin().shape == (len(pool),)
        evaluation = ledger.model(1)["evaluation"]
        assert evaluation["basis"] == "test split"
        assert evaluation["metrics"]["micro_f1"]["value"] > 0.7
        assert (ledger.model(1)["widened"], ledger.model(1)["lost"]) == (0, 0)
        assert reproduce(workspace, 1)["identical"]
        answer(workspace, workspace.now().pending)
        advance(workspace)
        facts = project_facts(workspace)
        assert "entity F1" in facts["verdict"]
        assert {"micro_f1", "accuracy"} <= set(facts["curves"])
        page = render(facts)
        assert "F1 in part" in page
        assert "Entity F1" in page
        told = predict(workspace, ["Anna met Bob"])
        assert told.answers() == workspace.config.task.spans(told.beliefs.hard(), ["Anna met Bob"])
        found = pa.table({"source_id": ["7"], "place": ["new:1"], "text": ["Anna met Bob"]})
        schema, tables = predict_tables(workspace, [found], every=True)
        (row,) = next(tables).cast(schema).to_pylist()
        assert [tuple(span.values()) for span in row["label"]] == [tuple(span) for span in told.answers()[0]]


def test_spans_that_no_tags_fit_are_told(project: Workspace) -> None:
    with project as workspace:
        advance(workspace)
        pending = workspace.now().pending
        answer(workspace, pending[2:])
        for text, changed in zip(pending, ((1, 0), (0, 0)), strict=False):
            begin_, end, label = TRUTH[text][0]
            spans = [[begin_ + changed[0], end, label]] + [[0, end + 1, label]] * (not changed[0])
            submit(workspace, [Submission(text, "ann", spans, 2.0)])
        advance(workspace)
        newest = workspace.now().models[-1]
        notes = " ".join(project_facts(workspace)["notes"])
        assert newest["widened"] + newest["lost"] >= 1
        assert "learned widened" in notes or "cannot be learned" in notes


@pytest.mark.parametrize("tags", [False, True])
def test_spans_and_tags_are_rehearsed_alike(tmp_path: Path, tags: bool) -> None:
    base = {"trainer": {"use": "crf", "iterations": 20}, "selection": {**SELECTION, "budget": 28, "start": "random"}}
    experiment = Experiment(tmp_path, "s", "answer", ("mnlp", "random"), (0,), kind="spans", base=base)
    results = simulate(experiment, lambda: [table(tags=tags)], Serial())
    assert results["task"]["labels"] == 2
    for arm in results["arms"]:
        assert arm["labels"] == [12, 20, 28]
        assert arm["micro_f1"][-1] > 0.7
    assert "micro_f1" in simulation_facts(results)["curves"]


def test_a_label_column_is_read_as_spans_or_tags_or_refused() -> None:
    assert truth_of([], "spans", "|", "a b") == truth_of("[]", "spans", "|", "a b") == ()
    assert truth_of('[[0, 1, "X"]]', "spans", "|", "a b") == ((0, 1, "X"),)
    assert truth_of([{"start": 2, "end": 3, "label": "X"}], "spans", "|", "a b") == ((2, 3, "X"),)
    assert truth_of(["O", "B-X"], "spans", "|", "a b") == ((2, 3, "X"),)
    for wrong in ("X", 3, [[0, 9, "X"]], [[0, 1]], ["B-X"], [3], [[0, 1, 2]]):
        with pytest.raises(InputError, match="--label-column"):
            truth_of(wrong, "spans", "|", "a b")
