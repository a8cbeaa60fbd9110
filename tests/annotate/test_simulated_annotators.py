import numpy as np
import pytest

from labelwise.annotate.oracles import Annotator, Noisy, Perfect
from labelwise.core import InputError, Span, Task, stream

SINGLE, MULTI, SPANS = Task("single", ("a", "b", "c")), Task("multi", ("a", "b", "c")), Task("spans", ("a", "b"))


def ask(oracle, task, truth, n=4000, length=100, who=None):
    rng = stream(0, "ask")
    return zip(*(oracle.answer(task, who or oracle.annotators[0], truth, length, rng) for _ in range(n)), strict=True)


def test_perfect_is_right_and_its_median_time_is_as_stated():
    answers, seconds = ask(Perfect(seconds_median=6.0), SINGLE, "b")
    assert set(answers) == {"b"}
    assert np.median(seconds) == pytest.approx(6.0, rel=0.05)
    assert np.log(seconds).std() == pytest.approx(0.6, rel=0.05)


def test_long_texts_and_slow_people_take_longer():
    _, short = ask(Perfect(length_effect=0.5), SINGLE, "a", length=100)
    _, long = ask(Perfect(length_effect=0.5), SINGLE, "a", length=403)
    assert np.median(long) / np.median(short) == pytest.approx(2.0, rel=0.02)
    people = (Annotator("quick", speed=2.0), Annotator("slow", speed=0.5))
    (_, quick), (_, slow) = (ask(Noisy(people), SINGLE, "a", who=p.name) for p in people)
    assert np.median(slow) / np.median(quick) == pytest.approx(4.0, rel=0.1)


def test_accuracy_is_the_share_of_right_answers_and_errors_spread():
    answers, _ = ask(Noisy((Annotator("x", accuracy=0.7),)), SINGLE, "b")
    shares = {label: np.mean([a == label for a in answers]) for label in "abc"}
    assert shares == pytest.approx({"a": 0.15, "b": 0.7, "c": 0.15}, abs=0.03)


def test_confusion_replaces_accuracy_for_its_truth():
    person = Annotator("x", accuracy=1.0, confusion={"b": {"c": 0.4}})
    answers, _ = ask(Noisy((person,)), SINGLE, "b")
    assert np.mean([a == "c" for a in answers]) == pytest.approx(0.4, abs=0.03)
    assert "a" not in answers
    assert set(next(ask(Noisy((person,)), SINGLE, "a", n=50))) == {"a"}


def test_labels_are_missed_and_added_about_equally():
    answers, _ = ask(Noisy((Annotator("x", accuracy=0.8),)), MULTI, ("a",))
    assert np.mean(["a" in a for a in answers]) == pytest.approx(0.8, abs=0.03)
    assert np.mean([len(a) for a in answers]) == pytest.approx(1.0, abs=0.05)


def test_spans_are_dropped_shifted_and_relabelled():
    truth = (Span(10, 20, "a"),)
    answers, _ = ask(Noisy((Annotator("x", accuracy=0.4),)), SPANS, truth)
    assert np.mean([a == truth for a in answers]) == pytest.approx(0.4, abs=0.03)
    assert np.mean([a == () for a in answers]) == pytest.approx(0.2, abs=0.03)
    assert np.mean([a == (Span(10, 20, "b"),) for a in answers]) == pytest.approx(0.2, abs=0.03)
    assert any(a and a[0][:2] != (10, 20) for a in answers)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Perfect(seconds_median=0), "seconds_median: 0"),
        (lambda: Perfect(spread=-1), "from 0 to 3"),
        (lambda: Perfect(length_effect=9), "from 0 to 2"),
        (lambda: Noisy(people=()), "one or more"),
        (lambda: Noisy((Annotator("x"), Annotator("x"))), "its own name"),
        (lambda: Annotator(" "), "annotator.name"),
        (lambda: Annotator("x", accuracy=1.2), "from 0 to 1"),
        (lambda: Annotator("x", speed=0), "annotator.speed"),
        (lambda: Annotator("x", confusion={"a": {"b": 0.7, "c": 0.7}}), "annotator.confusion.a"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_confusion_with_a_label_the_task_lacks_is_named():
    person = Annotator("x", confusion={"a": {"d": 0.2}})
    with pytest.raises(InputError, match="unknown label 'd'"):
        Noisy((person,)).answer(SINGLE, "x", "a", 10, stream(0))
