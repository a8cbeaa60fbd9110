"""Entities right, right in part, and missed, by hand and by brute force."""

import json

import numpy as np
import pytest

from labelwise.core import Committee, Span, Tagged, Task, stream
from labelwise.measure.metrics import evaluate

TASK = Task("spans", ("PER", "LOC"))


def sure(tags):
    return Tagged(np.eye(TASK.columns)[tags.codes] * 0.9 + 0.1 / TASK.columns, tags.offsets)


def judged(predicted, truth, texts, **more):
    said, known = (TASK.targets(answers, texts) for answers in (predicted, truth))
    return evaluate(sure(said), known, TASK.labels, rng=stream(0), **more)


def value(report, *names):
    return [report["metrics"][name]["value"] for name in names]


def test_exact_and_in_part_by_hand():
    texts = ["Anna Maria Meier went to New York", "nobody here", "Bob"]
    truth = [(Span(0, 16, "PER"), Span(25, 33, "LOC")), (), (Span(0, 3, "PER"),)]
    predicted = [(Span(0, 10, "PER"), Span(25, 33, "LOC")), (Span(0, 6, "PER"),), (Span(0, 3, "LOC"),)]
    report = judged(predicted, truth, texts)
    assert value(report, "precision", "recall", "micro_f1") == pytest.approx([1 / 4, 1 / 3, 2 / 7])
    # PER: 0 hits of 2 predicted and 2 true; LOC: 1 hit of 2 predicted and 1 true
    assert value(report, "macro_f1") == pytest.approx([(0 + 2 / 3) / 2])
    meant, found = (1 + 1) / 4, (2 / 3 + 1) / 3  # "Anna Maria" lies inside, and is two thirds of the name
    assert value(report, "partial_f1") == pytest.approx([2 * meant * found / (meant + found)])
    assert value(report, "accuracy") == [0.0]
    per, loc = report["per_class"]
    assert (per["n"], per["f1"]["value"], loc["precision"]["value"], loc["recall"]["value"]) == (2, 0.0, 0.5, 1.0)
    json.dumps(report, allow_nan=False)


def test_entities_no_tag_stands_for_count_as_missed():
    texts = ["New York Times"]
    truth = [(Span(0, 14, "PER"), Span(0, 8, "LOC"))]
    report = judged([(Span(0, 14, "PER"),)], truth, texts)
    assert value(report, "precision", "recall", "accuracy") == [1.0, 0.5, 0.0]


def test_random_tags_agree_with_sets_of_entities():
    rng = np.random.default_rng(0)
    texts = [" ".join("abcdef"[: rng.integers(0, 7)]) for _ in range(80)]
    offsets = np.concatenate([[0], np.cumsum([len(text.split()) for text in texts])])
    probs = rng.dirichlet(np.full(5, 0.3), offsets[-1])
    said = Tagged(probs, offsets)
    known = Tagged(rng.dirichlet(np.full(5, 0.3), offsets[-1]), offsets).hard()
    weights = rng.uniform(0.5, 2, 80)
    hits = predicted = actual = 0.0
    for w, mine, theirs in zip(weights, TASK.spans(said.hard(), texts), TASK.spans(known, texts), strict=True):
        hits, predicted, actual = (
            hits + w * len({*mine} & {*theirs}),
            predicted + w * len(mine),
            actual + w * len(theirs),
        )
    report = evaluate(said, known, TASK.labels, weights=weights, rng=stream(0))
    assert value(report, "precision", "recall") == pytest.approx([hits / predicted, hits / actual])
    assert value(report, "micro_f1") == pytest.approx([2 * hits / (predicted + actual)])
    assert value(report, "log_loss") == pytest.approx([np.average(said.surprise(known), weights=weights)])
    f1 = report["metrics"]["micro_f1"]
    assert f1["lo"] < f1["value"] < f1["hi"]
    assert sum(row["n"] for row in report["reliability"]) == offsets[-1]
    assert value(report, "micro_f1")[0] <= value(report, "partial_f1")[0]
    same = evaluate(Committee((said, said)), known, TASK.labels, weights=weights, rng=stream(0))
    assert same["metrics"]["micro_f1"] == report["metrics"]["micro_f1"]


def test_slices_count_their_own_texts():
    texts = ["Bob"] * 50
    truth = [(Span(0, 3, "PER"),)] * 50
    predicted = [(Span(0, 3, "PER" if row < 25 else "LOC"),) for row in range(50)]
    values = ["a"] * 25 + ["b"] * 22 + ["c"] * 3
    found = judged(predicted, truth, texts, slices={"domain": values})["slices"]["domain"]
    assert [(row["value"], row["micro_f1"]["value"]) for row in found["values"]] == [("a", 1.0), ("b", 0.0)]
    assert found["too_few"] == {"values": 1, "texts": 3}


@pytest.mark.parametrize("texts", [["", ""], ["Bob", "met"]])
def test_nothing_to_find_is_null_not_a_crash(texts):
    report = judged([(), ()], [(), ()], texts)
    assert value(report, "micro_f1", "macro_f1", "precision", "partial_f1", "accuracy") == [None] * 4 + [1.0]
    json.dumps(report, allow_nan=False)
