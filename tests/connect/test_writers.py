"""Written tables: whole or not at all, and no cell that a spreadsheet would run."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.connect.labels import read_labels
from labelwise.connect.writers import FORMULA, guarded, unguarded, write_table, write_tables
from labelwise.core import InputError

PAYLOADS = [
    "=1+1", "=cmd|' /C calc'!A0", "=HYPERLINK(\"http://x\",\"y\")", "=IMPORTXML(A1)", "=", "==", "='a'", "=\"\"",
    "+1", "+cmd|' /C calc'!A0", "+", "++", "+49 30 123", "+'=1", "-1", "-2+3+cmd|' /C calc'!A0", "-", "--", "-=1",
    "- a list item", "@SUM(1+1)*cmd|' /C calc'!A0", "@", "@@", "@user hello", "@'x", "\t=1+1", "\t", "\ttext",
    "\r=1+1", "\rtext", "'", "''", "'=1", "''=1", "'+1", "'text", "'''", "'\t=1", "=1\n+2", "-1\r\n=2",
]  # fmt: skip
ID = "0" * 32


def cells(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def test_there_are_forty_payloads_and_they_differ():
    assert len(set(PAYLOADS)) == 40


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_spreadsheet_runs_a_cell_and_the_way_back_restores_it(payload, tmp_path):
    path = tmp_path / "a.csv"
    write_table(pa.table({"id": [ID], "text": [payload], "label": [f"{payload}x"]}), path)
    ((_, text, label),) = cells(path)
    assert not text.startswith(FORMULA)
    assert not label.startswith(FORMULA)
    assert unguarded(text) == payload
    (found,) = read_labels(
        path, "multi", label="label", key="id", text="text", annotator="a", separator="\x00"
    )  # fmt: skip
    assert found.answer == [f"{payload}x".strip()]


@given(st.text())
def test_guarding_is_undone_exactly(text):
    assert unguarded(guarded(text)) == text


@given(st.text())
def test_what_a_spreadsheet_would_run_never_stands_first(text):
    assert not (guarded(text) or "").startswith(FORMULA)


def test_apostrophes_that_people_write_are_left_alone_on_the_way_in():
    assert [unguarded(v) for v in ("'tis", "plain", "", None, 3)] == ["'tis", "plain", "", None, 3]


ROWS = {"id": ["a", "b"], "text": ['say "hi",\nthen go', "größe 日本 🙂 \u2028"], "n": [1, 2], "label": [None, "x"]}


def test_csv_json_lines_and_parquet_hold_the_same(tmp_path):
    table = pa.table(ROWS)
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        write_table(table, tmp_path / name)
    assert pq.read_table(tmp_path / "a.parquet").to_pydict() == ROWS
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines if line] == table.to_pylist()
    assert cells(tmp_path / "a.csv") == [["a", ROWS["text"][0], "1", ""], ["b", ROWS["text"][1], "2", "x"]]


def test_json_lines_and_parquet_are_not_guarded(tmp_path):
    table = pa.table({"text": PAYLOADS})
    for name in ("a.jsonl", "a.parquet"):
        write_table(table, tmp_path / name)
    assert [json.loads(line)["text"] for line in (tmp_path / "a.jsonl").read_text().splitlines()] == PAYLOADS
    assert pq.read_table(tmp_path / "a.parquet")["text"].to_pylist() == PAYLOADS


def test_an_empty_table_is_a_header(tmp_path):
    write_table(pa.table({"id": pa.array([], pa.string())}), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == '"id"\n'


@pytest.mark.parametrize(
    ("name", "says"), [("a.xlsx", "'.xlsx'"), ("a", "a file without an ending"), ("a.csv.bk", "'.bk'")]
)
def test_another_ending_is_refused_and_nothing_written(name, says, tmp_path):
    with pytest.raises(InputError, match=rf"cannot write {says}.*use .csv, .jsonl or .parquet"):
        write_table(pa.table(ROWS), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_does_not_exist_is_not_made(tmp_path):
    with pytest.raises(InputError, match=r"the folder .*no does not exist"):
        write_table(pa.table(ROWS), tmp_path / "no/a.csv")
    assert not list(tmp_path.iterdir())


def test_what_stood_there_stays_until_the_new_file_is_whole(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("before")
    table = pa.table({"label": ["a", "b"]})

    def stopped():
        yield table
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tables(stopped(), table.schema, path)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_tables_one_after_the_other_are_one_file(name, tmp_path):
    whole = pa.table({"id": ["1", "2", "3"], "label": [["a"], None, ["b", "=c"]]})
    write_table(whole, tmp_path / f"whole_{name}")
    write_tables((whole.slice(i, 1) for i in range(3)), whole.schema, tmp_path / name)
    if name == "a.parquet":
        assert pq.read_table(tmp_path / name).equals(whole)
    else:
        assert (tmp_path / name).read_bytes() == (tmp_path / f"whole_{name}").read_bytes()
    if name == "a.csv":
        assert [label for _, label in cells(tmp_path / name)] == ['["a"]', "", '["b", "=c"]']
