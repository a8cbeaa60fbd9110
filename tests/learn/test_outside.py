"""What lies outside of what was labelled: each view by its definition, shares, degenerate data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from labelwise.core import DamagedRecord, Examples, InputError, State, Task, WrongMoment, stream
from labelwise.learn.committee import Laplace
from labelwise.learn.linear import Linear
from labelwise.learn.outside import NAMES, Detector, Distances, Outside

LINEAR = Linear(grid=(10.0,), folds=3)


def examples(n: int, classes: int, d: int = 12, seed: int = 0, **more: Any) -> Examples:
    rng = stream(seed, "outside test")
    y = np.arange(n) % classes
    vectors = np.eye(d)[y] + 0.3 * rng.standard_normal((n, d)) / np.sqrt(d)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    task = Task("single", tuple(f"label {k}" for k in range(max(classes, 2))))
    return Examples(task, y, np.ones(n), vectors.astype(np.float32), **more)


def fitted(given: Examples, **settings: Any) -> Detector:
    return Outside(**settings).fit(given, LINEAR.fit(given, None, stream(1, "fit")), stream(2, "outside"))


def test_distances_are_mahalanobis_under_ledoit_and_wolf() -> None:
    from sklearn.covariance import LedoitWolf

    given = examples(60, 3)
    vectors, y = np.asarray(given.vectors, dtype=np.float64), given.targets
    new = examples(7, 3, seed=9).vectors
    assert new is not None
    means = np.stack([vectors[y == k].mean(axis=0) for k in range(3)])
    within = LedoitWolf(assume_centered=True).fit((vectors - means[y]) * np.sqrt(60 / 57)).precision_
    overall = LedoitWolf(assume_centered=True).fit((vectors - vectors.mean(axis=0)) * np.sqrt(60 / 59)).precision_
    apart, as_one = Distances.of(vectors, y).squared(new)
    for i, text in enumerate(new.astype(np.float64)):
        expected = [(text - mean) @ within @ (text - mean) * 20 / 21 for mean in means]
        np.testing.assert_allclose(apart[i], expected, rtol=1e-3)
        np.testing.assert_allclose(as_one[i], (text - vectors.mean(0)) @ overall @ (text - vectors.mean(0)), rtol=1e-3)


@pytest.mark.parametrize("k", [1, 3])
def test_views_are_what_they_are_called(k: int) -> None:
    given, new = examples(40, 4), examples(9, 5, seed=3).vectors
    assert given.vectors is not None
    assert new is not None
    model = LINEAR.fit(given, None, stream(1, "fit"))
    views = Outside(k).fit(given, model, stream(2, "outside")).views
    columns = dict(zip(views.names, views.columns(new).T, strict=True))
    assert views.names == NAMES
    np.testing.assert_allclose(columns["logit"], -(new @ model.head.coef.T + model.head.intercept).max(1), atol=1e-5)
    np.testing.assert_allclose(columns["neighbour"], -np.sort(new @ given.vectors.T, axis=1)[:, -k], atol=1e-6)
    means = np.stack([given.vectors[given.targets == c].mean(axis=0) for c in range(4)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(columns["centre"], -(new @ means.T).max(axis=1), atol=1e-6)
    apart, as_one = views.distances.squared(new)
    np.testing.assert_allclose(columns["relative"], apart.min(axis=1) - as_one, rtol=1e-4)


def test_scores_are_even_inside_and_high_outside() -> None:
    both = examples(400, 4)
    detector = fitted(both.take(np.arange(200)))
    inside = detector.scores(np.asarray(both.vectors)[200:])
    foreign = np.asarray(examples(200, 8, seed=4).vectors)[np.arange(200) % 8 >= 4]
    outside = detector.scores(foreign)
    assert outside.min() > np.median(inside)
    assert outside.mean() > 0.99
    # a share of labelled texts: new texts inside spread evenly, within what 200 against 200 texts can show
    assert np.abs(np.sort(inside) - (np.arange(200) + 0.5) / 200).max() < 0.17
    assert inside.min() >= 0
    assert outside.max() <= 1


def test_scores_do_not_depend_on_blocks_or_precision(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    detector, new = fitted(examples(60, 3)), np.asarray(examples(50, 5, seed=6).vectors).astype(np.float16)
    whole = detector.scores(new)
    np.save(tmp_path / "new.npy", new)
    monkeypatch.setattr("labelwise.learn.outside.BLOCK", 7 * 60)
    np.testing.assert_allclose(detector.scores(np.load(tmp_path / "new.npy", mmap_mode="r")), whole, atol=1e-4)


def test_what_was_stored_scores_the_same() -> None:
    for given in (examples(60, 3), examples(30, 1)):
        detector, new = fitted(given), np.asarray(examples(20, 5, seed=6).vectors)
        state = detector.state()
        np.testing.assert_array_equal(Outside().restore(state).scores(new), detector.scores(new))
    with pytest.raises(DamagedRecord, match="lacks 'labelled'"):
        Outside().restore(State({k: a for k, a in state.arrays.items() if k != "labelled"}, state.facts))


@pytest.mark.parametrize(
    "given",
    [
        examples(30, 1),
        examples(12, 12),
        examples(13, 12),
        examples(2, 1),
        examples(2, 2),
        examples(25, 4, d=300),
        examples(30, 3).take(np.zeros(30, dtype=np.intp)),
    ],
    ids=["one class", "one text a class", "a class of two", "two texts", "two classes", "wide", "one vector"],
)
def test_degenerate_labels_still_score(given: Examples) -> None:
    new = stream(5, "new").standard_normal((40, np.asarray(given.vectors).shape[1])).astype(np.float32)
    scores = fitted(given).scores(np.concatenate([np.asarray(given.vectors), new, 0 * new[:1]]))
    assert np.isfinite(scores).all()
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert scores[: len(given)].mean() <= scores[len(given) : -1].mean()


def test_near_duplicates_are_held_out_together() -> None:
    """Two copies of each text: held out one at a time, every text would have a neighbour at cosine 1."""
    single = examples(40, 2)
    twice = single.take(np.repeat(np.arange(40), 2))
    groups = np.repeat(np.arange(40), 2)
    together = fitted(Examples(twice.task, twice.targets, twice.weights, twice.vectors, groups=groups))
    assert together.held[:, NAMES.index("neighbour")].min() > -0.9999
    assert fitted(twice).held[:, NAMES.index("neighbour")].min() < -0.9999


def test_several_labels_and_models_of_other_kinds() -> None:
    single = examples(60, 3)
    several = Examples(
        Task("multi", single.task.labels), single.targets[:, None] == np.arange(3), single.weights, single.vectors
    )
    foreign = np.eye(12, dtype=np.float32)[5:8]
    assert fitted(several).scores(foreign).min() > 0.95
    committee = Laplace(LINEAR).fit(single, None, stream(1, "fit"))
    assert Outside().fit(single, committee, stream(2, "o")).views.names == NAMES

    @dataclass
    class Other:
        held_out = None

    other = Outside().fit(single, Other(), stream(2, "o"))  # type: ignore[arg-type]
    assert other.views.names == NAMES[1:]
    assert other.scores(foreign).min() > 0.95


def test_bad_input_is_refused() -> None:
    given = examples(30, 3)
    vectors = np.array(given.vectors)
    vectors[3, 2] = np.nan
    model = LINEAR.fit(given, None, stream(1, "fit"))
    with pytest.raises(InputError, match="nan or inf"):
        Outside().fit(Examples(given.task, given.targets, given.weights, vectors), model, stream(2, "o"))
    with pytest.raises(InputError, match="None is not allowed"):
        Outside().fit(Examples(given.task, given.targets, given.weights), model, stream(2, "o"))
    with pytest.raises(WrongMoment, match="label more"):
        Outside().fit(given.take(np.arange(1)), model, stream(2, "o"))
    with pytest.raises(InputError, match="nan or inf"):
        fitted(given).scores(vectors)
    with pytest.raises(InputError, match=r"shape \(30, 5\) is not \(m, 12\)"):
        fitted(given).scores(vectors[:, :5])
    with pytest.raises(InputError, match="neighbours: 0"):
        Outside(0)
    with pytest.raises(InputError, match="folds: 1"):
        Outside(folds=1)
