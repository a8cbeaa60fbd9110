"""Committees: their spread against the distribution it stands for, and what a member is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from labelwise.core import Committee, DamagedRecord, Examples, InputError, Pool, State, Task, stream
from labelwise.learn.committee import Bootstrap, Laplace, _deviations, exponential
from labelwise.learn.linear import Linear
from labelwise.learn.logistic import prepare, solve
from labelwise.learn.temperature import Temperature
from labelwise.measure.metrics import evaluate
from labelwise.select import BALD, CoreMSE, Disagreement, VoteEntropy

LINEAR = Linear(grid=(1.0, 10.0), folds=3)
KINDS = (Bootstrap(LINEAR, members=4), Laplace(LINEAR, members=4))


def examples(n: int, classes: int, d: int = 6, seed: int = 0, noise: float = 0.5) -> Examples:
    rng = stream(seed, "committee test")
    y = np.arange(n) % classes
    vectors = np.eye(d)[y] + noise * rng.standard_normal((n, d))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Examples(Task("single", tuple(f"l{k}" for k in range(classes))), y, np.ones(n), vectors.astype(np.float32))


def test_bootstrap_members_are_optima_under_their_own_weights() -> None:
    given = examples(60, 3)
    vectors = np.asarray(given.vectors)
    model = Bootstrap(Linear(grid=(10.0,), folds=3), members=3).fit(given, None, stream(4, "fit"))
    rng = stream(4, "fit")
    Linear(grid=(10.0,), folds=3).fit(given, None, rng)
    for weights, head in zip(exponential(vectors, 3, rng).T, model.members, strict=True):
        exact = solve(prepare(vectors, np.eye(3)[given.targets], weights, "softmax"), 10.0, [])
        logits = vectors @ exact[0].T + exact[1]
        np.testing.assert_allclose(
            head.probs(vectors), np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), atol=5e-3
        )


def test_bootstrap_weights_are_exponential_and_follow_the_vector() -> None:
    vectors = stream(1, "v").standard_normal((3000, 4)).astype(np.float32)
    weights = exponential(vectors, 2, stream(2, "w"))
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.08)
    np.testing.assert_allclose(weights.var(axis=0), 1, atol=0.25)
    assert abs(np.corrcoef(weights.T)[0, 1]) < 0.08
    order = stream(3, "o").permutation(3000)
    np.testing.assert_array_equal(exponential(vectors[order], 2, stream(2, "w")), weights[order])


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_laplace_draws_have_the_inverse_curvature_as_covariance(kind: Any) -> None:
    given = examples(40, 2, d=3)
    vectors = np.asarray(given.vectors, dtype=np.float64)
    several = Examples(
        Task("multi" if kind == "sigmoid" else "single", given.task.labels),
        given.targets[:, None] == np.arange(2) if kind == "sigmoid" else given.targets,
        given.weights,
        given.vectors,
    )
    head = Linear(grid=(10.0,), folds=3).fit(several, None, stream(0, "fit")).head
    steps, wider = _deviations(
        head, np.asarray(given.vectors), given.weights, 10.0, stream(1, "n").standard_normal((40_000, 2, 4))
    )
    p, full = head.probs(np.asarray(given.vectors)).astype(np.float64), np.column_stack([vectors, np.ones(40)])
    for label in range(2):
        w = p[:, label] * (1 - p[:, label]) * (2 if kind == "softmax" else 1)
        precision = (full * w[:, None]).T @ full + np.eye(4) / 10
        np.testing.assert_allclose(np.cov(steps[:, label].T) @ precision, np.eye(4), atol=0.1)
        for i in (0, 7):
            without = np.linalg.inv(precision - w[i] * np.outer(full[i], full[i]))
            ratio = (full[i] @ without @ full[i]) / (full[i] @ np.linalg.inv(precision) @ full[i])
            assert wider[i, label] == pytest.approx(np.sqrt(ratio), rel=1e-4)


def test_many_labels_share_one_covariance() -> None:
    given = examples(88, 22, d=30, noise=0.1)
    head = LINEAR.fit(given, None, stream(0, "fit")).head
    noise = np.repeat(stream(1, "n").standard_normal((2, 1, 31)), 22, axis=1)
    steps, wider = _deviations(head, np.asarray(given.vectors), given.weights, 1.0, noise)
    np.testing.assert_allclose(steps, np.repeat(steps[:, :1], 22, axis=1))
    assert (wider >= 1).all()


def test_laplace_deviates_as_far_as_held_out_log_loss_allows() -> None:
    given = examples(90, 3)
    model = Laplace(LINEAR, members=6).fit(given, None, stream(0, "fit"))
    base = LINEAR.fit(given, None, stream(0, "fit")).held_out
    assert base is not None
    assert model.held_out is not None
    scale = model.centre.facts["deviations"]
    loss = model.held_out.surprise(given.targets).mean()
    assert loss <= 1.01 * base.surprise(given.targets).mean() or scale == 0.09


@pytest.mark.parametrize("trainer", KINDS, ids=lambda t: type(t).__name__)
def test_members_differ_more_the_fewer_labels(trainer: Any) -> None:
    new = np.asarray(examples(200, 3, seed=8).vectors)
    spread = []
    for n in (15, 600):
        pool = Pool.of(beliefs=trainer.fit(examples(n, 3), None, stream(0, "fit")).believe(new), vectors=new)
        spread.append(BALD().score(pool, np.arange(200)).mean())
    assert spread[0] > 2 * spread[1] > 0


@pytest.mark.parametrize("trainer", KINDS, ids=lambda t: type(t).__name__)
def test_committees_can_be_chosen_by_calibrated_and_evaluated(trainer: Any) -> None:
    given, new = examples(60, 3), examples(80, 3, seed=5)
    model = trainer.fit(given, None, stream(0, "fit"))
    assert isinstance(model.held_out, Committee)
    calibration = Temperature().fit(model.held_out, given.targets, given.weights)
    said = calibration.apply(model.believe(np.asarray(new.vectors)))
    assert isinstance(said, Committee)
    assert len(said.members) == 4
    metrics = evaluate(said, new.targets, given.task.labels, rng=stream(1, "e"), resamples=5)["metrics"]
    assert metrics["accuracy"]["value"] > 0.6
    pool = Pool.of(beliefs=said, vectors=np.asarray(new.vectors), calibrated=True)
    for scorer in (BALD(), VoteEntropy(), Disagreement()):
        assert len(np.unique(scorer.score(pool, np.arange(80)))) > 1
    assert len(CoreMSE().select(pool, 5, stream(2, "s"))) == 5


def test_a_warm_start_from_a_committee_or_its_centre() -> None:
    given = examples(60, 3)
    trainer = KINDS[1]
    first = trainer.fit(given.take(np.arange(30)), None, stream(0, "fit"))
    for start in (first, first.centre):
        again = trainer.fit(given, start, stream(0, "fit")).believe(np.asarray(given.vectors))
        cold = trainer.fit(given, None, stream(0, "fit")).believe(np.asarray(given.vectors))
        np.testing.assert_allclose(again.mean().probs, cold.mean().probs, atol=1e-3)


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="members: 1 is not allowed"):
        Bootstrap(members=1)
    with pytest.raises(InputError, match=r"base: .* give a linear trainer"):
        Laplace(base=Bootstrap())
    state = KINDS[1].fit(examples(30, 2), None, stream(0, "fit")).state()
    with pytest.raises(DamagedRecord, match="lacks 'members/intercept'"):
        KINDS[1].restore(State({k: a for k, a in state.arrays.items() if k != "members/intercept"}, state.facts))
    with pytest.raises(InputError, match="does not fit a model"):
        KINDS[1].restore(state).believe(np.zeros((2, 9), np.float32))
