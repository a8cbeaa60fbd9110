"""Thresholds find the best F1, trust few positives little, and decide what is answered."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.core import Categorical, Committee, Multilabel, from_arrays, stack
from labelwise.learn.thresholds import TRUST, _best, best_thresholds, with_thresholds


def f1(given_, truth, weights):
    hits = weights[given_ & truth].sum()
    return 2 * hits / (weights[given_].sum() + weights[truth].sum())


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(1, 3)), min_size=1, max_size=25))
def test_no_threshold_gives_a_better_f1(rows):
    probs, truth, weights = (np.array(column) for column in zip(*rows, strict=True))
    probs, weights = (probs + 1) / 8, weights.astype(float)
    if truth.any():
        reached = f1(probs > _best(probs, truth, weights), truth, weights)
        assert reached == pytest.approx(max(f1(probs > t, truth, weights) for t in (-1, *np.unique(probs)[:-1])))


def test_few_positives_stay_near_a_half_and_none_at_it():
    rng = np.random.default_rng(0)
    truth = np.zeros((2000, 3), dtype=bool)
    truth[:2, 0] = truth[:500, 1] = True
    probs = np.clip(0.05 + 0.1 * truth + 0.01 * rng.random(truth.shape), 0, 1)
    few, many, none = best_thresholds(Multilabel(probs), truth, np.ones(2000))
    assert none == 0.5
    assert 0.05 < many < 0.16 < few < 0.5
    odds = np.log(few / (1 - few)) / np.log(_best(probs[:, 0], truth[:, 0], np.ones(2000)) ** -1 - 1)
    assert -odds == pytest.approx(2 / (2 + TRUST))


def test_beliefs_answer_by_their_thresholds_and_keep_them():
    probs = np.array([[0.2, 0.6], [0.4, 0.9]])
    beliefs = with_thresholds(Multilabel(probs), np.array([0.3, 0.8]))
    assert beliefs.hard().tolist() == [[False, False], [True, True]]
    assert beliefs.take(np.array([1])).hard().tolist() == [[True, True]]
    assert from_arrays(beliefs.arrays()).hard().tolist() == beliefs.hard().tolist()
    assert stack([beliefs, beliefs]).hard().tolist() == beliefs.hard().tolist() * 2
    committee = with_thresholds(Committee((Multilabel(probs), Multilabel(probs))), np.array([0.3, 0.8]))
    assert committee.hard().tolist() == beliefs.hard().tolist()
    single = Categorical(np.array([[0.5, 0.5]]))
    assert with_thresholds(single, np.array([0.3, 0.8])) is single
    assert with_thresholds(beliefs, None) is beliefs
