"""labelwise.toml: every default can be seen, every mistake is named, and what is written reads back."""

from __future__ import annotations

import re
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.core import InputError
from labelwise.project import starting
from labelwise.project.config import FILE, LEARNING, fragment, load, parse
from labelwise.select import Auto, Margin, Top

TASK = {"kind": "single", "labels": ["bug", "praise"]}
PLAIN = {"task": TASK}
AUTO = {"use": "auto", "scorer": {"use": "margin"}, "rare": 0.6, "hinted": 0.5, "enough": 20}


def test_every_default_is_written_out():
    assert parse(PLAIN).written_out() == {
        "task": {"kind": "single", "labels": ["bug", "praise"], "guidelines": {}},
        "project": {"name": "labelwise project", "seed": 0},
        "encoder": {"use": "static", "centre": True},
        "selection": {
            "strategy": AUTO,
            "start": AUTO,
            "initial": 50, "batch": 50, "budget": 0, "control": 0.1, "evaluation": 0.5, "holdout": 0.0,
            "hints": {},
        },
        "trainer": {"use": "linear", "grid": [0.1, 1.0, 10.0, 100.0, 1000.0], "folds": 5, "growth": 0.25},
        "calibrator": {
            "use": "adaptive", "spread": 0.5, "enough": 500, "per_class": 20, "isotonic": 1000, "folds": 5
        },
        "aggregator": {"use": "majority"},
        "cost": {"per_hour": 0.0, "currency": "EUR"},
    }  # fmt: skip


def test_what_is_written_out_is_a_config_with_the_same_digest():
    config = parse({**PLAIN, "selection": {"strategy": "margin", "start": "random", "budget": 300}})
    assert config.selection.strategy == Top(Margin())
    again = parse(config.written_out())
    assert again == config
    assert again.digest() == config.digest()
    assert parse(PLAIN).selection.start == Auto()


CHANGES = [
    ("task", "labels", ["bug", "other"]),
    ("task", "labels", ["praise", "bug"]),
    ("task", "kind", "multi"),
    ("task", "guidelines", {"bug": "It is broken."}),
    ("project", "name", "other"),
    ("project", "seed", 1),
    ("encoder", "centre", False),
    ("selection", "strategy", "margin"),
    ("selection", "start", "random"),
    ("selection", "initial", 49),
    ("selection", "batch", 49),
    ("selection", "budget", 1),
    ("selection", "control", 0.2),
    ("selection", "evaluation", 0.4),
    ("selection", "holdout", 0.1),
    ("trainer", "folds", 4),
    ("trainer", "growth", 0.5),
    ("trainer", "grid", [1.0]),
    ("cost", "per_hour", 30.0),
    ("cost", "currency", "USD"),
]


def test_every_setting_changes_the_digest_of_its_section_alone():
    written = parse(PLAIN).written_out()
    digests = {parse(PLAIN).digest()}
    for section, name, value in CHANGES:
        config = parse({**written, section: {**written[section], name: value}})
        assert [s for s in written if config.digest(s) != parse(PLAIN).digest(s)] == [section]
        assert (config.digest(*LEARNING) != parse(PLAIN).digest(*LEARNING)) == (section in LEARNING)
        digests.add(config.digest())
    assert len(digests) == len(CHANGES) + 1


def test_writing_a_default_or_a_whole_number_changes_no_digest():
    same = {
        "task": TASK,
        "project": {"seed": 0},
        "cost": {"per_hour": 0},
        "encoder": "static",
        "trainer": {"use": "linear"},
    }
    assert parse(same).digest() == parse(PLAIN).digest()


TASK_TOML = '[task]\nkind = "single"\nlabels = ["bug", "praise"]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[task", "not valid TOML: Expected ']' at the end of a table declaration"),
        ("", "task is missing; Config cannot do without it."),
        ("task = 5", "task: 5 is not a table; write { name = value }."),
        (TASK_TOML + "[trainr]", "unknown setting 'trainr'. Did you mean 'trainer'? Known: aggregator, "),
        (TASK_TOML + "[selection]\nbatchs = 3", "selection: unknown setting 'batchs'. Did you mean 'batch'?"),
        ('[task]\nkind = "singel"\nlabels = ["a", "b"]', "task.kind: unknown value 'singel'. Did you mean 'single'?"),
        ('[task]\nkind = "single"\nlabels = ["a"]', "task.labels: ['a'] has 1 label(s)"),
        ('[task]\nkind = "single"\nlabels = "a"', "task.labels: 'a' is not a list; write [ ... ]."),
        ('[task]\nkind = "single"\nlabels = ["a", 2]', "task.labels[1]: 2 is not text in quotes."),
        (TASK_TOML + "guidelines = { bgu = 'x' }", "task.guidelines: unknown label 'bgu'. Did you mean 'bug'?"),
        (TASK_TOML + "guidelines = { bug = 1 }", "task.guidelines.bug: 1 is not text in quotes."),
        (TASK_TOML + "[project]\nseed = 1.5", "project.seed: 1.5 is not a whole number."),
        (TASK_TOML + "[project]\nname = 1", "project.name: 1 is not text in quotes."),
        (TASK_TOML + "[selection]\nbatch = 0", "selection.batch: 0 is outside the allowed range; choose 1 to 1e+06."),
        (TASK_TOML + "[selection]\ninitial = 0", "selection.initial: 0 is outside the allowed range"),
        (TASK_TOML + "[selection]\nbudget = -1", "selection.budget: -1 is outside the allowed range"),
        (TASK_TOML + "[selection]\ncontrol = 1.1",
         "selection.control: 1.1 is outside the allowed range; choose 0 to 1."),
        (TASK_TOML + "[selection]\nholdout = 0.95",
         "selection.holdout: 0.95 is outside the allowed range; choose 0 to 0.9."),
        (TASK_TOML + "[selection]\nevaluation = nan", "selection.evaluation: nan is outside the allowed range"),
        (TASK_TOML + "[selection]\nbatch = true", "selection.batch: True is not a whole number."),
        (TASK_TOML + "[selection]\nstrategy = { use = 'powr' }",
         "selection.strategy.use: unknown strategy 'powr'. Did you mean 'power'?"),
        (TASK_TOML + "[trainer]\nuse = 'linear'\nfolds = 1", "trainer: folds: 1 is not allowed"),
        (TASK_TOML + "[cost]\nper_hour = -3", "cost.per_hour: -3.0 is outside the allowed range; choose 0 to 1e+06."),
        (TASK_TOML + "[cost]\nper_hour = nan", "cost.per_hour: nan is outside the allowed range"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_is_named_by_file_place_and_value(tmp_path, text, message):
    path = tmp_path / FILE
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="^" + re.escape(f"{path}: {message}")):
        load(path)


def test_a_folder_without_a_project_says_how_to_make_one(tmp_path):
    message = f"{tmp_path}: no labelwise.toml here, so this is not a project; run `labelwise init` in it first."
    with pytest.raises(InputError, match="^" + re.escape(message)):
        load(tmp_path / FILE)
    (tmp_path / "data.csv").write_text("text")
    with pytest.raises(InputError, match="so this is not a project"):
        load(tmp_path / "data.csv" / FILE)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / FILE).mkdir()
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / FILE}: cannot be read (Is a directory)")):
        load(tmp_path / FILE)
    latin = tmp_path / "latin.toml"
    latin.write_bytes('name = "ä"'.encode("latin-1"))
    with pytest.raises(InputError, match=re.escape(f"{latin}: byte 8 is not UTF-8; save the file as UTF-8.")):
        load(latin)


names = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
awkward = st.sampled_from(
    ['"', "\\", "a\nb", "\x7f", "\r\n", "\u2028", "😀", "'''", "\\u007f", "-", "a.b", "a=b", "\x85", "#"]
)
labels = (awkward | names).filter(lambda label: label.strip() and "\x00" not in label)


@given(
    st.data(), names | awkward, st.lists(labels, min_size=2, max_size=5, unique=True), st.integers(-(2**63), 2**63 - 1)
)
def test_what_init_writes_reads_back_as_an_equal_config(data, name, labels, seed):
    guidelines = data.draw(st.dictionaries(st.sampled_from(labels), names | awkward))
    config = parse({
        "project": {"name": name, "seed": seed},
        "task": {"kind": "multi", "labels": labels, "guidelines": guidelines},
        "selection": {"strategy": "margin", "control": 1e-5},
        "encoder": {"use": "concat", "parts": ["static", {"use": "hashing", "words": [1, 1]}]},
    })  # fmt: skip
    again = parse(tomllib.loads(starting.written(config.written_out()).encode().decode()))
    assert again == config
    assert again.digest() == config.digest()


def test_a_new_project_is_loaded_as_written_and_never_overwritten(tmp_path):
    path = starting.start(tmp_path / "new", ["bug", "praise"], "single", "")
    assert load(path) == parse({**PLAIN, "project": {"name": "new"}})
    assert all(f"\n[{section}]\n" in path.read_text(encoding="utf-8") for section in starting.REMARKS)
    with pytest.raises(InputError, match="there is a project here already"):
        starting.start(tmp_path / "new", ["a", "b"], "single", "")


@pytest.mark.parametrize(
    ("labels", "name", "message"),
    [
        ([], "", "--labels: no labels are given"),
        (["a"], "", "task.labels: ['a'] has 1 label(s)"),
        (["a", "b"], "caf\udce9", "project.name: 'caf\\udce9' is not valid Unicode."),
        (["a", "\udce9"], "", "task.labels[1]: '\\udce9' is not valid Unicode."),
    ],
)
def test_a_project_that_makes_no_sense_leaves_nothing_behind(tmp_path, labels, name, message):
    with pytest.raises(InputError, match="^" + re.escape(message)):
        starting.start(tmp_path / "new", labels, "single", name)
    assert not (tmp_path / "new").exists()


def test_fragments_are_names_or_toml():
    assert fragment(" margin ", "--strategy") == "margin"
    assert fragment('{ use = "power", beta = 2 }', "--strategy") == {"use": "power", "beta": 2}
    message = "--strategy: '{ use = power }' is not a TOML fragment: "
    with pytest.raises(InputError, match="^" + re.escape(message)):
        fragment("{ use = power }", "--strategy")
    with pytest.raises(InputError, match="is not a TOML fragment"):
        fragment("{ use = 'power'", "--strategy")
