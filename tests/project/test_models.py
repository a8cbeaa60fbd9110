"""Model versions: into use, out of use, and made again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelwise.core import Categorical, InputError, WrongMoment, stream
from labelwise.core.text import text_id
from labelwise.project.ledger import ref
from labelwise.project.plan import advance, plan
from labelwise.project.steps.believe import beliefs_of, pools
from labelwise.project.steps.evaluate import promote, rollback
from labelwise.project.steps.ingest import ingest
from labelwise.project.steps.submit import Submission, submit
from labelwise.project.steps.train import reproduce
from labelwise.project.workspace import Workspace
from tests.project.live import LABELS, QUICK, answer, begin, configure, events, groups, rounds, rows, table, truth


@pytest.fixture
def judged(tmp_path: Path) -> Iterator[Workspace]:
    """A project with a labelled test split and one model in use; its second batch is answered."""
    with begin(tmp_path / "p", [table(rows(), split=True)], selection={"initial": 150}) as workspace:
        answer(workspace, [text_id(row["text"]) for row in rows() if row["split"] == "test"])
        rounds(workspace, 1)
        answer(workspace, workspace.now().pending)
        yield workspace


def _in_use(workspace: Workspace) -> int:
    champion = workspace.now().champion
    assert champion is not None
    return int(champion["version"])


def _probs(workspace: Workspace, shard: str) -> Any:
    believed = beliefs_of(workspace, workspace.now(), shard)
    assert believed is not None
    said = believed.take(np.arange(len(believed)))
    assert isinstance(said, Categorical)
    return said.probs


def test_newer_labels_bring_a_new_model_into_use(judged: Workspace) -> None:
    advance(judged)
    first, second = judged.now().models
    assert second["start_from"] == first["version"] == 1
    assert second["verdict"]["kind"] == "model.promoted"
    assert second["evaluation"]["basis"] == "test split"
    assert _in_use(judged) == 2


def test_a_credibly_worse_model_is_refused(judged: Workspace) -> None:
    trained_on = sorted(judged.now().asked)
    shuffled = stream(1, "shuffle").permutation([truth()[text] for text in trained_on]).tolist()
    submit(judged, [Submission(t, "ann", label) for t, label in zip(trained_on, shuffled, strict=True)])
    advance(judged)
    first, second = judged.now().models
    assert second["evaluation"]["metrics"]["log_loss"]["lo"] > first["evaluation"]["metrics"]["log_loss"]["hi"]
    assert second["verdict"]["kind"] == "model.refused"
    assert "is credibly worse than" in second["verdict"]["why"]
    assert _in_use(judged) == 1
    assert judged.now().batches[-1]["model"] == 1
    answer(judged, trained_on)
    advance(judged)
    assert judged.now().model(3)["start_from"] == 1
    assert judged.now().model(3)["verdict"]["kind"] == "model.promoted"


def test_rolling_back_walks_along_the_history(grown: Workspace) -> None:
    assert _in_use(grown) == 3
    assert rollback(grown, "") == 2
    assert rollback(grown, "complaints") == 1
    assert _in_use(grown) == 1
    assert [p["version"] for p in grown.now().promotions] == [1, 2, 3, 2, 1]
    assert [p["why"] for p in grown.now().promotions[3:]] == ["rollback from version 3", "complaints"]
    before = events(grown)
    with pytest.raises(WrongMoment, match="there is no earlier model version to return to"):
        rollback(grown, "")
    assert events(grown) == before


def test_the_history_goes_on_after_a_rollback(grown: Workspace) -> None:
    rollback(grown, "")
    promote(grown, 1, "checked by Ana")
    promote(grown, 3, "")
    assert _in_use(grown) == 3
    answer(grown, grown.now().pending)
    advance(grown)
    assert _in_use(grown) == 4
    assert rollback(grown, "") == 3


def test_what_is_in_use_decides_beliefs_with_its_own_calibration(grown: Workspace) -> None:
    (shard,) = grown.now().shards
    newest = _probs(grown, shard)
    rollback(grown, "")
    assert np.abs(newest - _probs(grown, shard)).max() > 0.05
    promote(grown, 3, "")
    np.testing.assert_array_equal(_probs(grown, shard), newest)


@pytest.mark.parametrize("version", [0, 4, -1])
def test_versions_that_do_not_exist(grown: Workspace, version: int) -> None:
    before = events(grown)
    for act in (lambda: promote(grown, version, ""), lambda: reproduce(grown, version)):
        with pytest.raises(InputError, match=rf"model {version}: no such version; there are 1 to 3"):
            act()
    assert events(grown) == before


def test_an_unfinished_model_cannot_be_put_into_use(grown: Workspace) -> None:
    answer(grown, grown.now().pending)
    advance(grown, until="train")
    with pytest.raises(WrongMoment, match="model 4 is not calibrated and evaluated yet; run `labelwise advance`"):
        promote(grown, 4, "")


def test_no_model_no_encoder(fresh: Workspace) -> None:
    with pytest.raises(InputError, match="there are none yet"):
        reproduce(fresh, 1)
    with pytest.raises(WrongMoment, match="there is no earlier model version"):
        rollback(fresh, "")
    with pytest.raises(WrongMoment, match="the encoder has not been fitted yet; run `labelwise advance`"):
        fresh.encoder()


def test_every_version_can_be_made_again_bit_for_bit(grown: Workspace) -> None:
    for version in (1, 2, 3):
        found = reproduce(grown, version)
        assert found == {"version": version, "identical": True, "max_difference": 0.0, "code": {}}


def test_a_version_can_be_made_again_after_its_texts_were_grouped_anew(tmp_path: Path) -> None:
    """Two texts become near-duplicates when a text between them arrives; the old model's folds did not know."""
    chosen = [row for row in rows() if len(row["text"]) > 100][:60]
    rng = stream(3, "ends")
    ends = [["".join(rng.choice(list("qxzjkwvy"), len(row["text"]) // 4)) for row in chosen] for _ in range(2)]
    apart = [{**row, "text": f"{row['text']} {end}"} for of in ends for row, end in zip(chosen, of, strict=True)]
    label = {text_id(row["text"]): row["intent"] for row in apart}
    with begin(tmp_path / "p", [table(apart)], selection={"initial": 110}) as workspace:
        advance(workspace)
        submit(workspace, [Submission(text, "ann", label[text]) for text in workspace.now().pending])
        advance(workspace)
        before = groups(workspace)
        ingest(workspace, [table(chosen)], "between")
        advance(workspace)
        after = groups(workspace)
        assert sum(text in after and text not in before for text in label) > 60
        assert reproduce(workspace, 1)["identical"]


def test_a_model_that_is_not_what_its_record_says_is_told(grown: Workspace) -> None:
    entry = grown.now().model(3)
    other = grown.now().model(2)
    grown.now().models[2] = {**entry, "snapshot": other["snapshot"], "code": {**entry["code"], "numpy": "1.0"}}
    found = reproduce(grown, 3)
    assert not found["identical"]
    assert found["max_difference"] > 0
    assert list(found["code"]) == ["numpy"]
    assert found["code"]["numpy"].startswith("1.0 -> ")


def test_another_trainer_trains_again_on_the_same_data(grown: Workspace) -> None:
    configure(grown.folder, trainer={**QUICK, "grid": [100.0]})
    with Workspace.open(grown.folder) as changed:
        todo = plan(changed.now(), changed.config)
        assert [t.step for t in todo[:-1]] == ["train", "calibrate", "evaluate", "judge"]
        assert todo[0].why == "the task, encoder or trainer in labelwise.toml changed"
        assert advance(changed) == ["train", "calibrate", "evaluate", "judge"]
        old, new = changed.now().models[-2:]
        assert new["snapshot"] == old["snapshot"]
        assert new["encoder"] == old["encoder"]
        assert new["start_from"] == 0
        assert new["verdict"]["why"] == "other task, encoder or trainer than the model in use"
        assert reproduce(changed, 3)["identical"]
        assert reproduce(changed, 4)["identical"]


def test_another_encoder_encodes_again_and_never_meets_the_old_model(grown: Workspace) -> None:
    configure(grown.folder, encoder={"use": "static", "centre": False})
    with Workspace.open(grown.folder) as changed:
        steps = ["fit-encoder", "represent", "train", "calibrate", "evaluate", "judge"]
        assert [t.step for t in plan(changed.now(), changed.config)][:-1] == steps
        advance(changed, until="represent")
        ledger = changed.now()
        (shard,) = ledger.shards
        assert beliefs_of(changed, ledger, shard) is None
        (pool,) = pools(changed, ledger)
        assert pool.beliefs is None
        assert not pool.calibrated
        name, _ = changed.encoder()
        np.testing.assert_array_equal(
            pool.vectors, changed.artefacts.get(ref(ledger.vectors[name][shard])).arrays["vectors"]
        )
        assert advance(changed) == steps[2:]
        old, new = changed.now().models[-2:]
        assert (new["encoder"], new["encoder"] != old["encoder"]) == (name, True)
        assert beliefs_of(changed, changed.now(), shard) is not None
        # The old model still is what it was: its record names its own vectors.
        assert reproduce(changed, 3)["identical"]
        rollback(changed, "")
        assert beliefs_of(changed, changed.now(), shard) is None
        answer(changed, changed.now().pending)
        advance(changed)
        assert changed.now().models[-1]["encoder"] == name


def test_a_batch_after_rolling_back_to_another_encoder_says_that_no_model_helped(grown: Workspace) -> None:
    configure(grown.folder, encoder={"use": "static", "centre": False}, selection={"strategy": "margin"})
    with Workspace.open(grown.folder) as changed:
        answer(changed, changed.now().pending)
        advance(changed, until="judge")
        rollback(changed, "")
        advance(changed)
        batch = changed.now().batches[-1]
        assert "chose instead" in batch["fallback"]
        assert batch["model"] == 0


def test_a_label_that_is_new_retrains(grown: Workspace) -> None:
    configure(grown.folder, task={"kind": "single", "labels": [*LABELS, "other"]})
    with Workspace.open(grown.folder) as changed:
        assert advance(changed)[0] == "train"
        assert _probs(changed, next(iter(changed.now().shards))).shape == (600, 13)


def test_a_label_that_was_taken_away_is_named(grown: Workspace) -> None:
    configure(grown.folder, task={"kind": "single", "labels": [name for name in LABELS if name != "cancel"]})
    with Workspace.open(grown.folder) as changed:
        before = events(changed)
        with pytest.raises(InputError, match="unknown label 'cancel'"):
            advance(changed)
        assert events(changed) == before
