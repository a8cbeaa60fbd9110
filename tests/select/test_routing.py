"""Junk stays out, groups of texts unlike anything labelled come in, the rest is the base's business."""

from __future__ import annotations

import numpy as np
import pytest

from labelwise.core import InputError, Lazy, Pool, stream
from labelwise.select import Margin, Power, Random, Routed, Top, choose

INSIDE, GROUP, JUNK, D = 300, 20, 20, 64
KNOWN = 30


def planted(*, groups: np.ndarray | None = None) -> Pool:
    """One topic, labelled and open; then a group of texts nobody labelled; then junk, each text for itself."""
    rng = stream(1, "routing")
    centres = np.eye(D)[:2]
    topic = centres[0] + 0.06 * rng.standard_normal((KNOWN + INSIDE, D))
    group = centres[1] + 0.06 * rng.standard_normal((GROUP, D))
    junk = rng.standard_normal((JUNK, D))
    vectors = np.concatenate([topic, group, junk])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    n = len(vectors)
    outside = np.concatenate([rng.random(KNOWN + INSIDE) * 0.9, np.full(GROUP, 0.97), np.full(JUNK, 1.0)])
    return Pool.of(
        vectors=vectors.astype(np.float32),
        labelled=np.arange(n) < KNOWN,
        signals={"outside": outside, "worth": np.where(outside == 1.0, 1.0, 0.5)},
        groups=groups,
    )


def kinds(pool: Pool, rows: np.ndarray) -> list[str]:
    edges = np.array([KNOWN, KNOWN + INSIDE, KNOWN + INSIDE + GROUP])
    return [("labelled", "inside", "group", "junk")[place] for place in np.searchsorted(edges, rows, side="right")]


class Wanted:
    """A scorer that wants junk most, as an uncertain model does."""

    def score(self, pool, rows):
        return pool.signals["worth"][rows]

    def reason(self, pool, row, score):
        return "wanted"


def test_slots_go_where_they_should() -> None:
    pool = planted()
    assert set(kinds(pool, Top(Wanted()).select(pool, 15, stream(0, "s")).rows)) == {"junk"}
    chosen = Routed(Top(Wanted()), new=0.1, audit=0.05).select(pool, 20, stream(0, "s"))
    found = kinds(pool, chosen.rows)
    assert found[:3] == ["junk", "group", "group"]
    assert set(found[3:]) <= {"inside", "group"}
    assert chosen.reason[1].startswith("perhaps a new class: stands for about ")
    assert chosen.reason[1].endswith("(outside 0.97)")
    assert chosen.reason[1].numbers["outside"] == pytest.approx(0.97)
    assert chosen.reason[0] == "a sample of the junk: unlike anything labelled, and alone: random (outside 1.00)"
    assert chosen.propensity[0] == pytest.approx(1 / JUNK)
    assert set(chosen.reason[3:]) == {"wanted"}


def test_a_group_with_a_label_is_no_new_class() -> None:
    pool = planted()
    first = KNOWN + INSIDE
    labelled = pool.labelled.copy()
    labelled[first : first + 10] = True
    known = pool.replace(labelled=labelled, open=~labelled)
    chosen = Routed(Top(Wanted()), new=0.5, audit=0.0).select(known, 10, stream(0, "s"))
    assert not any("perhaps a new class" in reason for reason in chosen.reason)


def test_copies_of_one_text_are_no_group() -> None:
    pool = planted()
    vectors = np.array(pool.vectors)
    junk = np.arange(len(pool) - JUNK, len(pool))
    vectors[junk] = vectors[junk[0]]
    groups = np.where(np.arange(len(pool)) >= junk[0], 0, -1)
    chosen = Routed(Random(), new=0.5, audit=0.0).select(
        pool.replace(vectors=vectors, groups=groups), 40, stream(0, "s")
    )
    assert "junk" not in kinds(pool, chosen.rows)
    assert "group" in kinds(pool, chosen.rows)


def test_without_the_signal_the_base_chooses() -> None:
    pool = planted()
    bare = pool.replace(signals={"worth": pool.signals["worth"]})
    for calm in (bare, pool.replace(signals={**pool.signals, "outside": np.zeros(len(pool))})):
        chosen = Routed(Top(Wanted())).select(calm, 9, stream(0, "s"))
        assert set(kinds(pool, chosen.rows)) == {"junk"}


def test_junk_is_asked_about_when_nothing_else_is_left() -> None:
    pool = planted()
    budget = INSIDE + GROUP + 5
    chosen = Routed(Power(Wanted()), new=0.0, audit=0.0).select(pool, budget, stream(0, "s"))
    assert len(chosen) == budget
    assert kinds(pool, chosen.rows).count("junk") >= 5


def test_over_shards_with_a_lazy_signal() -> None:
    pool = planted()
    asked: list[int] = []

    def lazily(rows: np.ndarray) -> Pool:
        part = pool.take(rows)
        values = np.asarray(part.signals["outside"])

        def tell(at: np.ndarray) -> np.ndarray:
            asked.append(len(at))
            return values[at]

        return part.replace(signals={"outside": Lazy(len(rows), tell), "worth": part.signals["worth"]})

    order = stream(4, "order").permutation(len(pool))
    parts = [order[i::3] for i in range(3)]
    batch = choose([lazily(rows) for rows in parts], Routed(Top(Wanted()), audit=0.1), 20, 0.0, lambda p: stream(0, p))
    rows = np.array([parts[s][r] for s, r in zip(batch.shard, batch.row, strict=True)])
    found = kinds(pool, rows)
    assert found.count("junk") == 2
    assert found[2:4] == ["group", "group"]
    asked.clear()
    choose([lazily(rows) for rows in parts], Random(), 20, 0.0, lambda p: stream(0, p))
    assert not asked, "nobody asked for the signal and yet it was worked out"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"near": 1.5}, "near: 1.5"),
        ({"far": 0.5}, "far: 0.5"),
        ({"neighbours": 0}, "neighbours: 0"),
        ({"new": 0.9, "audit": 0.2}, "audit: 0.2"),
        ({"signal": ""}, "name: ''"),
    ],
)
def test_bad_settings(settings, said) -> None:
    with pytest.raises(InputError, match=said):
        Routed(Top(Margin()), **settings)
