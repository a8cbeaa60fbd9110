"""What holds for every command there is, found by walking the program's own tree of commands."""

import json
import shlex

import pytest

from tests.cli.running import commands, done, new_project, run, write_inbox

COMMANDS = commands()

EXTRA = {"demo": ["--texts", "10"]}
"""The demo needs no project; what it is given here, it refuses at once."""

ON_A_PROJECT = {
    "add": ["tickets.csv", "--dry-run"],
    "label import": ["batch0.csv"],
    "data diff": ["latest"],
    "simulate": [
        "tickets.csv", "--label-column", "intent", "--encoder", "hashing", "--seeds", "1", "--initial", "10",
        "--batch", "10", "--budget", "20", "--workers", "1", "--out", "rehearsal",
    ],
    "compare": ["rehearsal"],
    "model reproduce": ["1"],
    "predict": ["one.txt"],
}  # fmt: skip
"""Arguments with which a command that prints JSON succeeds on the lived-in project; most need none."""


def typed(name: str) -> list[str]:
    """A command with a value for everything it insists on."""
    wanted = [parameter for parameter in COMMANDS[name].params if parameter.required]
    values = ["1" if parameter.name == "version" else "things.csv" for parameter in wanted]
    return [*name.split(), *values, *EXTRA.get(name, [])]


def prints_json(name: str) -> bool:
    return any("--json" in parameter.opts for parameter in COMMANDS[name].params)


def test_the_walk_finds_commands_of_groups_too():
    assert {"init", "label import", "data diff", "model rollback"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_that_is_this_command(name, tmp_path):
    said = done(*name.split(), "--help", within=tmp_path)
    example = " ".join(said.split("Example: ")[1].split("\n\n")[0].split())
    assert example.startswith(f"labelwise {name}")
    known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {word for word in shlex.split(example) if word.startswith("--")} <= known


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_and_option_says_what_it_is(name):
    assert [p.name for p in COMMANDS[name].params if not getattr(p, "help", None)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_an_empty_folder_is_answered_clearly_and_left_empty(name, tmp_path):
    ends_clearly(run(*typed(name), within=tmp_path))
    assert not list(tmp_path.rglob("*.db"))


@pytest.mark.parametrize("name", COMMANDS)
def test_an_empty_project_is_answered_clearly(name, project):
    ends_clearly(run(*typed(name), within=project))


def ends_clearly(result):
    """Success with something said, or one line that says what is wrong and where to go from there."""
    assert result.code in (0, 2, 3), result
    if result.code:
        assert result.err.startswith("labelwise: "), result
        assert result.err.count("\n") == 1, result
        assert result.out == ""
    else:
        assert result.out or result.err


# The demo takes most of a minute and prints what simulate prints, by the same function.
@pytest.mark.parametrize("name", [name for name in COMMANDS if prints_json(name) and name != "demo"])
def test_json_is_json_on_a_project_with_models(name, lived_in):
    arguments = ON_A_PROJECT.get(name, [])
    (lived_in / "one.txt").write_text("my card was charged twice\n")
    if name == "compare":
        done("simulate", *ON_A_PROJECT["simulate"], within=lived_in)
    out = done(*name.split(), *arguments, "--json", within=lived_in)
    assert json.loads(out)


@pytest.mark.parametrize("name", [*filter(prints_json, COMMANDS)])
def test_json_on_an_empty_project_is_json_or_an_error(name, project):
    result = run(*typed(name), "--json", within=project)
    ends_clearly(result)
    if result.code == 0:
        json.loads(result.out)


def test_an_option_that_does_not_exist_is_an_input_error(tmp_path):
    result = run("status", "--jason", within=tmp_path)
    assert result.code == 2
    assert "--jason" in result.err


@pytest.mark.parametrize("columns", [80, 200])
def test_tables_and_headers_are_never_cut(columns, lived_in, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    for command in ("plan", "data log", "model list"):
        out = done(*command.split(), within=lived_in)
        assert "…" not in out
        assert max(map(len, out.splitlines())) <= columns
    listed = done("model", "list", within=lived_in)
    assert listed.split()[:7] == ["model", "data", "labels", "accuracy", "log-loss", "status", "why"]


def test_the_summary_of_a_rehearsal_fits_in_80_columns(lived_in, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = done("simulate", *ON_A_PROJECT["simulate"], "--strategy", "margin", "--strategy", "random",
               "--strategy", '{use="power",scorer="margin",beta=4.0}', "--out", "three", within=lived_in)  # fmt: skip
    assert max(len(line) for line in out.splitlines() if "fewer labels" not in line) <= 80
    assert out.split("\n", 1)[0].split()[:3] == ["strategy", "seeds", "area"]


def test_nested_facts_are_told_in_words(lived_in):
    for command in ("status", "data show", "add tickets.csv --dry-run"):
        out = done(*command.split(), within=lived_in)
        assert not set(out) & set("{}'"), out


HOSTILE = "\x1b]0;owned\x07[red]x[/red]\u202e\r\x9b31m"


def test_labels_and_columns_from_strangers_neither_steer_the_terminal_nor_are_interpreted(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text(f'text,"{HOSTILE}"\na,b\n', newline="")
    folder = new_project(tmp_path / "p")
    for arguments in (
        ["add", table, "--text-column", "body"],
        ["add", tmp_path / HOSTILE],
        ["label", "import", table],
        ["data", "show", HOSTILE],
        ["data", "tag", HOSTILE],
    ):
        result = run(*arguments, within=folder)
        assert result.code == 2
        assert "[red]x[/red]" in result.err
        assert not set(result.err) & set("\x1b\x07\r\x9b\u202e"), result.err


def test_a_hostile_label_is_shown_escaped_and_exported_as_it_is(tmp_path):
    folder = new_project(tmp_path / "p", labels=f"{HOSTILE},fine")
    write_inbox(tmp_path / "t.csv", 30)
    done("add", tmp_path / "t.csv", within=folder)
    done("advance", within=folder)
    (folder / "answers.jsonl").write_text(
        "".join(
            json.dumps({"text": line.split(",")[1], "label": HOSTILE if number % 2 else "fine"}) + "\n"
            for number, line in enumerate((tmp_path / "t.csv").read_text().splitlines()[1:])
        )
    )
    done("label", "import", "answers.jsonl", within=folder)
    done("advance", within=folder)
    shown = done("data", "show", within=folder)
    assert "[red]x[/red]" in shown
    assert not set(shown) & set("\x1b\x07\r\x9b\u202e")
    assert json.loads(done("data", "show", "--json", within=folder))["labels"] == {HOSTILE: 15, "fine": 15}
