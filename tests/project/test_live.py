"""The path of a live project: texts, batches, answers, data versions, models, the next batch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from labelwise.core import InputError
from labelwise.core.text import text_id
from labelwise.project.plan import STEPS, advance, plan
from labelwise.project.starting import start
from labelwise.project.steps.ingest import ingest
from labelwise.project.workspace import Workspace
from tests.project import live
from tests.project.live import answer, begin, configure, events, files, groups, rounds, rows, splits, table, truth

LEARNING = ["snapshot", "train", "calibrate", "evaluate", "judge", "select"]


def test_from_texts_to_the_second_batch(fresh: Workspace) -> None:
    assert advance(fresh) == ["fit-encoder", "represent", "divide", "select"]
    first = fresh.now().pending
    assert len(first) == 40
    assert advance(fresh) == []
    answer(fresh, first)
    assert advance(fresh) == LEARNING
    ledger = fresh.now()
    assert [e.kind for e in fresh.log.read() if e.kind != "answer.given"] == [
        "config.set", "texts.added", "encoder.fitted", "shard.represented", "pool.divided", "batch.selected",
        "snapshot.taken", "model.trained", "model.calibrated", "model.evaluated", "model.promoted", "batch.selected",
    ]  # fmt: skip
    assert (ledger.annotated, ledger.answers, ledger.seconds) == (40, 40, 120.0)
    assert [len(batch["items"]) for batch in ledger.batches] == [40, 30]
    assert [batch["fallback"] for batch in ledger.batches] == ["", ""]
    assert [batch["model"] for batch in ledger.batches] == [0, 1]
    assert ledger.champion is ledger.model(1)
    assert ledger.model(1)["snapshot"] == ledger.snapshots[0]["name"]
    assert len(ledger.pending) == 30
    assert not set(first) & set(ledger.pending)


def test_the_ledger_is_the_log_folded(grown: Workspace) -> None:
    ledger = grown.now()
    with Workspace.open(grown.folder) as other:
        assert other.now().dump() == ledger.dump()
    assert type(ledger).load(ledger.dump()).dump() == ledger.dump()
    assert type(ledger)().apply(grown.log.read()).dump() == ledger.dump()


def test_no_text_is_asked_about_twice(grown: Workspace) -> None:
    asked = [item["text"] for batch in grown.now().batches for item in batch["items"]]
    assert len(asked) == len(set(asked)) == 40 + 3 * 30


def test_control_and_evaluation_shares_hold_over_the_rounds(grown: Workspace) -> None:
    for batch in grown.now().batches:
        arms = Counter(item["arm"] for item in batch["items"])
        assert arms["control"] + arms["evaluation"] == 0.2 * len(batch["items"])
        drawn = {item["propensity"] for item in batch["items"] if item["arm"] != "strategy"}
        assert len(drawn) == 1
    arms = Counter(asked.arm for asked in grown.now().asked.values())
    assert arms == {"strategy": 104, "control": 13, "evaluation": 13}


def test_evaluation_texts_are_never_trained_on(grown: Workspace) -> None:
    ledger = grown.now()
    held = {text for text, asked in ledger.asked.items() if asked.arm == "evaluation"}
    assert len(ledger.snapshots) == 3
    for taken in ledger.snapshots:
        found = splits(grown, taken["name"])
        assert {text for text, split in found.items() if split == "evaluation"} == held & set(found)
        assert ledger.model(ledger.snapshots.index(taken) + 1)["examples"] == list(found.values()).count("train")


def test_near_duplicates_of_evaluation_texts_are_not_trained_on(fresh: Workspace) -> None:
    rounds(fresh, 1)
    group = groups(fresh)
    ledger = fresh.now()
    held = [text for text, asked in ledger.asked.items() if asked.arm == "evaluation"]
    lone = next(text for text in held if text not in group)
    answer(fresh, ledger.pending)
    # Answers that nobody asked for may be about any text: here about every near-duplicate there is.
    answer(fresh, [text for text in group if text not in ledger.given])
    advance(fresh)
    while not any(asked.arm == "evaluation" and text in group for text, asked in fresh.now().asked.items()):
        answer(fresh, fresh.now().pending)
        advance(fresh)
    answer(fresh, fresh.now().pending)
    advance(fresh)
    found = splits(fresh, fresh.now().snapshots[-1]["name"])
    side = {name: {group[text] for text, split in found.items() if split == name and text in group}
            for name in ("train", "evaluation")}  # fmt: skip
    assert side["train"]
    assert side["evaluation"]
    assert not side["train"] & side["evaluation"]
    assert found[lone] == "evaluation"


def test_near_duplicates_share_a_side_of_the_held_out_split(tmp_path: Path) -> None:
    with begin(tmp_path / "p", [table(rows()[:400])], selection={"holdout": 0.3}) as workspace:
        advance(workspace, until="divide")
        ingest(workspace, [table(rows()[400:])], "more")
        rounds(workspace, 1)
        ledger, group = workspace.now(), groups(workspace)
        assert ledger.division["leaks"] == 0
        assert 0.2 < ledger.division["test"] / ledger.texts < 0.4
        shards = list(ledger.shards)
        assert len({group.get(text) for shard in shards for text in workspace.texts.ids(shard)}) > 20
        test = _side(workspace, 1)
        assert {group[t] for t in test & set(group)}.isdisjoint({group[t] for t in set(group) - test})
        assert not test & set(ledger.asked)


def _side(workspace: Workspace, code: int) -> set[str]:
    from labelwise.project.ledger import ref

    ledger = workspace.now()
    arrays = workspace.artefacts.get(ref(ledger.division["ref"])).arrays
    return {
        text
        for shard in ledger.shards
        for text, split in zip(workspace.texts.ids(shard), arrays[f"split/{shard}"], strict=True)
        if split == code
    }


def test_texts_keep_their_side_when_more_come(tmp_path: Path) -> None:
    with begin(tmp_path / "p", [table(rows()[:400])], selection={"holdout": 0.3}) as workspace:
        advance(workspace, until="divide")
        before = [_side(workspace, code) for code in (0, 1)]
        ingest(workspace, [table(rows()[400:])], "more")
        assert advance(workspace, until="divide") == ["represent", "divide"]
        for code, texts in enumerate(before):
            assert texts < _side(workspace, code)


def test_a_declared_test_split_is_never_asked_about(tmp_path: Path) -> None:
    with rounds(begin(tmp_path / "p", [table(rows(), split=True)]), 1) as workspace:
        declared = {text_id(row["text"]) for row in rows() if row["split"] == "test"}
        assert workspace.now().division["test"] == len(declared) > 50
        assert not declared & set(workspace.now().asked)


def test_an_unlabelled_test_split_leaves_the_judging_to_the_control(tmp_path: Path) -> None:
    with rounds(begin(tmp_path / "p", [table(rows(), split=True)]), 1) as workspace:
        arms = Counter(asked.arm for asked in workspace.now().asked.values())
        assert arms["evaluation"] == 7
        test = [text_id(row["text"]) for row in rows() if row["split"] == "test"]
        answer(workspace, [*workspace.now().pending, *test])
        advance(workspace)
        assert workspace.now().models[-1]["evaluation"]["basis"] == "test split"
        assert workspace.now().models[-1]["evaluation"]["n"] == len(test)
        assert "evaluation" not in {item["arm"] for item in workspace.now().batches[-1]["items"]}


def test_quality_is_not_known_before_twenty_evaluation_texts(grown: Workspace) -> None:
    first = grown.now().model(3)["evaluation"]
    assert first["basis"] == "random control"
    assert "metrics" not in first
    assert first["missing"].startswith(f"not known yet: {first['n']} of at least 20")
    rounds(grown, 4)
    known = grown.now().models[-1]["evaluation"]
    assert known["n"] >= 20
    assert 0 <= known["metrics"]["accuracy"]["lo"] <= known["metrics"]["accuracy"]["hi"] <= 1
    assert set(known["slices"]) == {"domain", "lang"}


def test_the_budget_is_never_exceeded(tmp_path: Path) -> None:
    with rounds(begin(tmp_path / "p", selection={"budget": 85}), 3) as workspace:
        assert [len(batch["items"]) for batch in workspace.now().batches] == [40, 30, 15]
        assert [(todo.step, todo.why) for todo in plan(workspace.now(), workspace.config)] == [
            ("wait", "the budget of 85 labels is spent: labelwise report")
        ]


def test_a_pool_can_be_asked_about_to_its_last_text(tmp_path: Path) -> None:
    with begin(tmp_path / "p", [table(rows()[:70])], selection={"initial": 50, "batch": 50}) as workspace:
        rounds(workspace, 2)
        assert [len(batch["items"]) for batch in workspace.now().batches] == [50, 20]
        todo = plan(workspace.now(), workspace.config)
        assert [(t.step, t.why) for t in todo] == [
            ("wait", "every text of the pool has been asked about: labelwise add FILE brings more")
        ]
        ingest(workspace, [table(rows()[70:90])], "more")
        assert advance(workspace) == ["represent", "divide", "select"]
        assert len(workspace.now().pending) == 20


def test_a_first_batch_larger_than_the_pool_takes_the_whole_pool(tmp_path: Path) -> None:
    with begin(tmp_path / "p", [table(rows()[:30])]) as workspace:
        advance(workspace)
        assert sorted(workspace.now().pending) == sorted(text_id(row["text"]) for row in rows()[:30])


def test_texts_answered_unasked_are_not_asked_about(fresh: Workspace) -> None:
    advance(fresh)
    everything = [text for text in truth() if text not in fresh.now().asked]
    answer(fresh, everything[:-7])
    answer(fresh, fresh.now().pending)
    advance(fresh)
    assert set(fresh.now().pending) == set(everything[-7:])
    answer(fresh, fresh.now().pending)
    advance(fresh)
    assert plan(fresh.now(), fresh.config)[0].why.startswith("every text of the pool has been asked about")


def test_half_a_batch_of_answers_is_learnt_from(grown: Workspace) -> None:
    waiting = grown.now().pending
    answer(grown, waiting[:14])
    assert advance(grown) == []
    answer(grown, waiting[14:15])
    assert advance(grown) == LEARNING[:-1]
    assert grown.now().pending == waiting[15:]


def test_a_plan_is_pure(grown: Workspace) -> None:
    answer(grown, grown.now().pending)
    ledger = grown.now()
    before, recorded, stored = ledger.dump(), events(grown), files(grown.folder)
    todo = plan(ledger, grown.config)
    assert [t.step for t in todo] == LEARNING
    assert todo[0].why == "30 new answers"
    assert todo == plan(type(ledger).load(before), grown.config)
    assert (ledger.dump(), events(grown), files(grown.folder)) == (before, recorded, stored)


def test_a_plan_names_the_steps_that_advance_takes(fresh: Workspace) -> None:
    planned = [todo.step for todo in plan(fresh.now(), fresh.config)]
    assert planned == ["fit-encoder", "represent", "divide", "select"] == advance(fresh)
    assert set(planned) | set(LEARNING) == set(STEPS)
    wait = plan(fresh.now(), fresh.config)
    assert [todo.step for todo in wait] == ["wait"]
    assert wait[0].why.startswith("40 texts of round 0 wait for answers")


def test_an_empty_project_waits_for_texts(tmp_path: Path) -> None:
    start(tmp_path, live.LABELS, "single", "")
    with Workspace.open(tmp_path) as workspace:
        assert [(t.step, t.why) for t in plan(workspace.now(), workspace.config)] == [
            ("wait", "there are no texts yet: labelwise add FILE")
        ]
        assert advance(workspace) == []
        assert ingest(workspace, [table(rows()[:0])], "nothing").shards == ()
        assert advance(workspace) == []


def test_a_started_project_says_its_defaults_and_is_not_started_twice(tmp_path: Path) -> None:
    path = start(tmp_path, ["a", 'quoted "b"', "c\x7f"], "multi", "Ünï")
    with Workspace.open(tmp_path) as workspace:
        assert workspace.config.task.labels == ("a", 'quoted "b"', "c\x7f")
        assert workspace.config.project.name == "Ünï"
        assert workspace.now().config == workspace.config.written_out()
    with pytest.raises(InputError, match="there is a project here already"):
        start(tmp_path, ["a"], "multi", "")
    assert path.read_text(encoding="utf-8").count("# ") == 10


def test_no_project_here(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no labelwise.toml here, so this is not a project; run `labelwise init`"):
        Workspace.open(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_same_texts_again_are_no_new_texts(grown: Workspace) -> None:
    before = events(grown)
    report = ingest(grown, [table(rows())], "again")
    assert (report.rows, report.added, report.duplicates) == (600, 0, 600)
    assert events(grown) == before


def test_a_trial_run_of_adding_records_nothing(grown: Workspace) -> None:
    before, stored = events(grown), sorted(p.name for p in (grown.folder / ".labelwise/texts").iterdir())
    report = ingest(grown, [pa.table({"text": ["a new one", "another"]})], "trial", dry_run=True)
    assert report.added == 2
    assert events(grown) == before
    assert sorted(p.name for p in (grown.folder / ".labelwise/texts").iterdir()) == stored


def test_a_config_that_changed_is_recorded_once(grown: Workspace) -> None:
    configure(grown.folder, selection={"batch": 31})
    for _ in range(2):
        with Workspace.open(grown.folder) as again:
            kinds = [event.kind for event in again.log.read()]
            assert kinds.count("config.set") == 2
            assert again.now().config["selection"]["batch"] == 31
