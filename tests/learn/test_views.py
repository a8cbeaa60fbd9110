"""Choosing how to look at the vectors: parts weighed by the labels, and the neighbourly map of the pool."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from labelwise.core import ContractError, Examples, InputError, Task, Trainer, stream
from labelwise.core.checks import promises
from labelwise.learn.linear import Linear
from labelwise.learn.logistic import prepare, probabilities, solve
from labelwise.learn.neighbourly import Neighbourly, smoothing

WIDTH = 6


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def parts(n, k, telling, seed=0):
    """Vectors of two parts, of which those named tell the class and the other is noise."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    centres = 1.5 * np.random.default_rng(99).standard_normal((2, k, WIDTH))
    x = [unit(rng.standard_normal((n, WIDTH)) + (centres[part][y] if part in telling else 0)) for part in (0, 1)]
    return unit(np.hstack(x)), y


def examples(x, y, k, **more):
    return Examples(Task("single", tuple(f"l{i}" for i in range(k))), y, np.ones(len(y)), x, **more)


def fit(given, trainer=None, start=None):
    return (trainer or Linear()).fit(given, start, stream(3, "fit"))


def test_one_part_changes_nothing():
    x, y = parts(90, 3, (0,))
    plain, one = fit(examples(x, y, 3)), fit(examples(x, y, 3, blocks=(2 * WIDTH,)))
    assert np.array_equal(plain.head.coef, one.head.coef)
    assert dict(plain.facts) == dict(one.facts)
    assert "view" not in plain.facts


@pytest.mark.parametrize(("telling", "shown"), [(0, "parts 1:0"), (1, "parts 0:1")])
def test_a_part_that_says_nothing_is_left_out(telling, shown):
    x, y = parts(60, 3, (telling,))
    model = fit(examples(x, y, 3, blocks=(WIDTH, WIDTH)))
    facts = json.loads(json.dumps(dict(model.facts), allow_nan=False))
    assert facts["view"] == shown
    assert facts["view_log_loss"][shown] < facts["view_log_loss"]["as encoded"]
    noise = slice(0, WIDTH) if telling else slice(WIDTH, None)
    assert not model.head.coef[:, noise].any()
    tried = {tuple(weights): loss for weights, loss in facts["block_log_loss"]}
    assert set(tried) == {(1, 1), (1, 0), (0, 1), (2, 1), (1, 2)}
    assert min(tried, key=tried.get) == ((1, 0) if telling == 0 else (0, 1))


def test_folded_weights_are_the_optimum_on_weighed_vectors():
    x, y = parts(60, 3, (1,))
    model = fit(examples(x, y, 3, blocks=(WIDTH, WIDTH)))
    scale = np.sqrt(1 / np.square(x[:, WIDTH:]).sum(axis=1).mean())
    weighed = x * np.repeat([0, scale], WIDTH)
    coef, intercept = solve(prepare(weighed, y[:, None] == np.arange(3), np.ones(60), "softmax"), model.facts["c"], [])
    expected = probabilities(coef, intercept, weighed, "softmax")
    assert np.abs(model.believe(x).probs - expected).max() < 1e-3


def test_parts_that_tell_alike_stay_as_they_are():
    x, y = parts(400, 3, (0, 1))
    assert fit(examples(x, y, 3, blocks=(WIDTH, WIDTH))).facts["view"] == "as encoded"


def test_more_labels_can_change_the_choice_and_starts_change_nothing():
    x, y = parts(120, 3, (0,))
    early = fit(examples(x[:40], y[:40], 3, blocks=(WIDTH, WIDTH)))
    other, truth = parts(120, 3, (1,), seed=1)
    both, targets = np.vstack([x[:20], other]), np.r_[y[:20], truth]
    given = examples(both, targets, 3, blocks=(WIDTH, WIDTH))
    cold, warm = fit(given), fit(given, start=early)
    assert early.facts["view"] == "parts 1:0"
    assert cold.facts["view"] != "parts 1:0"
    assert np.abs(cold.believe(both).probs - warm.believe(both).probs).max() < 1e-3


def test_empty_vectors_and_an_empty_part_are_no_obstacle():
    x, y = parts(40, 2, (0,))
    for vectors in (np.zeros_like(x), np.hstack([x[:, :WIDTH], np.zeros((40, WIDTH), np.float32)])):
        assert np.isfinite(fit(examples(vectors, y, 2, blocks=(WIDTH, WIDTH))).believe(vectors).probs).all()


def test_blocks_that_do_not_add_up_are_refused():
    x, y = parts(40, 2, (0,))
    with pytest.raises(ContractError, match="do not add up"):
        examples(x, y, 2, blocks=(WIDTH, WIDTH + 1))


def test_an_update_keeps_the_view_and_is_the_fit_through_it():
    x, y = parts(300, 3, (0,))
    one = examples(x, y, 3, blocks=(WIDTH, WIDTH))
    first = fit(one.take(np.arange(260)))
    restored = Linear().restore(first.state())
    assert np.array_equal(restored.kept.view, first.kept.view)
    later, cold = fit(one, start=restored), fit(one)
    assert (first.facts["searched"], later.facts["searched"], cold.facts["searched"]) == (True, False, True)
    assert later.facts["view"] == first.facts["view"] == cold.facts["view"] == "parts 1:0"
    assert later.facts["c"] == first.facts["c"]
    scaled = solve(
        prepare(x * first.kept.view, np.eye(3)[y], np.ones(300), "softmax"), later.facts["c"], [], 1e-8, "float64"
    )
    literal = probabilities(*scaled, x * first.kept.view, "softmax")
    np.testing.assert_allclose(later.believe(x).probs, literal, atol=1e-3)
    assert len(later.held_out) == 300


def test_random_texts_decide_where_there_are_enough():
    first, y = parts(240, 3, (0,))
    second, truth = parts(60, 3, (1,), seed=5)
    x, targets = np.vstack([first, second]), np.r_[y, truth]
    control = np.arange(300) >= 240
    views = {name: np.diag(np.repeat(w, WIDTH)).astype(np.float32) for name, w in (("a", (1, 0)), ("b", (0, 1)))}
    for marked, wanted in ((None, "a"), (control, "b"), (control & (np.arange(300) < 280), "a")):
        model = Linear().learn(examples(x, targets, 3, control=marked), None, stream(0), lambda: views)
        assert min(views, key=lambda name: model.facts["view_log_loss"][name]) == wanted


def clusters(n, k, shared, seed=0, d=40):
    """Texts of k groups in a few of d noisy dimensions; classes are the groups (shared) or a side of the noise."""
    rng = np.random.default_rng(seed)
    group = rng.integers(k, size=n)
    x = rng.standard_normal((n, d))
    x[:, :k] += (3.5 if shared else 8) * np.eye(k)[group]
    return unit(x), group if shared else (x[:, -1] > 0).astype(int)


def with_pool(x, y, k, labelled):
    return examples(x[:labelled], y[:labelled], k, unlabelled=lambda count: x[labelled:][:count])


def test_the_map_is_the_ridge_regression_of_neighbours_means():
    x, _ = clusters(60, 3, True, d=8)
    centred = x.astype(float) - x.astype(float).mean(axis=0)
    order = np.argsort(-(x @ x.T - 2 * np.eye(60)), axis=1)[:, :5]
    means = centred[order].mean(axis=1)
    spread, shared = centred.T @ centred / 60, centred.T @ means / 60
    expected = np.linalg.inv(spread + 0.5 * np.trace(spread) / 8 * np.eye(8)) @ (shared + shared.T) / 2
    expected *= np.sqrt(np.trace(spread) / np.trace(expected.T @ spread @ expected))
    assert np.allclose(smoothing(x, 5, 0.5), expected, atol=1e-4)


def test_chunks_do_not_show(monkeypatch):
    x, _ = clusters(100, 3, True)
    whole = smoothing(x, 5, 0.5)
    monkeypatch.setattr("labelwise.learn.neighbourly.CHUNK", 7)
    assert np.allclose(smoothing(x, 5, 0.5), whole, atol=1e-5)


def test_the_pool_helps_where_neighbours_share_their_class():
    x, y = clusters(1500, 4, True)
    given = with_pool(x, y, 4, 20)
    base, ours = fit(given), fit(given, Neighbourly())
    assert ours.facts["view"] == "neighbourly"
    right = [np.mean(model.believe(x[20:]).hard() == y[20:]) for model in (base, ours)]
    assert right[1] > right[0] + 0.05
    assert ours.head.coef.shape == base.head.coef.shape


def test_it_is_switched_off_where_neighbours_share_something_else():
    x, y = clusters(1500, 4, False)
    given = with_pool(x, y, 2, 200)
    base, ours = fit(given), fit(given, Neighbourly())
    assert ours.facts["view"] == "as encoded"
    assert ours.facts["view_log_loss"]["neighbourly"] > ours.facts["view_log_loss"]["as encoded"]
    assert np.array_equal(ours.head.coef, base.head.coef)


@pytest.mark.parametrize("pool", [0, 15, "same"])
def test_without_a_pool_to_speak_of_it_is_its_base(pool):
    x, y = clusters(200, 3, True)
    open_texts = np.repeat(x[:1], 80, axis=0) if pool == "same" else x[100 : 100 + pool]
    given = examples(x[:60], y[:60], 3, unlabelled=lambda count: open_texts[:count])
    base, ours = fit(given), fit(given, Neighbourly())
    assert np.array_equal(base.head.coef, ours.head.coef)
    assert np.array_equal(fit(replace(given, unlabelled=None), Neighbourly()).head.coef, base.head.coef)


@dataclass(frozen=True)
class InAPool(Neighbourly):
    """Neighbourly, with a pool of two dense groups in the space of the contract's examples."""

    def fit(self, examples, start_from, rng):
        def pool(count):
            dense = stream(0, "pool").standard_normal((300, 32)) + 2 * np.eye(32)[np.arange(300) % 5]
            return unit(dense)[:count]

        return super().fit(replace(examples, unlabelled=pool), start_from, rng)


@pytest.mark.parametrize("promise", promises("trainers").values(), ids=lambda promise: promise.__name__)
def test_neighbourly_keeps(promise):
    assert isinstance(Neighbourly(), Trainer)
    promise(InAPool())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"base": 3}, 'neighbourly.base: 3 is not allowed; write { use = "linear" }.'),
        ({"sample": 99}, "neighbourly.sample: 99 is not allowed; give a whole number from 100 to 16384."),
        ({"neighbours": 0}, "neighbourly.neighbours: 0 is not allowed; give a whole number from 1 to 100."),
        ({"ridge": float("nan")}, "neighbourly.ridge: nan is not allowed; give a number >= 0.001, e.g. 0.5."),
    ],
)
def test_bad_settings_are_refused(fields, message):
    with pytest.raises(InputError) as error:
        Neighbourly(**fields)
    assert str(error.value) == message
