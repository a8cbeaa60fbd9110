"""Bad input: each kind is refused with a message that helps, and nothing is written or lost."""

import json
from pathlib import Path

import pytest

from tests.cli.running import done, fill, new_project, refused, run, small, write_inbox


def texts_in(project: Path) -> int:
    return json.loads(done("status", "--json", within=project))["texts"]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture
def asked(project):
    """A project whose first batch waits in batch.csv, filled in and not imported."""
    write_inbox(project / "tickets.csv", 40)
    done("add", "tickets.csv", within=project)
    done("advance", within=project)
    done("label", "export", "batch.csv", within=project)
    fill(project / "batch.csv")
    return project


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ("ticket,body\n1,a\n", ["--text-column", "bdy"], ["t.csv", "'bdy'", "Did you mean 'body'?", "body, ticket"]),
        ("ticket,body,note\n1,a,b\n", [], ["'text'", "body, note, ticket"]),
        ("text\na\n", ["--id-column", "id"], ["'id'", "Known: text"]),
        ("", [], ["t.csv", "no rows"]),
        ("text\n", [], ["t.csv", "no rows"]),
        ("text,text\na,b\n", [], ["'text' occurs twice"]),
        ("text\na\n".encode("utf-16"), [], ["UTF-16", "Save it as UTF-8"]),
    ],
)
def test_files_that_cannot_be_added(content, options, says, project):
    write(project, "t.csv", content)
    message = refused("add", "t.csv", *options, within=project)
    for part in says:
        assert part in message
    assert texts_in(project) == 0
    assert not (project / "rejects.jsonl").exists()


def test_an_empty_folder_a_missing_file_and_an_unreadable_format(project):
    (project / "empty").mkdir()
    write(project, "t.xlsx", b"PK")
    assert "holds no file that can be read" in refused("add", "empty", within=project)
    assert "no file matches" in refused("add", "nowhere*.csv", within=project)
    assert ".parquet" in refused("add", "t.xlsx", within=project)


def test_bad_rows_are_listed_and_the_good_ones_taken(project):
    rows = [
        b"text,note",
        b"good,1",
        b"\xff\xfe bad,2",
        b"nul \x00 inside,3",
        b",4",
        b"a" * 10_000_000 + b",5",
        b"fine,6",
    ]
    write(project, "t.csv", b"\n".join(rows) + b"\n")
    found = json.loads(done("add", "t.csv", "--json", within=project))
    assert (found["added"], found["rejected"]) == (2, 4)
    listed = [json.loads(line) for line in (project / "rejects.jsonl").read_text().splitlines()]
    assert [(r["place"], r["reason"]) for r in listed] == [
        ("t.csv:3", "invalid UTF-8"),
        ("t.csv:4", "text holds a NUL character"),
        ("t.csv:5", "text is empty"),
        ("t.csv:6", "text is longer than 1,000,000 characters"),
    ]
    assert max(len(r["value"]) for r in listed) <= 200


def test_a_source_id_that_names_two_texts_costs_the_second(project):
    write(project, "t.csv", "id,text\nA,one\nA,two\nB,three\n")
    found = json.loads(done("add", "t.csv", "--json", within=project))
    assert (found["added"], found["reasons"]) == (2, {"source id is already used by another text": 1})
    assert json.loads((project / "rejects.jsonl").read_text())["place"] == "t.csv:3"


def test_before_the_first_batch_label_export_says_to_advance(project):
    write_inbox(project / "tickets.csv", 20)
    done("add", "tickets.csv", within=project)
    assert "labelwise advance" in refused("label", "export", "b.csv", within=project, code=3)
    assert not (project / "b.csv").exists()


def test_mixed_types_in_a_column_of_texts_cost_only_the_rows_that_are_no_texts(project):
    write(project, "t.jsonl", '{"text": "one"}\n{"text": 2}\n{"text": ["three"]}\n{"text": null}\n')
    found = json.loads(done("add", "t.jsonl", "--text-column", "text", "--json", within=project))
    assert (found["added"], found["reasons"]) == (1, {"text is not a string": 2, "text is missing": 1})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            "id,label\n{id},bog\n",
            ["answers.csv:2", "unknown label 'bog'", "'bug'?", "billing, bug, praise"],
        ),
        ("id,lable\n{id},bug\n", ["'label'", "Did you mean 'lable'?"]),
        ("name,label\nx,bug\n", ["neither 'id' nor 'text'", "name, label"]),
        ("id,label\n" + "0" * 32 + ",bug\n", ["answers.csv:2", "is not in this project"]),
        ("text,label\nnever seen,bug\n", ["answers.csv:2", "is not in this project"]),
        ("id,label,seconds\n{id},bug,quick\n", ["seconds 'quick' is not a number"]),
        ("id,label,seconds\n{id},bug,-1\n", ["-1.0 seconds"]),
        ("id,label,seconds\n{id},bug,nan\n", ["seconds"]),
        ("id,label\n{id},bug\n{id},bog\n", ["answers.csv:3", "Nothing was recorded"]),
        ("id,label\n{id},bug,extra\n", ["answers.csv:2", "wrong number of fields", "Nothing was recorded"]),
    ],
)
def test_label_files_that_cannot_be_imported_record_nothing(content, says, asked):
    some = (asked / "batch.csv").read_text().splitlines()[1].split(",")[0].strip('"')
    write(asked, "answers.csv", content.replace("{id}", some))
    message = refused("label", "import", "answers.csv", within=asked)
    for part in says:
        assert part in message
    assert json.loads(done("status", "--json", within=asked))["labels"] == 0


def test_with_rejects_the_good_answers_are_recorded_and_the_others_listed(asked):
    lines = (asked / "batch.csv").read_text().splitlines()
    write(asked, "answers.csv", "\n".join([*lines, f"{'0' * 32},x,bug,ana"]) + "\n")
    found = json.loads(done("label", "import", "answers.csv", "--rejects", "bad.jsonl", "--json", within=asked))
    assert found == {"read": 21, "recorded": 20, "unchanged": 0, "rejected": 1, "skipped": 0}
    assert json.loads((asked / "bad.jsonl").read_text())["place"] == "answers.csv:22"


def test_texts_that_nobody_can_answer_are_skipped_and_not_asked_again(asked):
    header, *rows = (asked / "batch.csv").read_text().splitlines()
    write(asked, "answers.csv", "\n".join([header, *rows[:-2]]) + "\n")
    found = json.loads(done("label", "import", "answers.csv", "--skip-rest", "--json", within=asked))
    assert (found["recorded"], found["skipped"]) == (len(rows) - 2, 2)
    done("advance", within=asked)
    done("label", "export", "next.csv", within=asked)
    skipped = {row.partition(",")[0] for row in rows[-2:]}
    assert not skipped & {row.partition(",")[0] for row in (asked / "next.csv").read_text().splitlines()}


def test_fewer_texts_than_the_batch_are_all_asked_about(project):
    write_inbox(project / "tickets.csv", 7)
    done("add", "tickets.csv", within=project)
    done("advance", within=project)
    assert json.loads(done("status", "--json", within=project))["pending"] == 7


def test_a_first_batch_of_one_class_only_still_ends_in_a_model_or_a_plain_word(asked):
    text = (asked / "batch.csv").read_text()
    for label in ("billing", "bug", "praise"):
        text = text.replace(f",{label},", ",bug,").replace(f',"{label}",', ',"bug",')
    write(asked, "batch.csv", text)
    done("label", "import", "batch.csv", within=asked)
    result = run("advance", within=asked)
    assert result.code == 0, result
    assert json.loads(done("data", "show", "--json", within=asked))["labels"] == {"bug": 20}
    assert json.loads(done("status", "--json", within=asked))["pending"] == 10


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("batch = 10", "bacth = 10", ["selection", "'bacth'", "Did you mean 'batch'?"]),
        ("batch = 10", 'batch = "ten"', ["selection.batch", "'ten'", "whole number"]),
        ("batch = 10", "batch = 0", ["selection.batch", "1 to 1e+06"]),
        ("[trainer]\nuse = \"linear\"", "[trainer]\nuse = \"lineer\"", ["trainer.use", "Did you mean 'linear'?"]),
        ("[selection]", "[selektion]", ["'selektion'", "Did you mean 'selection'?"]),
        ("batch = 10", "batch = ", ["labelwise.toml", "not valid TOML"]),
        ("seed = 0", "seed = 0.5", ["project.seed", "whole number"]),
    ],
)  # fmt: skip
def test_a_typo_in_the_config_is_named_by_its_dotted_path(before, after, says, project):
    path = project / "labelwise.toml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    message = refused("status", within=project)
    for part in says:
        assert part in message


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["model", "show", "7"], "model 7: no such version; there are 1 to 2."),
        (["model", "show", "0"], "no such version"),
        (["model", "promote", "7"], "no such version"),
        (["model", "reproduce", "7"], "no such version"),
        (["data", "show", "nope"], "data version 'nope': unknown. Known: "),
        (["data", "export", "o.csv", "--version", "nope"], "'nope'"),
        (["data", "diff", "nope", "latest"], "'nope'"),
        (["data", "tag", "latest"], "tag 'latest'"),
        (["data", "tag", "12ab"], "tag '12ab'"),
        (["data", "export", "o.xlsx"], "use .csv, .jsonl or .parquet"),
        (["data", "export", "no/such/o.csv"], "the folder no/such does not exist"),
        (["report", "--out", "no/such/r.html"], "the folder no/such does not exist"),
        (["compare", "."], "holds no results.json"),
        (["init", "."], "there is a project here already"),
    ],
)
def test_names_that_do_not_exist_and_places_that_cannot_be_written(arguments, says, lived_in):
    before = sorted(lived_in.iterdir())
    assert says in refused(*arguments, within=lived_in)
    assert sorted(lived_in.iterdir()) == before


@pytest.mark.parametrize("command", ["status", "plan", "advance", "data log", "model list", "report"])
def test_a_folder_that_is_no_project_says_how_to_make_one(command, tmp_path):
    message = refused(*command.split(), within=tmp_path)
    assert "this is not a project" in message
    assert "labelwise init" in message
    assert not list(tmp_path.iterdir())


def test_a_folder_that_may_not_be_written(tmp_path, lived_in):
    # Root may write anywhere; a file where a folder should be stops everybody.
    (tmp_path / "wall").write_text("")
    message = run("init", tmp_path / "wall" / "p", "--labels", "a,b", within=tmp_path)
    assert message.code in (2, 3)
    assert message.err.startswith("labelwise: ")
    assert message.err.count("\n") == 1
    assert str(tmp_path / "wall") in message.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--strategy", "margn"], ["--strategy", "'margn'", "Did you mean 'margin'?"]),
        (["--strategy", "{use = 'power', scorer = }"], ["--strategy"]),
        (["--strategy", "{use = 'power', scorer = 'margin', beta = 'x'}"], ["--strategy.beta", "a number"]),
        (["--strategy", "{use = 'power', bta = 2.0}"], ["--strategy", "Did you mean 'beta'?"]),
        (["--strategy", "{scorer = 'margin'}"], ["--strategy", "is not a component"]),
        (["--strategy", "margin", "--strategy", "margin"], ["twice"]),
        (["--encoder", "hasing"], ["encoder", "Did you mean 'hashing'?"]),
        (["--oracle", "perfekt"], ["--oracle", "Did you mean 'perfect'?"]),
        (["--seeds", "0"], ["--seeds", "1 to 1000"]),
        (["--label-column", "label"], ["'label'", "ticket"]),
        (["--task", "singel"], ["task.kind", "'singel'"]),
        (["--initial", "100000"], ["--initial", "choose a smaller"]),
        (["--budget", "-1"], ["selection.budget"]),
        (["--workers", "-1"], ["--workers"]),
    ],
)
def test_a_rehearsal_that_cannot_be(arguments, says, tmp_path):
    write_inbox(tmp_path / "t.csv", 60)
    usual = {"--label-column": "intent", "--encoder": "hashing", "--initial": "10", "--budget": "10",
             "--batch": "10", "--workers": "1"}  # fmt: skip
    rest = [part for name, value in usual.items() if name not in arguments for part in (name, value)]
    message = refused("simulate", "t.csv", *arguments, *rest, within=tmp_path)
    for part in says:
        assert part in message


def test_one_label_only_is_nothing_to_rehearse(tmp_path):
    write(tmp_path, "t.csv", "text,label\n" + "".join(f"text {i},same\n" for i in range(30)))
    message = refused("simulate", "t.csv", within=tmp_path)
    assert "only the label ['same'] occurs" in message


@pytest.mark.parametrize(
    ("labels", "options", "says"),
    [
        ("", [], "no labels"),
        ("a", [], "at least 2"),
        ("a,a", [], "twice"),
        ("a,b", ["--task", "x"], "task.kind"),
        ("a,b", ["--hint", "charged"], "--hint: 'charged' is not LABEL=TEXT"),
        ("a,b", ["--hint", "a=x", "--hint", "c=x"], "selection.hints.c: unknown label 'c'"),
        ("a,b", ["--hint", "a="], "selection.hints.a[0]: is empty"),
    ],
)
def test_projects_that_make_no_sense_are_not_begun(labels, options, says, tmp_path):
    assert says in refused("init", "p", "--labels", labels, *options, within=tmp_path)
    assert not (tmp_path / "p").exists()


def test_hints_are_written_to_the_config(tmp_path):
    done("init", "p", "--labels", "a,b", "--hint", "b=2 = two", "--hint", "a=one", "--hint", "b= zwei", within=tmp_path)
    assert 'hints = { b = ["2 = two", "zwei"], a = ["one"] }' in (tmp_path / "p" / "labelwise.toml").read_text()
    done("status", within=tmp_path / "p")


def test_labels_with_quotes_and_other_scripts_survive_the_config(tmp_path):
    labels = 'say "hi",größe,日本語,back\\slash,#x'
    folder = new_project(tmp_path / "p", labels=labels)
    small(folder)
    done("status", within=folder)
    message = refused("init", folder, "--labels", "a,b", within=tmp_path)
    assert "edit the file" in message
