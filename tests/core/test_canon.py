"""Canonical JSON: equal data has one text, and the text gives the data back."""

from __future__ import annotations

import json
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.core import InputError
from labelwise.core.canon import canonical_json, digest_of

names = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | names
plain = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4))


@given(plain)
def test_the_text_gives_the_data_back(data):
    text = canonical_json(data)
    assert json.loads(text) == data
    assert canonical_json(json.loads(text)) == text


@given(st.dictionaries(names, plain, max_size=5), st.randoms())
def test_the_order_of_keys_does_not_show(data, random):
    shuffled = list(data.items())
    random.shuffle(shuffled)
    assert digest_of(dict(shuffled)) == digest_of(data)


@given(plain, plain)
def test_equal_digests_mean_equal_texts(one, other):
    assert (digest_of(one) == digest_of(other)) == (canonical_json(one) == canonical_json(other))


def test_any_mapping_is_an_object_at_any_depth():
    inner = MappingProxyType({"b": MappingProxyType({"c": (1,)})})
    assert canonical_json([inner]) == '[{"b":{"c":[1]}}]'


def test_digests_never_change():
    assert digest_of({"a": [1, 2.5, "ä", None, True]}) == "989f1a3a5a40f695860b3d51ecab13ab"


def test_a_refusal_names_the_key_and_what_can_be_recorded():
    with pytest.raises(InputError, match=r"the key 1 is a int\. Use objects with string keys, lists, strings"):
        canonical_json({"a": [{1: 2}]})
    with pytest.raises(InputError, match="is a set"):
        canonical_json({"a": {1}})
