"""Files that are lost or changed on disk: named, and made again where that is possible."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from labelwise.core import DamagedRecord
from labelwise.project.health import examine
from labelwise.project.ledger import ref
from labelwise.project.plan import advance
from labelwise.project.steps.ingest import ingest
from labelwise.project.steps.snapshot import read_snapshot
from labelwise.project.steps.train import reproduce
from labelwise.project.workspace import HOME, Workspace
from labelwise.store.artefacts import DamagedArtefact
from tests.project.live import answer, begin, configure, events, files, rounds, rows, table

KINDS = ("encoder", "vectors", "division", "model", "calibration")


def _flip(path: Path, at: int = -40) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def _artefact(workspace: Workspace, kind: str) -> Path:
    ledger = workspace.now()
    (shard,) = ledger.shards
    encoder, _ = workspace.encoder()
    name = {
        "encoder": encoder,
        "vectors": ledger.vectors[encoder][shard],
        "division": ledger.division["ref"],
        "model": ledger.models[-1]["ref"],
        "calibration": ledger.models[-1]["calibration"]["ref"],
    }[kind]
    return workspace.folder / HOME / "artefacts" / f"{name}.safetensors"


@pytest.fixture(scope="module")
def undisturbed(grown_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[object], list[str]]:
    """The record and the files after one more round."""
    import shutil

    copy = Path(shutil.copytree(grown_folder, tmp_path_factory.mktemp("undisturbed") / "p"))
    with Workspace.open(copy) as workspace:
        answer(workspace, workspace.now().pending)
        advance(workspace)
        return list(events(workspace)), files(copy)


@pytest.fixture
def answered(folder: Path) -> Path:
    """A project whose last batch is answered and not yet learnt from."""
    with Workspace.open(folder) as workspace:
        answer(workspace, workspace.now().pending)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_byte_is_told_and_the_run_ends_in_the_same_record(
    answered: Path, kind: str, undisturbed: tuple[list[object], list[str]]
) -> None:
    with Workspace.open(answered) as workspace:
        path = _artefact(workspace, kind)
    before = path.read_bytes()
    _flip(path)
    with Workspace.open(answered) as workspace:
        with pytest.warns(DamagedArtefact, match=path.name):
            advance(workspace)
        assert events(workspace) == undisturbed[0]
    assert path.read_bytes() == before
    aside = path.with_suffix(".damaged").relative_to(answered / HOME).as_posix()
    assert files(answered) == sorted([*undisturbed[1], aside])


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_artefact_is_made_again_although_nothing_is_due(folder: Path, kind: str) -> None:
    with Workspace.open(folder) as workspace:
        path, recorded = _artefact(workspace, kind), events(workspace)
    before = path.read_bytes()
    path.unlink()
    with Workspace.open(folder) as workspace:
        assert advance(workspace) == []
        assert events(workspace) == recorded
    assert path.read_bytes() == before


def test_everything_derived_can_be_lost_at_once(answered: Path, undisturbed: tuple[list[object], list[str]]) -> None:
    for path in (answered / HOME / "artefacts").rglob("*.safetensors"):
        path.unlink()
    with Workspace.open(answered) as workspace:
        advance(workspace)
        assert events(workspace) == undisturbed[0]
        for version in (1, 2, 3, 4):
            assert reproduce(workspace, version)["identical"]
    assert files(answered) == undisturbed[1]


def test_what_is_made_again_is_as_old_as_its_record(tmp_path: Path) -> None:
    """Since then more texts came and the encoder, the trainer and the held-out share are others."""
    with rounds(begin(tmp_path / "p", [table(rows()[:400])]), 1) as workspace:
        ingest(workspace, [table(rows()[400:])], "more")
        rounds(workspace, 1)
    configure(tmp_path / "p", encoder={"use": "static", "centre": False}, trainer={"use": "linear", "folds": 2},
              calibrator={"use": "temperature", "spread": 1.0}, selection={"holdout": 0.5})  # fmt: skip
    with Workspace.open(tmp_path / "p") as workspace:
        advance(workspace)
        recorded, stored = events(workspace), files(tmp_path / "p")
    artefacts = sorted((tmp_path / "p" / HOME / "artefacts").rglob("*.safetensors"))
    content = {path: path.read_bytes() for path in artefacts}
    for path in artefacts:
        path.unlink()
    with Workspace.open(tmp_path / "p") as workspace:
        assert advance(workspace) == []
        assert events(workspace) == recorded
    assert files(tmp_path / "p") == stored
    assert {path: path.read_bytes() for path in artefacts} == content


def test_what_cannot_be_made_again_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Workspace.open(folder) as workspace:
        path = _artefact(workspace, "model")
    path.unlink()
    monkeypatch.setattr("labelwise.__version__", "9.9.9")
    from labelwise.project.steps.train import code_versions

    code_versions.cache_clear()
    try:
        with (
            Workspace.open(folder) as workspace,
            pytest.raises(DamagedRecord, match=rf"{path.name}: is missing.* could not be made again"),
        ):
            advance(workspace)
    finally:
        code_versions.cache_clear()


def test_a_damaged_model_is_not_used(folder: Path) -> None:
    with Workspace.open(folder) as workspace:
        path = _artefact(workspace, "model")
    _flip(path)
    with Workspace.open(folder) as workspace, pytest.raises(DamagedRecord, match=path.name):
        workspace.model(3)


def test_an_artefact_under_another_name_is_not_taken(folder: Path) -> None:
    """The file is whole, but it is the model of another version."""
    with Workspace.open(folder) as workspace:
        first, last = (workspace.now().model(v)["ref"] for v in (1, 3))
        home = folder / HOME / "artefacts"
        before = (home / f"{last}.safetensors").read_bytes()
        (home / f"{last}.safetensors").write_bytes((home / f"{first}.safetensors").read_bytes())
    with Workspace.open(folder) as workspace:
        with pytest.warns(DamagedArtefact, match="holds the artefact"):
            advance(workspace)
        assert (home / f"{last}.safetensors").read_bytes() == before


def test_a_missing_shard_of_texts_is_named(answered: Path) -> None:
    (shard,) = (answered / HOME / "texts").iterdir()
    shard.unlink()
    with Workspace.open(answered) as workspace:
        before = events(workspace)
        with pytest.raises(DamagedRecord, match=rf"{shard.name}: the shard of texts is missing. Restore it") as caught:
            advance(workspace)
        assert caught.value.exit_code == 5
        assert events(workspace)[: len(before)] == before


def test_a_lost_data_version_is_named(folder: Path) -> None:
    with Workspace.open(folder) as workspace:
        name = workspace.now().snapshots[0]["name"]
        _flip(workspace.snapshots / f"{name}.parquet", 100)
        with pytest.raises(DamagedRecord, match=rf"{name}.parquet"):
            read_snapshot(workspace, name)
        (workspace.snapshots / f"{name}.json").unlink()
        with pytest.raises(DamagedRecord, match=rf"{name}.json"):
            read_snapshot(workspace, name)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labelwise.project.workspace.CHECKPOINT_EVERY", 10)


@pytest.fixture
def checkpoint(often: None, folder: Path) -> Path:
    with Workspace.open(folder) as workspace:
        workspace.now()
    return folder / HOME / "ledger.json"


def test_a_checkpoint_spares_reading_the_log_and_says_the_same(checkpoint: Path, folder: Path) -> None:
    assert checkpoint.exists()
    with Workspace.open(folder) as workspace:
        assert workspace._saved > 100
        with_it = workspace.now().dump()
    checkpoint.unlink()
    with Workspace.open(folder) as workspace:
        assert workspace.now().dump() == with_it


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "bytes", "other"])
def test_a_checkpoint_that_is_not_usable_is_told_and_rebuilt(checkpoint: Path, folder: Path, damage: str) -> None:
    with Workspace.open(folder) as workspace:
        expected = workspace.now().dump()
    if damage == "flip":
        _flip(checkpoint)
    elif damage == "other":
        body = (
            checkpoint.read_text(encoding="utf-8")
            .partition("\n")[2]
            .replace('"format": 1', '"format": 2')
            .replace('"format":1', '"format":2')
        )
        from labelwise.core.canon import digest_of

        checkpoint.write_text(f"{digest_of(body)}\n{body}", encoding="utf-8")
    else:
        content = checkpoint.read_bytes()
        checkpoint.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "bytes": b"\xff\xfe\n"}[damage])
    with pytest.warns(UserWarning, match=r"ledger.json: not usable .* rebuilt from the log"):
        workspace = Workspace.open(folder)
    with workspace:
        assert workspace.now().dump() == expected


def test_a_checkpoint_of_another_log_is_not_believed(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    with begin(tmp_path / "other") as workspace:
        pass
    (tmp_path / "other" / HOME / "ledger.json").write_bytes(checkpoint.read_bytes())
    with pytest.warns(UserWarning, match="of another log"):
        workspace = Workspace.open(tmp_path / "other")
    with workspace:
        assert workspace.now().batches == []
        assert workspace.now().texts == 600


def _findings(folder: Path) -> dict[str, tuple[bool, str]]:
    return {finding.check: (finding.ok, finding.found) for finding in examine(folder)}


def test_a_good_project_is_found_good(folder: Path) -> None:
    found = _findings(folder)
    assert list(found) == [
        "components", "static encoder", "project", "event log", "texts", "artefacts", "data versions", "selection",
        "calibration",
    ]  # fmt: skip
    assert all(ok for ok, _ in found.values())
    assert found["texts"][1] == "600 texts in 1 shards"
    assert found["data versions"][1] == "3 versions, all as their names say"
    assert found["selection"][1] == "4 rounds, every one chosen by its strategy"


def test_no_project_only_the_installation_is_examined(tmp_path: Path) -> None:
    assert list(_findings(tmp_path)) == ["components", "static encoder"]


def test_a_wrong_config_is_found(folder: Path) -> None:
    (folder / "labelwise.toml").write_text('[task]\nkind = "single"\nlabels = ["one"]\n')
    ok, found = _findings(folder)["project"]
    assert not ok
    assert "needs at least 2" in found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["flipped", "missing"])
def test_a_damaged_or_lost_artefact_is_found(folder: Path, kind: str, how: str) -> None:
    with Workspace.open(folder) as workspace:
        path = _artefact(workspace, kind)
    if how == "missing":
        path.unlink()
    else:
        _flip(path)
    found = _findings(folder)
    assert [name for name, (ok, _) in found.items() if not ok] == ["artefacts"]
    assert found["artefacts"][1].count(path.name) == 1


def test_damaged_texts_data_versions_and_logs_are_found(folder: Path) -> None:
    (shard,) = (folder / HOME / "texts").iterdir()
    _flip(shard, 2000)
    snapshot = sorted((folder / HOME / "snapshots").glob("*.parquet"))[1]
    snapshot.unlink()
    found = _findings(folder)
    assert [name for name, (ok, _) in found.items() if not ok] == ["texts", "data versions"]
    assert shard.name in found["texts"][1]
    assert snapshot.name in found["data versions"][1]


def test_a_damaged_log_is_found(folder: Path) -> None:
    log = folder / HOME / "log.db"
    content = log.read_bytes()
    log.write_bytes(content.replace(b"first model", b"worst model"))
    found = _findings(folder)
    assert [name for name, (ok, _) in found.items() if not ok] == ["project"]
    assert "is not what was written. Restore the log from a backup" in found["project"][1]


def test_a_fallback_is_shown(folder: Path) -> None:
    configure(folder, encoder={"use": "static", "centre": False}, selection={"strategy": "margin"})
    from labelwise.project.steps.evaluate import rollback

    with Workspace.open(folder) as workspace:
        answer(workspace, workspace.now().pending)
        advance(workspace, until="judge")
        rollback(workspace, "")
        advance(workspace)
    ok, found = _findings(folder)["selection"]
    assert ok
    assert found.startswith("5 rounds; something else than the strategy chose in round 4: Top could not choose")


def test_nothing_is_warned_about_in_an_undamaged_project(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Workspace.open(folder) as workspace:
            assert advance(workspace) == []
            assert np.isfinite(workspace.artefacts.get(ref(workspace.now().models[-1]["ref"])).arrays["coef"]).all()


@pytest.mark.parametrize("suffix", ["parquet", "json"])
def test_a_lost_data_version_comes_back_as_it_was(folder: Path, suffix: str) -> None:
    file = sorted((folder / HOME / "snapshots").glob(f"*.{suffix}"))[0]
    content = file.read_bytes()
    file.unlink()
    with Workspace.open(folder) as workspace:
        advance(workspace)
    assert file.read_bytes() == content
