"""Dividing texts: near-duplicates stay together, placements stay, and only keys and groups decide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from labelwise.core import stream
from labelwise.measure.splits import SPLITS, divide, leaks

POOL, TEST, VAL = (SPLITS.index(name) for name in ("pool", "test", "val"))
SALT = 99


def texts(n, seed=0, groups=None):
    """(declared, groups, keys, previous) of new texts for which no split is declared."""
    rng = stream(seed, "splits")
    groups = np.where(rng.random(n) < 0.5, rng.integers(max(n // 4, 1), size=n), -1) if groups is None else groups
    keys = rng.choice(2**40, size=n, replace=False).astype(np.uint64)
    return np.zeros(n, np.int8), np.asarray(groups), keys, np.full(n, -1, np.int8)


def sides(splits, groups):
    return {group: set(splits[groups == group].tolist()) for group in np.unique(groups[groups >= 0]).tolist()}


pools = st.builds(texts, st.integers(0, 60), st.integers(0, 10**6))
shares = st.sampled_from([0.0, 0.1, 0.5, 0.9])


@given(pools, shares, st.integers(0, 2**63 - 1))
def test_groups_never_straddle_when_nothing_is_declared(pool, holdout, salt):
    declared, groups, keys, previous = pool
    splits = divide(declared, groups, keys, holdout, salt, previous)
    assert splits.dtype == np.int8
    assert set(splits.tolist()) <= {POOL, TEST}
    assert all(len(side) == 1 for side in sides(splits, groups).values())
    assert leaks(splits, groups) == 0


@given(pools, shares, shares, st.data())
def test_the_placed_stay_and_the_new_join_their_group(pool, before, after, data):
    declared, groups, keys, previous = pool
    n = data.draw(st.integers(0, len(keys)))
    previous[:n] = divide(declared[:n], groups[:n], keys[:n], before, SALT, previous[:n])
    splits = divide(declared, groups, keys, after, SALT, previous)
    assert np.array_equal(splits[:n], previous[:n])
    assert all(len(side) == 1 for side in sides(splits, groups).values())


@pytest.mark.parametrize("holdout", [0.0, 0.5])
def test_a_text_that_links_both_sides_goes_to_test(holdout):
    declared, groups, keys, previous = texts(4, groups=[3, 3, 3, -1])
    previous[:2] = POOL, TEST
    splits = divide(declared, groups, keys, holdout, SALT, previous)
    assert splits[:3].tolist() == [POOL, TEST, TEST]
    assert leaks(splits, groups) == 2


@given(pools, shares, st.randoms(), st.data())
def test_the_order_of_rows_and_the_numbers_of_groups_decide_nothing(pool, holdout, random, data):
    declared, groups, keys, previous = pool
    previous = np.array(data.draw(st.lists(st.sampled_from([-1, POOL, TEST]), min_size=len(keys), max_size=len(keys))))
    previous = previous.astype(np.int8)
    splits = divide(declared, groups, keys, holdout, SALT, previous)
    order = np.array(random.sample(range(len(keys)), len(keys)), dtype=np.intp)
    names = np.array([*random.sample(range(1000), int(groups.max(initial=-1)) + 1), -1])
    turned = divide(declared[order], names[groups][order], keys[order], holdout, SALT, previous[order])
    assert np.array_equal(turned, splits[order])


@pytest.mark.parametrize("holdout", [0.05, 0.2, 0.6])
def test_about_the_asked_share_is_held_out_and_the_salt_decides_which(holdout):
    declared, groups, keys, previous = texts(20_000)
    one, other = (divide(declared, groups, keys, holdout, salt, previous) for salt in (1, 2))
    # groups of up to a dozen texts move together, so the share varies more than that of single texts
    assert np.mean(one == TEST) == pytest.approx(holdout, abs=4 * 3 / np.sqrt(20_000))
    assert not np.array_equal(one, other)
    alone = groups < 0
    assert np.mean(one[alone] == TEST) == pytest.approx(holdout, abs=4 * 0.5 / np.sqrt(alone.sum()))


def test_nothing_is_held_out_of_nothing_or_unasked():
    declared, groups, keys, previous = texts(100)
    assert (divide(declared, groups, keys, 0.0, SALT, previous) == POOL).all()
    assert len(divide(*texts(0)[:3], 0.5, SALT, np.zeros(0, np.int8))) == 0


@given(pools, shares, st.data())
def test_a_declared_test_split_is_taken_as_it_is_and_nothing_else_is_held_out(pool, holdout, data):
    _, groups, keys, previous = pool
    n = len(keys)
    declared = np.array(data.draw(st.lists(st.sampled_from([POOL, TEST, VAL]), min_size=n, max_size=n)), np.int8)
    assume((declared == TEST).any())
    assert np.array_equal(divide(declared, groups, keys, holdout, SALT, previous), declared)


@given(pools, shares, st.data())
def test_a_declared_validation_split_is_honoured(pool, holdout, data):
    _, groups, keys, previous = pool
    n = len(keys)
    declared = np.array(data.draw(st.lists(st.sampled_from([POOL, VAL]), min_size=n, max_size=n)), np.int8)
    previous[: n // 2] = POOL
    splits = divide(declared, groups, keys, holdout, SALT, previous)
    assert np.array_equal(splits[n // 2 :] == VAL, declared[n // 2 :] == VAL)


def test_inputs_are_left_alone():
    given_arrays = texts(50, groups=np.arange(50) % 7)
    before = [array.copy() for array in given_arrays]
    declared, groups, keys, previous = given_arrays
    divide(declared, groups, keys, 0.5, SALT, previous)
    assert all(np.array_equal(a, b) for a, b in zip(given_arrays, before, strict=True))


@given(st.lists(st.tuples(st.sampled_from([POOL, TEST, VAL]), st.integers(-1, 4)), max_size=30))
def test_leaks_are_test_texts_with_a_near_duplicate_in_the_pool(rows):
    splits, groups = (np.array([row[k] for row in rows], dtype=np.int64) for k in (0, 1))
    by_hand = sum(
        side == TEST and group >= 0 and any(s == POOL and g == group for s, g in rows) for side, group in rows
    )
    assert leaks(splits, groups) == by_hand
