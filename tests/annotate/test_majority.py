import time

import numpy as np
import pytest

from labelwise.annotate.majority import Majority
from labelwise.core import Consensus, InputError, Span, Task, Vote


def decide(kind, *answers):
    votes = [Vote("t", f"a{i}", answer) for i, answer in enumerate(answers)]
    return Majority().decide(Task(kind, ("z", "a", "b")), votes)["t"]


def test_most_votes_win_and_ties_go_to_the_first_label():
    assert decide("single", "a", "b", "a") == Consensus("a", 2 / 3, 3)
    assert decide("single", "a", "z") == Consensus("z", 0.5, 2)
    assert decide("single", "b") == Consensus("b", 1.0, 1)


def test_every_label_has_its_own_majority():
    assert decide("multi", ("a", "b"), ("a",), ("a", "z")) == Consensus(("a",), 7 / 9, 3)
    assert decide("multi", ("a",), ()) == Consensus((), 0.5, 2)
    assert decide("multi", (), ()) == Consensus((), 1.0, 2)


def test_only_exact_spans_agree():
    name, longer = Span(0, 4, "a"), Span(0, 5, "a")
    assert decide("spans", (name,), (name,), (longer,)) == Consensus((name,), 2 / 3, 3)
    assert decide("spans", (name,), (longer,)).answer == ()


@pytest.mark.parametrize(("kind", "answer"), [("single", "q"), ("multi", ("q",)), ("spans", (Span(0, 1, "q"),))])
def test_unknown_labels_are_refused(kind, answer):
    with pytest.raises(InputError, match="unknown label 'q'"):
        decide(kind, answer)


def test_a_hundred_thousand_votes_are_quick():
    said = np.random.default_rng(0).choice(["z", "a", "b"], 100_000)
    votes = [Vote(f"t{i // 4}", f"a{i % 4}", str(label)) for i, label in enumerate(said)]
    start = time.process_time()
    assert len(Majority().decide(Task("single", ("z", "a", "b")), votes)) == 25_000
    assert time.process_time() - start < 3.0  # 0.2 s on an idle core
