"""A project whose trainer reads texts and fine-tunes an encoder, on a tiny random one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelwise.core.text import text_id
from labelwise.project.components import installed
from labelwise.project.plan import advance
from labelwise.project.steps.believe import beliefs_of, pools
from labelwise.project.steps.report import project_facts
from labelwise.project.steps.train import reproduce
from labelwise.project.workspace import Workspace
from labelwise.web.report import render
from tests.learn.encoders import tiny
from tests.project.live import answer, begin, rounds, rows, table

TUNED: dict[str, Any] = {"use": "transformer", "epochs": 1, "learning_rate": 1e-3, "max_tokens": 32, "threads": 1}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    for name in ("torch", "transformers"):
        pytest.importorskip(name, reason="needs the extra: pip install 'labelwise[transformers]'")
    if "transformer" not in installed("trainers"):
        pytest.skip("installed without the trainer: pip install --editable .")
    return str(tiny(tmp_path_factory.mktemp("encoder") / "tiny"))


@pytest.fixture(params=[2, 0], ids=["folds", "no-folds"])
def project(request: pytest.FixtureRequest, encoder: str, tmp_path: Path) -> Iterator[Workspace]:
    """One round old, with a labelled test split and the first model in use."""
    trainer = TUNED | {"model": encoder, "folds": request.param}
    with begin(tmp_path / "p", [table(rows(), split=True)], trainer=trainer) as workspace:
        answer(workspace, [text_id(row["text"]) for row in rows() if row["split"] == "test"])
        yield rounds(workspace, 1)


def test_beliefs_are_calibrated_or_say_that_they_are_not(project: Workspace) -> None:
    ledger = project.now()
    held = ledger.models[-1]["config"]["trainer"]["folds"] > 0
    calibration = ledger.models[-1]["calibration"]
    assert calibration["basis"].startswith("out-of-fold" if held else "uncalibrated")
    assert (calibration["labels"] > 0) == held
    shown = pools(project, ledger)
    assert [pool.calibrated for pool in shown] == [held] * len(shown)
    assert (shown[0].known.beliefs is not None) == held
    page = render(project_facts(project))
    assert ("confidences are uncalibrated: the trainer keeps no held-out beliefs" in page) != held
    assert ("confidences are calibrated with temperature" in page) == held


def test_a_reproduced_model_is_identical(project: Workspace) -> None:
    assert reproduce(project, 1)["identical"]


def test_an_interrupted_training_leaves_the_model_in_use(
    project: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def probs() -> Any:
        ledger = project.now()
        believed = beliefs_of(project, ledger, next(iter(ledger.shards)))
        assert believed is not None
        return believed.take(np.arange(20)).arrays()["categorical"]

    before, version = probs(), project.now().models[-1]["version"]
    answer(project, project.now().pending)
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            advance(project)
    with Workspace.open(project.folder) as again:
        assert again.now().models[-1]["version"] == version
    assert np.array_equal(probs(), before)
    advance(project)
    assert project.now().models[-1]["version"] == version + 1


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
