"""What ``labelwise doctor`` looks at: the installation, and every file of a project."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labelwise.core import DamagedRecord, LabelwiseError
from labelwise.project import config as configs
from labelwise.project.components import KINDS, installed
from labelwise.project.ledger import Ledger
from labelwise.project.mending import lost
from labelwise.project.workspace import HOME, Workspace
from labelwise.store import snapshots
from labelwise.store.artefacts import DiskArtefacts
from labelwise.store.log import SqliteLog


@dataclass(frozen=True, slots=True)
class Finding:
    """One check and what it found."""

    check: str
    ok: bool
    found: str


def examine(folder: Path) -> list[Finding]:
    """Every check of the installation, and of the project in ``folder`` if there is one."""
    checks: list[tuple[str, Callable[[], str]]] = [("components", _components), ("static encoder", _static)]
    if (folder / configs.FILE).exists():
        checks.append(("project", lambda: _opened(folder)))
    findings = [_run(name, check) for name, check in checks]
    if len(checks) == 3 and findings[-1].ok:
        with Workspace.open(folder) as workspace:
            findings += [_run(name, check) for name, check in _project_checks(workspace)]
    return findings


def _run(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except (LabelwiseError, ImportError) as error:
        return Finding(name, False, str(error))


def _components() -> str:
    count = 0
    for kind in KINDS.values():
        for point in installed(kind).values():
            point.load()
            count += 1
    return f"{count} components load"


def _static() -> str:
    from labelwise.represent.static import fingerprint

    return f"files found, fingerprint {fingerprint()[:12]}"


def _opened(folder: Path) -> str:
    with Workspace.open(folder) as workspace:
        return f"{workspace.config.project.name}, {configs.FILE} is valid"


def _project_checks(workspace: Workspace) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "event log", lambda: _log(workspace)
    yield "texts", lambda: _texts(workspace)
    yield "artefacts", lambda: _artefacts(workspace)
    yield "data versions", lambda: _snapshots(workspace)
    yield "selection", lambda: _selection(workspace.now())
    yield "calibration", lambda: _calibration(workspace.now())


def _log(workspace: Workspace) -> str:
    damaged = workspace.log.damaged() if isinstance(workspace.log, SqliteLog) else []
    if damaged:
        raise DamagedRecord(f"{'; '.join(damaged[:3])}; restore the log from a backup.")
    rebuilt = Ledger().apply(workspace.log.read())
    if rebuilt.dump() != workspace.now().dump():
        raise DamagedRecord(f"the ledger's checkpoint disagrees with the log; delete {HOME}/ledger.json.")
    return f"{rebuilt.seq} events, the ledger rebuilt from them is the same"


def _texts(workspace: Workspace) -> str:
    ledger = workspace.now()
    for shard in ledger.shards:
        workspace.texts.ids(shard)
        for _ in workspace.texts.texts(shard):
            pass
    return f"{ledger.texts} texts in {len(ledger.shards)} shards"


def _artefacts(workspace: Workspace) -> str:
    damaged = DiskArtefacts(workspace.folder / HOME / "artefacts").damaged()
    damaged += [why for event, why in lost(workspace) if event.kind != "snapshot.taken" and why not in damaged]
    if damaged:
        raise DamagedRecord(" ".join(damaged))
    return "all checksums agree"


def _snapshots(workspace: Workspace) -> str:
    names = {entry["name"] for entry in workspace.now().snapshots}
    for name in names:
        snapshots.read(workspace.snapshots, name)
    return f"{len(names)} versions, all as their names say"


def _selection(ledger: Ledger) -> str:
    fallbacks = [f"round {b['round']}: {b['fallback']}" for b in ledger.batches if b["fallback"]]
    if fallbacks:
        return f"{len(ledger.batches)} rounds; something else than the strategy chose in {'; '.join(fallbacks[-3:])}"
    return f"{len(ledger.batches)} rounds, every one chosen by its strategy"


def _calibration(ledger: Ledger) -> str:
    if ledger.champion is None:
        return "no model yet"
    gate = ledger.champion.get("evaluation", {}).get("gate")
    if ledger.distrusted:
        return f"{ledger.distrusted}; do not take its confidences at their word"
    return gate["why"] if gate else "not known yet: too few labelled evaluation texts"
