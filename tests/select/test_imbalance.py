"""Sub-pools, balanced batches and bisection equal their definitions, over any shards."""

import numpy as np
import pytest

from labelwise.core import InputError, Known, MissingInput, Pool, stream
from labelwise.core.beliefs import Categorical, Multilabel, Streamed
from labelwise.core.checks.scorers import pool_of
from labelwise.select import KCenter, Margin, Mix, Power, Random, Then, Top, choose
from labelwise.select.comparing import squared
from labelwise.select.imbalance import AnchorAL, Balanced, Galaxy, Seals, _spread, halve, water_filled


def unit(n, d, seed):
    vectors = stream(seed, "unit").normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def skewed(n=200, seed=1, targets=(0,) * 20 + (1, 1, 2), **parts):
    targets = np.array(targets)
    said = Categorical(stream(seed, "said").dirichlet(np.full(4, 0.5), len(targets)))
    known = Known(unit(len(targets), 6, seed + 50), targets, said)
    probs = stream(seed, "probs").dirichlet([2, 0.5, 0.3, 0.3], n)
    given = {"ids": stream(seed, "ids").permutation(n).astype(np.uint64), "beliefs": Categorical(probs), "known": known}
    return Pool.of(vectors=unit(n, 6, seed), labels=("a", "b", "c", "d"), **{**given, **parts})


def streams(purpose):
    return stream(5, purpose)


def literal_anchoral(pool, anchors, neighbours):
    """Scores by text, by the paper's words; anchors are given."""
    called = {}
    for anchor in anchors:
        near = sorted(pool.candidates(), key=lambda row: -float(pool.vectors[row] @ anchor))[:neighbours]
        for row in near:
            called.setdefault(int(row), []).append(float(pool.vectors[row] @ anchor))
    return {row: np.mean(cosines) for row, cosines in called.items()}


def test_the_sub_pool_is_what_the_anchors_call():
    pool = skewed(open=np.arange(200) % 5 > 0)
    rows, size = AnchorAL(Random(), anchors=25, neighbours=7, size=30).near(pool, stream(1, "a"))
    scores = literal_anchoral(pool, pool.known.vectors, 7)  # no class has more than 25: all are anchors
    assert rows.tolist() == sorted(scores, key=lambda row: -scores[row])
    chosen = AnchorAL(Top(Margin()), anchors=25, neighbours=7, size=30).select(pool, 10, stream(1, "a"))
    margins = pool.beliefs.margin()
    assert size == 30
    assert chosen.rows.tolist() == sorted(rows[:30].tolist(), key=lambda row: margins[row])[:10]
    assert chosen.fallback == ""


def test_awaited_texts_are_no_anchors():
    pool = skewed()
    later = pool.replace(known=pool.known.awaiting(unit(9, 6, 99)))
    for strategy in (AnchorAL(Random(), neighbours=3), Seals(Random(), neighbours=3)):
        assert np.array_equal(strategy.near(pool, stream(1, "a"))[0], strategy.near(later, stream(1, "a"))[0])


def test_anchors_of_a_large_class_are_spread():
    vectors = np.concatenate([np.tile(unit(1, 4, 1), (96, 1)), unit(4, 4, 2)])
    for seed in range(5):
        picks = _spread(vectors, np.arange(100), 5, stream(seed, "k"))
        assert len(set(picks.tolist())) == 5
        assert {96, 97, 98, 99} < set(picks.tolist())  # copies have no chance once one is picked
    assert _spread(vectors, np.arange(3), 5, stream(1, "k")).tolist() == [0, 1, 2]
    zeros = _spread(np.zeros((9, 3), np.float32), np.arange(9), 5, stream(1, "k"))
    assert len(zeros) == 1  # further ones would be copies


def test_anchors_follow_the_squared_distance():
    vectors = np.array([[1, 0], [0.8, 0.6], [-1, 0]], np.float32)
    seconds = np.zeros(3)
    firsts = np.zeros(3)
    rng = stream(1, "d2")
    for _ in range(6000):
        first, second = _spread(vectors, np.arange(3), 2, rng)
        firsts[first] += 1
        seconds[second] += first == 0
    apart = squared(vectors[:1], vectors)[0]
    assert np.allclose(seconds / firsts[0], apart / apart.sum(), atol=0.04)  # 0.09 by D^2, 0.24 by its root


def test_seals_is_the_union_of_neighbours():
    pool = skewed(open=np.arange(200) % 5 > 0)
    rows, size = Seals(Random(), neighbours=4).near(pool, stream(1, "s"))
    assert rows.tolist() == sorted(literal_anchoral(pool, pool.known.vectors, 4))
    assert size == len(rows)
    assert set(Seals(Random(), neighbours=4).select(pool, 20, stream(1, "s")).rows.tolist()) <= set(rows.tolist())


def test_what_the_sub_pool_lacks_comes_from_the_whole_pool():
    pool = skewed()
    chosen = AnchorAL(Top(Margin()), neighbours=1, size=4).select(pool, 10, stream(1, "a"))
    near = AnchorAL(Random(), neighbours=1, size=4).near(pool, stream(1, "a").spawn(3)[0])[0][:4]
    assert set(chosen.rows[:4].tolist()) == set(near.tolist())
    rest = [row for row in np.argsort(pool.beliefs.margin()) if row not in near]
    assert chosen.rows[4:].tolist() == rest[:6]
    assert chosen.fallback == "only 4 different texts lie near labelled ones: the others come from the whole pool"
    none = AnchorAL(Random()).select(skewed(targets=np.zeros(0, int)), 3, stream(1, "a"))
    assert none.fallback.startswith("only 0 different texts")


def test_a_sub_pool_of_copies_does_not_fill_a_batch():
    pool = skewed(groups=np.where(np.arange(200) < 150, 0, -1))
    for strategy in (AnchorAL(Random()), Seals(Random()), Balanced(Random())):
        rows = strategy.select(pool, 51, stream(1, "a")).rows
        assert (rows < 150).sum() == 1
        assert len(strategy.select(pool, 60, stream(1, "a"))) == 60


@pytest.mark.parametrize(
    "strategy",
    [
        AnchorAL(Top(Margin()), anchors=4, neighbours=9),
        AnchorAL(Power(Margin())),
        AnchorAL(Power(Margin()), neighbours=1, size=5),
        AnchorAL(Mix((Random(), KCenter(among=40)), (1, 1)), neighbours=4, size=40),
        AnchorAL(KCenter(), size=60),
        Seals(Power(Margin()), neighbours=3),
        Seals(KCenter(), neighbours=8),
        Balanced(Top(Margin())),
        Balanced(Power(Margin())),
        Balanced(KCenter(among=20)),
        Balanced(Mix((Power(Margin()), Random()), (1, 1))),
        Mix((Balanced(Power(Margin())), AnchorAL(Power(Margin()))), (1, 1)),
        Galaxy(),
        Galaxy(among=50),
    ],
    ids=repr,
)
def test_shards_choose_what_one_array_would(strategy, monkeypatch):
    monkeypatch.setattr("labelwise.select.picking.NOMINEES", 20)
    pool = skewed(400, 4, groups=np.where(np.arange(400) < 90, np.arange(400) % 40, -1))
    whole = choose([pool], strategy, 15, 0.2, streams)
    cut = [pool.take(np.arange(i, 400, 3)) for i in range(3)]
    parts = choose(cut, strategy, 15, 0.2, streams)
    assert [int(cut[s].ids[r]) for s, r in zip(parts.shard, parts.row, strict=True)] == pool.ids[whole.row].tolist()
    assert np.allclose(parts.propensity, whole.propensity, rtol=1e-9)
    assert whole.fallback == parts.fallback


def literal_water(counts, room, budget):
    slots = [0] * len(counts)
    while sum(slots) < min(budget, sum(room)):
        open_classes = [c for c in range(len(counts)) if slots[c] < room[c]]
        slots[min(open_classes, key=lambda c: (counts[c] + slots[c], c))] += 1
    return slots


@pytest.mark.parametrize("budget", [0, 1, 7, 30, 100])
def test_water_goes_where_it_is_lowest(budget):
    counts, room = [9, 2, 0, 5], [50, 3, 1, 20]
    assert water_filled(np.array(counts), np.array(room), budget).tolist() == literal_water(counts, room, budget)


@pytest.mark.parametrize("form", ["single", "multi", "streamed"])
def test_balanced_fills_the_classes_with_the_fewest_labels(form):
    pool = skewed()
    probs, counts = pool.beliefs.probs, np.array([20, 2, 1, 0])
    likely = probs.argmax(axis=1)
    if form == "multi":
        targets = np.arange(4) == pool.known.targets[:, None]
        pool = pool.replace(beliefs=Multilabel(probs), known=Known(pool.known.vectors, targets))
    if form == "streamed":
        pool = pool.replace(beliefs=Streamed(200, lambda part: Categorical(probs[part])))
    chosen = Balanced(Top(Margin())).select(pool, 12, stream(1, "b"))
    slots = literal_water(counts, np.bincount(likely, minlength=4), 12)
    assert np.bincount(likely[chosen.rows], minlength=4).tolist() == slots
    margins = pool.beliefs.margin()
    for label, count in enumerate(slots):
        best = sorted(np.flatnonzero(likely == label), key=lambda row: margins[row])[:count]
        assert set(best) == set(chosen.rows[likely[chosen.rows] == label].tolist())


def literal_halve(told, above):
    """The shortest run of -1 between neighbours that differ; else next to the cut with the fewest errors."""
    n = len(told)
    pairs = [(i, j) for i in range(n) for j in range(i + 2, n) if told[i] >= 0 and told[j] == 1 - told[i]]
    runs = [(j - i - 1, i) for i, j in pairs if all(told[i + 1 : j] == -1)]
    if runs:
        length, i = min(runs)
        return i + (length + 1) // 2, length
    cuts = [i for i in range(n - 1) if told[i] >= 0 and told[i + 1] == 1 - told[i]]
    cut = min(cuts, key=lambda i: ((told[: i + 1] == 1).sum() + (told[i + 1 :] == 0).sum(), i))
    low, high = [i for i in range(cut) if told[i] < 0], [i for i in range(cut + 1, n) if told[i] < 0]
    if high and (above or not low):
        return high[0], high[0] - cut
    return low[-1], cut + 1 - low[-1]


def test_halving_is_the_rule_as_written():
    rng, runs = stream(1, "halve"), 0
    for _ in range(400):
        told = rng.choice([-1, 0, 1], size=int(rng.integers(3, 16)), p=[0.3, 0.4, 0.3]).astype(np.int8)
        if {0, 1, -1} <= set(told.tolist()):
            for above in (False, True):
                assert halve(told, above) == literal_halve(told, above)
                runs += 1
    assert runs > 300


@pytest.mark.parametrize("several", [False, True])
def test_galaxy_is_bisection_with_expected_answers(several):
    pool, budget = skewed(40), 25
    known, before, probs = np.arange(4) == pool.known.targets[:, None], pool.known.beliefs.probs, pool.beliefs.probs
    if several:
        pool = pool.replace(
            beliefs=Multilabel(probs), known=Known(pool.known.vectors, known, Multilabel(before))
        )  # fmt: skip
    state, picks = {("known", i): known[i] for i in range(len(known))}, []
    order = [2, 1, 0]  # labels: 1, 2, 20; class 3 has none
    for turn in range(budget):
        label, above = order[turn % 3], turn // 3 % 2 == 1
        texts = [(p, "known", i) for i, p in enumerate(before[:, label])]
        line = sorted([*texts, *((p, "row", row) for row, p in enumerate(probs[:, label]))])
        told = np.array([int(state[kind, i][label]) if (kind, i) in state else -1 for _, kind, i in line])
        row = line[literal_halve(told, above)[0]][2]
        state["row", row] = probs[row] > 0.5 if several else np.arange(4) == probs[row].argmax()
        picks.append(row)
    chosen = Galaxy().select(pool, budget, stream(1, "g"))
    assert chosen.rows.tolist() == picks
    assert chosen.reason[0] == f"where 'c' begins (probability {probs[chosen.rows[0], 2]:.2f})"


@pytest.mark.parametrize(
    ("pool", "why"),
    [
        (skewed(known=None), "not known by class"),
        (skewed(targets=(1,) * 4), "no class has labelled texts both in and out"),
        (skewed(known=Known(unit(2, 6, 1), np.array([0, 1]))), "no held-out beliefs"),
        (pool_of(30, 8, "spans"), "spans have none"),
        (skewed(beliefs=None), "no beliefs"),
    ],
)
def test_galaxy_says_why_it_cannot(pool, why):
    with pytest.raises(MissingInput, match=why):
        Galaxy().select(pool, 3, stream(1, "g"))


def test_what_wrappers_lack():
    for strategy in (AnchorAL(Random()), Balanced(Random())):
        with pytest.raises(MissingInput, match="not known by class"):
            strategy.select(skewed(known=None), 3, stream(1, "w"))
    with pytest.raises(MissingInput, match="no vectors"):
        Seals(Random()).select(skewed().replace(vectors=None), 3, stream(1, "w"))
    with pytest.raises(InputError, match="base: 'x' is not a strategy"):
        Balanced("x")
    with pytest.raises(InputError, match="size: 0"):
        AnchorAL(Random(), size=0)


STRATEGIES = [
    AnchorAL(Power(Margin())), Seals(Random()), Balanced(Top(Margin())), Balanced(AnchorAL(Random())),
    Then(AnchorAL(Random()), KCenter()), Galaxy(),
]  # fmt: skip
EDGES = [
    (s, kind) for s in STRATEGIES for kind in ("equal", "zero", "one class") if (s, kind) != (Galaxy(), "one class")
]


@pytest.mark.parametrize(("strategy", "kind"), EDGES, ids=repr)
@pytest.mark.parametrize("n", [0, 1, 40])
def test_degenerate_pools(strategy, n, kind):
    pool = skewed(max(n, 1)).take(np.arange(n))
    one = np.zeros(6) if kind == "zero" else unit(1, 6, 1)
    pool = pool.replace(vectors=np.tile(np.float32(one), (n, 1)), beliefs=Categorical(np.full((n, 4), 0.25)))
    if kind == "one class":
        pool = pool.replace(beliefs=Categorical(np.ones((n, 1))), known=Known(unit(3, 6, 2), np.zeros(3, int)))
    for budget in (0, 3, 60):
        chosen = strategy.select(pool, budget, stream(1, "edge"))
        assert len(set(chosen.rows.tolist())) == len(chosen) == min(budget, n)
        assert np.isfinite(chosen.scores).all()
