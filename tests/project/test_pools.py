"""What strategies are given to choose from: beliefs, what is known, hints, neighbours; and what a choice records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelwise.core import InputError, Pool, Streamed
from labelwise.project.ledger import ref
from labelwise.project.plan import advance
from labelwise.project.starting import start
from labelwise.project.steps import select
from labelwise.project.steps.believe import believe, pools
from labelwise.project.steps.ingest import ingest
from labelwise.project.steps.report import project_facts
from labelwise.project.steps.snapshot import part, read_snapshot
from labelwise.project.workspace import HOME, Workspace
from tests.project.live import LABELS, answer, begin, configure, files, rows, table, truth


def _arm(workspace: Workspace, *arms: str) -> list[str]:
    return [text for text, asked in workspace.now().asked.items() if asked.arm in arms]


def test_beliefs_are_those_of_the_model_in_use_and_lie_nowhere(grown: Workspace) -> None:
    ledger = grown.now()
    (pool,) = pools(grown, ledger)
    champion = ledger.champion
    assert champion is not None
    assert isinstance(pool.beliefs, Streamed)
    assert pool.calibrated
    assert tuple(pool.labels) == LABELS
    said = pool.beliefs.take(np.arange(100, 300)).arrays()["categorical"]
    wanted = believe(grown, champion, np.asarray(pool.vectors)[100:300]).arrays()["categorical"]
    np.testing.assert_allclose(said, wanted, atol=1e-6)
    uncalibrated = grown.model(champion["version"]).believe(np.asarray(pool.vectors)[100:300])
    assert np.abs(said - uncalibrated.arrays()["categorical"]).max() > 0.01
    assert not [name for name in files(grown.folder) if "beliefs" in name]


def test_what_is_known_is_what_trained_then_what_is_awaited(grown: Workspace) -> None:
    waiting = grown.now().pending
    half = waiting[: len(waiting) // 4]
    answer(grown, half)
    ledger = grown.now()
    (pool,) = pools(grown, ledger)
    entry = ledger.models[-1]
    columns = part(read_snapshot(grown, entry["snapshot"])[0], "train")
    known, trained = pool.known, columns["id"]
    assert known is not None
    assert known.targets is not None
    assert [LABELS[target] for target in known.targets] == [truth()[text] for text in trained]
    np.testing.assert_array_equal(known.vectors[: len(trained)], grown.vectors_of(trained))
    held_out = grown.model(entry["version"]).held_out
    assert held_out is not None
    assert known.beliefs is not None
    assert len(known.beliefs) == len(trained)
    assert (known.beliefs.hard() == held_out.hard()).all()
    assert (known.beliefs.confidence() != held_out.confidence()).mean() > 0.9
    # the batch that waits, half of it answered but not yet in a data version, without its evaluation texts
    judging = set(_arm(grown, "evaluation"))
    assert judging & set(waiting)
    awaited = [text for text in waiting if text not in judging]
    np.testing.assert_array_equal(known.vectors[len(trained) :], grown.vectors_of(awaited))


def test_before_any_model_what_was_asked_is_known(fresh: Workspace) -> None:
    advance(fresh, until="divide")
    (pool,) = pools(fresh, fresh.now())
    assert pool.known is not None
    assert pool.known.vectors.shape == (0, 256)
    advance(fresh)
    asked = _arm(fresh, "control", "strategy")
    assert 0 < len(asked) < len(fresh.now().asked)
    (pool,) = pools(fresh, fresh.now())
    assert pool.known is not None
    np.testing.assert_array_equal(pool.known.vectors, fresh.vectors_of(asked))
    assert (pool.known.targets, pool.known.beliefs, pool.beliefs, pool.hints) == (None, None, None, None)


def test_test_texts_are_not_known(tmp_path: Path) -> None:
    with begin(tmp_path / "p", [table(rows(), split=True)]) as workspace:
        advance(workspace, until="divide")
        ledger = workspace.now()
        (shard,) = ledger.shards
        split = workspace.artefacts.get(ref(ledger.division["ref"])).arrays[f"split/{shard}"]
        ids = workspace.ids(shard).astype(str)
        answer(workspace, [*ids[split != 0][:30], *ids[split == 0][:5]])
        (pool,) = pools(workspace, workspace.now())
        assert pool.known is not None
        np.testing.assert_array_equal(pool.known.vectors, workspace.vectors_of(ids[split == 0][:5].tolist()))


def test_all_shards_know_the_same(tmp_path: Path) -> None:
    with begin(tmp_path / "p", [table(rows()[:400])]) as workspace:
        ingest(workspace, [table(rows()[400:])], "more")
        advance(workspace)
        one, other = pools(workspace, workspace.now())
        assert one.known is other.known
        assert one.known is not None
        assert len(one.known.vectors) == len(_arm(workspace, "control", "strategy"))


# Hints

HINTS = {LABELS[2]: ("the card is gone", "stolen"), LABELS[0]: ("hello there",)}


def test_hints_reach_the_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Pool] = []
    choose = select.choose

    def watched(shards: Any, *rest: Any) -> Any:
        given.extend(shards)
        return choose(shards, *rest)

    monkeypatch.setattr(select, "choose", watched)
    with begin(tmp_path / "p", [table(rows()[:300])], selection={"hints": HINTS}) as workspace:
        ingest(workspace, [table(rows()[300:])], "more")
        advance(workspace)
        _, encoder = workspace.encoder()
        assert len(given) == 2
        for pool in given:
            assert pool.hints is not None
            assert pool.hints.labels.tolist() == [0, 2, 2]
            wanted = encoder.encode(["hello there", "the card is gone", "stolen"])
            np.testing.assert_array_equal(pool.hints.vectors, wanted)


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        ({"card-losst": ("x",)}, "selection.hints.card-losst: unknown label 'card-losst'"),
        ({LABELS[0]: ("x", " ")}, rf"selection.hints.{LABELS[0]}\[1\]: is empty"),
        ({LABELS[0]: "x"}, rf"selection.hints.{LABELS[0]}: 'x' is not a list"),
    ],
)
def test_hints_that_make_no_sense_are_named(tmp_path: Path, hints: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        configure(tmp_path, selection={"hints": hints})


def test_hints_given_at_the_start_are_written_and_read_back(tmp_path: Path) -> None:
    start(tmp_path, ["a b", "ü"], "single", "", {"ü": ['say "x"', "\N{GRINNING FACE}"]})
    with Workspace.open(tmp_path) as workspace:
        assert workspace.config.selection.hints == {"ü": ('say "x"', "\N{GRINNING FACE}")}


# Neighbours


def _made(workspace: Workspace, kind: str) -> list[str]:
    return sorted(p.stem for p in (workspace.folder / HOME / "artefacts" / kind).glob("*.safetensors"))


def test_neighbours_are_found_in_each_shard_over_shared_cells(tmp_path: Path) -> None:
    with begin(tmp_path / "p", [table(rows()[:330])]) as workspace:
        ingest(workspace, [table(rows()[330:500])], "more")
        advance(workspace)
        shown = pools(workspace, workspace.now())
        assert not _made(workspace, "cells")
        for pool in shown:
            assert pool.neighbours is not None
            vectors = np.asarray(pool.vectors, dtype=np.float32)
            found, near = pool.neighbours.search(vectors[:20], 6)
            wanted = -np.sort(-(vectors[:20] @ vectors.T), axis=1)[:, :6]
            np.testing.assert_allclose(near, wanted, atol=1e-3)
            np.testing.assert_allclose(np.einsum("qd,qkd->qk", vectors[:20], vectors[found]), near, atol=1e-3)
            found, near = pool.neighbours.search(vectors[:1], len(vectors) + 2)
            assert (found[0, -2:] == -1).all()
            assert sorted(found[0, :-2]) == list(range(len(vectors)))
        cells, indexes = _made(workspace, "cells"), _made(workspace, "index")
        assert (len(cells), len(indexes)) == (1, 2)
        # a little more: the same cells and one more index; then again as much: new cells
        for chosen, fitted in ((rows()[500:], 1), (rows(2_000)[600:], 2)):
            ingest(workspace, [table(chosen)], "more")
            advance(workspace)
            for pool in pools(workspace, workspace.now()):
                assert pool.neighbours is not None
                pool.neighbours.search(np.asarray(pool.vectors)[:1], 1)
            assert len(_made(workspace, "cells")) == fitted


def test_an_index_lost_or_damaged_is_built_again(grown: Workspace) -> None:
    def nearest() -> Any:
        (pool,) = pools(grown, grown.now())
        assert pool.neighbours is not None
        return pool.neighbours.search(np.asarray(pool.vectors)[:30], 5)[0]

    before = nearest()
    (name,) = _made(grown, "index")
    (grown.folder / HOME / "artefacts" / "index" / f"{name}.safetensors").unlink()
    np.testing.assert_array_equal(nearest(), before)
    assert _made(grown, "index") == [name]


# What a choice records


def test_a_choice_records_the_numbers_behind_its_reasons(tmp_path: Path) -> None:
    sections = {"strategy": "margin", "start": "k-center"}
    with begin(tmp_path / "p", selection=sections) as workspace:
        advance(workspace)
        first = workspace.now().batches[0]["items"]
        assert {frozenset(item["numbers"]) for item in first if item["arm"] == "strategy"} == {frozenset({"distance"})}
        assert all(item["numbers"] == {} for item in first if item["arm"] != "strategy")
        answer(workspace, workspace.now().pending)
        advance(workspace)
        chosen = [item for item in workspace.now().batches[1]["items"] if item["arm"] == "strategy"]
        for item in chosen:
            lead = item["numbers"]["first"] - item["numbers"]["second"]
            assert item["numbers"]["margin"] == pytest.approx(lead, abs=1e-4)
            assert item["reason"].endswith(f"(margin {item['numbers']['margin']:.2f})")
            assert "'" in item["reason"]
        shown = project_facts(workspace)["selected"]
        assert {"margin", "first", "second"} in [set(row["numbers"]) for row in shown]


def test_records_from_before_numbers_were_kept_can_still_be_reported(grown: Workspace) -> None:
    for batch in grown.now().batches:
        for item in batch["items"]:
            del item["numbers"]
    assert all(row["numbers"] == {} for row in project_facts(grown)["selected"])
