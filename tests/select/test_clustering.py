"""Clustering strategies equal their plain definitions, given the clustering."""

import numpy as np
import pytest

from labelwise.core import Pool, stream
from labelwise.core.beliefs import Categorical
from labelwise.select import ClusterMargin, KMeans, Margin, Then, Top, clustering
from labelwise.select.clustering import in_turns, nearest_distinct
from labelwise.select.geometry import k_means


def unit(n, d, seed):
    vectors = stream(seed, "unit").normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def certain(values):
    """Beliefs whose margin score is ``values``."""
    first = 1 - np.asarray(values) / 2
    return Categorical(np.stack([first, 1 - first], axis=1))


def test_every_centre_gets_its_nearest_text_that_is_left(monkeypatch):
    monkeypatch.setattr(clustering, "BLOCK", 7)
    texts, centres = unit(60, 4, 1), unit(25, 4, 2)
    picks = []
    for centre in centres.astype(np.float64):
        apart = np.linalg.norm(texts - centre, axis=1)
        apart[picks] = np.inf
        picks.append(int(apart.argmin()))
    assert nearest_distinct(texts, centres).tolist() == picks
    assert nearest_distinct(np.tile(texts[:1], (5, 1)), centres[:5]).tolist() == [0, 1, 2, 3, 4]


def test_k_means_tells_cells_and_distances_and_heeds_weights():
    texts, weights = unit(60, 4, 3), stream(3, "w").random(60)
    means = k_means(texts, 5, 1)
    apart = np.linalg.norm(texts[:, None] - means.centres[None], axis=2) ** 2
    assert means.cells.tolist() == apart.argmin(axis=1).tolist()
    assert means.apart == pytest.approx(apart.min(axis=1), abs=1e-5)
    # all but one text weigh next to nothing: far below the weight at which faiss would never end
    for scale in (1.0, 1e-9):
        centre = k_means(texts, 1, 1, scale * weights).centres[0]
        assert centre == pytest.approx((weights[:, None] * texts).sum(axis=0) / weights.sum(), abs=1e-5)
    assert len(k_means(np.tile(texts[:1], (9, 1)), 4, 1, np.full(9, 1e-9)).cells) == 9
    assert len(k_means(texts[:4], 4, 1, np.zeros(4)).cells) == 4


def test_k_means_takes_the_middle_of_every_crowd_largest_first():
    crowds = np.repeat(np.eye(3, 8, dtype=np.float32), (20, 50, 30), axis=0) + 0.02 * unit(100, 8, 4)
    chosen = KMeans().select(Pool.of(vectors=crowds), 3, stream(4, "k"))
    assert np.searchsorted([20, 70], chosen.rows, side="right").tolist() == [1, 2, 0]
    assert chosen.scores == pytest.approx([0.5, 0.3, 0.2])
    for row, crowd in zip(chosen.rows, (crowds[20:70], crowds[70:], crowds[:20]), strict=True):
        middle = crowd.mean(axis=0)
        nearest = np.linalg.norm(crowd - middle, axis=1).min()
        assert np.linalg.norm(crowds[row] - middle) == pytest.approx(nearest, rel=1e-5)
    assert chosen.reason[0] == "in the middle of a cluster of about 50 texts"


def test_clue_puts_its_centres_where_the_weight_is():
    values = np.where(np.arange(80) < 40, 0.02, 0.98)
    crowds = np.repeat(np.eye(2, 8, dtype=np.float32), 40, axis=0) + 0.3 * unit(80, 8, 5)
    pool = Pool.of(vectors=crowds, beliefs=certain(values))
    clue, plain = KMeans(Margin()).select(pool, 8, stream(5, "k")), KMeans().select(pool, 8, stream(5, "k"))
    assert (clue.rows >= 40).sum() > (plain.rows >= 40).sum()
    assert clue.reason[0].endswith(Margin().reason(pool, int(clue.rows[0]), 0.98))


def test_drop_query_is_a_filter_and_k_means():
    values = stream(6, "v").permutation(200) / 200
    pool = Pool.of(vectors=unit(200, 5, 6), beliefs=certain(values))
    chosen = Then(Top(Margin()), KMeans(), factor=5).select(pool, 8, stream(6, "d"))
    assert set(chosen.rows) < set(np.argsort(-values)[:40])


def literal_cluster_margin(cells, scores, budget, factor):
    """Methods a.4 line by line, but the best of a cluster instead of a random one."""
    wanted = sorted(range(len(scores)), key=lambda i: -scores[i])[: int(np.ceil(factor * budget))]
    groups = {}
    for i in wanted:
        groups.setdefault(cells[i], []).append(i)
    order = sorted(groups.values(), key=len)
    picks = []
    while len(picks) < min(budget, len(scores)):
        for members in order:
            if members and len(picks) < budget:
                picks.append(members.pop(0))
    return picks


@pytest.mark.parametrize(("budget", "factor"), [(10, 1.25), (10, 3.0), (40, 2.0), (150, 1.0)])
def test_cluster_margin_is_the_published_rule_given_the_clusters(budget, factor):
    rng = stream(7, "c")
    scores, cells = rng.permutation(150) / 150, rng.choice(8, 150, p=rng.dirichlet(np.ones(8)))
    pool = Pool.of(beliefs=certain(scores), clusters=cells)
    chosen = ClusterMargin(factor=factor).select(pool, budget, stream(7, "c"))
    assert chosen.rows.tolist() == literal_cluster_margin(cells, scores, budget, factor)
    assert chosen.scores == pytest.approx(scores[chosen.rows])


def test_cluster_margin_clusters_where_nobody_has():
    crowds = np.repeat(np.eye(4, 8, dtype=np.float32), 25, axis=0) + 0.02 * unit(100, 8, 8)
    scores = np.where(np.arange(100) < 25, 0.9, 0.5) + stream(8, "s").random(100) / 100
    pool = Pool.of(vectors=crowds, beliefs=certain(scores))
    chosen = ClusterMargin(factor=10.0, clusters=4).select(pool, 4, stream(8, "c"))
    # the best 25 are one crowd; the other clusters have fewer of the best 40, so they come first
    assert (chosen.rows >= 25).tolist()[0]
    assert (chosen.rows < 25).any()
    assert len({int(row) // 25 for row in chosen.rows}) >= 3
    assert ", torn between" in chosen.reason[0]
    assert chosen.reason[0].startswith("from a cluster with ")


def test_the_most_wanted_take_part_however_large_the_batch():
    scores = stream(9, "s").permutation(3000) / 3000
    pool = Pool.of(vectors=unit(3000, 3, 9), beliefs=certain(scores), clusters=np.zeros(3000, int))
    chosen = ClusterMargin(factor=4.0, among=50).select(pool, 300, stream(9, "c"))
    assert chosen.rows.tolist() == np.argsort(-scores)[:300].tolist()


def test_turns():
    order, sizes = in_turns(np.array([7, 7, 3, 7, 5, 3]))
    assert order.tolist() == [4, 2, 0, 5, 1, 3]
    assert sizes.tolist() == [3, 3, 2, 3, 1, 2]
    assert in_turns(np.zeros(0, int))[0].tolist() == []
