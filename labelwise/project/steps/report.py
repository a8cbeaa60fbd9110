"""The facts of a report, as JSON: of a project as its ledger stands, or of a rehearsal's results."""

from __future__ import annotations

from collections import Counter
from typing import Any

from labelwise.core import stream
from labelwise.measure import curves
from labelwise.project.components import label_of
from labelwise.project.ledger import Ledger
from labelwise.project.workspace import Workspace

SHOWN = 60
ENOUGH_SEEDS = 5
CURVES = ("accuracy", "macro_f1", "micro_f1", "log_loss", "ece")


def headline(kind: str) -> tuple[str, str]:
    """The metric that a project of this kind is summed up by, and its name in a sentence."""
    return ("micro_f1", "entity F1") if kind == "spans" else ("accuracy", "accuracy")


def simulation_facts(results: dict[str, Any], command: str = "") -> dict[str, Any]:
    """Facts of a rehearsal, for ``web.report.render``."""
    arms, shown, config = results["arms"], results["example"], results["protocol"]["config"]
    selection = config["selection"]
    return {
        "version": 1, "kind": "simulation", "title": results["title"], "synthetic": results["synthetic"], "made_at": "",
        "task": results["task"],
        "protocol": {
            "strategies": results["protocol"]["strategies"], "seeds": results["protocol"]["seeds"],
            **{name: selection[name] for name in ("initial", "batch", "budget", "control")},
            "start": label_of(selection["start"]), "encoder": config["encoder"], "trainer": config["trainer"],
            "oracle": results["protocol"]["oracle"],
            "test_set": f"{results['task']['test']} texts, the same for every arm; never selected, never trained on",
        },
        "verdict": verdict(results["summary"], headline(results["task"]["kind"])[1]),
        "curves": {m: curves.bands(arms, m, rng=stream(0, "bands", m)) for m in CURVES if m in arms[0]},
        "summary": results["summary"],
        "cost": _cost(shown),
        "model": _model(shown["model"], shown["calibration"]),
        "selected": _selected(shown["batches"], shown["strategy"], shown["texts"], {}),
        "selection_counts": [
            {"strategy": b["size"] - b["control"],
             **{name: b[name] for name in ("round", "control", "fallback", "caution")}}
            for b in shown["batches"]
        ],
        "versions": shown["versions"],
        "notes": [
            f"Model, calibration, cost, versions and texts shown: {shown['strategy']}, seed {shown['seed']}.",
            *_leak_note(results["task"]),
            *_gate_note({"evaluation": shown["model"], "version": shown["model"].get("version")}),
        ],
        "missing": {},
        "command": command,
    }  # fmt: skip


def _leak_note(task: dict[str, Any]) -> list[str]:
    if not task["leaks"]:
        return []
    return [f"{task['leaks']} test texts have a near-duplicate in the pool: the source's own split lets them leak."]


def _gate_note(model: dict[str, Any]) -> list[str]:
    """A warning if the model's beliefs fail the calibration gate."""
    gate = model.get("evaluation", {}).get("gate") or {}
    if gate.get("passes") is not False:
        return []
    return [f"Do not take the confidences of model {model['version']} at their word: {gate['why']}."]


def _span_note(ledger: Ledger) -> list[str]:
    """What became of answered spans that no tags fit, of the newest model."""
    newest = ledger.models[-1] if ledger.models else {}
    notes = []
    if newest.get("widened"):
        notes.append(f"{newest['widened']} spans begin or end inside a word or number and were learned widened to it.")
    if newest.get("lost"):
        notes.append(f"{newest['lost']} spans overlap a longer one, or hold white space only, and cannot be learned.")
    return notes


def verdict(summary: list[dict[str, Any]], metric: str = "accuracy") -> str:
    """One honest sentence about the best strategy against random labelling."""
    rivals = [row for row in summary if row["strategy"] != "random"]
    baseline = next((row for row in summary if row["strategy"] == "random"), None)
    if not rivals or baseline is None:
        return "No comparison with random labelling was made; add --strategy random to make one."
    best = max(rivals, key=lambda row: row["alc"])
    seeds = f"{best['seeds']} seed" + ("s" if best["seeds"] != 1 else "")
    interval = best["saving_interval"]
    if best["saving"] is None or interval is None or interval[0] is None or interval[0] <= 0:
        return f"No measurable gain over random labelling ({seeds})."
    if best["seeds"] < ENOUGH_SEEDS:
        return f"{best['strategy']} was ahead of random labelling, but {seeds} cannot show a gain; use {ENOUGH_SEEDS}."
    told = (
        f"{best['strategy']} reached random labelling's final {metric} ({100 * baseline['final']:.1f} %) with "
        f"{100 * best['saving']:.0f} % fewer labels (95 % interval {100 * interval[0]:.0f} to "
        f"{100 * interval[1]:.0f} %, {seeds})."
    )
    return told.replace(" %", "\N{NO-BREAK SPACE}%")


def _cost(shown: dict[str, Any]) -> dict[str, Any]:
    batches = shown["batches"]
    control = sum(b["control"] for b in batches)
    total = sum(b["size"] for b in batches)
    return {
        "labels": total, "seconds": shown["seconds"],
        "by_arm": {"control": control, "strategy": total - control},
        "by_annotator": [{"name": n, "labels": c, "median_seconds": m} for n, (c, m) in shown["annotators"].items()],
    }  # fmt: skip


def _model(evaluation: dict[str, Any], calibration: dict[str, Any]) -> dict[str, Any] | None:
    if "metrics" not in evaluation:
        return None
    names = ("version", "metrics", "per_class", "reliability", "slices", "basis", "n")
    kept = {name: evaluation[name] for name in names if name in evaluation}
    kept["version"] = f"Version {evaluation['version']}"
    kept["slices"] = [{"column": c, **row} for c, found in evaluation["slices"].items() for row in found["values"]]
    if not calibration["labels"]:
        return {**kept, "uncalibrated": calibration["basis"]}
    return {**kept, **{name: calibration.get(name) for name in ("temperature", "method")}}


def _selected(
    batches: list[dict[str, Any]], strategy: str, texts: dict[str, str], labels: dict[str, str]
) -> list[dict[str, Any]]:
    """A few texts of every round, newest rounds last; with texts only when they were asked for."""
    rows = []
    for batch in batches:
        for item in shown_items(batch["items"], len(batches)):
            row = {k: item[k] for k in ("arm", "score", "propensity", "reason")}
            row |= {"numbers": item.get("numbers", {}), "round": batch["round"], "strategy": strategy}
            if item["text"] in texts:
                row["text"] = texts[item["text"]][:160]
            if item["text"] in labels:
                row["label"] = labels[item["text"]]
            rows.append(row)
    return rows[-SHOWN:]


def shown_items(items: list[dict[str, Any]], batches: int) -> list[dict[str, Any]]:
    """A few items of one of so many batches: most of the strategy's choice, one of the control."""
    each = max(3, SHOWN // batches)
    chosen = [item for item in items if item["arm"] == "strategy"]
    chosen = chosen[:: max(1, len(chosen) // (each - 1))][: each - 1]
    return chosen + [item for item in items if item["arm"] != "strategy"][: each - len(chosen)]


def project_facts(workspace: Workspace, *, with_texts: bool = False) -> dict[str, Any]:
    """Facts of a project as it stands. Texts are shown only when asked for."""
    ledger, config = workspace.now(), workspace.config.written_out()
    champion = ledger.champion
    evaluation = (champion or {}).get("evaluation", {})
    selection = config["selection"]
    shown = [i["text"] for batch in ledger.batches for i in shown_items(batch["items"], len(ledger.batches))]
    texts = (
        dict(zip(shown, workspace.texts.get(list(ledger.shards), shown), strict=True)) if with_texts and shown else {}
    )
    labels = {
        t: ", ".join(sorted({str(g.answer) for g in ledger.given[t].values()})) for t in shown if t in ledger.given
    }
    return {
        "version": 1, "kind": "project", "title": config["project"]["name"], "synthetic": False, "made_at": "",
        "task": {"kind": config["task"]["kind"], "labels": len(config["task"]["labels"]), "texts": ledger.texts,
                 **{name: ledger.division.get(name, 0) for name in ("pool", "test", "val", "near_duplicates")}},
        "protocol": {**{name: selection[name] for name in ("initial", "batch", "budget", "control", "evaluation")},
                     "strategy": label_of(selection["strategy"]), "start": label_of(selection["start"]),
                     "encoder": config["encoder"], "trainer": config["trainer"], "seed": config["project"]["seed"]},
        "verdict": _project_verdict(ledger, evaluation, config["task"]["kind"]),
        "curves": _project_curves(ledger),
        "cost": _project_cost(ledger, config),
        "model": _model(evaluation, champion["calibration"]) if champion else None,
        "selected": _selected(ledger.batches, label_of(selection["strategy"]), texts, labels),
        "selection_counts": [_counts(batch) for batch in ledger.batches],
        "versions": versions(ledger),
        "notes": [
            *_leak_note({"leaks": ledger.division.get("leaks", 0)}),
            *_gate_note(ledger.champion or {}),
            *_span_note(ledger),
        ],
        "missing": _missing(ledger, evaluation),
        "command": "labelwise report",
    }  # fmt: skip


def _counts(batch: dict[str, Any]) -> dict[str, Any]:
    chosen = sum(item["arm"] == "strategy" for item in batch["items"])
    return {"round": batch["round"], "control": len(batch["items"]) - chosen, "strategy": chosen,
            "fallback": batch["fallback"], "caution": batch.get("caution", "")}  # fmt: skip


def _project_verdict(ledger: Ledger, evaluation: dict[str, Any], kind: str) -> str:
    if "metrics" not in evaluation:
        return f"{ledger.annotated} labels so far; quality is {evaluation.get('missing', 'not known yet: no model')}."
    metric, words = headline(kind)
    found = evaluation["metrics"][metric]
    return (
        f"{ledger.annotated} labels bought a model with {words} {found['value']:.3f} "
        f"(95 % interval {found['lo']:.3f} to {found['hi']:.3f}, {evaluation['n']} texts, {evaluation['basis']})."
    )


def _project_curves(ledger: Ledger) -> dict[str, Any]:
    judged = [m for m in ledger.models if "metrics" in m.get("evaluation", {})]
    if not judged:
        return {}
    return {
        name: [{
            "strategy": "this project", "labels": [m["annotated"] for m in judged],
            "mean": [m["evaluation"]["metrics"][name]["value"] for m in judged],
            "lo": [m["evaluation"]["metrics"][name]["lo"] for m in judged],
            "hi": [m["evaluation"]["metrics"][name]["hi"] for m in judged],
        }]
        for name in CURVES
        if all(name in m["evaluation"]["metrics"] for m in judged)
    }  # fmt: skip


def _project_cost(ledger: Ledger, config: dict[str, Any]) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {}
    for text in ledger.asked:
        for name, given in ledger.given.get(text, {}).items():
            seconds.setdefault(name, []).append(given.seconds)
    arms = Counter(
        "strategy" if a.arm == "strategy" else "control" for t, a in ledger.asked.items() if t in ledger.given
    )
    cost = {
        "labels": ledger.annotated, "seconds": ledger.seconds, "by_arm": dict(arms),
        "by_annotator": [{"name": n, "labels": len(s), "median_seconds": sorted(s)[len(s) // 2]}
                         for n, s in sorted(seconds.items())],
    }  # fmt: skip
    if config["cost"]["per_hour"]:
        money = ledger.seconds / 3600 * config["cost"]["per_hour"]
        cost |= {"money": round(money, 2), "currency": config["cost"]["currency"]}
    return cost


def versions(ledger: Ledger) -> list[dict[str, Any]]:
    """Every model version: the data it was trained on, its metrics, and what became of it."""
    champion = ledger.champion
    out = []
    for m in ledger.models:
        status = m.get("verdict", {}).get("kind", "unfinished").removeprefix("model.")
        if champion is not None and m["version"] == champion["version"]:
            status = "in use"
        out.append({"model": m["version"], "snapshot": m["snapshot"][:12], "labels": m["annotated"],
                    "examples": m["examples"], "metrics": m.get("evaluation", {}).get("metrics", {}),
                    "status": status, "why": m.get("verdict", {}).get("why", "")})  # fmt: skip
    return out


def standing(ledger: Ledger) -> dict[str, Any]:
    """Where a project stands, in a dozen numbers."""
    champion = ledger.champion
    evaluation = (champion or {}).get("evaluation", {})
    facts: dict[str, Any] = {
        "texts": ledger.texts,
        "pool": ledger.division.get("pool", 0),
        "test": ledger.division.get("test", 0),
        "near_duplicates": ledger.division.get("near_duplicates", 0),
        "rounds": len(ledger.batches),
        "labels": ledger.annotated,
        "pending": len(ledger.pending),
        "hours": round(ledger.seconds / 3600, 2),
        "data_versions": len(ledger.snapshots),
        "model_in_use": champion["version"] if champion else None,
    }
    if "metrics" in evaluation:
        facts["accuracy"] = {k: round(v, 4) for k, v in evaluation["metrics"]["accuracy"].items()}
    else:
        facts["accuracy"] = evaluation.get("missing")
    if "partial_f1" in evaluation.get("metrics", {}):
        facts["entity_f1"] = {k: round(v, 4) for k, v in evaluation["metrics"]["micro_f1"].items()}
    return facts


def _missing(ledger: Ledger, evaluation: dict[str, Any]) -> dict[str, str]:
    missing = {"summary": "a comparison with random labelling needs a rehearsal: labelwise simulate"}
    if "metrics" not in evaluation:
        missing |= dict.fromkeys(("curves", "model"), evaluation.get("missing", "no model yet: label the first batch"))
    if not ledger.batches:
        missing["selected"] = "nothing has been selected yet: labelwise advance"
    return missing
