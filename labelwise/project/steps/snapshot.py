"""Votes -> consensus -> a labelled-data version: ids, labels, weights, splits, propensities, by content hash."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from labelwise.core import Answer, InputError, Task, keys_of
from labelwise.core.canon import canonical_json, digest_of
from labelwise.measure.splits import SPLITS
from labelwise.project.ledger import Ledger, ref
from labelwise.project.workspace import Workspace
from labelwise.store import snapshots


def take_snapshot(workspace: Workspace) -> None:
    """Decide every answered text and record the result as a data version."""
    ledger, config = workspace.now(), workspace.config
    decided = config.aggregator.decide(config.task, ledger.votes(config.task))
    ids = sorted(decided)
    guideline = digest_of([list(config.task.labels), dict(config.task.guidelines)])[:12]
    splits = _splits(workspace, ledger, ids)
    asked = [ledger.asked.get(i) for i in ids]
    written = {answer: canonical_json(config.task.plain(answer)) for answer in {d.answer for d in decided.values()}}
    rows = pa.table(
        {
            "id": ids,
            "label": [written[decided[i].answer] for i in ids],
            "weight": [1.0] * len(ids),
            "split": splits,
            "guideline": [guideline] * len(ids),
            "propensity": [a.propensity if a else 1.0 for a in asked],
            "arm": [a.arm if a else "imported" for a in asked],
            "annotators": pa.array([decided[i].votes for i in ids], pa.int32()),
        }
    )
    counts = {name: splits.count(name) for name in sorted(set(splits))}
    name = snapshots.write(workspace.snapshots, rows, {"task": config.written_out()["task"], "counts": counts})
    data = {"name": name, "counts": counts, "upto": ledger.last_answer, "answers": ledger.answers,
            "annotated": ledger.annotated, "seconds": ledger.seconds}  # fmt: skip
    workspace.append("snapshot.taken", f"snapshot:{ledger.last_answer}", data)


def _splits(workspace: Workspace, ledger: Ledger, ids: list[str]) -> list[str]:
    """train, evaluation, near-evaluation, test or val for every text.

    Evaluation texts are a random draw, so their near-duplicates cannot be kept from being asked about:
    they are near-evaluation, which neither trains nor judges.
    """
    division = workspace.artefacts.get(ref(ledger.division["ref"])).arrays
    shards, rows = workspace.rows_of(ids)
    tables = {shard: division[f"split/{shard}"] for shard in set(shards)}
    held = np.array([i in ledger.asked and ledger.asked[i].arm == "evaluation" for i in ids], dtype=bool)
    groups = groups_of(workspace, ledger.division["ref"], ids)
    near = np.isin(groups, groups[held])
    pool = np.where(held, "evaluation", np.where(near, "near-evaluation", "train")).tolist()
    side = [SPLITS[tables[shard][row]] for shard, row in zip(shards, rows, strict=True)]
    return [p if s == "pool" else s for p, s in zip(pool, side, strict=True)]


def read_snapshot(workspace: Workspace, name: str) -> tuple[pa.Table, dict[str, Any]]:
    """Rows and manifest of a recorded data version, by (the start of) its name or by tag."""
    return snapshots.read(workspace.snapshots, resolve(workspace.now(), name))


def resolve(ledger: Ledger, name: str) -> str:
    """The full name of a data version given as tag, full name, unambiguous start of it, or "latest"."""
    names = [entry["name"] for entry in ledger.snapshots]
    if name == "latest" and names:
        return str(names[-1])
    if name in ledger.tags:
        return str(ledger.tags[name])
    found = sorted({full for full in names if full.startswith(name)}) if len(name) >= 4 else []
    if len(found) != 1:
        known = ", ".join([*sorted(ledger.tags), *dict.fromkeys(full[:12] for full in names)]) or "none yet"
        raise InputError(f"data version {name!r}: {'ambiguous' if found else 'unknown'}. Known: {known}.")
    return str(found[0])


def tag_snapshot(workspace: Workspace, tag: str, name: str) -> str:
    """Tag a data version and return its full name. InputError for a tag that reads like a version."""
    if not re.fullmatch(r"[A-Za-z][\w.-]{0,99}", tag) or tag == "latest" or re.fullmatch(r"[0-9a-f]{4,}", tag):
        raise InputError(
            f"tag {tag!r}: use a letter, then letters, digits, '.', '_' or '-' (not a hexadecimal number)."
        )
    ledger = workspace.now()
    full = resolve(ledger, name)
    workspace.append("data.tagged", f"tag:{tag}:{ledger.seq}", {"tag": tag, "snapshot": full})
    return full


def export_rows(workspace: Workspace, name: str, with_texts: bool) -> pa.Table:
    """The rows of a data version, with their texts if asked for."""
    rows, _ = read_snapshot(workspace, name)
    if not with_texts:
        return rows
    texts = workspace.texts.get(list(workspace.now().shards), rows["id"].to_pylist())
    return rows.add_column(1, "text", pa.array(texts, pa.string()))


def answers(task: Task, labels: Sequence[str]) -> list[Answer]:
    """The label column of a snapshot as answers."""
    parsed = {label: task.parse(json.loads(label)) for label in set(labels)}
    return [parsed[label] for label in labels]


def targets_of(workspace: Workspace, task: Task, columns: dict[str, list[Any]]) -> Any:
    """The answers of some rows of a snapshot as ``Task.targets`` makes them."""
    said = answers(task, columns["label"])
    if task.kind != "spans":
        return task.targets(said)
    return task.targets(said, workspace.texts.get(list(workspace.now().shards), columns["id"]))


def part(rows: pa.Table, *splits: str) -> dict[str, list[Any]]:
    """Columns of the rows in some splits, as lists."""
    chosen: dict[str, list[Any]] = rows.filter(pc.is_in(rows["split"], pa.array(splits, pa.string()))).to_pydict()
    return chosen


def groups_of(workspace: Workspace, division_ref: str, ids: list[str]) -> Any:
    """(n,) near-duplicate group of each text as of a division; lone texts get a group of their own."""
    division = workspace.artefacts.get(ref(division_ref)).arrays
    shards, rows = workspace.rows_of(ids)
    tables = {shard: division[f"group/{shard}"] for shard in set(shards)}
    found = np.array([tables[shard][row] for shard, row in zip(shards, rows, strict=True)], dtype=np.int64)
    alone = keys_of(ids).astype(np.int64) | np.int64(-(2**63))
    return np.where(found < 0, alone, found)
