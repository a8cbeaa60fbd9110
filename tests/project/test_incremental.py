"""A long-lived process keeps what it can from burst to burst; nobody may see it in what is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelwise.core import ContractError, WrongMoment
from labelwise.learn.linear import Linear, LinearModel
from labelwise.project.plan import advance, plan
from labelwise.project.steps.believe import pools
from labelwise.project.steps.evaluate import evaluate
from labelwise.project.steps.submit import Submission, submit
from labelwise.project.steps.train import reproduce
from labelwise.project.workspace import Workspace
from tests.project.live import LABELS, QUICK, answer, begin, configure, events, rounds, rows, table, truth

BURSTS = {"trainer": {**QUICK, "growth": 0.6}, "selection": {"initial": 60, "batch": 20}}


def _searched(workspace: Workspace) -> list[bool]:
    models = [workspace.model(entry["version"]) for entry in workspace.now().models]
    return [bool(model.facts["searched"]) for model in models if isinstance(model, LinearModel)]


def test_a_long_lived_process_records_what_fresh_ones_do(tmp_path: Path) -> None:
    tables = [table(rows()[:350]), table(rows()[350:])]
    with begin(tmp_path / "one", tables, **BURSTS) as long:
        rounds(long, 4)
        searched, recorded = _searched(long), events(long)
        assert searched[0]
        assert not all(searched)
        assert all(reproduce(long, version)["identical"] for version in (1, 2, 3, 4))
    begin(tmp_path / "other", tables, **BURSTS).close()
    for turn in range(5):
        with Workspace.open(tmp_path / "other") as fresh:
            if turn:
                answer(fresh, fresh.now().pending)
        while True:
            with Workspace.open(tmp_path / "other") as fresh:
                if plan(fresh.now(), fresh.config)[0].step == "wait":
                    break
                advance(fresh, until=plan(fresh.now(), fresh.config)[0].step)
    with Workspace.open(tmp_path / "other") as fresh:
        assert events(fresh) == recorded


def test_what_is_open_is_what_the_ledger_says(grown: Workspace) -> None:
    answer(grown, grown.now().pending[:7])
    answer(grown, grown.ids(next(iter(grown.now().shards))).astype(str)[:9].tolist())
    ledger = grown.now()
    (pool,) = pools(grown, ledger)
    ids = grown.ids(next(iter(ledger.shards))).astype(str).tolist()
    assert pool.open.tolist() == [i not in ledger.asked and i not in ledger.given for i in ids]
    assert pool.labelled.tolist() == [i in ledger.given for i in ids]


def test_answers_that_contradict_the_old_ones_are_searched_for_again(tmp_path: Path) -> None:
    with begin(tmp_path / "p", **BURSTS) as workspace:
        rounds(workspace, 1)
        texts = list(workspace.now().given)
        turned = {label: LABELS[place - 1] for place, label in enumerate(LABELS)}
        submit(workspace, [Submission(text, "ann", turned[truth()[text]]) for text in texts])
        answer(workspace, workspace.now().pending)
        advance(workspace)
        assert _searched(workspace) == [True, True]


@pytest.mark.parametrize("labels", [[*LABELS, "other"], list(reversed(LABELS))])
def test_a_label_more_or_another_order_begins_anew(grown: Workspace, labels: list[str]) -> None:
    configure(grown.folder, task={"kind": "single", "labels": labels})
    with Workspace.open(grown.folder) as changed:
        advance(changed)
        model = changed.model(len(changed.now().models))
        assert isinstance(model, LinearModel)
        assert model.facts["labels"] == labels
        assert model.facts["searched"]


def test_a_label_nobody_used_may_go(tmp_path: Path) -> None:
    labels = [*LABELS, "never"]
    with begin(tmp_path / "p", task={"kind": "single", "labels": labels}) as workspace:
        rounds(workspace, 1)
    configure(tmp_path / "p", task={"kind": "single", "labels": list(LABELS)})
    with Workspace.open(tmp_path / "p") as changed:
        assert advance(changed)[0] == "train"
        (pool,) = pools(changed, changed.now())
        assert pool.beliefs is not None
        assert pool.beliefs.take(np.arange(3)).arrays()["categorical"].shape == (3, len(LABELS))


def test_interrupted_training_leaves_the_model_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with rounds(begin(tmp_path / "p", **BURSTS), 2) as workspace:
        answer(workspace, workspace.now().pending)
        before = workspace.now().champion
        assert before is not None

        def interrupted(*_: Any) -> Any:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(Linear, "fit", interrupted)
            with pytest.raises(KeyboardInterrupt):
                advance(workspace)
        assert workspace.now().champion == before
        assert len(workspace.now().models) == 2
    with Workspace.open(tmp_path / "p") as again:
        assert advance(again)[0] == "train"
        assert reproduce(again, 3)["identical"]
        recorded = events(again)
    with rounds(begin(tmp_path / "q", **BURSTS), 3) as straight:
        assert events(straight) == recorded


def test_a_model_is_judged_on_vectors_of_its_own_encoder(grown: Workspace) -> None:
    """The other encoder's vectors have the same width, so nothing else would tell."""
    answer(grown, grown.now().pending)
    advance(grown, until="calibrate")
    configure(grown.folder, encoder={"use": "static", "centre": False})
    with Workspace.open(grown.folder) as changed:
        ids = list(changed.now().given)[:5]
        own = changed.vectors_of(ids, changed.now().models[-1]["encoder"])
        with pytest.raises(WrongMoment, match="has not been fitted"):
            changed.vectors_of(ids)
        evaluate(changed)
        np.testing.assert_array_equal(own, grown.vectors_of(ids))


def test_vectors_that_are_no_numbers_are_refused(fresh: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    advance(fresh, until="fit-encoder")
    before = events(fresh)
    fitted = type(fresh.encoder()[1])
    encode = fitted.encode

    def poisoned(self: Any, texts: Any) -> Any:
        out = encode(self, texts)
        out[len(out) // 2] = np.nan
        return out

    monkeypatch.setattr(fitted, "encode", poisoned)
    with pytest.raises(ContractError, match="encoder 'static' must give finite vectors"):
        advance(fresh)
    assert events(fresh) == before
