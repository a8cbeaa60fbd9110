"""Tokens of any language, and spans as tags and back."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.core import ContractError, InputError, Span, Tags, Task
from labelwise.core.tokens import bounds, coded, read_tags, runs

SPANS = Task("spans", ("PER", "LOC"))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Anna's 2nd B2B-deal, ok?", ["Anna", "'", "s", "2", "nd", "B", "2", "B", "-", "deal", ",", "ok", "?"]),
        ("  \t\n ", []),
        ("Zu\u0308rich cafe\u0301", ["Zu\u0308rich", "cafe\u0301"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("نمی\u200cخواهم", ["نمی\u200cخواهم"]),
        ("東京に行く", ["東", "京", "に", "行", "く"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("Привет, мир", ["Привет", ",", "мир"]),
        ("snake_case 👍🏽 ٣٤", ["snake", "_", "case", "👍", "🏽", "٣٤"]),
    ],
)
def test_tokens_are_words_numbers_and_signs(text, tokens):
    assert [text[a:b] for a, b in bounds(text)] == tokens


@given(st.text())
def test_tokens_cover_everything_but_white_space_in_order(text):
    places = bounds(text)
    assert all(a < b for a, b in places)
    assert all(b <= c for (_, b), (c, _) in pairwise(places))
    assert "".join(text[a:b] for a, b in places) == "".join(text.split())


@given(st.data(), st.lists(st.text("ab 1.é日", max_size=30), max_size=4))
def test_spans_of_whole_tokens_come_back_with_their_offsets(data, texts):
    answers = []
    for text in texts:
        places, spans, at = bounds(text), [], 0
        while at < len(places):
            end = data.draw(st.integers(at, len(places)))
            if end > at:
                label = data.draw(st.sampled_from(SPANS.labels))
                spans.append(Span(places[at][0], places[end - 1][1], label))
            at = max(end, at + 1)
        answers.append(tuple(spans))
    tags = SPANS.targets(answers, texts)
    assert SPANS.spans(tags, texts) == answers
    assert len(tags) == len(texts)
    assert not tags.widened.any()
    assert not tags.lost.any()


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9), st.integers(0, 1)), max_size=8), st.text(max_size=20))
def test_no_span_is_lost_silently(drawn, text):
    spans = [(a, b, k) for a, size, k in drawn if a < (b := min(a + size, len(text)))]
    tags = coded([spans], [text], 2)
    kept = len(runs(tags.codes, tags.offsets)[0])
    assert kept + tags.lost.sum() == len(spans)


def test_a_span_inside_a_word_is_widened_and_of_overlapping_ones_the_longest_is_kept():
    text = "New York City now"
    tags = SPANS.targets([(Span(1, 6, "LOC"), Span(4, 13, "PER"), Span(8, 9, "LOC"), Span(14, 17, "LOC"))], [text])
    assert SPANS.spans(tags, [text]) == [(Span(4, 13, "PER"), Span(14, 17, "LOC"))]
    assert tags.lost.tolist() == [[0, 2]]
    assert SPANS.targets([(Span(1, 6, "LOC"),)], [text]).widened.tolist() == [1]
    assert SPANS.spans(SPANS.targets([(Span(1, 6, "LOC"),)], [text]), [text]) == [(Span(0, 8, "LOC"),)]


def test_neighbours_of_one_label_stay_two_spans():
    text = "Anna Bob"
    answer = (Span(0, 4, "PER"), Span(5, 8, "PER"))
    assert SPANS.targets([answer], [text]).codes.tolist() == [1, 1]
    assert SPANS.spans(SPANS.targets([answer], [text]), [text]) == [answer]


def test_an_inside_without_a_beginning_begins_a_span():
    starts, ends, labels = runs(np.array([2, 2, 0, 4, 2, 2]), np.array([0, 5, 6]))
    assert (starts.tolist(), ends.tolist(), labels.tolist()) == ([0, 3, 4, 5], [2, 4, 5, 6], [0, 1, 0, 0])


def test_rows_of_tags_are_tags():
    tags = SPANS.targets([(Span(0, 1, "PER"),), (), (Span(2, 3, "LOC"),)], ["a b", "", "c d"])
    assert tags[np.array([2, 0])].codes.tolist() == [0, 3, 1, 0]
    assert tags[1:].offsets.tolist() == [0, 0, 2]
    assert tags[np.array([True, False, False])].lost.shape == (1, 2)
    assert Tags.join([tags[:1], tags[1:]]).codes.tolist() == tags.codes.tolist()
    assert len(tags[:0]) == 0
    with pytest.raises(ContractError, match="Tags needs offsets"):
        Tags(np.zeros(2, int), np.array([0, 1]))


def test_tags_of_words_are_read_in_both_codings():
    text = "EU rejects  New York Rome"
    wanted = [(0, 2, "ORG"), (12, 20, "LOC"), (21, 25, "LOC")]
    assert read_tags(["B-ORG", "O", "B-LOC", "I-LOC", "B-LOC"], text) == wanted
    assert read_tags(["I-ORG", "O", "I-LOC", "I-LOC", "B-LOC"], text) == wanted
    with pytest.raises(InputError, match="2 tags for 5 words"):
        read_tags(["O", "O"], text)
    with pytest.raises(InputError, match="'E-LOC' is not a tag"):
        read_tags(["E-LOC"], "Rome")
