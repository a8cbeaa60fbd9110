import json
import time

import numpy as np
import pytest
import sklearn.metrics as oracle

from labelwise.core import Categorical, Committee, InputError, Multilabel, Streamed, WrongMoment, stream
from labelwise.measure.metrics import evaluate


def drawn(n, c, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(c, 0.5), n)
    truth = (p.cumsum(1) < rng.random((n, 1))).sum(1)
    return Categorical(p), truth, [f"l{k}" for k in range(c)]


@pytest.mark.parametrize("weighted", [False, True])
def test_single_agrees_with_scikit_learn(weighted):
    beliefs, truth, labels = drawn(300, 4)
    w = np.random.default_rng(1).uniform(0.1, 3, 300) if weighted else None
    report = evaluate(beliefs, truth, labels, weights=w, rng=stream(0))
    value = {name: row["value"] for name, row in report["metrics"].items()}
    hard = beliefs.hard()
    assert value["accuracy"] == pytest.approx(oracle.accuracy_score(truth, hard, sample_weight=w))
    assert value["macro_f1"] == pytest.approx(oracle.f1_score(truth, hard, average="macro", sample_weight=w))
    assert value["log_loss"] == pytest.approx(oracle.log_loss(truth, beliefs.probs, sample_weight=w, labels=range(4)))
    square = ((beliefs.probs - np.eye(4)[truth]) ** 2).sum(axis=1)
    assert value["brier"] == pytest.approx(np.average(square, weights=w))
    p, r, f, _ = oracle.precision_recall_fscore_support(truth, hard, sample_weight=w)
    for k, row in enumerate(report["per_class"]):
        assert [row[m]["value"] for m in ("precision", "recall", "f1")] == pytest.approx([p[k], r[k], f[k]])
        assert row["n"] == (truth == k).sum()


def test_multi_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    p = rng.random((250, 5))
    truth = rng.random((250, 5)) < p
    value = {
        name: row["value"] for name, row in evaluate(Multilabel(p), truth, list("abcde"), rng=rng)["metrics"].items()
    }
    assert value["accuracy"] == pytest.approx(oracle.accuracy_score(truth, p > 0.5))
    assert value["micro_f1"] == pytest.approx(oracle.f1_score(truth, p > 0.5, average="micro"))
    assert value["macro_f1"] == pytest.approx(oracle.f1_score(truth, p > 0.5, average="macro"))
    assert value["brier"] == pytest.approx(np.mean([oracle.brier_score_loss(truth[:, k], p[:, k]) for k in range(5)]))
    assert value["log_loss"] == pytest.approx(np.mean([oracle.log_loss(truth[:, k], p[:, k]) for k in range(5)]))


def test_labels_that_occur_nowhere_do_not_count_and_are_null():
    beliefs, truth, _ = drawn(100, 3)
    wide = Categorical(np.column_stack([beliefs.probs, np.zeros(100)]))
    report = evaluate(wide, truth, list("abcd"), rng=stream(0))
    expected = oracle.f1_score(truth, beliefs.hard(), average="macro")
    assert report["metrics"]["macro_f1"]["value"] == pytest.approx(expected)
    assert report["per_class"][3]["f1"] == {"value": None, "lo": None, "hi": None}


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        truth = (rng.random(200) < 0.3).astype(int)
        always = Categorical(np.tile([0.7, 0.3], (200, 1)))
        row = evaluate(always, truth, ["a", "b"], rng=rng)["metrics"]["accuracy"]
        covered += row["lo"] <= 0.7 <= row["hi"]
    assert covered >= 52  # 57 expected


def test_calibration_error_is_that_of_equal_bins():
    beliefs, truth, labels = drawn(400, 3)
    report = evaluate(beliefs, truth, labels, rng=stream(0))
    order = np.argsort(beliefs.confidence(), kind="stable")
    right = (beliefs.hard() == truth)[order]
    gaps = [
        len(part) / 400 * abs(right[part].mean() - beliefs.confidence()[order][part].mean())
        for part in np.array_split(np.arange(400), 15)
    ]
    assert report["metrics"]["ece"]["value"] == pytest.approx(sum(gaps), abs=0.01)
    bins = report["reliability"]
    assert len(bins) == 15
    assert sum(row["n"] for row in bins) == 400
    assert all(0 <= row["lo"] <= row["accuracy"] <= row["hi"] <= 1 for row in bins)
    assert [row["confidence"] for row in bins] == sorted(row["confidence"] for row in bins)


def test_overconfidence_shows():
    rng = np.random.default_rng(0)
    sure = Categorical(np.tile([0.99, 0.01], (200, 1)))
    report = evaluate(sure, (rng.random(200) < 0.4).astype(int), ["a", "b"], rng=rng)
    assert report["metrics"]["ece"]["value"] > 0.3


def test_slices_show_what_has_twenty_texts_and_count_the_rest():
    beliefs, truth, labels = drawn(100, 3)
    place = ["north"] * 60 + ["south"] * 35 + ["east"] * 3 + ["west"] * 2
    report = evaluate(beliefs, truth, labels, rng=stream(0), slices={"place": place})
    shown = {row["value"]: row for row in report["slices"]["place"]["values"]}
    assert {name: row["n"] for name, row in shown.items()} == {"north": 60, "south": 35}
    assert report["slices"]["place"]["too_few"] == {"values": 2, "texts": 5}
    south = oracle.accuracy_score(truth[60:95], beliefs.hard()[60:95])
    assert shown["south"]["accuracy"]["value"] == pytest.approx(south)
    assert shown["south"]["accuracy"]["lo"] < south < shown["south"]["accuracy"]["hi"]


def test_one_text_and_few_resamples_are_json():
    beliefs, truth, labels = drawn(1, 3)
    json.dumps(evaluate(beliefs, truth, labels, rng=stream(0)), allow_nan=False)
    json.dumps(evaluate(beliefs, truth, labels, rng=stream(0), resamples=0), allow_nan=False)


def test_a_committee_is_judged_by_its_mean_and_equal_generators_agree():
    beliefs, truth, labels = drawn(80, 3)
    one = evaluate(Committee((beliefs, beliefs)), truth, labels, rng=stream(3))
    other = evaluate(beliefs, truth, labels, rng=stream(3))
    assert one["metrics"]["accuracy"] == other["metrics"]["accuracy"]


def test_refusals():
    beliefs, truth, labels = drawn(5, 3)
    with pytest.raises(WrongMoment, match="label at least 20 random texts"):
        evaluate(beliefs.take(np.arange(0)), truth[:0], labels, rng=stream(0))
    with pytest.raises(InputError, match="Streamed beliefs are not allowed"):
        evaluate(Streamed(5, beliefs.take), truth, labels, rng=stream(0))


def test_three_thousand_texts_of_77_classes_are_quick():
    beliefs, truth, labels = drawn(3000, 77)
    start = time.process_time()
    evaluate(beliefs, truth, labels, rng=stream(0))
    assert time.process_time() - start < 1.5  # 0.1 s on an idle core
