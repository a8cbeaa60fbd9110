"""What a model is calibrated on, and what follows when its beliefs fail the gate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelwise.core.text import text_id
from labelwise.measure import calibration, weighting
from labelwise.project.health import examine
from labelwise.project.plan import advance
from labelwise.project.steps.believe import pools
from labelwise.project.steps.report import project_facts
from labelwise.project.workspace import Workspace
from labelwise.web.report import render
from tests.project.live import answer, begin, rounds, rows, table


def test_picks_of_no_chance_leave_all_labels_and_both_temperatures_are_told(grown: Workspace) -> None:
    told = grown.now().models[-1]["calibration"]
    assert told["basis"] == "out-of-fold, all labels"
    assert told["labels"] == told["effective"]
    heat = told["temperatures"]
    assert 0 < heat["control_labels"] < 50
    assert heat["gap"] == pytest.approx(heat["all"] - heat["control"])
    assert heat["all"] == told["temperature"]


def test_picks_left_to_chance_are_weighted_where_the_control_is_small(tmp_path: Path) -> None:
    selection = {"start": "random", "strategy": {"use": "power", "scorer": "entropy", "beta": 0.5}, "initial": 80}
    with rounds(begin(tmp_path / "p", selection=selection), 2) as workspace:
        ledger = workspace.now()
        told = ledger.models[-1]["calibration"]
        assert told["basis"].startswith("out-of-fold, weighted by propensities (worth ")
        assert 50 <= told["effective"] <= told["labels"] <= ledger.models[-1]["examples"]
        batch = ledger.batches[1]
        picked = np.array([item["propensity"] for item in batch["items"] if item["arm"] == "strategy"])
        assert weighting.bounded(picked, 600 - 80 - (30 - len(picked))).all()


@pytest.fixture
def tested(tmp_path: Path) -> Iterator[Workspace]:
    """A project whose test split is labelled; its first batch is answered."""
    with begin(tmp_path / "p", [table(rows(), split=True)], selection={"initial": 60}) as workspace:
        advance(workspace)
        answer(workspace, [text_id(row["text"]) for row in rows() if row["split"] == "test"])
        answer(workspace, workspace.now().pending)
        yield workspace


def _told(workspace: Workspace) -> tuple[str, dict[str, Any]]:
    found = {finding.check: finding for finding in examine(workspace.folder)}["calibration"]
    assert found.ok
    return found.found, project_facts(workspace)


def test_beliefs_that_fail_the_gate_are_flagged_wherever_they_are_used(
    tested: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = {"passes": False, "tolerance": 0.05, "why": "calibration error is far off"}
    monkeypatch.setattr(calibration, "gate", lambda *_: failed)
    advance(tested)
    ledger = tested.now()
    assert ledger.models[-1]["evaluation"]["gate"] == failed
    assert not pools(tested, ledger)[0].calibrated
    assert ledger.batches[0]["caution"] == ""
    assert ledger.batches[-1]["caution"] == "model 1: calibration error is far off"
    found, facts = _told(tested)
    assert found.startswith("model 1: calibration error is far off")
    assert any("model 1 at their word: calibration error is far off" in note for note in facts["notes"])
    assert [row["caution"] != "" for row in facts["selection_counts"]] == [False, True]
    assert render(facts).count("calibration error is far off") == 2


def test_beliefs_that_pass_or_are_not_known_are_not(tested: Workspace, grown: Workspace) -> None:
    advance(tested)
    for workspace in (tested, grown):
        ledger = workspace.now()
        assert ledger.distrusted == ""
        assert pools(workspace, ledger)[0].calibrated
        assert not any(batch["caution"] for batch in ledger.batches)
        found, facts = _told(workspace)
        assert not any("their word" in note for note in facts["notes"])
        assert "not" in found
