import json

import numpy as np
import pytest

from labelwise.core import DamagedRecord, Examples, InputError, State, Task, WrongMoment, stream
from labelwise.learn.folds import assign, strata_of
from labelwise.learn.linear import Linear
from labelwise.learn.logistic import prepare, probabilities, solve


def blobs(n, k, seed=0, d=12, noise=0.5):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % k)
    x = rng.standard_normal((k, d))[y] + noise * rng.standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), y


def single(x, y, k, **more):
    return Examples(Task("single", tuple(f"l{i}" for i in range(k))), y, np.ones(len(y)), x, **more)


@pytest.mark.parametrize("c", [0.1, 10.0, 100.0])
@pytest.mark.parametrize(("n", "d"), [(200, 12), (30, 64)])
def test_the_optimum_is_scikit_learns(c, n, d):
    from sklearn.linear_model import LogisticRegression

    x, y = blobs(n, 4, d=d)
    weights = np.random.default_rng(1).uniform(0.2, 3, n)
    weights /= weights.mean()
    coef, intercept = solve(prepare(x, y[:, None] == np.arange(4), weights, "softmax"), c, [], 1e-7)
    theirs = LogisticRegression(C=c, tol=1e-9, max_iter=20000).fit(x.astype(float), y, weights)
    ours = probabilities(coef, intercept, x, "softmax")
    assert np.abs(ours - theirs.predict_proba(x.astype(float))).max() < 1e-4


def test_every_label_for_itself_is_scikit_learns_binary_fit():
    from sklearn.linear_model import LogisticRegression

    x, y = blobs(150, 5)
    table = np.column_stack([y == 0, y >= 2, np.isin(y, [1, 4])])
    coef, intercept = solve(prepare(x, table, np.ones(150), "sigmoid"), 10.0, [], 1e-7)
    ours = probabilities(coef, intercept, x, "sigmoid")
    for k in range(3):
        theirs = LogisticRegression(C=10.0, tol=1e-9, max_iter=20000).fit(x.astype(float), table[:, k])
        assert np.abs(ours[:, k] - theirs.predict_proba(x.astype(float))[:, 1]).max() < 1e-4


def test_warm_and_cold_agree_to_1e_4_and_a_start_at_the_end_is_free():
    x, y = blobs(240, 6, noise=0.8)
    examples = single(x, y, 6)
    early = Linear().fit(single(x[:80], y[:80], 6), None, stream(0, "fit"))
    cold = Linear().fit(examples, None, stream(1, "fit"))
    for start in (early, cold):
        warm = Linear().fit(examples, start, stream(1, "fit"))
        assert np.abs(warm.believe(x).probs - cold.believe(x).probs).max() < 1e-4


def test_a_start_from_other_labels_is_matched_by_name():
    x, y = blobs(90, 3)
    earlier = Linear().fit(
        Examples(Task("single", ("l2", "l0")), (y[:60] > 1) * 1, np.ones(60), x[:60]), None, stream(0)
    )
    cold, warm = (Linear().fit(single(x, y, 3), start, stream(1)) for start in (None, earlier))
    assert np.abs(warm.believe(x).probs - cold.believe(x).probs).max() < 1e-4


def test_facts_say_how_c_was_chosen():
    x, y = blobs(120, 3)
    model = Linear(grid=(100, 0.1, 1, 10)).fit(single(x, y, 4), None, stream(0))
    facts = json.loads(json.dumps(dict(model.facts), allow_nan=False))
    tried = dict(map(tuple, facts["cv_log_loss"]))
    assert list(tried) == sorted(tried)
    assert tried[facts["c"]] <= 1.01 * min(tried.values())
    assert (facts["n"], facts["classes_seen"], facts["folds"]) == (120, 3, 5)
    assert Linear(grid=(0.1,)).fit(single(x, y, 4), None, stream(0)).facts["grid_end"] is not None


def test_the_search_stops_after_two_rises():
    x, y = blobs(200, 2, noise=6.0)
    model = Linear(grid=(0.001, 0.1, 10, 1000, 100000)).fit(single(x, y, 2), None, stream(0))
    assert len(model.facts["cv_log_loss"]) < 5


def test_unseen_classes_get_laplaces_share():
    x, y = blobs(40, 2)
    probs = Linear().fit(single(x, y, 6), None, stream(0)).believe(x).probs
    assert np.allclose(probs[:, 2:], 1 / 46)
    assert np.allclose(probs.sum(axis=1), 1, atol=1e-6)


def test_one_sided_labels_of_a_multi_task_get_the_smoothed_share():
    x, y = blobs(40, 2)
    table = np.column_stack([y == 0, np.ones(40, bool), np.zeros(40, bool)])
    examples = Examples(Task("multi", ("a", "b", "c")), table, np.ones(40), x)
    model = Linear().fit(examples, None, stream(0))
    assert np.allclose(model.believe(x).probs[:, 1:], [41 / 42, 1 / 42])
    assert len(model.held_out) == 40


def test_one_group_only_is_held_out_against_nothing():
    x, y = blobs(6, 2)
    model = Linear().fit(single(x, y, 2, groups=np.zeros(6, int)), None, stream(0))
    assert np.allclose(model.held_out.probs, 0.5)


def test_equal_vectors_and_empty_texts_are_no_obstacle():
    y = np.arange(20) % 2
    probs = Linear().fit(single(np.zeros((20, 8), np.float32), y, 2), None, stream(0)).believe(np.zeros((3, 8))).probs
    assert np.allclose(probs, 0.5, atol=1e-3)


def test_half_precision_and_memory_mapped_vectors_are_believed(tmp_path):
    x, y = blobs(100, 3)
    model = Linear().fit(single(x, y, 3), None, stream(0))
    np.save(tmp_path / "x.npy", x.astype(np.float16))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert model.believe(mapped).probs.dtype == np.float32
    assert np.abs(model.believe(mapped).probs - model.believe(x).probs).max() < 0.02
    assert len(model.believe(x[:0])) == 0


def test_chunks_do_not_show(monkeypatch):
    x, y = blobs(100, 3)
    model = Linear().fit(single(x, y, 3), None, stream(0))
    whole = model.believe(x).probs
    monkeypatch.setattr("labelwise.learn.logistic.CHUNK", 12 * 7)
    assert np.allclose(model.believe(x).probs, whole, atol=1e-6)


def test_held_out_beliefs_survive_storing():
    x, y = blobs(60, 3)
    model = Linear().fit(single(x, y, 4), None, stream(0))
    again = Linear().restore(model.state())
    assert np.array_equal(again.held_out.probs, model.held_out.probs)
    with pytest.raises(DamagedRecord, match="train the model again"):
        Linear().restore(State({}, {"kind": "single"}))


def test_folds_keep_groups_spread_classes_and_ignore_order():
    rng = np.random.default_rng(0)
    strata, groups, keys = rng.integers(0, 4, 200), rng.integers(0, 90, 200), rng.random(200)
    folds = assign(strata, groups, keys, 5)
    assert all(len(set(folds[groups == g])) == 1 for g in np.unique(groups))
    assert np.bincount(folds).min() > 25
    order = rng.permutation(200)
    assert np.array_equal(assign(strata[order], groups[order], keys[order], 5), folds[order])
    alone = assign(strata, None, keys, 5)
    for k in range(4):
        assert np.ptp(np.bincount(alone[strata == k], minlength=5)) <= 1


def test_the_rarest_label_of_a_text_is_spread():
    table = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]], bool)
    assert strata_of(table).tolist() == [2, 1, 1, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grid": ()}, "grid"),
        ({"grid": (0.0,)}, "numbers > 0"),
        ({"folds": 1}, "folds: 1 .* from 2 to 20"),
        ({"growth": -0.1}, "growth: -0.1"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Linear(**arguments)


def test_impossible_requests_are_refused():
    x, y = blobs(20, 2)
    with pytest.raises(WrongMoment, match="0 labelled texts"):
        Linear().fit(single(x[:0], y[:0], 2), None, stream(0))
    with pytest.raises(InputError, match="reads vectors"):
        Linear().fit(single(None, y, 2), None, stream(0))
    with pytest.raises(InputError, match="spans"):
        Linear().fit(Examples(Task("spans", ("a",)), y, np.ones(20), x), None, stream(0))
    with pytest.raises(InputError, match=r"does not fit a model of \(m, 12\)"):
        Linear().fit(single(x, y, 2), None, stream(0)).believe(x[:, :5])
