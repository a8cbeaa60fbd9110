"""The identity of a text."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.core import keys_of, normalised, text_id
from labelwise.core.text import digest

anything = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a b", "  a \t\r\n b\u00a0"),
        ("caf\u00e9", "cafe\u0301"),
        ("\uac00", "\u1100\u1161"),
        ("a\u2003b", "a b"),
    ],
)
def test_these_are_one_text(one, other):
    assert text_id(one) == text_id(other)


@pytest.mark.parametrize(
    ("one", "other"), [("a b", "ab"), ("A", "a"), ("cafe", "café"), ("ﬁ", "fi"), ("a\u200bb", "ab"), ("1", "１")]
)
def test_these_are_two(one, other):
    assert text_id(one) != text_id(other)


@given(anything)
def test_normalising_twice_changes_nothing_and_composes(text):
    once = normalised(text)
    assert normalised(once) == once
    assert once == once.strip()
    assert unicodedata.is_normalized("NFC", once)


@given(anything)
def test_every_string_has_an_id_even_half_a_surrogate_pair(text):
    assert text_id(text) == digest(text).hex()
    assert len(text_id(text)) == 32


def test_ids_never_change():
    assert text_id("") == "cae66941d9efbd404e4d88758ea67670"
    assert text_id("Grüße  aus\nKöln") == "65866df7ef676dced9e545ad99f85708"


def test_keys_are_the_first_64_bits():
    keys = keys_of(["ff" * 16, "00" * 7 + "01" + "ee" * 8])
    assert keys.dtype == np.uint64
    assert keys.tolist() == [2**64 - 1, 1]
    assert keys_of([]).shape == (0,)
