"""Strategies by place equal their plain definitions, and survive every degenerate pool."""

import numpy as np
import pytest

from labelwise.core import MissingInput, Pool, stream
from labelwise.core.checks.scorers import pool_of
from labelwise.select import KCenter, TypiClust
from labelwise.select.geometry import clusters, most_typical


def unit(n, d, seed):
    vectors = stream(seed, "unit").normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def farthest_first(vectors, labelled, budget):
    """By the definition, in float64, all distances anew for every pick."""
    x, centres, picks = vectors.astype(np.float64), list(np.flatnonzero(labelled)), []
    open_rows = [i for i in range(len(x)) if not labelled[i]]
    if not centres:
        centre = x[open_rows].mean(axis=0)
        picks.append(min(open_rows, key=lambda i: np.linalg.norm(x[i] - centre)))
    while len(picks) < min(budget, len(open_rows)):
        left = [i for i in open_rows if i not in picks]
        picks.append(max(left, key=lambda i: min(np.linalg.norm(x[i] - x[c]) for c in [*centres, *picks])))
    return picks


@pytest.mark.parametrize("known", [0, 1, 9])
@pytest.mark.parametrize("seed", [1, 2])
def test_k_center_is_farthest_first(known, seed):
    vectors, labelled = unit(80, 6, seed), np.arange(80) < known
    chosen = KCenter(trim=0.0).select(Pool.of(vectors=vectors, labelled=labelled), 15, stream(seed, "k"))
    assert chosen.rows.tolist() == farthest_first(vectors, labelled, 15)
    assert (np.diff(chosen.scores) <= 1e-6).all()


def test_k_center_leaves_the_outlier_for_last():
    vectors = np.tile(np.array([[1, 0, 0]], dtype=np.float32), (200, 1))
    vectors[:, 1] = np.linspace(-0.3, 0.3, 200)
    vectors[-1] = [-1, 0, 0]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labelled = np.arange(200) == 100
    pool = Pool.of(vectors=vectors, labelled=labelled)
    assert KCenter(trim=0.0).select(pool, 1, stream(1, "k")).rows.tolist() == [199]
    robust = KCenter(trim=0.01).select(pool, 199, stream(1, "k")).rows
    assert 199 in robust[-2:]


def literal_typiclust(vectors, cells, labelled, budget, neighbours=20, smallest=5):
    """Methods a.6 line by line: cells and labelled over all texts; returns rows."""
    names = [c for c in np.unique(cells) if (cells == c).sum() > smallest]
    order = sorted(names, key=lambda c: ((cells[labelled] == c).sum(), -(cells == c).sum(), c))
    taken, i = [], 0
    while len(taken) < budget:
        members = [r for r in np.flatnonzero(cells == order[i % len(order)]) if not labelled[r] and r not in taken]
        i += 1
        if not members:
            continue
        near = min(neighbours, len(members) // 2)
        best, typical = None, -1.0
        for row in members:
            others = sorted(np.linalg.norm(vectors[row] - vectors[o]) for o in members if o != row)
            value = 1 / (np.mean(others[:near]) + 1e-5) if near else 1e5
            if value > typical:
                best, typical = row, value
        taken.append(best)
    return taken


@pytest.mark.parametrize(("known", "budget"), [(0, 6), (25, 10), (25, 40)])
def test_typiclust_is_the_published_rule_given_the_clustering(known, budget):
    vectors, labelled = unit(150, 5, 3), np.zeros(150, dtype=bool)
    labelled[stream(3, "known").choice(150, known, replace=False)] = True
    cells = clusters(vectors, 12, 4)
    picks, scores = most_typical(vectors[~labelled], cells[~labelled], cells[labelled], budget, 20, 5)
    rows = np.flatnonzero(~labelled)[picks]
    assert rows.tolist() == literal_typiclust(vectors.astype(np.float64), cells, labelled, budget)
    assert (scores > 0).all()


def test_typiclust_asks_first_where_nobody_has_asked():
    centres = np.eye(4, dtype=np.float32).repeat(30, axis=0) + 0.05 * unit(120, 4, 5)
    vectors = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    labelled = np.isin(np.arange(120), [0, 30])
    chosen = TypiClust().select(Pool.of(vectors=vectors, labelled=labelled), 2, stream(5, "t"))
    assert {int(row) // 30 for row in chosen.rows} == {2, 3}
    assert chosen.reason == ("typical of a cluster of 30 texts with 0 labelled",) * 2


def test_small_clusters_come_last():
    cells = np.array([0] * 8 + [1] * 3)
    picks, _ = most_typical(unit(11, 3, 6), cells, np.zeros(0, np.intp), 11, 20, 5)
    assert sorted(picks[:8]) == list(range(8))
    assert sorted(picks) == list(range(11))


def test_a_crowd_is_represented_by_a_sample(monkeypatch):
    monkeypatch.setattr("labelwise.select.geometry.CROWD", 16)
    picks, _ = most_typical(unit(300, 4, 7), np.zeros(300, np.intp), np.zeros(0, np.intp), 40, 20, 5)
    assert len(set(picks.tolist())) == 40


@pytest.mark.parametrize(
    "strategy", [KCenter(), TypiClust(), TypiClust(max_clusters=1), TypiClust(max_clusters=7)], ids=repr
)
@pytest.mark.parametrize(
    "pool",
    [
        Pool.of(vectors=unit(1, 3, 1)),
        Pool.of(vectors=np.tile(unit(1, 3, 1), (40, 1))),
        Pool.of(vectors=np.zeros((9, 3), np.float32)),
        Pool.of(vectors=unit(30, 3, 1).astype(np.float16), labelled=np.arange(30) < 29),
        Pool.of(vectors=unit(12, 3, 1), labelled=np.ones(12, bool)),
        Pool.of(vectors=np.zeros((0, 3), np.float32)),
        Pool.of(vectors=unit(50, 3, 1), groups=np.zeros(50, int)),
    ],
    ids=["one", "identical", "empty-texts", "one-open", "none-open", "none", "one-group"],
)
def test_degenerate_pools_give_as_many_as_there_are(strategy, pool, capfd):
    for budget in (1, 5, 200):
        chosen = strategy.select(pool, budget, stream(1, "edge"))
        assert len(set(chosen.rows.tolist())) == len(chosen) == min(budget, int(pool.open.sum()))
        assert np.isfinite(chosen.scores).all()
    assert capfd.readouterr() == ("", "")  # faiss prints warnings past Python


@pytest.mark.parametrize("strategy", [KCenter(among=40), TypiClust(among=40)], ids=repr)
def test_large_shards_send_up_few_and_small_ones_all(strategy):
    pool = pool_of(400, 2)
    sent = strategy.nominate(pool, 5, stream(2, "n")).rows
    assert len(sent) == 40
    assert pool.open[sent].all()
    assert len(strategy.nominate(pool, 60, stream(2, "n")).rows) == 60
    small = pool_of(40, 2).replace(groups=None)
    assert strategy.nominate(small, 5, stream(2, "n")).rows.tolist() == small.candidates().tolist()


@pytest.mark.parametrize("strategy", [KCenter(), TypiClust()], ids=repr)
def test_no_vectors_is_a_missing_input(strategy):
    with pytest.raises(MissingInput, match="no vectors"):
        strategy.select(Pool.of(5), 2, stream(1, "x"))
