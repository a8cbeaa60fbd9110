"""The file of rejected rows appears whole or not at all; fingerprints change with content and columns."""

import gzip
import json

import pytest

from labelwise.connect.readers import Columns
from labelwise.connect.rejects import RejectFile, fingerprint
from labelwise.core.intake import Reject

REJECT = Reject("t.csv:3", "text is empty", "größe \ud800 🙂")


def test_rejects_become_json_lines(tmp_path):
    path = tmp_path / "r.jsonl"
    with RejectFile(path) as listed:
        listed(REJECT)
        listed(Reject("t.csv:4", "text is missing", ""))
        assert not path.exists(), "it is not there before it is whole"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert rows[0] == {"place": "t.csv:3", "reason": "text is empty", "value": "größe \\ud800 🙂"}
    assert len(rows) == 2
    assert list(tmp_path.iterdir()) == [path]


def test_without_rejects_there_is_no_file(tmp_path):
    with RejectFile(tmp_path / "r.jsonl"):
        pass
    assert not list(tmp_path.iterdir())


def test_without_rejects_an_earlier_list_does_not_stay_to_mislead(tmp_path):
    path = tmp_path / "r.jsonl"
    with RejectFile(path) as listed:
        listed(REJECT)
    with RejectFile(path):
        pass
    assert not path.exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_what_stood_there_stays_and_no_part_is_left(error, tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text("before")

    def stopped():
        with RejectFile(path) as listed:
            listed(REJECT)
            raise error

    with pytest.raises(error):
        stopped()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_path_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with RejectFile(None) as listed:
        listed(REJECT)
    assert not list(tmp_path.iterdir())


def test_the_fingerprint_names_content_and_columns(tmp_path):
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    a.write_text("text\none\n")
    b.write_text("text\none\n")
    first = fingerprint([a], Columns())
    assert len(first) == 32
    assert first == fingerprint([b], Columns()), "the name of a file is not its content"
    assert first != fingerprint([a], Columns(text="text"))
    b.write_text("text\ntwo\n")
    assert first != fingerprint([b], Columns())


def test_the_fingerprint_of_a_folder_covers_every_file_in_it(tmp_path):
    folder = tmp_path / "d"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/a.csv.gz").write_bytes(gzip.compress(b"text\none\n", mtime=0))
    first = fingerprint([folder], Columns())
    (folder / "b.csv").write_text("text\ntwo\n")
    assert first != fingerprint([folder], Columns())
