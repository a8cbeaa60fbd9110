"""The next batch: a random control first, then the strategy's choice, recorded with propensities."""

from __future__ import annotations

from labelwise.core import Event, stream
from labelwise.core.threads import one_thread
from labelwise.project.components import describe
from labelwise.project.config import Config
from labelwise.project.ledger import Ledger
from labelwise.project.steps.believe import pools
from labelwise.project.steps.evaluate import ENOUGH
from labelwise.project.workspace import Workspace
from labelwise.select.batch import choose


def select_batch(workspace: Workspace) -> Event:
    """Choose and record the next batch. WrongMoment when nothing is open."""
    ledger, config = workspace.now(), workspace.config
    number, settings = len(ledger.batches), config.selection
    strategy = settings.strategy if number or ledger.champion else settings.start
    shown = pools(workspace, ledger)
    # one thread a product, as in training: the last digits of what is recorded must not follow the machine
    with one_thread():
        batch = choose(
            shown,
            strategy,
            batch_size(config, ledger),
            settings.control,
            lambda purpose: stream(config.project.seed, "select", number, purpose),
        )
    shards = list(ledger.shards)
    arms = _arms(workspace, ledger, list(batch.arm))
    items = [
        {
            "text": workspace.ids(shards[s])[r].decode(),
            "arm": arm,
            "score": float(score),
            "propensity": float(q),
            "reason": reason,
            "numbers": {name: round(n, 6) for name, n in getattr(reason, "numbers", {}).items()},
        }
        for s, r, arm, score, q, reason in zip(
            batch.shard, batch.row, arms, batch.scores, batch.propensity, batch.reason, strict=True
        )
    ]
    champion = ledger.champion
    data = {
        "round": number,
        "strategy": describe(strategy),
        "model": champion["version"] if champion and shown[0].beliefs is not None else 0,
        "fallback": batch.fallback,
        "caution": ledger.distrusted if shown[0].beliefs is not None else "",
        "items": items,
    }
    return workspace.append("batch.selected", f"batch:{number}", data)


def batch_size(config: Config, ledger: Ledger) -> int:
    """How many texts the next batch asks about, within the budget; 0 when the budget is spent."""
    settings = config.selection
    size = settings.batch if ledger.batches else settings.initial
    return min(size, max(0, settings.budget - len(ledger.asked))) if settings.budget else size


def _arms(workspace: Workspace, ledger: Ledger, arms: list[str]) -> list[str]:
    """Set part of the control aside for evaluation, so that its share holds over all batches together.

    Not where a labelled test split judges; one without labels judges nothing.
    """
    share = workspace.config.selection.evaluation
    if ledger.snapshots and ledger.snapshots[-1]["counts"].get("test", 0) >= ENOUGH:
        return arms
    so_far = [asked.arm for asked in ledger.asked.values() if asked.arm in ("control", "evaluation")]
    drawn, kept = len(so_far), so_far.count("evaluation")
    out = []
    for arm in arms:
        if arm == "control":
            drawn += 1
            if kept < share * drawn:
                arm, kept = "evaluation", kept + 1
        out.append(arm)
    return out
