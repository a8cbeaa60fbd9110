"""Rehearsal: the project's own steps with an oracle in the annotator's chair; there is no second loop.

Every arm is a project of its own (its own log) over shared texts and vectors. Arms share, per seed,
the first batch, the model seed and the test split, so differences between them are the strategy's.
An arm that was stopped goes on from its log and ends with the same record.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelwise.core import Answer, InputError, Oracle, Span, Task, WrongMoment, stream, unknown
from labelwise.core.canon import canonical_json, digest_of
from labelwise.core.tokens import read_tags
from labelwise.measure import curves
from labelwise.measure.splits import SPLITS
from labelwise.project import config as configs
from labelwise.project.components import build, describe, label_of
from labelwise.project.config import Config
from labelwise.project.executors import Executor
from labelwise.project.ledger import Ledger, ref
from labelwise.project.plan import advance
from labelwise.project.steps.ingest import ingest
from labelwise.project.steps.report import headline, shown_items, versions
from labelwise.project.steps.submit import Submission, submit
from labelwise.project.workspace import Progress, Workspace, silent
from labelwise.store.artefacts import DiskArtefacts
from labelwise.store.files import write_atomically
from labelwise.store.log import SqliteLog
from labelwise.store.texts import Texts

Tables = Callable[[], Iterable[Any]]
METRICS = ("accuracy", "macro_f1", "micro_f1", "log_loss", "ece")
SHARED = ("texts.added", "encoder.fitted", "shard.represented", "pool.divided")
EMPTY = "(no label)"


@dataclass(frozen=True)
class Experiment:
    """What ``labelwise simulate`` was asked to do; ``base`` holds every setting but strategy and seed."""

    out: Path
    source: str
    label_column: str
    strategies: tuple[Any, ...]
    seeds: tuple[int, ...]
    kind: str = "single"
    separator: str = "|"
    base: Mapping[str, Any] = field(default_factory=dict)
    oracle: Any = "perfect"
    fingerprint: str = ""
    title: str = ""
    synthetic: bool = False

    def protocol(self) -> dict[str, Any]:
        """What must be equal for two runs to be continued in, or compared across, one folder."""
        return {"source": self.source, "fingerprint": self.fingerprint,
                "label_column": self.label_column, "kind": self.kind,
                "separator": self.separator, "base": json.loads(canonical_json(dict(self.base))),
                "oracle": describe(build("oracles", self.oracle, "--oracle"))}  # fmt: skip

    def arms(self) -> list[tuple[Any, int]]:
        return [(strategy, seed) for seed in self.seeds for strategy in self.strategies]


def simulate(experiment: Experiment, tables: Tables, executor: Executor, progress: Progress = silent) -> dict[str, Any]:
    """Run every arm (those already finished are read back) and return the results; also written to ``out``.

    InputError when ``out`` holds another experiment, the label column is missing or has one label only.
    """
    for strategy in experiment.strategies:
        build("strategies", spec_of(strategy), "--strategy")
    names = [label_of(strategy) for strategy in experiment.strategies]
    if len(set(names)) < len(names):
        raise InputError(f"--strategy: {names} names a strategy twice; give every strategy once.")
    new = _claim(experiment)
    try:
        base = prepare(experiment, tables, progress)
    except InputError:
        if new:  # so that the same folder can be used once the input is mended
            shutil.rmtree(experiment.out / "pool", ignore_errors=True)
            (experiment.out / "protocol.json").unlink()
        raise
    with base:
        return _run(experiment, base, executor, progress)


def _run(experiment: Experiment, base: Workspace, executor: Executor, progress: Progress) -> dict[str, Any]:
    base_config = base.config.written_out()
    jobs = [(experiment, base_config, strategy, seed) for strategy, seed in experiment.arms()]
    records: dict[int, dict[str, Any]] = {}
    progress("rehearsing", 0, len(jobs))
    for position, record in executor.each(run_arm, jobs):
        records[position] = record
        progress("rehearsing", len(records), len(jobs))
    results = _results(experiment, base, [records[i] for i in range(len(jobs))])
    write_atomically(experiment.out / "results.json", json.dumps(results, ensure_ascii=False, indent=1).encode())
    return results


def spec_of(strategy: Any) -> Any:
    """The component that an arm's strategy stands for; "default" is that of a new project."""
    return configs.DEFAULT_STRATEGY if strategy == "default" else strategy


def _claim(experiment: Experiment) -> bool:
    """Make ``out`` this experiment's folder, or continue it; never mix two experiments. True if it is new."""
    path = experiment.out / "protocol.json"
    written = json.dumps(experiment.protocol(), ensure_ascii=False, indent=1, sort_keys=True).encode()
    if path.exists() and path.read_bytes() != written:
        raise InputError(
            f"{experiment.out}: holds an experiment with other data or settings ({path.name} differs); "
            "choose another --out, or the same settings to continue it."
        )
    new = not path.exists()
    if new and experiment.out.is_dir() and any(experiment.out.iterdir()):
        raise InputError(f"{experiment.out}: is not empty and holds no experiment; choose another --out.")
    experiment.out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, written)
    return new


def prepare(experiment: Experiment, tables: Tables, progress: Progress = silent) -> Workspace:
    """The shared part: texts in, encoded, divided. Continues where it was stopped."""
    labels = found_labels(tables(), experiment)
    values = {**experiment.base, "task": {"kind": experiment.kind, "labels": labels}}
    home = experiment.out / "pool"
    workspace = _workspace(home, configs.parse(values), Texts(home / "texts"), DiskArtefacts(home / "artefacts"))
    workspace.progress = progress
    try:
        _filled(workspace, experiment, tables)
    except BaseException:
        workspace.close()
        raise
    return workspace


def _filled(workspace: Workspace, experiment: Experiment, tables: Tables) -> None:
    if not workspace.now().shards:
        ingest(workspace, _labelled(tables(), experiment.label_column), experiment.source)
    if workspace.now().texts < 10:
        raise InputError(
            f"{experiment.source}: only {workspace.now().texts} usable texts; a rehearsal needs 10 or more."
        )
    advance(workspace, until="divide")
    division = workspace.now().division
    if not division["test"]:
        raise InputError(f"{experiment.source}: no text fell into the test split; give more texts or a --split-column.")
    wanted = workspace.config.selection.initial
    if division["pool"] < wanted:
        raise InputError(
            f"--initial: {wanted} texts are asked for, but the pool has {division['pool']}; choose a smaller --initial."
        )


def _workspace(home: Path, config: Config, texts: Texts, artefacts: Any) -> Workspace:
    home.mkdir(parents=True, exist_ok=True)
    return Workspace(home, config, SqliteLog(home / "log.db"), texts, artefacts)


def found_labels(tables: Iterable[Any], experiment: Experiment) -> list[str]:
    """Every label that occurs, sorted. InputError when fewer than two do (one for multi)."""
    column = experiment.label_column
    seen: set[str] = set()
    for table in _labelled(tables, column):
        values = table["meta"].combine_chunks().field(column).to_pylist()
        for value, text in zip(values, table["text"].to_pylist(), strict=True):
            answer = truth_of(value, experiment.kind, experiment.separator, text)
            found = [answer] if isinstance(answer, str) else answer
            seen.update(label.label if isinstance(label, Span) else label for label in found)
    if len(seen) < (2 if experiment.kind == "single" else 1):
        raise InputError(
            f"--label-column {column!r}: only the label {sorted(seen)!r} occurs; a rehearsal needs at least two."
        )
    if len(seen) > 5_000:
        raise InputError(
            f"--label-column {column!r}: {len(seen)} different values occur; these look like texts, not labels."
        )
    return sorted(seen)


def _labelled(tables: Iterable[Any], column: str) -> Iterator[Any]:
    """The tables without the rows whose label is missing, which no oracle could answer."""
    for table in tables:
        names = [f.name for f in table.schema.field("meta").type] if "meta" in table.schema.names else []
        if column not in names:
            raise unknown("column", column, names, "--label-column")
        yield table.filter(table["meta"].combine_chunks().field(column).is_valid())


def truth_of(value: Any, kind: str, separator: str, text: str = "") -> Answer:
    """The label column's value as an answer.

    single: text; multi: a list, or names joined by the separator; spans: a list of [start, end, label], or of a
    tag such as "B-PER" for every word between white space; either may be written as JSON.
    """
    if kind == "spans":
        return _marked(value, text)
    if kind == "single":
        if isinstance(value, list | dict):
            raise InputError(f"--label-column: {value!r} is a list; use --task multi for several labels per text.")
        return str(value).strip() or EMPTY
    parts = value if isinstance(value, list) else str(value).split(separator)
    return tuple(sorted({str(part).strip() for part in parts if str(part).strip()}))


def _marked(value: Any, text: str) -> Answer:
    place = "--label-column"
    try:
        items = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        items = value
    if not isinstance(items, list):
        raise InputError(
            f'{place}: {value!r} is not a list; write [[start, end, "label"], ...] or a tag for every word.'
        )
    if items and all(isinstance(item, str) for item in items):
        return tuple(Span(*span) for span in read_tags(items, text, place))
    ends = [
        list(item.values() if isinstance(item, Mapping) else item) for item in items if isinstance(item, Mapping | list)
    ]
    named = {value for end in ends for value in end if isinstance(value, str)}
    return Task("spans", tuple(sorted(named)) or ("label",)).parse(items, length=len(text), place=place)


def truths(workspace: Workspace, experiment: Experiment) -> dict[str, Answer]:
    """Text id -> true answer, for all texts."""
    out: dict[str, Answer] = {}
    for shard in workspace.now().shards:
        values = workspace.texts.column(shard, experiment.label_column)
        texts = itertools.chain.from_iterable(workspace.texts.texts(shard))
        for text, value, words in zip(workspace.texts.ids(shard), values, texts, strict=True):
            out[text] = truth_of(value, experiment.kind, experiment.separator, words)
    return out


def run_arm(job: tuple[Experiment, Mapping[str, Any], Any, int]) -> dict[str, Any]:
    """One strategy with one seed, from its first batch (or where it was stopped) to the end of the budget."""
    experiment, base_config, strategy, seed = job
    values = {**base_config, "project": {**base_config["project"], "seed": seed}}
    values["selection"] = {**base_config["selection"], "strategy": spec_of(strategy)}
    config = configs.parse(values)
    shared = experiment.out / "pool"
    slug = re.sub(r"[^a-z0-9]+", "-", label_of(strategy).lower()).strip("-")[:40]
    home = experiment.out / "runs" / f"{slug}-{digest_of([describe(config), seed])[:8]}-seed{seed}"
    with _workspace(home, config, Texts(shared / "texts"), DiskArtefacts(shared / "artefacts")) as workspace:
        return _arm(experiment, workspace, strategy)


def _arm(experiment: Experiment, workspace: Workspace, strategy: Any) -> dict[str, Any]:
    shared, seed = experiment.out / "pool", workspace.config.project.seed
    with SqliteLog(shared / "log.db") as log:
        workspace.log.append(*log.read(kinds=SHARED))
    oracle: Oracle = build("oracles", experiment.oracle, "--oracle")
    rehearse(workspace, oracle, truths(workspace, experiment))
    record = {"strategy": label_of(strategy), "seed": seed, **curve(workspace.now())}
    if seed == experiment.seeds[0]:
        record["example"] = example(workspace, experiment.synthetic)
    return record


def rehearse(workspace: Workspace, oracle: Oracle, truth: Mapping[str, Answer]) -> None:
    """Advance and answer until the budget is spent or the pool is empty. The test split is labelled with the truth."""
    ledger, task = workspace.now(), workspace.config.task
    division = workspace.artefacts.get(ref(ledger.division["ref"])).arrays
    for shard in ledger.shards:
        test = workspace.ids(shard)[division[f"split/{shard}"] == SPLITS.index("test")].astype(str).tolist()
        submit(workspace, [Submission(text, "gold", task.plain(truth[text])) for text in test])
    while True:
        advance(workspace)
        pending = workspace.now().pending
        if not pending:
            return
        submit(workspace, answers(workspace, oracle, truth, pending))


def answers(
    workspace: Workspace, oracle: Oracle, truth: Mapping[str, Answer], pending: Sequence[str]
) -> list[Submission]:
    """The oracle's answers to a batch, its annotators taking turns in random order."""
    ledger, task = workspace.now(), workspace.config.task
    rng = stream(workspace.config.project.seed, "oracle", len(ledger.batches))
    names = list(oracle.annotators)
    order = rng.permutation(len(pending)) % len(names)
    texts = workspace.texts.get(list(ledger.shards), list(pending))
    out = []
    for turn, text, words in zip(order, pending, texts, strict=True):
        answer, seconds = oracle.answer(task, names[turn], truth[text], len(words), rng)
        out.append(Submission(text, names[turn], task.plain(answer), seconds))
    return out


def curve(ledger: Ledger) -> dict[str, Any]:
    """One entry per model version: labels bought, annotation seconds so far, and the test metrics."""
    judged = [m for m in ledger.models if "metrics" in m.get("evaluation", {})]
    if not judged:
        raise WrongMoment("no model could be evaluated; the test split or the labels are too few.")
    return {
        "labels": [m["annotated"] for m in judged],
        "seconds": [round(m["seconds"], 1) for m in judged],
        **{
            name: [m["evaluation"]["metrics"][name]["value"] for m in judged]
            for name in METRICS
            if name in judged[0]["evaluation"]["metrics"]
        },
    }


def example(workspace: Workspace, with_texts: bool) -> dict[str, Any]:
    """The last model and what was selected, for the report of one arm; with the texts when they are nobody's."""
    ledger = workspace.now()
    last = ledger.models[-1]
    batches = [_shown(batch, len(ledger.batches)) for batch in ledger.batches]
    seen = [item["text"] for batch in batches for item in batch["items"]] if with_texts else []
    by_annotator: dict[str, list[float]] = {}
    for text in ledger.asked:
        for name, given in ledger.given.get(text, {}).items():
            by_annotator.setdefault(name, []).append(given.seconds)
    return {
        "model": {"version": last["version"], "snapshot": last["snapshot"], **last["evaluation"]},
        "calibration": last["calibration"],
        "batches": batches,
        "texts": dict(zip(seen, workspace.texts.get(list(ledger.shards), seen), strict=True)),
        "annotators": {name: [len(s), sorted(s)[len(s) // 2]] for name, s in sorted(by_annotator.items())},
        "seconds": ledger.seconds,
        "versions": versions(ledger),
    }  # fmt: skip


def _shown(batch: dict[str, Any], batches: int) -> dict[str, Any]:
    """What the report tells of one batch."""
    items = batch["items"]
    control = sum(item["arm"] != "strategy" for item in items)
    told = {name: batch[name] for name in ("round", "fallback", "caution")} | {"size": len(items), "control": control}
    return {**told, "items": shown_items(items, batches)}


def _facts(base: Workspace) -> dict[str, Any]:
    ledger, task = base.now(), base.config.task
    return {
        "kind": task.kind, "labels": len(task.labels), "texts": ledger.texts,
        **{name: ledger.division[name] for name in ("pool", "test", "val", "near_duplicates", "leaks")},
        "duplicates": sum(info.get("duplicates", 0) for info in ledger.shards.values()),
    }  # fmt: skip


def _results(experiment: Experiment, base: Workspace, records: list[dict[str, Any]]) -> dict[str, Any]:
    arms = [{k: v for k, v in record.items() if k != "example"} for record in records]
    baseline = "random" if "random" in {arm["strategy"] for arm in arms} else None
    metric = headline(base.config.task.kind)[0]
    summary = curves.summarise(arms, metric=metric, baseline=baseline, rng=stream(0, "summary"))
    shown = next((r for r in records if r["strategy"] != "random"), records[0])
    return {
        "version": 1,
        "title": experiment.title or f"Rehearsal on {experiment.source}", "synthetic": experiment.synthetic,
        "task": {"dataset": experiment.source, **_facts(base)},
        "protocol": {**experiment.protocol(), "config": base.config.written_out(), "seeds": list(experiment.seeds),
                     "strategies": [label_of(s) for s in experiment.strategies]},
        "arms": arms, "summary": summary,
        "example": {"strategy": shown["strategy"], "seed": shown["seed"], **shown["example"]},
    }  # fmt: skip


def require_seeds(count: int) -> None:
    """InputError unless there is at least one seed."""
    if not 1 <= count <= 1_000:
        raise InputError(f"--seeds: {count} is outside the allowed range; choose 1 to 1000.")
