"""Updates between searches: the same optimum, honest folds, and when a search is due."""

from dataclasses import replace

import numpy as np
import pytest

from labelwise.core import Categorical, Examples, Multilabel, Task, stream
from labelwise.learn.folds import assign
from labelwise.learn.linear import Linear
from labelwise.learn.refit import keys_of, surprised
from tests.learn.test_linear import blobs, single

PATIENT = Linear(growth=0.5)


def grown(n=200, more=40, k=4, noise=0.8, **parts):
    """Examples, the model of the first n of them, and all of them."""
    x, y = blobs(n + more, k, noise=noise)
    whole = single(x, y, k, **parts)
    return whole, PATIENT.fit(whole.take(np.arange(n)), None, stream(0, "first"))


def test_an_update_is_the_fit_at_that_c():
    whole, first = grown()
    updated = PATIENT.fit(whole, first, stream(1))
    alone = Linear(grid=(first.facts["c"],)).fit(whole, None, stream(2))
    assert (updated.facts["searched"], updated.facts["c"]) == (False, first.facts["c"])
    assert np.abs(updated.believe(whole.vectors).probs - alone.believe(whole.vectors).probs).max() < 1e-4


def test_every_held_out_belief_is_that_of_a_model_without_the_fold():
    whole, first = grown()
    updated = PATIENT.fit(whole, first, stream(1))
    for fold in range(5):
        train, test = (np.flatnonzero(hit) for hit in (updated.kept.folds != fold, updated.kept.folds == fold))
        without = Linear(grid=(first.facts["c"],)).fit(whole.take(train), None, stream(3))
        gap = without.believe(whole.vectors[test]).probs - updated.held_out.probs[test]
        assert np.abs(gap).max() < 0.02


def test_held_out_beliefs_of_updates_know_nothing_of_noise():
    """Many small updates over labels that nothing tells: were a fold's start from the whole, it would show."""
    rng = stream(4, "noise")
    x = rng.standard_normal((400, 32)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    examples = single(x, rng.integers(2, size=400), 2)
    trainer, model = Linear(growth=10.0), None
    for n in range(100, 401, 25):
        some = examples.take(np.arange(n))
        model = trainer.fit(some, model, stream(n))
        assert model.facts["searched"] == (n == 100)
    assert np.mean(model.held_out.hard() == examples.targets) < 0.6


def test_who_is_in_a_fold_stays_and_the_new_are_spread():
    whole, first = grown()
    order = stream(5).permutation(240)
    updated = PATIENT.fit(whole.take(order), first, stream(1))
    old = order < 200
    assert np.array_equal(updated.kept.folds[old], first.kept.folds[order[old]])
    assert np.ptp(np.bincount(updated.kept.folds)) <= 4


def test_a_new_near_duplicate_joins_its_group():
    groups = np.r_[np.arange(200), np.arange(40)]
    whole, first = grown(groups=groups)
    updated = PATIENT.fit(whole, first, stream(1))
    assert np.array_equal(updated.kept.folds[200:], first.kept.folds[:40])


def test_groups_that_grow_together_end_in_one_fold():
    strata, keys = np.zeros(6, int), np.arange(6.0)
    folds = assign(strata, np.array([0, 0, 1, 1, 2, 2]), keys, 3, np.array([0, 2, 1, -1, -1, -1]))
    assert folds.tolist()[:4] == [2, 2, 1, 1]
    assert folds[4] == folds[5] == 0


@pytest.mark.parametrize(
    ("change", "trainer"),
    [
        (lambda e: e, Linear(growth=0.1)),
        (lambda e: e, Linear(growth=0.0)),
        (lambda e: e, Linear(growth=0.5, folds=7)),
        (lambda e: e, Linear(growth=0.5, grid=(3.0,))),
        (lambda e: e.take(np.arange(90)), PATIENT),
        (lambda e: replace(e, targets=(e.targets + 1) % 4), PATIENT),
        (lambda e: replace(e, task=Task("single", ("l0", "l1", "l2", "l3", "l4"))), PATIENT),
        (lambda e: replace(e, task=Task("single", ("l3", "l1", "l2", "l0"))), PATIENT),
        (lambda e: replace(e, vectors=e.vectors[:, ::-1].copy()), PATIENT),
        (lambda e: replace(e, vectors=e.vectors[:, :6].copy()), PATIENT),
        (lambda e: replace(e, targets=np.where(np.arange(240) > 200, (e.targets + 1) % 4, e.targets)), PATIENT),
    ],
    ids=["grown", "never", "folds", "grid", "gone", "relabelled", "label", "order", "vectors", "width", "surprised"],
)
def test_a_search_is_due(change, trainer):
    whole, first = grown(noise=0.4)
    assert trainer.fit(change(whole), first, stream(1)).facts["searched"]
    assert not PATIENT.fit(whole, first, stream(1)).facts["searched"]


def test_a_class_seen_for_the_first_time_is_searched_for():
    x, y = blobs(240, 4)
    late = np.r_[np.flatnonzero(y < 3), np.flatnonzero(y == 3)[:10]]
    examples = single(x[late], y[late], 4)
    first = PATIENT.fit(examples.take(np.arange(180)), None, stream(0))
    assert PATIENT.fit(examples, first, stream(1)).facts["searched"]


def test_changes_add_up_until_a_search():
    x, y = blobs(300, 3, noise=0.8)
    examples, model, searched = single(x, y, 3), None, []
    for n in (200, 220, 240, 260, 300):
        model = Linear().fit(examples.take(np.arange(n)), model, stream(n))
        searched.append(model.facts["searched"])
    assert searched == [True, False, False, True, False]
    assert (model.kept.searched, model.kept.changed) == (260, 40)


def test_several_labels_a_text_are_updated_as_well():
    x, y = blobs(150, 5)
    table = np.column_stack([y == 0, y >= 2, np.isin(y, [1, 4])])
    examples = Examples(Task("multi", ("a", "b", "c")), table, np.ones(150), x)
    first = PATIENT.fit(examples.take(np.arange(120)), None, stream(0))
    updated = PATIENT.fit(examples, first, stream(1))
    assert not updated.facts["searched"]
    alone = Linear(grid=(first.facts["c"],)).fit(examples, None, stream(2))
    assert np.abs(updated.believe(x).probs - alone.believe(x).probs).max() < 1e-3


def test_a_stored_model_is_updated_like_the_one_in_memory():
    whole, first = grown()
    again = PATIENT.restore(first.state())
    for start in (first, again):
        updated = PATIENT.fit(whole, start, stream(1))
        assert not updated.facts["searched"]
        assert np.array_equal(updated.head.coef, PATIENT.fit(whole, first, stream(1)).head.coef)
    state = first.state()
    bare = replace(state, arrays={name: a for name, a in state.arrays.items() if not name.startswith("fold_")})
    assert PATIENT.fit(whole, PATIENT.restore(bare), stream(1)).facts["searched"]


def test_surprise_is_measured_against_the_models_own_doubts():
    torn, sure = (Categorical(np.tile(np.float32(p), (60, 1))) for p in ((0.5, 0.5), (0.95, 0.05)))
    half, rarely = np.arange(60) % 2, (np.arange(60) % 20 == 0) * 1
    assert not surprised(sure, rarely, torn, half)  # uncertain texts, as said
    assert surprised(sure, rarely, sure, half)
    assert not surprised(sure, rarely, sure.take(np.arange(0)), half[:0])
    several = Multilabel(np.tile(np.float32((0.9, 0.5)), (60, 1)))
    assert surprised(several, np.tile([True, True], (60, 1)), several, np.tile([False, True], (60, 1)))


def test_keys_name_vectors():
    x, _ = blobs(500, 3)
    assert len(np.unique(keys_of(x))) == 500
    assert np.array_equal(keys_of(x[::-1].copy()), keys_of(x)[::-1])
