"""Tasks and answers: what is accepted, what is written back, and what every refusal says."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.core import InputError, Span, Task

LABELS = ("billing", "bug", "praise")
SINGLE, MULTI, SPANS = (Task(kind, LABELS) for kind in ("single", "multi", "spans"))

names = st.text(min_size=1, max_size=8).filter(lambda name: name.strip() and "\x00" not in name)
label_sets = st.lists(names, min_size=2, max_size=6, unique=True).map(tuple)


@given(st.data(), label_sets)
def test_single_answers_come_back_unchanged(data, labels):
    task = Task("single", labels)
    answer = task.parse(data.draw(st.sampled_from(labels)))
    assert task.parse(task.plain(answer)) == answer
    assert task.labels[task.targets([answer])[0]] == answer


@given(st.data(), label_sets)
def test_multi_answers_are_sorted_sets_and_come_back_unchanged(data, labels):
    task = Task("multi", labels)
    given_labels = data.draw(st.lists(st.sampled_from(labels), max_size=8))
    answer = task.parse(given_labels)
    assert answer == tuple(sorted(set(given_labels)))
    assert task.parse(task.plain(answer)) == answer
    assert {label for label, on in zip(labels, task.targets([answer])[0], strict=True) if on} == set(given_labels)


@given(st.data(), label_sets, st.integers(1, 50))
def test_spans_are_sorted_and_come_back_unchanged_from_lists_and_objects(data, labels, length):
    task = Task("spans", labels)
    ends = st.tuples(st.integers(0, length - 1), st.integers(1, length)).filter(lambda pair: pair[0] < pair[1])
    spans = data.draw(st.lists(st.tuples(ends, st.sampled_from(labels)), max_size=6))
    lists = [[start, end, label] for (start, end), label in spans]
    objects = [{"start": start, "end": end, "label": label} for start, end, label in lists]
    answer = task.parse(lists, length=length)
    assert answer == task.parse(objects, length=length) == tuple(sorted({Span(*item) for item in lists}))
    assert task.parse(task.plain(answer), length=length) == answer


def test_plain_answers_are_json_data():
    assert SINGLE.plain("bug") == "bug"
    assert MULTI.plain(("bug", "praise")) == ["bug", "praise"]
    assert SPANS.plain((Span(0, 3, "bug"),)) == [[0, 3, "bug"]]
    assert type(SPANS.plain((Span(0, 3, "bug"),))[0]) is list


def test_targets_are_positions_or_a_table():
    assert SINGLE.targets(["praise", "billing"]).tolist() == [2, 0]
    assert SINGLE.targets([]).dtype == np.int64
    assert MULTI.targets([("bug", "praise"), ()]).tolist() == [[False, True, True], [False] * 3]
    with pytest.raises(InputError, match="spans become tags only together with their texts"):
        SPANS.targets([()])


@pytest.mark.parametrize(
    ("task", "value", "message"),
    [
        (SINGLE, "bugs", "row 7: unknown label 'bugs'. Did you mean 'bug'? Known: billing, bug, praise."),
        (SINGLE, "xyzzy", "row 7: unknown label 'xyzzy'. Known: billing, bug, praise."),
        (SINGLE, "Bug", "row 7: unknown label 'Bug'. Did you mean 'bug'?"),
        (SINGLE, None, "row 7: None is not a label; give one of the task's labels."),
        (SINGLE, ["bug"], "row 7: ['bug'] is not a label; give one of the task's labels."),
        (SINGLE, True, "row 7: True is not a label"),
        (MULTI, "bug", "row 7: 'bug' is not a list; a 'multi' answer is a list."),
        (MULTI, {"bug": 1}, "row 7: {'bug': 1} is not a list"),
        (MULTI, None, "row 7: None is not a list"),
        (MULTI, ["bug", "praize"], "row 7: unknown label 'praize'. Did you mean 'praise'?"),
        (MULTI, ["bug", 1], "row 7: unknown label 1."),
        (MULTI, [["bug"]], "row 7: unknown label ['bug']."),
        (SPANS, "bug", "row 7: 'bug' is not a list; a 'spans' answer is a list."),
        (SPANS, [5], "row 7: 5 is not a span; write [start, end, label]."),
        (SPANS, [[0, 1]], "row 7: [0, 1] is not a span; write [start, end, label]."),
        (SPANS, [{"start": 0, "end": 1}], "is not a span; write [start, end, label]."),
        (SPANS, [[0, 1, "bugg"]], "row 7: unknown label 'bugg'. Did you mean 'bug'?"),
        (SPANS, [[0, 11, "bug"]], "row 7: span [0, 11, 'bug'] is not within the text; need 0 <= start < end <= 10."),
        (SPANS, [[-1, 3, "bug"]], "span [-1, 3, 'bug'] is not within the text"),
        (SPANS, [[3, 3, "bug"]], "span [3, 3, 'bug'] is not within the text"),
        (SPANS, [[4, 3, "bug"]], "span [4, 3, 'bug'] is not within the text"),
        (SPANS, [[0.0, 3, "bug"]], "span [0.0, 3, 'bug'] is not within the text"),
        (SPANS, [["0", "3", "bug"]], "span ['0', '3', 'bug'] is not within the text"),
        (SPANS, [[False, 3, "bug"]], "span [False, 3, 'bug'] is not within the text"),
        (SPANS, [[0, True, "bug"]], "span [0, True, 'bug'] is not within the text"),
    ],
)
def test_what_is_no_answer_is_refused_by_place_and_value(task, value, message):
    with pytest.raises(InputError, match=re.escape(message)):
        task.parse(value, length=10, place="row 7")


def test_without_a_length_spans_only_have_to_be_spans():
    assert SPANS.parse([[5, 10**6, "bug"]]) == (Span(5, 10**6, "bug"),)
    with pytest.raises(
        InputError, match=re.escape("answer: span [5, 5, 'bug'] is not within the text; need 0 <= start < end.")
    ):
        SPANS.parse([[5, 5, "bug"]])


@pytest.mark.parametrize(
    ("kind", "labels", "guidelines", "message"),
    [
        ("singel", LABELS, {}, "task.kind: unknown kind of task 'singel'. Did you mean 'single'?"),
        ("single", ("one",), {}, "task.labels: ['one'] has 1 label(s); a 'single' task needs at least 2."),
        ("multi", (), {}, "task.labels: [] has 0 label(s); a 'multi' task needs at least 1."),
        ("spans", (), {}, "a 'spans' task needs at least 1."),
        ("single", ("a", ""), {}, "task.labels: '' is not a label; use a non-empty string without NUL."),
        ("single", ("a", " \t"), {}, "task.labels: ' \\t' is not a label"),
        ("single", ("a", 1), {}, "task.labels: 1 is not a label"),
        ("single", ("a", "b\x00"), {}, "task.labels: 'b\\x00' is not a label; use a non-empty string without NUL."),
        ("single", ("b", "a", "b"), {}, "task.labels: 'b' occurs twice; name every label once."),
        ("single", LABELS, {"prais": "?"}, "task.guidelines: unknown label 'prais'. Did you mean 'praise'?"),
    ],
)  # fmt: skip
def test_what_is_no_task_is_refused(kind, labels, guidelines, message):
    with pytest.raises(InputError, match=re.escape(message)):
        Task(kind, labels, guidelines)


@pytest.mark.parametrize("kind", ["multi", "spans"])
def test_one_label_is_enough_where_none_can_be_given(kind):
    assert Task(kind, ["only"]).labels == ("only",)


def test_one_text_is_not_a_list_of_labels() -> None:
    with pytest.raises(InputError, match="'ab' is one text; give a list of labels"):
        Task("single", "ab")  # type: ignore[arg-type]
