import json

import numpy as np
import pytest
from scipy.stats import wilcoxon

from labelwise.core import InputError, stream
from labelwise.measure.curves import bands, signed_rank, summarise


def arm(strategy, seed, values, labels=(50, 100, 200, 400)):
    return {"strategy": strategy, "seed": seed, "labels": list(labels), "accuracy": list(values)}


def by_name(rows):
    json.dumps(rows, allow_nan=False)
    return {row["strategy"]: row for row in rows}


def experiment(seeds=6):
    rng = np.random.default_rng(0)
    arms = []
    for seed in range(seeds):
        shared = 0.02 * rng.standard_normal()
        arms.append(arm("random", seed, np.array([0.5, 0.6, 0.7, 0.8]) + shared))
        arms.append(arm("margin", seed, np.array([0.5, 0.7, 0.8, 0.85]) + shared + 0.002 * rng.standard_normal(4)))
        arms.append(arm("worse", seed, np.array([0.5, 0.55, 0.6, 0.65]) + shared))
    return arms


def test_areas_and_savings_of_a_plain_case():
    rows = by_name(summarise(experiment(), rng=stream(0)))
    assert next(iter(rows)) == "random"
    assert rows["margin"]["alc"] > rows["random"]["alc"] > rows["worse"]["alc"]
    assert rows["random"]["alc"] == pytest.approx(0.65, abs=0.02)
    assert rows["margin"]["saving"] == pytest.approx(0.5, abs=0.03)
    lo, hi = rows["margin"]["saving_interval"]
    assert lo <= rows["margin"]["saving"] <= hi
    assert (rows["random"]["saving"], rows["random"]["p_value_vs_random"]) == (0.0, None)
    assert rows["margin"]["p_value_vs_random"] == pytest.approx(2**-5)


def test_what_is_never_reached_is_censored():
    worse = by_name(summarise(experiment(), rng=stream(0)))["worse"]
    assert (worse["labels_to_random_final"], worse["saving"]) == (None, None)
    assert worse["saving_interval"] == [None, None]


def test_a_saving_reached_by_some_seeds_only_has_no_lower_bound():
    arms = [arm("random", s, [0.5, 0.6, 0.7, 0.8]) for s in range(6)]
    ends = [0.95, 0.95, 0.9, 0.9, 0.6, 0.6]
    arms += [arm("wild", s, [0.5, 0.6, 0.7, end]) for s, end in enumerate(ends)]
    wild = by_name(summarise(arms, rng=stream(0)))["wild"]
    assert wild["saving"] > 0
    assert wild["saving_interval"][0] is None
    assert wild["saving_interval"][1] > 0


def test_one_seed_gives_numbers_without_intervals():
    rows = by_name(summarise(experiment(1), rng=stream(0)))
    assert rows["margin"]["alc_interval"] is None
    assert rows["margin"]["p_value_vs_random"] is None
    assert set(bands(experiment(1), rng=stream(0))[0]["lo"]) == {None}


def test_the_area_weighs_doublings_alike():
    rows = by_name(summarise([arm("random", 0, [0, 1, 1], (1, 10, 100))], rng=stream(0)))
    assert rows["random"]["alc"] == pytest.approx(0.75)


def test_slightly_different_rounds_are_aligned():
    arms = [arm("random", 0, [0.0, 1.0], (100, 200)), arm("random", 1, [0.1, 0.9], (110, 190))]
    (band,) = bands(arms, rng=stream(0))
    assert band["labels"] == [110.0, 190.0]
    assert band["mean"] == pytest.approx([0.1, 0.9])
    assert summarise(arms, rng=stream(0))[0]["final"] == pytest.approx(0.9)


def test_bands_hold_the_mean():
    for band in bands(experiment(), rng=stream(0)):
        assert (np.array(band["lo"]) <= np.array(band["mean"]) + 1e-12).all()
        assert (np.array(band["mean"]) <= np.array(band["hi"]) + 1e-12).all()


def test_the_signed_rank_test_is_scipys():
    for seed in range(10):
        x = np.random.default_rng(seed).standard_normal(9) + 0.4
        assert signed_rank(x) == pytest.approx(wilcoxon(x, method="exact").pvalue)
    assert signed_rank(np.zeros(4)) == 1.0
    assert signed_rank(np.ones(5)) == pytest.approx(0.0625)


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ([], "none were given"),
        ([arm("margin", 0, [1, 1, 1, 1])], "unknown strategy 'random'"),
        ([arm("random", 0, [1, 1], (100, 50))], "labels must rise"),
        ([arm("random", 0, [1, float("nan")], (50, 100))], "finite"),
        ([arm("random", 0, [1, 1], (0, 100))], "at least 1"),
        ([arm("random", 0, [1, 1], (1, 5)), arm("random", 1, [1, 1], (6, 9))], "no common range"),
        ([arm("random", 0, [1, 1], (1, 5)), arm("random", 0, [1, 1], (1, 5))], "two arms of one seed"),
    ],
)
def test_refusals(arms, message):
    with pytest.raises(InputError, match=message):
        summarise(arms, rng=stream(0))


def test_an_unknown_metric_names_those_there_are():
    with pytest.raises(InputError, match="accuracy"):
        summarise(experiment(), "acuracy", rng=stream(0))
