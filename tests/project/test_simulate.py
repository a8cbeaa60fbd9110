"""Rehearsals: fair arms, the same results however they were reached, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from labelwise.core import InputError, unknown
from labelwise.project.comparing import compare
from labelwise.project.executors import Processes, Serial
from labelwise.project.simulate import Experiment, simulate
from labelwise.project.steps.report import project_facts, simulation_facts, verdict
from labelwise.project.workspace import Workspace
from labelwise.store.log import SqliteLog
from labelwise.web.report import render
from tests.project.live import answer, rounds, rows
from tests.project.rehearsing import experiment, run, tables

ARM = {"strategy", "seed", "labels", "accuracy", "macro_f1", "log_loss", "ece", "seconds"}
ROW = {"strategy", "seeds", "alc", "alc_interval", "final", "final_interval", "labels_to_random_final", "saving",
       "saving_interval", "p_value_vs_random"}  # fmt: skip


@pytest.fixture(scope="session")
def finished_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rehearsal") / "out"
    run(out)
    return out


@pytest.fixture
def finished(finished_folder: Path, tmp_path: Path) -> Path:
    """A rehearsal of margin and random with two seeds, at its end."""
    return Path(shutil.copytree(finished_folder, tmp_path / "out"))


def _results(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "results.json").read_bytes()))


def _logs(out: Path) -> dict[str, list[Any]]:
    found = {}
    for home in sorted((out / "runs").iterdir()):
        with SqliteLog(home / "log.db") as log:
            found[home.name.partition("-")[0] + home.name[-1]] = list(log.read())
    return found


def test_results_have_exactly_the_documented_keys(finished: Path) -> None:
    results = _results(finished)
    assert {"task", "arms", "summary"} < set(results)
    assert {(arm["strategy"], arm["seed"]) for arm in results["arms"]} == {
        (strategy, seed) for strategy in ("margin", "random") for seed in (0, 1)
    }
    for arm in results["arms"]:
        assert set(arm) == ARM
        assert arm["labels"] == [40, 80, 120]
        assert {len(arm[name]) for name in ARM - {"strategy", "seed"}} == {3}
        assert sorted(arm["seconds"]) == arm["seconds"]
    assert [row["strategy"] for row in results["summary"]] == ["random", "margin"]
    assert all(set(row) == ROW and row["seeds"] == 2 for row in results["summary"])


def test_arms_of_a_seed_share_first_batch_test_split_and_model_seed(finished: Path) -> None:
    logs = _logs(finished)
    assert set(logs) == {"margin0", "margin1", "random0", "random1"}

    def of(name: str, kind: str) -> list[Any]:
        return [event.data for event in logs[name] if event.kind == kind]

    for seed in "01":
        one, other = f"margin{seed}", f"random{seed}"
        assert of(one, "batch.selected")[0]["items"] == of(other, "batch.selected")[0]["items"]
        assert of(one, "model.trained")[0]["ref"] == of(other, "model.trained")[0]["ref"]
        assert of(one, "batch.selected")[1]["items"] != of(other, "batch.selected")[1]["items"]
        assert [m["seed"] for m in of(one, "model.trained")] == [int(seed)] * 3
    assert len({json.dumps(of(name, "pool.divided")) for name in logs}) == 1
    gold = [{d["text"] for d in of(name, "answer.given") if d["annotator"] == "gold"} for name in logs]
    assert gold[0]
    assert all(texts == gold[0] for texts in gold)
    for name in logs:
        asked = {item["text"] for batch in of(name, "batch.selected") for item in batch["items"]}
        assert len(asked) == 120
        assert not asked & gold[0]
        assert {m["basis"] for m in of(name, "model.evaluated")} == {"test split"}
    first = {seed: {i["text"] for i in of(f"random{seed}", "batch.selected")[0]["items"]} for seed in "01"}
    assert first["0"] != first["1"]


def test_random_in_other_words_is_no_better_than_random(tmp_path: Path) -> None:
    again = {"use": "mix", "parts": ["random"], "shares": [1.0]}
    results = run(tmp_path / "out", strategies=(again, "random"), seeds=(0, 1, 2, 3), selection={"budget": 80})
    summary = {row["strategy"]: row for row in results["summary"]}
    (other,) = set(summary) - {"random"}
    lo, hi = summary[other]["saving_interval"] or (None, None)
    assert lo is None or lo <= 0 <= (hi or 0)
    assert verdict(results["summary"]).startswith("No measurable gain over random labelling")


@pytest.mark.parametrize("moment", [4, 30, 47])
def test_killed_and_started_again_the_results_are_equal(finished: Path, tmp_path: Path, moment: int) -> None:
    """The moments lie in the shared part, in an early and in a late arm."""
    out = tmp_path / "killed" / "out"
    out.parent.mkdir()
    command = [sys.executable, "-m", "tests.project.rehearsing", str(out), str(moment)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (out / "results.json").exists()
    run(out)
    assert (out / "results.json").read_bytes() == (finished / "results.json").read_bytes()


def test_started_again_nothing_is_done_again(finished: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*.safetensors")}
    events = {name: len(log) for name, log in _logs(finished).items()}
    results = (finished / "results.json").read_bytes()
    run(finished)
    assert (finished / "results.json").read_bytes() == results
    assert {p: p.stat().st_mtime_ns for p in finished.rglob("*.safetensors")} == before
    assert {name: len(log) for name, log in _logs(finished).items()} == events


def test_processes_give_the_same_results(finished: Path, tmp_path: Path) -> None:
    run(tmp_path / "side-by-side", Processes(2))
    assert (tmp_path / "side-by-side/results.json").read_bytes() == (finished / "results.json").read_bytes()


def _refuses(number: int) -> int:
    if number == 2:
        raise InputError("two is not allowed")
    return os.getpid()


def test_an_error_in_a_process_is_the_error_of_all() -> None:
    for executor in (Serial(), Processes(2)):
        with pytest.raises(InputError, match="two is not allowed"):
            list(executor.each(_refuses, [1, 2, 3]))
    assert len({pid for _, pid in Processes(2).each(_refuses, [3, 4, 5, 6])} | {os.getpid()}) >= 2


def test_more_seeds_later_keep_the_finished_arms(finished: Path) -> None:
    before = {home.name: (home / "log.db").read_bytes() for home in (finished / "runs").iterdir()}
    first = _results(finished)["arms"]
    results = run(finished, seeds=(0, 1, 2))
    assert results["arms"][: len(first)] == first
    assert len(results["arms"]) == 6
    assert len(list((finished / "runs").iterdir())) == 6
    assert before.keys() < {home.name for home in (finished / "runs").iterdir()}


@pytest.mark.parametrize(
    "changed",
    [{"selection": {"batch": 41}}, {"oracle": "noisy"}, {"kind": "multi"}],
    ids=str,
)
def test_other_settings_in_the_same_folder_are_refused(finished: Path, changed: dict[str, Any]) -> None:
    before = (finished / "results.json").read_bytes()
    with pytest.raises(InputError, match=r"holds an experiment with other data or settings .* choose another --out"):
        run(finished, **changed)
    assert (finished / "results.json").read_bytes() == before


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(InputError, match="is not empty and holds no experiment"):
        run(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


REFUSED = {
    "column": (rows(), {"label_column": "labels"}, r"--label-column: unknown column 'labels'.* Known: domain, intent"),
    "one": ([{**row, "intent": "cancel"} for row in rows()], {}, r"only the label \['cancel'\] occurs"),
    "few": (rows()[:9], {}, r"only 9 usable texts; a rehearsal needs 10 or more"),
    "initial": (rows()[:60], {}, r"--initial: 40 texts are asked for, but the pool has \d+; choose a smaller"),
    "texts": ([{**row, "intent": f"{n}"} for n, row in enumerate(rows())], {}, r"no text fell into the test split"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unusable_input_is_refused_and_the_folder_stays_free(tmp_path: Path, case: str) -> None:
    chosen, changed, message = REFUSED[case]
    out = tmp_path / "out"
    split = case not in ("initial", "texts")
    selection = {"holdout": 0.5} if case == "initial" else {}
    asked = experiment(out, selection=selection)
    asked = Experiment(**{**_fields(asked), **changed})
    with pytest.raises(InputError, match=message):
        simulate(asked, lambda: tables(chosen, split=split), Serial())
    assert list(out.iterdir()) == []
    results = simulate(experiment(out, seeds=(0,), selection={"budget": 40}), tables, Serial())
    assert len(results["arms"]) == 2


def _fields(one: Experiment) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__dataclass_fields__}


def test_a_strategy_that_does_not_exist_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--strategy.use: unknown strategy 'margn'. Did you mean 'margin'"):
        run(tmp_path / "out", strategies=("margn", "random"))
    with pytest.raises(InputError, match="names a strategy twice"):
        run(tmp_path / "out", strategies=("random", {"use": "random"}))
    assert not (tmp_path / "out").exists()


def test_without_random_there_is_no_verdict_but_there_are_results(tmp_path: Path) -> None:
    results = run(tmp_path / "out", strategies=("margin",), selection={"budget": 80})
    (row,) = results["summary"]
    assert set(row) == ROW
    assert row["saving"] is row["saving_interval"] is row["p_value_vs_random"] is row["labels_to_random_final"] is None
    assert verdict(results["summary"]).startswith("No comparison with random labelling was made")
    assert "No comparison with random labelling" in render(simulation_facts(results))


def test_noisy_annotators_take_turns_and_err(tmp_path: Path) -> None:
    people = [{"name": "Ana", "accuracy": 1.0}, {"name": "Ben", "accuracy": 0.0, "speed": 2.0}]
    results = run(tmp_path / "out", oracle={"use": "noisy", "people": people}, seeds=(0,))
    truth = {row["text"]: row["intent"] for row in rows()}
    for log in _logs(tmp_path / "out").values():
        given = [event.data for event in log if event.kind == "answer.given" and event.data["annotator"] != "gold"]
        assert {who: sum(d["annotator"] == who for d in given) for who in ("Ana", "Ben")} == {"Ana": 60, "Ben": 60}
        with _pool(tmp_path / "out") as pool:
            texts = pool.texts.get(list(pool.now().shards), [d["text"] for d in given])
        right = [(d["annotator"], truth[t] == d["answer"]) for d, t in zip(given, texts, strict=True)]
        assert set(right) == {("Ana", True), ("Ben", False)}
    assert set(results["example"]["annotators"]) == {"Ana", "Ben"}


def _pool(out: Path) -> Workspace:
    from labelwise.project import config as configs
    from labelwise.store.artefacts import DiskArtefacts
    from labelwise.store.texts import Texts

    home = out / "pool"
    config = configs.parse(_results(out)["protocol"]["config"])
    return Workspace(home, config, SqliteLog(home / "log.db"), Texts(home / "texts"), DiskArtefacts(home / "artefacts"))


@pytest.mark.parametrize("as_list", [True, False], ids=["lists", "separated"])
def test_several_labels_per_text(tmp_path: Path, as_list: bool) -> None:
    several = [[row["intent"], row["domain"]] if i % 7 else [] for i, row in enumerate(rows())]
    meta = [{"tags": tags if as_list else ";".join(tags)} for tags in several]
    made = pa.table({
        "text": [row["text"] for row in rows()], "split": [row["split"] for row in rows()], "meta": pa.array(meta),
    })  # fmt: skip
    base = experiment(tmp_path, selection={"budget": 80}).base
    asked = Experiment(tmp_path / "out", "tags", "tags", ("entropy", "random"), (0,), "multi", ";", base)
    results = simulate(asked, lambda: [made], Serial())
    assert results["task"]["kind"] == "multi"
    assert results["task"]["labels"] == 14
    assert all(arm["labels"] == [40, 80] for arm in results["arms"])
    assert results["arms"][0]["macro_f1"][-1] > 0.1
    assert "<html" in render(simulation_facts(results))


def test_a_list_needs_a_task_with_several_labels(tmp_path: Path) -> None:
    made = pa.table({"text": ["a", "b"], "meta": pa.array([{"tags": ["x"]}, {"tags": ["y"]}])})
    asked = Experiment(tmp_path / "out", "tags", "tags", ("random",), (0,))
    with pytest.raises(InputError, match=r"\['x'\] is a list; use --task multi"):
        simulate(asked, lambda: [made], Serial())


def test_rows_without_a_label_are_left_out(tmp_path: Path) -> None:
    chosen: Sequence[Any] = [{**row, "intent": row["intent"] if n % 3 else None} for n, row in enumerate(rows())]
    results = simulate(
        experiment(tmp_path / "out", seeds=(0,), selection={"budget": 40}), lambda: tables(chosen), Serial()
    )
    assert results["task"]["texts"] == 400


def test_a_drawn_test_split_keeps_near_duplicates_together(tmp_path: Path) -> None:
    asked = experiment(tmp_path / "out", seeds=(0,), selection={"holdout": 0.2, "budget": 40})
    results = simulate(asked, lambda: tables(split=False), Serial())
    assert results["task"]["near_duplicates"] > 20
    assert results["task"]["leaks"] == 0
    assert results["task"]["test"] + results["task"]["pool"] == 600
    assert 90 <= results["task"]["test"] <= 150


def test_compare_puts_rehearsals_side_by_side(finished: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(finished, tmp_path / "other"))
    alone = compare([finished], "accuracy")
    assert alone == _results(finished)["summary"]
    both = compare([finished, other], "log_loss")
    assert {row["strategy"] for row in both} == {"out/margin", "out/random", "other/margin", "other/random"}
    assert both[0]["strategy"] == "out/random"
    same = {row["strategy"]: row["alc"] for row in both}
    assert same["out/margin"] == same["other/margin"]
    assert next(row for row in both if row["strategy"] == "other/random")["p_value_vs_random"] == 1.0


def test_compare_refuses_what_cannot_be_compared(finished: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(finished, tmp_path / "other"))
    results = _results(other)

    def write(**changed: Any) -> None:
        (other / "results.json").write_text(json.dumps(results | changed))

    with pytest.raises(InputError, match=str(unknown("metric", "f1", ["accuracy"], "--metric"))[:30]):
        compare([finished], "f1")
    with pytest.raises(InputError, match=r"holds no results.json; it is written by `labelwise simulate --out"):
        compare([finished, tmp_path], "accuracy")
    write(task=results["task"] | {"test": 1})
    with pytest.raises(InputError, match=r"other: test 1 is .* only rehearsals on the same data and test split"):
        compare([finished, other], "accuracy")
    write(protocol=results["protocol"] | {"seeds": [0, 2]})
    with pytest.raises(InputError, match=r"other: seeds \[0, 2\] are \[0, 1\]"):
        compare([finished, other], "accuracy")
    write(version=2)
    with pytest.raises(InputError, match="version 2 of results; this program reads version 1"):
        compare([finished, other], "accuracy")
    (other / "results.json").write_text("{")
    with pytest.raises(InputError, match="is not the JSON that simulate writes"):
        compare([other], "accuracy")


def test_the_report_of_a_rehearsal_renders(finished: Path) -> None:
    facts = simulation_facts(_results(finished), "labelwise simulate inbox.csv")
    page = render(facts)
    assert escape(facts["verdict"]) in page
    assert json.loads(json.dumps(facts)) == facts
    assert not any(row["text"] in page for row in rows())


def _row(strategy: str, **changed: Any) -> dict[str, Any]:
    return {
        "strategy": strategy,
        "seeds": 5,
        "alc": 0.5,
        "final": 0.8,
        "saving": 0.3,
        "saving_interval": [0.1, 0.4],
    } | changed


@pytest.mark.parametrize(
    ("changed", "gain"),
    [
        ({}, True),
        ({"saving_interval": [-0.1, 0.4]}, False),
        ({"saving_interval": [0.0, 0.4]}, False),
        ({"saving_interval": [None, 0.4]}, False),
        ({"saving_interval": None}, False),
        ({"saving": None}, False),
    ],
    ids=str,
)
def test_a_gain_is_claimed_only_if_it_was_measured(changed: dict[str, Any], gain: bool) -> None:
    told = verdict([_row("random", saving=0.0), _row("margin", **changed), _row("poor", alc=0.1)])
    assert told.startswith("No measurable gain over random labelling") is not gain
    assert ("reached random labelling's final accuracy (80.0\N{NO-BREAK SPACE}%) with 30" in told) is gain


def test_fewer_than_five_seeds_show_no_gain() -> None:
    told = verdict([_row("random", saving=0.0), _row("margin", seeds=4)])
    assert told == "margin was ahead of random labelling, but 4 seeds cannot show a gain; use 5."


def test_the_report_of_a_project_renders_at_every_age(fresh: Workspace) -> None:
    young = project_facts(fresh)
    assert young["verdict"] == "0 labels so far; quality is not known yet: no model."
    assert "nothing has been selected yet" in render(young)
    rounds(fresh, 1)
    early = project_facts(fresh)
    assert early["verdict"].startswith("40 labels so far; quality is not known yet: 4 of at least 20")
    assert early["cost"] == {
        "labels": 40, "seconds": 120.0, "by_arm": {"control": 8, "strategy": 32},
        "by_annotator": [{"name": "ann", "labels": 40, "median_seconds": 3.0}],
    }  # fmt: skip
    assert "<html" in render(early)
    answer(fresh, [text for text in _texts(fresh) if text not in fresh.now().given][:300])
    answer(fresh, fresh.now().pending)
    rounds(fresh, 5)
    grown = project_facts(fresh)
    assert "labels bought a model with accuracy" in grown["verdict"]
    assert grown["versions"][-1]["status"] == "in use"
    page = render(grown)
    assert escape(grown["verdict"]) in page
    shown = [row["text"] for row in rows() if row["text"] in page]
    assert shown == []
    assert any("text" in item for item in project_facts(fresh, with_texts=True)["selected"])


def _texts(workspace: Workspace) -> list[str]:
    return [text for shard in workspace.now().shards for text in workspace.texts.ids(shard)]
