"""The constructor is the schema: whatever is installed can be built, described, built again and keeps its contract."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Literal

import pytest

from labelwise.annotate.oracles import Annotator, Noisy
from labelwise.core import InputError, Strategy
from labelwise.core.checks import check, promises
from labelwise.learn.linear import Linear
from labelwise.project import components
from labelwise.project.components import KINDS, build, construct, describe, installed, label_of
from labelwise.represent.concat import Concat
from labelwise.represent.hashing import Hashing
from labelwise.select import Entropy, KCenter, Margin, Mix, Power, Random, Softmax, Then, Top

NEEDS = {
    "top": {"scorer": "margin"},
    "power": {"scorer": "entropy"},
    "softmax": {"scorer": "margin"},
    "softrank": {"scorer": "margin"},
    "then": {"first": "margin", "second": {"use": "k-center"}},
    "mix": {"parts": ["random", {"use": "power", "scorer": "margin"}], "shares": [1, 2]},
    "anchoral": {"base": "margin"},
    "seals": {"base": "random"},
    "balanced": {"base": "margin"},
    "relevance": {"label": "a"},
    "signal": {"name": "rarity"},
    "concat": {"parts": ["static", {"use": "hashing", "dimensions": 32, "reduce": "projection"}]},
    "minilm": {"folder": "models/minilm"},
    "routed": {"base": "margin"},
    "transformer": {"model": "models/encoder"},
}
"""Arguments that have no default; all others are left out."""

ALL = [(kind, name) for kind in KINDS.values() for name in installed(kind)]


def specified(name):
    return {"use": name, **NEEDS.get(name, {})}


def test_every_kind_has_something_installed():
    assert {kind for kind, _ in ALL} == set(KINDS.values())


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_what_is_described_is_json_and_builds_an_equal_component(kind, name):
    component = build(kind, specified(name))
    described = describe(component)
    assert described["use"] == name
    again = build(kind, json.loads(json.dumps(described, allow_nan=False)))
    assert again == component
    assert describe(again) == described


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_default_is_written_out(kind, name):
    component = build(kind, specified(name))
    given = [field.name for field in dataclasses.fields(component) if field.init]
    fields = {name for name in given if getattr(component, name) is not None}
    assert set(describe(component)) == fields | {"use"}


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_no_component_can_be_changed(kind, name):
    component = build(kind, specified(name))
    for field in dataclasses.fields(component):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(component, field.name, None)


SLOW = {"linear", "bootstrap", "laplace", "neighbourly", "crf"}  # over 10 s on one core


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(kind, name, marks=[pytest.mark.real] if name in SLOW else [])
        for kind, name in ALL
        if name not in ("minilm", "transformer")  # these need a model's folder; their own tests make one
    ],
)
def test_every_installed_component_keeps_its_contract(kind, name):
    assert check(kind, build(kind, specified(name))) == list(promises(kind))


def test_nested_components_are_built_all_the_way_down():
    spec = {
        "use": "then",
        "first": {
            "use": "mix",
            "parts": ["entropy", {"use": "softmax", "scorer": {"use": "margin"}}],
            "shares": [1, 3],
        },
        "second": "k-center",
        "factor": 2,
    }  # fmt: skip
    first = Mix((Top(Entropy()), Softmax(Margin())), (1.0, 3.0))
    assert build("strategies", spec) == Then(first, KCenter(), 2.0)
    assert describe(build("strategies", spec)) == {
        "use": "then",
        "first": {
            "use": "mix",
            "parts": [
                {"use": "top", "scorer": {"use": "entropy"}},
                {"use": "softmax", "scorer": {"use": "margin"}, "beta": 5.0, "explore": 0.1},
            ],
            "shares": [1.0, 3.0],
        },
        "second": {"use": "k-center", "among": 8192, "trim": 0.001},
        "factor": 2.0,
    }


def test_a_name_alone_is_a_component_and_a_scorer_names_its_strategy():
    assert build("strategies", "random") == build("strategies", {"use": "random"}) == Random()
    assert build("strategies", "margin") == build("strategies", {"use": "margin"}) == Top(Margin())
    assert build("scorers", "margin") == Margin()


def test_pairs_and_whole_numbers_for_fractions_are_taken():
    concat = build("encoders", {"use": "concat", "parts": [{"use": "hashing", "words": [1, 3]}], "weights": [2]})
    assert concat == Concat((Hashing(words=(1, 3)),), (2.0,))
    assert build("trainers", {"use": "linear", "grid": [1, 10]}) == Linear((1.0, 10.0))
    assert type(build("strategies", {"use": "power", "scorer": "margin", "beta": 3}).beta) is float


def test_people_are_written_as_tables():
    spec = {
        "use": "noisy",
        "people": [{"name": "Ann"}, {"name": "Bob", "accuracy": 1, "confusion": {"bug": {"praise": 0.25}}}],
    }
    people = (Annotator("Ann"), Annotator("Bob", accuracy=1.0, confusion={"bug": {"praise": 0.25}}))
    assert build("oracles", spec) == Noisy(people)
    assert describe(Noisy(people))["people"] == [
        {"name": "Ann", "accuracy": 0.9, "speed": 1.0, "confusion": {}},
        {"name": "Bob", "accuracy": 1.0, "speed": 1.0, "confusion": {"bug": {"praise": 0.25}}},
    ]


MIX = {"use": "mix", "parts": ["random", {"use": "power", "scorer": "margin"}], "shares": [1, 1]}


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        ("strategies", "typiclst", "at.use: unknown strategy 'typiclst'. Did you mean 'typiclust'? Known: "),
        ("strategies", "margn", "at.use: unknown strategy 'margn'. Did you mean 'margin'? Known: "),
        ("scorers", "random", "at.use: unknown scorer 'random'. Known: bald, cal, disagreement, entropy, "),
        ("trainers", "liner", "at.use: unknown trainer 'liner'. Did you mean 'linear'?"),
        ("strategies", 5, 'at: 5 is not a component; write { use = "name", ... } with one of: anchoral, auto, '),
        ("strategies", {"beta": 2}, "at: {'beta': 2} is not a component; write { use"),
        ("strategies", {"use": 1}, "at: {'use': 1} is not a component"),
        ("strategies", {"use": "power", "scorer": "margin", "bta": 1},
         "at: unknown setting 'bta'. Did you mean 'beta'? Known: beta, explore, scorer."),
        ("strategies", {"use": "random", "x": 1}, "at: unknown setting 'x'. Known: none."),
        ("strategies", "power", "at.scorer is missing; Power cannot do without it."),
        ("strategies", {"use": "power", "scorer": "margn"},
         "at.scorer.use: unknown scorer 'margn'. Did you mean 'margin'?"),
        ("strategies", {"use": "power", "scorer": "random"}, "at.scorer.use: unknown scorer 'random'."),
        ("strategies", {"use": "power", "scorer": "margin", "beta": "2"}, "at.beta: '2' is not a number."),
        ("strategies", {"use": "power", "scorer": "margin", "beta": True}, "at.beta: True is not a number."),
        ("strategies", {"use": "power", "scorer": "margin", "beta": -1},
         "at: beta: -1.0 is not allowed; give a number from 0 to 100."),
        ("strategies", {**MIX, "parts": "random"}, "at.parts: 'random' is not a list; write [ ... ]."),
        ("strategies", {**MIX, "parts": ["random", "margni"]},
         "at.parts[1].use: unknown strategy 'margni'. Did you mean 'margin'?"),
        ("strategies", {**MIX, "parts": ["random", {"use": "power", "scorer": {"use": "x"}}]},
         "at.parts[1].scorer.use: unknown scorer 'x'."),
        ("strategies", {**MIX, "shares": [1, "1"]}, "at.shares[1]: '1' is not a number."),
        ("strategies", {**MIX, "shares": [1]},
         "at: shares: [1.0] is not allowed; give one share >= 0 for each of the 2 parts"),
        ("encoders", {"use": "hashing", "words": [1, 2, 3]}, "at.words: [1, 2, 3] is not a list of 2; write [ ... ]."),
        ("encoders", {"use": "hashing", "words": 2}, "at.words: 2 is not a list of 2; write [ ... ]."),
        ("encoders", {"use": "hashing", "words": [1, "2"]}, "at.words[1]: '2' is not a whole number."),
        ("encoders", {"use": "hashing", "words": [0, 2]}, "at: hashing.words: [0, 2] is not a range of lengths"),
        ("encoders", {"use": "hashing", "dimensions": 1.5}, "at.dimensions: 1.5 is not a whole number."),
        ("encoders", {"use": "hashing", "dimensions": True}, "at.dimensions: True is not a whole number."),
        ("encoders", {"use": "hashing", "reduce": "svg"},
         "at.reduce: unknown value 'svg'. Did you mean 'svd'? Known: projection, svd."),
        ("encoders", {"use": "static", "centre": 1}, "at.centre: 1 is not true or false."),
        ("encoders", {"use": "minilm", "folder": 3}, "at.folder: 3 is not text in quotes."),
        ("encoders", {"use": "minilm", "folder": "\udcff"}, "at.folder: '\\udcff' is not valid Unicode."),
        ("oracles", {"use": "noisy", "people": ["Ann"]}, "at.people[0]: 'Ann' is not a table; write { name = value }."),
        ("oracles", {"use": "noisy", "people": [{"name": "A"}, {"nam": "B"}]},
         "at.people[1]: unknown setting 'nam'. Did you mean 'name'?"),
        ("oracles", {"use": "noisy", "people": [{"accuracy": 1}]}, "at.people[0].name is missing; Annotator cannot"),
        ("oracles", {"use": "noisy", "people": [{"name": "A", "confusion": 1}]},
         "at.people[0].confusion: 1 is not a table; write { name = value }."),
        ("oracles", {"use": "noisy", "people": [{"name": "A", "confusion": {"bug": {"x": "y"}}}]},
         "at.people[0].confusion.bug.x: 'y' is not a number."),
        ("oracles", {"use": "noisy", "people": [{"name": "A", "accuracy": 2}]},
         "at.people[0]: annotator.accuracy: 2.0 is not allowed"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_named_by_its_place(kind, spec, message):
    with pytest.raises(InputError, match="^" + re.escape(message)):
        build(kind, spec, "at")


def test_without_a_place_the_message_begins_with_what_is_wrong():
    with pytest.raises(InputError, match=r"^use: unknown scorer 'x'"):
        build("scorers", "x")
    with pytest.raises(InputError, match=r"^None is not a component"):
        build("scorers", None)
    with pytest.raises(InputError, match=r"^scorer is missing"):
        build("strategies", "top")


@dataclass(frozen=True)
class Plugin:
    """What a plugin may ask for beyond the built-ins."""

    inner: Strategy | None = None
    size: int | Literal["all"] = "all"
    raw: bytes = b""


def test_options_are_tried_in_turn_and_the_last_one_complains():
    assert construct(Plugin, {"inner": "random", "size": 3}, "at") == Plugin(Random(), 3)
    assert construct(Plugin, {"inner": None}, "at") == Plugin()
    with pytest.raises(InputError, match=re.escape("at.size: unknown value 1.5. Known: all.")):
        construct(Plugin, {"size": 1.5}, "at")


def test_a_type_that_config_cannot_express_is_the_authors_mistake():
    with pytest.raises(TypeError, match=r"at\.raw: a component's field has the type .*bytes"):
        construct(Plugin, {"raw": "x"}, "at")


def test_a_plugin_is_named_even_if_its_entry_point_names_the_module_that_exports_it(monkeypatch):
    point = EntryPoint("strong", "labelwise.select:Power", "labelwise.strategies")
    monkeypatch.setattr(components, "installed", lambda kind: {"strong": point} if kind == "strategies" else {})
    components._name_of.cache_clear()
    try:
        assert describe(Power(Margin()))["use"] == "strong"
    finally:
        components._name_of.cache_clear()


def test_labels_of_arms_are_short_and_complete():
    assert label_of("margin") == "margin"
    assert label_of({"use": "random"}) == "random"
    assert label_of({"use": "power", "scorer": "margin", "beta": 4.0}) == "power(scorer=margin, beta=4.0)"
    assert label_of(MIX) == "mix(parts=[random, power(scorer=margin)], shares=[1, 1])"
