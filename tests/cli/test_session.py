"""A whole session, from an empty folder to a model that was rolled back, as it is typed."""

import csv
import json

import pyarrow.parquet as pq
import pytest

from tests.cli.running import done, fill, label_of, refused, run, small, write_inbox


def json_of(*arguments, within):
    return json.loads(done(*arguments, "--json", within=within))


def test_a_session_from_init_to_rollback(tmp_path):
    write_inbox(tmp_path / "tickets.csv")
    done("init", "inbox", "--labels-from", "tickets.csv", "--label-column", "intent", within=tmp_path)
    home = tmp_path / "inbox"
    small(home)
    assert 'labels = ["billing", "bug", "praise"]' in (home / "labelwise.toml").read_text()

    planned = json_of("add", "../tickets.csv", "--dry-run", within=home)
    assert (planned["added"], planned["dry_run"]) == (120, True)
    assert json_of("status", within=home)["texts"] == 0
    assert json_of("add", "../tickets.csv", "--id-column", "ticket", within=home)["added"] == 120
    assert json_of("add", "../tickets.csv", "--id-column", "ticket", within=home) | {"reasons": {}} == {
        "rows": 120, "added": 0, "duplicates": 120, "rejected": 0, "reasons": {}, "reject_file": None, "dry_run": False,
    }  # fmt: skip
    assert [t["step"] for t in json_of("plan", within=home)] == ["fit-encoder", "represent", "divide", "select"]
    assert json_of("advance", within=home)["taken"] == ["fit-encoder", "represent", "divide", "select"]
    assert json_of("advance", within=home)["taken"] == []

    done("label", "export", "batch.csv", within=home)
    with (home / "batch.csv").open(newline="") as file:
        batch = list(csv.DictReader(file))
    assert len(batch) == 20
    assert {row["label"] for row in batch} == {""}
    assert json_of("label", "import", "batch.csv", within=home)["recorded"] == 0, "nothing is filled in yet"
    fill(home / "batch.csv")
    counts = {"read": 20, "recorded": 20, "unchanged": 0, "rejected": 0, "skipped": 0}
    assert json_of("label", "import", "batch.csv", within=home) == counts
    assert json_of("label", "import", "batch.csv", within=home) == counts | {"recorded": 0, "unchanged": 20}
    done("advance", within=home)
    done("data", "tag", "first", within=home)

    done("label", "export", "second.jsonl", within=home)
    rows = [json.loads(line) for line in (home / "second.jsonl").read_text().splitlines()]
    assert len(rows) == 10
    assert not {row["id"] for row in rows} & {row["id"] for row in batch}, "a text is asked about once"
    for row in rows:
        row["label"] = label_of(row["text"])
    (home / "second.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done("label", "import", "second.jsonl", "--annotator", "ben", within=home)
    done("advance", within=home)

    status = json_of("status", within=home)
    assert {name: status[name] for name in ("rounds", "labels", "pending", "data_versions", "model_in_use")} == {
        "rounds": 3, "labels": 30, "pending": 10, "data_versions": 2, "model_in_use": 2,
    }  # fmt: skip
    log = json_of("data", "log", within=home)
    assert [sum(version["counts"].values()) for version in log] == [20, 30]
    assert [version["tags"] for version in log] == [["first"], []]
    shown = json_of("data", "show", "first", within=home)
    assert (shown["name"], shown["rows"], sum(shown["labels"].values())) == (log[0]["name"], 20, 20)
    assert json_of("data", "show", log[1]["name"][:8], within=home)["rows"] == 30
    change = json_of("data", "diff", "first", within=home)
    assert (len(change["added"]), change["removed"], change["changed"]) == (10, {}, {})
    assert "10 added, 0 removed, 0 changed" in done("data", "diff", "first", within=home)

    for name in ("out.csv", "out.jsonl", "out.parquet"):
        done("data", "export", name, "--version", "first", within=home)
    table = pq.read_table(home / "out.parquet").to_pylist()
    assert [json.loads(line) for line in (home / "out.jsonl").read_text().splitlines()] == table
    assert {row["id"]: json.loads(row["label"]) for row in table} == {r["id"]: label_of(r["text"]) for r in batch}
    done("data", "export", "bare.csv", "--no-texts", within=home)
    assert "text" not in (home / "bare.csv").read_text().splitlines()[0].split(",")

    assert [m["status"] for m in json_of("model", "list", within=home)] == ["promoted", "in use"]
    assert json.loads(done("model", "show", "1", within=home))["config"]["trainer"]["use"] == "linear"
    assert json_of("model", "reproduce", "2", within=home)["identical"] is True
    done("model", "rollback", "--why", "complaints", within=home)
    first = json_of("model", "list", within=home)[0]
    assert (first["status"], first["why"]) == ("in use", "complaints")
    refused("model", "rollback", code=3, within=home)
    done("model", "promote", "2", within=home)
    assert json_of("status", within=home)["model_in_use"] == 2

    done("report", within=home)
    assert "30 labels" in (home / "report.html").read_text()
    assert json.loads((home / "report.json").read_text())["kind"] == "project"
    assert all(finding["ok"] for finding in json_of("doctor", within=home))


def test_a_project_elsewhere_is_named_with_project(lived_in, tmp_path):
    assert json_of("status", "--project", lived_in, within=tmp_path) == json_of("status", within=lived_in)


def test_progress_and_remarks_stay_off_stdout(lived_in):
    result = run("report", "--json", "--out", "other.html", within=lived_in)
    assert json.loads(result.out)
    assert "\x1b" not in result.err


def test_doctor_names_damage_with_exit_code_5(lived_in, tmp_path):
    import shutil

    copy = shutil.copytree(lived_in, tmp_path / "copy")
    shard = next(path for path in (copy / ".labelwise/texts").rglob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-20])
    result = run("doctor", within=copy)
    assert result.code == 5
    assert "BAD" in result.out
    assert "Traceback" not in result.err


def test_a_damaged_record_is_exit_code_5_for_every_command_that_needs_it(lived_in, tmp_path):
    import shutil

    copy = shutil.copytree(lived_in, tmp_path / "copy")
    for path in (copy / ".labelwise/snapshots").rglob("*.parquet"):
        path.write_bytes(b"not what was written")
    message = refused("data", "show", within=copy, code=5)
    assert ".labelwise" in message or "data version" in message


def test_a_component_that_breaks_its_contract_is_exit_code_4(lived_in, monkeypatch):
    from labelwise.core import ContractError
    from labelwise.project.steps import train

    def broken(*_):
        raise ContractError("trainer 'linear' returned 3 beliefs for 4 texts")

    monkeypatch.setattr(train, "reproduce", broken)
    assert "trainer 'linear'" in refused("model", "reproduce", "1", within=lived_in, code=4)


def test_a_request_before_its_time_is_exit_code_3(project):
    assert "labelwise add" in refused("label", "export", "b.csv", within=project, code=3)


def test_an_error_in_the_program_itself_is_not_hidden(lived_in, monkeypatch):
    from labelwise.project.steps import train

    monkeypatch.setattr(train, "reproduce", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("model", "reproduce", "1", within=lived_in)
