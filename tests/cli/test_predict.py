"""``labelwise predict`` and ``labelwise model export``, as they are typed."""

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest

from labelwise.core import DamagedRecord, InputError, WrongMoment
from labelwise.project.steps.evaluate import judged_on
from labelwise.project.steps.export import load
from labelwise.project.steps.predict import predict, sets_of
from labelwise.project.workspace import Workspace
from tests.cli.running import done, fill, label_of, new_project, refused, run, write_inbox
from tests.cli.test_processes import PROGRAM, ctrl_c, ends_as_stopped, needs_proc, start

ENV = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
TEXTS = ["invoice refund charge my money", "crash error freeze since monday", "love wonderful thanks großartig 日本"]


def rows_of(said: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(said)))


def type_in(monkeypatch, content: bytes) -> None:
    """Put this on standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))


@pytest.fixture
def new(tmp_path):
    """A file of new texts with ids."""
    path = tmp_path / "new.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "text"], *([f"N{i}", text] for i, text in enumerate(TEXTS))])
    return path


def test_labels_of_a_file_with_ids_places_and_texts(lived_in, new):
    rows = rows_of(done("predict", new, within=lived_in))
    assert [row["id"] for row in rows] == ["N0", "N1", "N2"]
    assert [row["source"] for row in rows] == ["new.csv:2", "new.csv:3", "new.csv:4"]
    assert [row["text"] for row in rows] == TEXTS
    assert [row["label"] for row in rows] == ["billing", "bug", "praise"]
    assert {(row["calibrated"], row["model"]) for row in rows} == {("true", "2")}
    assert all(0 < float(row["confidence"]) <= 1 for row in rows)


def test_options_all_texts_json_and_min_confidence(lived_in, new):
    rows = [json.loads(line) for line in done("predict", new, "--all", "--json", within=lived_in).splitlines()]
    for row in rows:
        probs = [row[f"p_{label}"] for label in ("billing", "bug", "praise")]
        assert sum(probs) == pytest.approx(1, abs=1e-5)
        assert row["confidence"] == max(probs)
    least = sorted(row["confidence"] for row in rows)[1]
    cut = rows_of(done("predict", new, "--no-texts", "--min-confidence", least, within=lived_in))
    assert [row["label"] == "" for row in cut] == [row["confidence"] < least for row in rows]
    assert "text" not in cut[0]
    assert "0 to 1" in refused("predict", new, "--min-confidence", "1.5", within=lived_in)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_an_output_file_of_each_kind(suffix, lived_in, new, tmp_path):
    path = tmp_path / f"out.{suffix}"
    facts = json.loads(done("predict", new, new, "--output", path, "--json", within=lived_in))
    assert facts == {
        "model": 2, "calibrated": True, "rows": 3, "unsure": 0, "rejected": 0, "reasons": {}, "output": str(path),
    }  # fmt: skip
    if suffix == "parquet":
        rows = pq.read_table(path).to_pylist()
    elif suffix == "jsonl":
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    else:
        rows = rows_of(path.read_text(encoding="utf-8"))
    assert [(row["text"], row["label"]) for row in rows] == list(zip(TEXTS, ("billing", "bug", "praise"), strict=True))


def test_predictions_can_be_corrected_and_imported_as_answers(lived_in, tmp_path):
    folder = new_project(tmp_path / "other")
    done("add", lived_in / "tickets.csv", within=folder)
    done("advance", within=folder)
    done("label", "export", "b.csv", within=folder)
    done("predict", folder / "b.csv", "--output", folder / "p.csv", "--min-confidence", "0.9", within=lived_in)
    found = json.loads(done("label", "import", "p.csv", "--json", within=folder))
    assert found["recorded"] == sum(row["label"] != "" for row in rows_of((folder / "p.csv").read_text()))


def test_a_text_of_the_pool_is_told_what_the_project_believes(lived_in):
    from labelwise.project.steps.believe import beliefs_of

    with Workspace.open(lived_in) as workspace:
        ledger = workspace.now()
        (shard,) = ledger.shards
        texts = [text for chunk in workspace.texts.texts(shard) for text in chunk]
        expected = beliefs_of(workspace, ledger, shard).take(np.arange(len(texts))).probs
        np.testing.assert_allclose(predict(workspace, texts).beliefs.probs, expected, atol=1e-6)
        assert predict(workspace, texts[:3], 1).version == 1
        assert len(predict(workspace, []).answers()) == 0


def test_the_recorded_encoder_is_used_whatever_the_config_says_now(lived_in, new, tmp_path):
    before = done("predict", new, within=lived_in)
    path = lived_in / "labelwise.toml"
    kept = path.read_text()
    try:
        path.write_text(kept.replace('use = "static"', 'use = "hashing"').replace("centre = true\n", ""))
        assert 'use = "hashing"' in path.read_text()
        assert done("predict", new, within=lived_in) == before
    finally:
        path.write_text(kept)


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        ("\n".join(TEXTS) + "\n", ["", "", ""]),
        ("\ufeff" + "".join(json.dumps({"text": t, "id": i}) + "\n" for i, t in enumerate(TEXTS)), ["0", "1", "2"]),
    ],
    ids=["text", "json"],
)
def test_standard_input(content, ids, lived_in, monkeypatch):
    type_in(monkeypatch, content.encode())
    rows = rows_of(done("predict", "-", within=lived_in))
    assert [(row["id"], row["text"], row["label"]) for row in rows] == [
        (i, text, label) for i, text, label in zip(ids, TEXTS, ("billing", "bug", "praise"), strict=True)
    ]
    assert [row["source"] for row in rows] == ["stdin:1", "stdin:2", "stdin:3"]


def test_rows_that_are_no_texts_are_named_and_listed(lived_in, monkeypatch, tmp_path):
    content = b"crash\n\n\xff\xfe bad\nthanks\n"
    type_in(monkeypatch, b"x\n" + content)
    found = run("predict", "-", within=lived_in)
    assert len(rows_of(found.out)) == 3
    assert found.err == "2 rows left out, such as stdin:4: invalid UTF-8. --rejects FILE lists all.\n"
    type_in(monkeypatch, b"x\n" + content)
    found = run("predict", "-", "--rejects", tmp_path / "bad.jsonl", within=lived_in)
    listed = [json.loads(line)["place"] for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert sorted(listed) == ["stdin:3", "stdin:4"]
    type_in(monkeypatch, b'{"text": "a"}\n{"text": \n')
    assert "stdin:2: malformed JSON" in run("predict", "-", within=lived_in).err
    type_in(monkeypatch, b"")
    assert "stdin: the file holds no rows" in refused_after_header("predict", "-", within=lived_in)


def refused_after_header(*arguments, within):
    """What is said when the input fails after the header of the output was written."""
    result = run(*arguments, within=within)
    assert result.code == 2
    assert result.out.count("\n") == 1
    return result.err


@needs_proc
def test_a_file_that_cannot_be_read(lived_in, tmp_path):
    # a file that fails even for root
    (tmp_path / "new.txt").symlink_to("/proc/self/mem")
    assert "new.txt: cannot be read" in refused_after_header("predict", tmp_path / "new.txt", within=lived_in)


def test_wrong_files_are_refused_and_the_old_output_stays(lived_in, new, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "table.xlsx").write_bytes(b"PK")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    (tmp_path / "no_text.csv").write_text("a,b\nx,y\n")
    out = tmp_path / "out.csv"
    out.write_text("old")
    for given, said in (
        (tmp_path / "empty", "holds no file that can be read"),
        (tmp_path / "table.xlsx", "cannot be read"),
        (tmp_path / "nowhere.csv", "no file matches"),
        (tmp_path / "broken.parquet", "broken.parquet: is not a readable Parquet file"),
        (tmp_path / "no_text.csv", "no_text.csv"),
    ):
        assert said in refused("predict", new, given, "--output", out, within=lived_in)
        assert out.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []
    assert ".csv, .jsonl or .parquet" in refused("predict", new, "--output", "out.xlsx", within=lived_in)
    assert "does not exist" in refused("predict", new, "--output", "no/out.csv", within=lived_in)
    assert "model 9: no such version; there are 1 to 2" in refused("predict", new, "--model", 9, within=lived_in)


def test_sets_of_labels_keep_their_promise_or_say_what_is_missing(lived_in, new):
    rows = [json.loads(line) for line in done("predict", new, "--json", "--sets", "0.5", within=lived_in).splitlines()]
    assert all(set(row["set"]) <= {"billing", "bug", "praise"} for row in rows)
    with Workspace.open(lived_in) as workspace:
        _, columns = judged_on(workspace, workspace.now().model(2))
        sets = sets_of(workspace, 2, 0.5)
        assert len(sets.scores) == len(columns["id"]) > 0
        told = predict(workspace, workspace.texts.get(list(workspace.now().shards), columns["id"]), 2)
        truth = workspace.config.task.targets([json.loads(label) for label in columns["label"]])
        assert sets.sets(told.beliefs.probs)[np.arange(len(truth)), truth].mean() >= 0.5
    assert "of at least 999; every batch adds some" in refused(
        "predict", new, "--sets", "0.001", code=3, within=lived_in
    )
    assert "of at least 999 with one label" in refused(
        "predict", new, "--sets", "0.001", "--by-class", code=3, within=lived_in
    )
    assert "miss: 7.0 is not allowed" in refused("predict", new, "--sets", "7", within=lived_in)


def test_before_there_is_a_model(project, new, tmp_path):
    assert "no model is in use yet" in refused("predict", new, within=project, code=3)
    assert "not a project" in refused("predict", new, within=tmp_path)
    assert "none yet" in refused("model", "export", 1, "m.onnx", within=project)
    with Workspace.open(project) as workspace, pytest.raises(WrongMoment):
        predict(workspace, ["a"])


def test_a_model_without_calibration_says_so_in_every_row(tmp_path, new):
    from labelwise.project.plan import STEPS, plan

    folder = new_project(tmp_path / "p")
    done("add", write_inbox(tmp_path / "tickets.csv", 40), within=folder)
    done("advance", within=folder)
    done("label", "export", "b.csv", within=folder)
    fill(folder / "b.csv")
    done("label", "import", "b.csv", within=folder)
    with Workspace.open(folder) as workspace:
        while not workspace.now().models:
            todo = plan(workspace.now(), workspace.config)[0]
            STEPS[todo.step](workspace, todo)
    found = run("predict", new, "--model", 1, within=folder)
    assert {row["calibrated"] for row in rows_of(found.out)} == {"false"}
    assert "model 1 is not calibrated" in found.err
    done("model", "export", 1, "m.safetensors", within=folder)
    confidence = [float(row["confidence"]) for row in rows_of(found.out)]
    assert load(folder / "m.safetensors").predict_proba(TEXTS).max(axis=1) == pytest.approx(confidence, abs=1e-3)


def test_several_labels_are_a_list(tmp_path, new):
    folder = new_project(tmp_path / "p", task="multi")
    done("add", write_inbox(tmp_path / "tickets.csv"), within=folder)
    done("advance", within=folder)
    done("label", "export", "b.jsonl", within=folder)
    rows = [json.loads(line) for line in (folder / "b.jsonl").read_text().splitlines()]
    for row in rows:
        row["label"] = [label_of(row["text"])]
    (folder / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done("label", "import", "b.jsonl", within=folder)
    done("advance", within=folder)
    told = [json.loads(line) for line in done("predict", new, "--json", within=folder).splitlines()]
    assert all(isinstance(row["label"], list) for row in told)
    shown = rows_of(done("predict", new, within=folder))
    assert [json.loads(row["label"]) for row in shown] == [row["label"] for row in told]
    done("predict", new, "-o", "out.parquet", "--all", within=folder)
    table = pq.read_table(folder / "out.parquet").to_pylist()
    for row in table:
        assert row["label"] == [label for label in ("billing", "bug", "praise") if row[f"p_{label}"] > 0.5]


def test_the_reader_may_go(lived_in, tmp_path):
    (tmp_path / "many.txt").write_text("".join(f"crash number {i}\n" for i in range(20_000)))
    command = f"{subprocess.list2cmdline(PROGRAM)} predict {tmp_path / 'many.txt'} | head -2; echo ${{PIPESTATUS[0]}}"
    found = subprocess.run(["bash", "-c", command], cwd=lived_in, capture_output=True, text=True, check=True, env=ENV)
    assert found.stdout.splitlines()[-1] == "141"
    assert found.stderr == ""


@needs_proc
def test_ctrl_c_leaves_the_old_output_and_no_part_of_a_new_one(lived_in, tmp_path):
    out, fifo = tmp_path / "out.csv", tmp_path / "endless.txt"
    out.write_text("old")
    os.mkfifo(fifo)
    process = start("predict", fifo, "--output", out, within=lived_in)
    with fifo.open("w") as writer:
        writer.writelines(f"text {n} " + "x" * 1000 + "\n" for n in range(3000))
        writer.flush()
        ctrl_c(process)
    ends_as_stopped(process)
    assert out.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["endless.txt", "out.csv"]


def test_rows_go_to_stdout_and_the_bar_to_the_terminal(lived_in, new):
    screen, terminal = pty.openpty()
    with os.fdopen(screen, "rb", 0), os.fdopen(terminal, "w") as stderr:
        found = subprocess.run(
            [*PROGRAM, "predict", str(new)], cwd=lived_in, stdout=subprocess.PIPE, stderr=stderr, check=True, env=ENV,
            encoding="utf-8", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
    assert [row["text"] for row in rows_of(found.stdout)] == TEXTS


def test_an_exported_model_answers_alike(lived_in, new, tmp_path):
    rows = rows_of(done("predict", new, "--all", within=lived_in))
    expected = [[float(row[f"p_{label}"]) for label in ("billing", "bug", "praise")] for row in rows]
    for name in ("m.onnx", "m.safetensors"):
        done("model", "export", 2, tmp_path / name, within=lived_in)
    pipeline = load(tmp_path / "m.safetensors")
    np.testing.assert_allclose(pipeline.predict_proba(TEXTS), expected, atol=2e-3)
    assert pipeline.predict(TEXTS).tolist() == ["billing", "bug", "praise"]
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    (probs,) = session.run(None, {"vectors": pipeline[0].transform(TEXTS)})
    np.testing.assert_allclose(probs, pipeline.predict_proba(TEXTS), atol=1e-5)
    notes = session.get_modelmeta().custom_metadata_map
    assert json.loads(notes["labels"]) == ["billing", "bug", "praise"]
    assert (notes["version"], notes["calibrated"]) == ("2", "true")


def test_what_is_no_exported_model_is_refused(lived_in, tmp_path):
    assert "use .onnx or .safetensors" in refused("model", "export", 2, "m.pkl", within=lived_in)
    assert "does not exist" in refused("model", "export", 2, "no/m.onnx", within=lived_in)
    path = tmp_path / "m.safetensors"
    with pytest.raises(InputError, match="no such file"):
        load(path)
    done("model", "export", 2, path, within=lived_in)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedRecord, match="not what was written"):
        load(path)
    path.write_bytes(next((lived_in / ".labelwise/artefacts/model").glob("*.safetensors")).read_bytes())
    with pytest.raises(DamagedRecord, match="holds no exported model"):
        load(path)
