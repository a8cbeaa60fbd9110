"""The page on choosing a strategy lists every one, and says truly what it needs and whether it states chances."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from labelwise.core import Known, MissingInput, Pool, stream
from labelwise.core.checks.scorers import believed, pool_of
from labelwise.project.components import build, installed
from tests.docs.pages import ROOT

PARTS = {"parts": ["random"], "shares": [1]}
SETTINGS: dict[str, dict[str, Any]] = {
    **{name: {"scorer": "margin"} for name in ("top", "power", "softmax", "softrank")},
    **{name: {"base": "random"} for name in ("anchoral", "seals", "balanced", "routed")},
    "then": {"first": "random", "second": "random"}, "mix": PARTS,
    "relevance": {"label": "a"}, "signal": {"name": "novelty"},
}  # fmt: skip
NEEDS = ("beliefs", "committee", "vectors", "labels", "held-out", "hints", "signal")
IMPLIED = {"committee": {"beliefs"}, "held-out": {"beliefs", "labels"}}


def rows(kind: str) -> dict[str, list[str]]:
    """Name -> the other cells of its row, for "Strategies" or "Scorers"."""
    page = (ROOT / "docs" / "how-to" / "choosing-a-strategy.md").read_text(encoding="utf-8")
    part = page.split(f"\n## {kind}\n", 1)[1].split("\n## ", 1)[0]
    found = re.findall(r"^\| `([^`]+)` \|(.*)\|$", part, re.MULTILINE)
    assert len(found) == len(dict(found)), "a name is listed twice"
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in found}


STRATEGIES, SCORERS = rows("Strategies"), rows("Scorers")


@pytest.mark.parametrize(("kind", "listed"), [("strategies", STRATEGIES), ("scorers", SCORERS)])
def test_every_installed_one_is_listed_and_no_other(kind: str, listed: dict[str, list[str]]) -> None:
    ours = {name for name, point in installed(kind).items() if point.value.startswith("labelwise.")}
    assert set(listed) == ours


def whole() -> Pool:
    """A pool with everything, in which one class has 20 labels and another two."""
    pool = pool_of(200, 3, "committee")
    vectors = stream(1, "known").normal(size=(22, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return pool.replace(known=Known(vectors, np.repeat([0, 1], [20, 2]), believed("committee", 22, 1)))


def without(pool: Pool, part: str) -> Pool:
    assert pool.known is not None
    assert pool.beliefs is not None
    silent = replace(pool.known, beliefs=None)
    return {
        "beliefs": pool.replace(beliefs=None, known=silent),
        "committee": pool.replace(beliefs=pool.beliefs.mean()),
        "vectors": pool.replace(vectors=None),
        "labels": pool.replace(known=replace(silent, targets=None)),
        "held-out": pool.replace(known=silent),
        "hints": pool.replace(hints=None),
        "signal": pool.replace(signals={}),
    }[part]


def lacks(use: Any) -> bool:
    try:
        use()
    except MissingInput:
        return True
    return False


def said(cell: str) -> set[str]:
    """The parts that a cell of the column "needs" names; ``labels, and a or b`` needs neither a nor b alone."""
    named = {part for part in NEEDS if part in cell.split(", and ")[0]} | (
        {"beliefs"} if "its scorer's" in cell else set()
    )
    return named.union(*(IMPLIED.get(part, set()) for part in named))


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_needs_and_states_what_the_page_says(name: str) -> None:
    strategy, pool = build("strategies", {"use": name} | SETTINGS.get(name, {})), whole()

    def chances(pool: Pool) -> set[bool]:
        return {bool((strategy.select(pool, 6, stream(seed, "page")).propensity < 1).any()) for seed in range(3)}

    _, needs, _, stated, _ = STRATEGIES[name]
    assert {part for part in NEEDS if lacks(lambda: chances(without(pool, part)))} == said(needs)  # noqa: B023
    assert chances(pool) == {stated != "no"}


@pytest.mark.parametrize("name", SCORERS)
def test_a_scorer_needs_what_the_page_says(name: str) -> None:
    scorer, pool = build("scorers", {"use": name} | SETTINGS.get(name, {})), whole()
    missing = {part for part in NEEDS if lacks(lambda: scorer.score(without(pool, part), np.arange(9)))}  # noqa: B023
    assert missing == said(SCORERS[name][1])
