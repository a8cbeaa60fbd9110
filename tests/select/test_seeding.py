"""The first texts of a class are found by the rules as written, over any shards."""

from dataclasses import replace

import numpy as np
import pytest

from labelwise.core import Known, MissingInput, Pool, stream
from labelwise.core.beliefs import Categorical, Committee, Multilabel, Streamed, Tagged
from labelwise.core.checks.scorers import pool_of
from labelwise.core.pool import Hints
from labelwise.select import choose
from labelwise.select.seeding import RareFirst, Seeds, in_turn, rare_classes, relevance


def unit(n, d, seed):
    vectors = stream(seed, "unit").normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def skewed(n=120, seed=1, targets=(0,) * 20 + (1, 1, 2), d=8, **parts):
    """Class 0 has 20 labels, 1 two, 2 one, 3 none; hints for 2 and 3."""
    targets = np.array(targets)
    probs = stream(seed, "probs").dirichlet(np.full(4, 0.5), n)
    known = Known(unit(len(targets), d, seed + 50), targets)
    given = {"beliefs": Categorical(probs), "known": known, "hints": Hints(unit(3, d, seed + 90), np.array([2, 3, 3]))}
    return Pool.of(vectors=unit(n, d, seed), labels=("a", "b", "c", "d"), **{**given, **parts})


def streams(purpose):
    return stream(5, purpose)


def literal_seeds(pool, budget, enough=10, novelty=0.95):
    """One pick after the other, every similarity anew."""
    labels = sorted(set(pool.hints.labels.tolist()))
    have = {label: int((pool.known.targets == label).sum()) for label in labels}
    labels = [label for label in labels if have[label] < enough]
    picks = []
    while len(picks) < budget:
        label = min(labels, key=lambda c: (have[c], c))
        left = [row for row in pool.candidates() if row not in picks]
        asked = [*pool.known.vectors, *pool.vectors[picks]]
        new = [row for row in left if all(pool.vectors[row] @ other <= novelty for other in asked)]
        hints = pool.hints.vectors[pool.hints.labels == label]
        picks.append(max(new or left, key=lambda row: max(float(pool.vectors[row] @ hint) for hint in hints)))
        have[label] += 1
    return picks


@pytest.mark.parametrize(("budget", "novelty", "d"), [(1, 0.95, 8), (12, 0.95, 8), (30, 0.8, 3), (120, 0.9, 3)])
def test_seeds_follow_the_rule_as_written(budget, novelty, d):
    pool = skewed(d=d)
    chosen = Seeds(novelty=novelty).select(pool, budget, stream(1, "s"))
    assert chosen.rows.tolist() == literal_seeds(pool, budget, novelty=novelty)
    assert ("almost copies" in chosen.fallback) == (d == 3)
    some = Seeds(novelty=novelty, among=1).select(pool, budget, stream(1, "s"))
    assert some.rows[0] == chosen.rows[0]


def test_copies_of_an_example_come_last():
    vectors = unit(40, 6, 3)
    vectors[:5] = vectors[7]
    pool = Pool.of(vectors=vectors, hints=Hints(vectors[7:8], np.array([0])), labels=("sport",))
    chosen = Seeds().select(pool, 40, stream(1, "s"))
    copies = {0, 1, 2, 3, 4, 7}
    assert len(copies & set(chosen.rows[:35].tolist())) == 1
    assert set(chosen.rows[-5:].tolist()) < copies
    assert chosen.fallback == "5 texts are almost copies of others: nothing else is left near the hints"
    assert chosen.reason[0] == "like what you gave for 'sport' (0 labels so far)"
    assert chosen.reason[0].numbers == {"cosine": pytest.approx(1.0), "labelled": 0}


def test_seeds_end_when_every_hinted_label_has_enough():
    pool = skewed(targets=(2,) * 3 + (3,) * 4)
    assert Seeds(enough=4).select(pool, 3, stream(1, "s")).reason[0].startswith("like what you gave for 'c'")
    with pytest.raises(MissingInput, match="every label with hints has 3 labelled texts"):
        Seeds(enough=3).select(pool, 3, stream(1, "s"))


@pytest.mark.parametrize("hints", [None, Hints(np.zeros((2, 8), np.float32), np.arange(2))], ids=["none", "empty"])
def test_without_hints_seeds_say_so(hints):
    with pytest.raises(MissingInput, match="keywords, label names or examples"):
        Seeds().select(skewed(hints=hints), 3, stream(1, "s"))


def test_a_cold_start_begins_with_the_seeds():
    pool = skewed(known=None)
    batch = choose([pool], Seeds(), 10, 0.2, streams)
    assert batch.fallback == ""
    assert sum("like what you gave" in reason for reason in batch.reason) == 8


@pytest.mark.parametrize("strategy", [Seeds(), Seeds(among=30), RareFirst()])
def test_shards_choose_what_one_array_would(strategy):
    groups = np.where(np.arange(400) < 90, np.arange(400) % 40, -1)
    pool = skewed(400, 4, groups=None if getattr(strategy, "among", 0) == 30 else groups)
    pool = pool.replace(ids=stream(4, "ids").permutation(400).astype(np.uint64))
    if pool.groups is not None:
        pool = pool.replace(vectors=pool.vectors[np.where(groups < 0, np.arange(400), groups)])
    whole = choose([pool], strategy, 12, 0.2, streams)
    cut = [pool.take(np.arange(i, 400, 3)) for i in range(3)]
    parts = choose(cut, strategy, 12, 0.2, streams)
    assert [int(cut[s].ids[r]) for s, r in zip(parts.shard, parts.row, strict=True)] == pool.ids[whole.row].tolist()
    assert whole.fallback == parts.fallback == ""


def test_what_is_rare():
    single = np.repeat([0, 1, 2, 3], [40, 9, 3, 10])
    assert rare_classes(single, 5, 10).tolist() == [2, 1]
    assert rare_classes(single, 5, 9).tolist() == [2]
    assert rare_classes(np.repeat([0, 1, 2], [9, 1, 1]), 3, 10).tolist() == []  # nobody has many yet
    assert rare_classes(np.repeat([0, 1], [12, 4]), 2, 10).tolist() == []  # not even, not rare
    assert rare_classes(np.zeros(0, int), 3, 10).tolist() == []
    several = np.zeros((40, 3), bool)
    several[:30, 0], several[:4, 1] = True, True
    assert rare_classes(several, 3, 10).tolist() == [1]


def test_relevance_is_the_mean_cosine_to_the_class_less_that_to_the_others():
    pool, rows = skewed(), np.arange(3, 60)
    known, targets = pool.known.vectors[: len(pool.known.targets)], pool.known.targets
    said = relevance(pool, rows, np.array([1, 2]))
    for label, own in zip((1, 2), said, strict=True):
        literal = [
            np.mean(known[targets == label] @ x) - np.mean(known[targets != label] @ x) for x in pool.vectors[rows]
        ]
        assert np.allclose(own, literal, atol=2e-6)
    assert np.array_equal(relevance(pool.replace(beliefs=None), rows, np.array([1, 2])), said)


def test_without_vectors_the_model_says_what_is_relevant():
    pool, rows = skewed().replace(vectors=None), np.arange(50)
    probs = pool.beliefs.probs
    assert np.array_equal(relevance(pool, rows, np.array([1])), probs[rows, 1][None])
    streamed = pool.replace(beliefs=Streamed(120, lambda part: Committee((Categorical(probs[part]),) * 2)))
    assert np.allclose(relevance(streamed, rows, np.array([1])), probs[rows, 1][None])
    with pytest.raises(MissingInput, match="no beliefs"):
        relevance(pool.replace(beliefs=None), rows, np.array([1]))


def test_only_the_likeliest_of_each_rare_class_take_part():
    pool = skewed(9000)
    rows, budget = pool.candidates(), 7
    wanted = relevance(pool, rows, np.array([2, 1]))
    best = {int(row) for said in wanted for row in rows[np.argsort(-said)[:budget]]}
    assert set(RareFirst().nominate(pool, budget, stream(1, "r")).rows.tolist()) == best


def test_rare_first_asks_the_likeliest_for_the_rarest():
    pool = skewed()
    chosen = RareFirst().select(pool, 5, stream(1, "r"))
    names = [reason.split("'")[1] for reason in chosen.reason]
    assert names == ["c", "c", "b", "c", "b"]  # 1 and 2 labels; a pick counts as a label, ties to the rarest
    rows = pool.candidates()
    best = relevance(pool, rows, np.array([2]))[0]
    assert chosen.rows[0] == rows[best.argmax()]
    assert chosen.reason[0] == "likely the rare class 'c' (1 labels so far)"
    assert chosen.reason[0].numbers == {"relevance": pytest.approx(best.max()), "labelled": 1}


def test_rare_first_finds_a_hidden_class_sooner_than_chance():
    vectors, targets = unit(2000, 16, 8), np.zeros(2000, int)
    targets[:40] = 1
    vectors[:40] = unit(1, 16, 9) + 0.4 * vectors[:40]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    known = Known(vectors[[0, *range(100, 130)]], targets[[0, *range(100, 130)]])
    pool = Pool.of(vectors=vectors, open=~np.isin(np.arange(2000), [0, *range(100, 130)]), known=known)
    chosen = RareFirst().select(pool, 20, stream(1, "r"))
    assert targets[chosen.rows].mean() > 0.9


@pytest.mark.parametrize(
    ("pool", "why"),
    [
        (skewed(targets=(0,) * 12 + (1,) * 11), "no class is rare"),
        (skewed(known=None), "not known by class"),
        (pool_of(30, 8, "spans"), "spans have none"),
    ],
)
def test_rare_first_says_why_it_cannot(pool, why):
    with pytest.raises(MissingInput, match=why):
        RareFirst().select(pool, 3, stream(1, "r"))


def test_several_labels_per_text():
    targets = np.zeros((30, 3), bool)
    targets[:15, 0], targets[:2, 1] = True, True
    probs = stream(2, "multi").random((60, 3))
    pool = Pool.of(vectors=unit(60, 8, 2), beliefs=Multilabel(probs), known=Known(unit(30, 8, 3), targets))
    chosen = RareFirst().select(pool, 4, stream(1, "r"))
    assert chosen.rows[0] == relevance(pool, np.arange(60), np.array([1]))[0].argmax()
    hinted = pool.replace(hints=Hints(unit(1, 8, 4), np.array([0])))
    with pytest.raises(MissingInput, match="has 10 labelled texts"):
        Seeds().select(hinted, 4, stream(1, "s"))


def test_in_turn_serves_the_class_with_the_fewest():
    wanted = np.array([[0.9, 0.8, 0.1], [0.7, 0.6, 0.5]])
    picks, turns, late = in_turn(wanted, np.array([3, 1]), 3, np.array([True, False, False]))
    assert (picks.tolist(), turns.tolist(), late) == ([1, 2, 0], [1, 1, 0], 1)


@pytest.mark.parametrize("strategy", [Seeds(), RareFirst()], ids=repr)
@pytest.mark.parametrize("n", [0, 1, 40])
@pytest.mark.parametrize("vectors", ["equal", "zero"])
def test_degenerate_pools(strategy, n, vectors):
    one = unit(1, 8, 1) if vectors == "equal" else np.zeros((1, 8), np.float32)
    probs = np.tile([0.25], (n, 4))
    pool = skewed(n=max(n, 1)).replace(hints=Hints(unit(1, 8, 1), np.array([3]))).take(np.arange(n))
    pool = replace(pool, vectors=np.tile(one, (n, 1)), beliefs=Categorical(probs))
    for budget in (0, 3, 60):
        chosen = strategy.select(pool, budget, stream(1, "edge"))
        assert len(set(chosen.rows.tolist())) == len(chosen) == min(budget, n)
        assert np.isfinite(chosen.scores).all()


def test_spans_have_no_classes_to_be_likely():
    tagged = Tagged(np.full((4, 3), 1 / 3), np.arange(5))
    with pytest.raises(MissingInput, match="spans give a text no class"):
        relevance(skewed(n=4).replace(beliefs=tagged, vectors=None), np.arange(4), np.array([0]))
