"""Label files: any tool's table becomes answers, and what cannot be an answer is named by its line."""

import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labelwise.connect.labels import label_names, read_labels
from labelwise.connect.writers import write_table
from labelwise.core import InputError, text_id

ID = "0123456789abcdef" * 2


def write(path, rows):
    """Rows (dicts with the same keys) as the file's suffix wants them."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        write_table(pa.Table.from_pylist(rows), path)
    return path


def take(path, kind="single", **options):
    usual = {"label": "label", "key": "id", "text": "text", "annotator": "import", "separator": "|"}
    return read_labels(path, kind, **usual | options)


FORMATS = pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])


@FORMATS
def test_a_label_by_id_with_annotator_and_seconds(suffix, tmp_path):
    path = write(tmp_path / f"a{suffix}", [{"id": ID, "label": " bug ", "annotator": "ana", "seconds": 2.5}])
    (found,) = take(path)
    assert (found.text, found.answer, found.annotator, found.seconds) == (ID, "bug", "ana", 2.5)
    assert found.place == f"a{suffix}:{2 if suffix == '.csv' else 1}"


@FORMATS
def test_a_label_by_text_finds_the_text_whatever_its_spacing(suffix, tmp_path):
    path = write(tmp_path / f"a{suffix}", [{"text": "it  crashed ", "label": "bug"}])
    assert take(path)[0].text == text_id("it  crashed ")


def test_where_the_id_is_empty_the_text_decides(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"id": "", "text": "one", "label": "x"}, {"id": ID, "text": "q", "label": "x"}])
    assert [s.text for s in take(path)] == [text_id("one"), ID]


@FORMATS
def test_rows_without_a_label_are_passed_over(suffix, tmp_path):
    rows = [{"id": ID, "label": label} for label in ("", "   ", None, "bug")]
    assert [s.answer for s in take(write(tmp_path / f"a{suffix}", rows))] == ["bug"]


def test_a_missing_number_in_parquet_is_no_label(tmp_path):
    path = write(tmp_path / "a.parquet", [{"id": ID, "label": math.nan}, {"id": ID, "label": 3.0}])
    assert [s.answer for s in take(path)] == ["3.0"]


def test_numbers_and_codes_keep_their_spelling(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"id,label\n{ID},007\n")
    assert take(path)[0].answer == "007"
    assert take(write(tmp_path / "a.jsonl", [{"id": ID, "label": 7}]))[0].answer == "7"


def test_the_annotator_column_wins_and_an_empty_cell_falls_back(tmp_path):
    path = write(tmp_path / "a.csv", [{"id": ID, "label": "x", "annotator": a} for a in ("ana", "")])
    assert [s.annotator for s in take(path, annotator="ben")] == ["ana", "ben"]


def test_an_empty_duration_is_none(tmp_path):
    path = write(tmp_path / "a.csv", [{"id": ID, "label": "x", "seconds": s} for s in ("", "3", " 4.5 ")])
    assert [s.seconds for s in take(path)] == [0.0, 3.0, 4.5]


@pytest.mark.parametrize(
    ("cell", "options", "answer"),
    [
        ("joy|love", {}, ["joy", "love"]),
        (" joy | love |", {}, ["joy", "love"]),
        ("joy;love", {"separator": ";"}, ["joy", "love"]),
        ("joy", {}, ["joy"]),
        ('["joy", "lo|ve"]', {}, ["joy", "lo|ve"]),
        ("[]", {}, []),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_several_labels_by_separator_or_as_json(cell, options, answer, suffix, tmp_path):
    path = write(tmp_path / f"a{suffix}", [{"id": ID, "label": cell}])
    assert take(path, "multi", **options)[0].answer == answer


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_several_labels_as_a_list(suffix, tmp_path):
    path = write(tmp_path / f"a{suffix}", [{"id": ID, "label": ["joy", "love"]}])
    assert take(path, "multi")[0].answer == ["joy", "love"]


SPANS = [[0, 3, "PER"], [5, 9, "LOC"]]


@FORMATS
def test_spans_as_json(suffix, tmp_path):
    path = write(tmp_path / f"a{suffix}", [{"id": ID, "label": json.dumps(SPANS)}])
    assert take(path, "spans")[0].answer == SPANS


def test_spans_as_objects_in_json_lines_and_no_spans(tmp_path):
    spans = [{"start": 0, "end": 3, "label": "PER"}]
    path = write(tmp_path / "a.jsonl", [{"id": ID, "label": spans}, {"id": ID, "label": []}])
    assert [s.answer for s in take(path, "spans")] == [spans, []]


@pytest.mark.parametrize("kind", ["multi", "spans"])
def test_broken_json_is_named_by_its_line(kind, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"id": ID, "label": '["joy"'}) + "\n")
    with pytest.raises(InputError, match=r"a\.jsonl:1: '\[\"joy\"' is not a JSON list"):
        take(path, kind)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,lable\n1,x\n", r"a\.csv \(--label-column\): unknown column 'label'\. Did you mean 'lable'\?"),
        (b"name,label\n1,x\n", r"a\.csv: neither 'id' nor 'text' is a column\. Columns: name, label\."),
        (b"id,label,seconds\n1,x,soon\n", r"a\.csv:2: seconds 'soon' is not a number"),
        (b"id,label\n1,x\n2,\xff\n", r"a\.csv:3: invalid UTF-8 .* Nothing was recorded"),
        (b"id,label\n1,x,y\n", r"a\.csv:2: wrong number of fields"),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused_whole(content, message, tmp_path):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        take(tmp_path / "a.csv")


def test_files_that_are_not_there_or_no_tables(tmp_path):
    with pytest.raises(InputError, match="no file matches"):
        take(tmp_path / "no.csv")
    (tmp_path / "a.docx").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"'\.docx' cannot be read"):
        take(tmp_path / "a.docx")


def test_label_names_are_collected_from_every_spelling(tmp_path):
    rows = [{"label": v} for v in ("b|a", '["c", "a"]', "", "d ", None)]
    assert label_names(str(write(tmp_path / "a.jsonl", rows)), "label") == ["a", "b", "c", "d"]
    with pytest.raises(InputError, match=r"unknown column 'tag'.*Known: label"):
        label_names(str(tmp_path / "a.jsonl"), "tag")


def test_a_column_of_texts_is_no_column_of_labels(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"label": f"text {n}"} for n in range(5_001)])
    with pytest.raises(InputError, match="over 5,000 values"):
        label_names(str(path), "label")
