"""Committees and the signal "outside" in a live project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labelwise.core import Committee, Lazy
from labelwise.learn.outside import Outside
from labelwise.project import components
from labelwise.project.plan import advance
from labelwise.project.steps.believe import ENOUGH, pools
from labelwise.project.steps.train import reproduce
from labelwise.project.workspace import Workspace
from tests.project.live import QUICK, answer, begin, rounds


@pytest.mark.parametrize("kind", ["bootstrap", "laplace"])
def test_a_project_chooses_by_what_its_committee_disagrees_about(tmp_path: Path, kind: str) -> None:
    trainer = {"use": kind, "base": QUICK, "members": 3}
    with begin(tmp_path / "p", trainer=trainer, selection={"strategy": "bald"}) as workspace:
        rounds(workspace, 2)
        batch, entry = workspace.now().batches[-1], workspace.now().models[-1]
        assert batch["fallback"] == ""
        chosen = [item for item in batch["items"] if item["arm"] == "strategy"]
        assert all("committee" in item["reason"] for item in chosen)
        assert any(item["score"] > 0 for item in chosen)
        assert entry["calibration"]["basis"]
        assert entry["verdict"]["kind"] == "model.promoted"
        (pool,) = pools(workspace, workspace.now())
        assert pool.beliefs is not None
        assert isinstance(pool.beliefs.take(np.arange(5)), Committee)
        assert reproduce(workspace, entry["version"])["identical"]


def test_the_signal_is_there_when_asked_for_and_only_then(grown: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[int] = []
    fit = Outside.fit

    def counted(self, examples, model, rng):  # type: ignore[no-untyped-def]
        fits.append(len(examples))
        return fit(self, examples, model, rng)

    monkeypatch.setattr(Outside, "fit", counted)
    (pool,) = pools(grown, grown.now())
    signal = pool.signals["outside"]
    assert isinstance(signal, Lazy)
    assert not fits
    values = np.asarray(signal)
    assert len(fits) == 1
    assert values.shape == (len(pool),)
    assert 0 <= values.min() <= values.max() <= 1
    assert values[pool.labelled].mean() < values[pool.open].mean()
    (again,) = pools(grown, grown.now())
    np.testing.assert_array_equal(np.asarray(again.signals["outside"]), values)
    assert len(fits) == 1, "what was fitted once is kept"


def test_no_signal_before_a_model_has_seen_enough(fresh: Workspace) -> None:
    advance(fresh)
    assert pools(fresh, fresh.now())[0].signals == {}
    answer(fresh, list(fresh.now().pending))
    advance(fresh)
    entry = fresh.now().champion
    assert entry is not None
    assert entry["examples"] >= ENOUGH
    entry["examples"] = ENOUGH - 1
    assert pools(fresh, fresh.now())[0].signals == {}


def test_a_project_routes(tmp_path: Path) -> None:
    strategy = {"use": "routed", "base": "margin", "near": 0.5, "far": 0.8, "new": 0.3, "audit": 0.2}
    with begin(tmp_path / "p", selection={"strategy": strategy}) as workspace:
        rounds(workspace, 2)
        batch = workspace.now().batches[-1]
        assert batch["fallback"] == ""
        assert batch["strategy"]["signal"] == "outside"
        routed = [item for item in batch["items"] if "outside" in item["numbers"]]
        assert routed
        assert all(item["numbers"]["outside"] > 0.5 for item in routed)
        assert components.build("strategies", batch["strategy"]) == workspace.config.selection.strategy
