"""The pool as strategies see it, and the selection they return."""

from __future__ import annotations

import re

import numpy as np
import pytest

from labelwise.core import (
    Categorical,
    ContractError,
    Lazy,
    MissingInput,
    Multilabel,
    Pool,
    Selection,
    stack_pools,
    stream,
)


def full(n, seed=0):
    rng = stream(seed, "pool")
    return Pool.of(
        ids=rng.integers(2**63, size=n).astype(np.uint64), open=rng.random(n) < 0.6, labelled=rng.random(n) < 0.3,
        costs=rng.random(n) + 1, beliefs=Categorical(rng.dirichlet(np.ones(3), n)), calibrated=True,
        vectors=rng.random((n, 4)), clusters=rng.integers(3, size=n), groups=rng.integers(-1, 3, size=n),
        signals={"rarity": rng.random(n)}, rest=2.5,
    )  # fmt: skip


def parts(pool):
    plain = {
        name: getattr(pool, name) for name in ("ids", "open", "labelled", "costs", "vectors", "clusters", "groups")
    }
    return {**plain, "probs": pool.beliefs.probs, **pool.signals}


def test_a_pool_of_what_is_at_hand_is_open_unlabelled_and_costs_a_second():
    pool = Pool.of(vectors=np.zeros((3, 2)))
    assert len(pool) == 3
    assert pool.ids.tolist() == [0, 1, 2]
    assert pool.ids.dtype == np.uint64
    assert pool.open.all()
    assert not pool.labelled.any()
    assert pool.costs.tolist() == [1.0] * 3


def test_labelled_texts_are_closed_unless_said_otherwise():
    assert Pool.of(labelled=[0, 1, 0]).candidates().tolist() == [0, 2]
    assert Pool.of(labelled=[0, 1, 0], open=[1, 1, 0]).candidates().tolist() == [0, 1]


def test_signals_alone_tell_how_many_texts_there_are_and_rests_do_not():
    assert len(Pool.of(signals={"rarity": np.zeros(4)})) == 4
    assert len(Pool.of(5, rest=(1.0, 2.0))) == 5
    with pytest.raises(ContractError, match=r"Pool\.of needs n or at least one array"):
        Pool.of(rest=(1.0, 2.0))


@pytest.mark.parametrize("name", ["open", "labelled", "costs", "vectors", "clusters", "groups"])
def test_every_part_has_one_entry_per_text(name):
    with pytest.raises(ContractError, match=f"pool.{name} has 2 entries for 3 texts"):
        Pool.of(3).replace(**{name: np.zeros(2)})


def test_beliefs_signals_and_n_are_counted_too():
    with pytest.raises(ContractError, match=r"pool\.beliefs has 2 entries for 3 texts"):
        Pool.of(3, beliefs=Categorical(np.ones((2, 1))))
    with pytest.raises(ContractError, match=r"pool\.rarity has 2 entries for 3 texts"):
        Pool.of(3, signals={"rarity": np.zeros(2)})
    with pytest.raises(ContractError, match=r"pool\.vectors has 2 entries for 3 texts"):
        Pool.of(3, vectors=np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vectors", "the pool has no vectors: run `labelwise advance` so that the encoder has represented every text."),
        ("beliefs", "the pool has no beliefs: label some texts so that a model can be trained; or choose a strategy"),
        ("clusters", "the pool has no clusters: cluster the pool's vectors and pass them as `clusters`."),
        ("groups", "the pool has no groups: run `labelwise advance` so that near-duplicates have been grouped."),
        ("novelty", "the pool has no novelty: provide the signal 'novelty' (present: rarity)."),
    ],
)
def test_what_is_needed_and_missing_names_what_provides_it(name, message):
    with pytest.raises(MissingInput, match=re.escape(message)):
        Pool.of(2, signals={"rarity": np.zeros(2)}).need(name)
    with pytest.raises(MissingInput, match=re.escape("(present: none)")):
        Pool.of(2).need("novelty")


def test_what_is_there_is_given():
    pool = full(5)
    for name in ("vectors", "beliefs", "clusters", "groups"):
        assert pool.need(name) is getattr(pool, name)
    assert pool.need("rarity") is pool.signals["rarity"]


def test_without_closes_rows_of_a_copy():
    pool = Pool.of(4)
    assert pool.without(np.array([1, 3])).candidates().tolist() == [0, 2]
    assert pool.candidates().tolist() == [0, 1, 2, 3]


def test_replace_keeps_the_rest_and_refuses_what_no_pool_has():
    pool = full(5)
    other = pool.replace(calibrated=False)
    assert not other.calibrated
    assert all(value is parts(pool)[name] for name, value in parts(other).items())
    assert other.rest == 2.5
    with pytest.raises(TypeError, match="opne"):
        pool.replace(opne=pool.open)


def test_take_takes_every_part_in_the_order_given():
    pool, rows = full(6), np.array([4, 0, 5])
    taken = pool.take(rows)
    assert all(np.array_equal(value, parts(pool)[name][rows]) for name, value in parts(taken).items())
    assert (taken.calibrated, taken.rest) == (True, 2.5)
    bare = Pool.of(6).take(rows)
    assert (bare.beliefs, bare.vectors, bare.clusters, bare.groups) == (None,) * 4


def test_shards_stack_to_the_whole():
    pool = full(7)
    whole = stack_pools([pool.take(np.arange(3)), pool.take(np.arange(3, 3)), pool.take(np.arange(3, 7))])
    assert all(np.array_equal(value, parts(pool)[name]) for name, value in parts(whole).items())
    assert whole.rest == 7.5
    assert whole.calibrated


def test_what_one_shard_lacks_is_lacking():
    pool = full(4)
    for name in ("beliefs", "vectors", "clusters", "groups"):
        whole = stack_pools([pool, pool.replace(**{name: None})])
        assert getattr(whole, name) is None
    assert stack_pools([pool, pool.replace(signals={})]).signals == {}
    assert stack_pools([pool.replace(signals={}), pool]).signals == {}
    assert not stack_pools([pool, pool.replace(calibrated=False)]).calibrated


def test_rests_of_several_strategies_add_up_entry_by_entry():
    shards = [Pool.of(1, rest=(1.0, (2.0, 3.0))), Pool.of(1, rest=(10.0, (20.0, 30.0)))]
    assert stack_pools(shards).rest == (11.0, (22.0, 33.0))


def test_pools_of_different_beliefs_do_not_stack():
    one, other = Pool.of(beliefs=Categorical(np.ones((2, 1)))), Pool.of(beliefs=Multilabel(np.ones((2, 1))))
    with pytest.raises(ContractError, match="only beliefs of one form"):
        stack_pools([one, other])


def test_a_selection_has_one_length():
    with pytest.raises(ContractError, match="must have one length"):
        Selection(np.arange(2), np.zeros(2), np.ones(2), ("only one",))


def test_selections_join_in_order_and_keep_each_fallback_once():
    one = Selection(np.array([3]), np.array([0.5]), np.array([1.0]), ("best",), "tied")
    two = Selection(np.array([1, 0]), np.array([0, 0]), np.array([0.5, 1]), ("a", "b"), "")
    joined = Selection.join([one, two, one, Selection.join([])])
    assert joined.rows.tolist() == [3, 1, 0, 3]
    assert joined.rows.dtype == np.intp
    assert joined.scores.tolist() == [0.5, 0, 0, 0.5]
    assert joined.propensity.tolist() == [1, 0.5, 1, 1]
    assert joined.reason == ("best", "a", "b", "best")
    assert joined.fallback == "tied"
    assert len(Selection.join([])) == 0


def test_a_lazy_signal_is_worked_out_once_and_only_where_it_is_read():
    asked = []

    def tell(rows):
        asked.append(len(rows))
        return rows * 2.0

    whole = Lazy(20_000, tell)
    part = whole[np.array([3, 19_999])][::-1]
    assert len(part) == 2
    assert not asked
    np.testing.assert_array_equal(np.asarray(part), [39_998.0, 6.0])
    assert asked == [2]
    np.testing.assert_array_equal(np.asarray(whole), np.arange(20_000) * 2.0)
    np.testing.assert_array_equal(whole[np.array([1, 2])], [2.0, 4.0])
    assert sum(asked) == 20_002
    assert max(asked) <= 8192
    pool = Pool.of(3, signals={"s": np.arange(3.0)})
    joined = stack_pools([pool, Pool.of(20_000, signals={"s": Lazy(20_000, tell)})]).signals["s"]
    np.testing.assert_array_equal(np.asarray(joined[np.array([19_000, 1])]), [37_994.0, 1.0])
    assert np.asarray(Lazy(0, tell)).shape == (0,)
