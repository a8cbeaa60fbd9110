"""Readers: whatever is in a file, every row comes out as a text or as a reject with a reason."""

import contextlib
import csv
import gzip
import io
import json
import sys
import time
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelwise.connect import formats
from labelwise.connect.readers import Columns, expand, read
from labelwise.core.errors import InputError, MissingExtra
from labelwise.core.intake import MAX_LENGTH, Reject, fault

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(lambda t: not fault(t))
ROWS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=12)
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def take(path, columns=None):
    """(all rows as dicts, all rejects) of one file."""
    rejects: list[Reject] = []
    tables = list(read([path], columns or Columns(), rejects.append))
    return [row for table in tables for row in table.to_pylist()], rejects


def write(folder, name, content) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pack(path: Path, content: str) -> Path:
    """Write text as the file's suffix wants it."""
    codec = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix)
    with pa.output_stream(path, compression=codec) as out:
        out.write(content.encode())
    return path


def as_csv(rows, delimiter=","):
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter).writerows([("text", "note"), *rows])
    return out.getvalue()


def as_json_lines(rows):
    return "".join(json.dumps({"text": t, "note": n}, ensure_ascii=len(t) % 2 == 0) + "\n" for t, n in rows)


def as_json_list(rows):
    return json.dumps([{"text": t, "note": n} for t, n in rows], indent=2, ensure_ascii=False)


@QUICK
@given(rows=ROWS, packed=st.sampled_from(["", ".gz", ".zst"]))
@pytest.mark.parametrize(
    ("suffix", "render"),
    [
        ("csv", as_csv),
        ("tsv", lambda rows: as_csv(rows, "\t")),
        ("jsonl", as_json_lines),
        ("ndjson", as_json_lines),
        ("json", as_json_list),
    ],
)
def test_text_formats_round_trip(tmp_path, suffix, render, rows, packed):
    got, rejects = take(pack(tmp_path / f"in.{suffix}{packed}", render(rows)))
    assert [(row["text"], row["meta"]["note"]) for row in got] == rows
    assert rejects == []


@QUICK
@given(rows=ROWS)
def test_parquet_round_trips_with_types(tmp_path, rows):
    table = pa.table({
        "text": pa.array([t for t, _ in rows], pa.large_string()),
        "score": pa.array(range(len(rows)), pa.int32()),
        "tags": pa.array([[n] for _, n in rows]),
        "label": pa.array([n for _, n in rows]).dictionary_encode(),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "in.parquet")
    (got,) = read([tmp_path / "in.parquet"], Columns(), pytest.fail)
    meta = got.column("meta").combine_chunks()
    assert got.column("text").to_pylist() == [t for t, _ in rows]
    assert [meta.field("tags")[i].as_py() for i in range(len(rows))] == [[n] for _, n in rows]
    assert meta.type.field("score").type == pa.int32()
    assert meta.type.field("label").type == pa.string()


@QUICK
@given(texts=st.lists(TEXTS.filter(lambda t: "\n" not in t and t[-1] != "\r"), min_size=1))
def test_plain_text_is_one_text_a_line(tmp_path, texts):
    for end in ("\n", "\r\n"):
        got, rejects = take(write(tmp_path, "in.txt", end.join(texts)))
        assert [row["text"] for row in got] == [t.removeprefix("\ufeff") if i == 0 else t for i, t in enumerate(texts)]
        assert [row["place"] for row in got] == [f"in.txt:{i}" for i in range(1, len(texts) + 1)]
        assert rejects == []


@QUICK
@given(
    content=st.binary(max_size=200),
    name=st.sampled_from(["a.csv", "a.tsv", "a.jsonl", "a.json", "a.txt", "a.parquet", "a.csv.gz", "a.txt.zst"]),
)
def test_any_bytes_give_rows_rejects_or_an_input_error(tmp_path, content, name):
    path = write(tmp_path, name, b"text,a\n" + content if name == "a.csv" else content)
    with contextlib.suppress(InputError):
        got, _ = take(path)
        assert not any(fault(row["text"]) for row in got)


@pytest.mark.parametrize(
    ("name", "content", "good", "rejects"),
    [
        ("a.csv", b"text,n\ngood,1\nb\xffd,2\nfine,3\n", ["good", "fine"],
         [("a.csv:3", "invalid UTF-8", "b\\udcffd,2\n")]),
        ("a.csv", b"text,n\ngood,1\nfine,b\xffd\n", ["good"], [("a.csv:3", "invalid UTF-8", "fine,b\\udcffd\n")]),
        ("a.csv", "text,n\n\"a\nb\",1\nx,2,3\n\ny,4\n", ["a\nb", "y"],
         [("a.csv:4", "wrong number of fields", "3 fields, the header has 2: x,2,3\n")]),
        ("a.csv", 'text,n\na,1\nb "x",2\n"c"d,3\ne,4\n', ["a", 'b "x"', "e"],
         [("a.csv:4", "malformed quotes", '"c"d,3\n')]),
        ("a.csv", 'text,n\na,1\n"b,2\nc,3\nd,4\n', ["a", "c", "d"], [("a.csv:3", "quote is never closed", '"b,2\n')]),
        ("a.csv", "text,n\na\rb,1\nc,2\n", ["c"], [("a.csv:2", "bare carriage return outside quotes", "a\rb,1\n")]),
        ("a.csv", "\ufefftext,n\r\na,1\r\n,2\r\n  ,3\r\n", ["a"],
         [("a.csv:3", "text is empty", ""), ("a.csv:4", "text is empty", "  ")]),
        ("a.csv", "text\na\x00b\nc\n", ["c"], [("a.csv:2", "text holds a NUL character", "a\x00b")]),
        ("a.jsonl", '{"text": "a"}\n{"text": 7}\n{"text": {"x": 1}}\n{"text": null}\n{"n": 1}\n', ["a"],
         [("a.jsonl:2", "text is not a string", "7"), ("a.jsonl:3", "text is not a string", '{"x": 1}'),
          ("a.jsonl:4", "text is missing", "null"), ("a.jsonl:5", "text is missing", "null")]),
        ("a.jsonl", b'{"text": "a"\n\n{"text": "b"}\n[1]\n{"text": "\xfe"}\n', ["b"],
         [("a.jsonl:1", "malformed JSON", '{"text": "a"\n'), ("a.jsonl:4", "not a JSON object", "[1]\n"),
          ("a.jsonl:5", "invalid UTF-8", '{"text": "\\udcfe"}\n')]),
        ("a.jsonl", '{"text": "a", "x": "\\ud800"}\n{"text": "b", "x": "\\ud83d\\ude00"}\n', ["b"],
         [("a.jsonl:1", "lone surrogate in JSON", '{"text": "a", "x": "\\ud800"}\n')]),
        ("a.jsonl", '{"text": "a", "id": [1]}\n{"text": "b", "id": 2}\n{"text": "c", "id": ""}\n', ["b", "c"],
         [("a.jsonl:1", "id is neither a string nor a whole number", "[1]")]),
        ("a.jsonl", '{"text": "a", "n": ' + "1" * 5000 + '}\n{"text": "b"}\n', ["b"],
         [("a.jsonl:1", "malformed JSON", None)]),
        ("a.json", '[{"text": "a"}, 3, {"text": " "}]', ["a"],
         [("a.json:2", "not a JSON object", "3"), ("a.json:3", "text is empty", " ")]),
        ("a.txt", b"a\n\nb\xc3\nc", ["a", "c"],
         [("a.txt:2", "text is empty", ""), ("a.txt:3", "invalid UTF-8", "b\\udcc3\n")]),
    ],
)  # fmt: skip
def test_a_bad_row_costs_that_row_only(tmp_path, name, content, good, rejects):
    got, found = take(write(tmp_path, name, content))
    assert [row["text"] for row in got] == good
    found.sort(key=lambda reject: reject.place)
    assert [(r.place, r.reason) for r in found] == [(place, reason) for place, reason, _ in rejects]
    assert all(value in (None, r.value) for r, (_, _, value) in zip(found, rejects, strict=True))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt", "a.json"])
def test_a_text_over_the_limit_is_rejected_and_one_at_the_limit_is_not(tmp_path, name):
    texts = ["x" * MAX_LENGTH, "x" * (MAX_LENGTH + 1), "short"]
    lines = {"a.csv": ["text", *texts], "a.txt": texts}.get(name, [json.dumps({"text": t}) for t in texts])
    content = json.dumps([{"text": t} for t in texts]) if name == "a.json" else "\n".join(lines)
    got, rejects = take(write(tmp_path, name, content))
    assert [len(row["text"]) for row in got] == [MAX_LENGTH, 5]
    assert [(r.reason, len(r.value)) for r in rejects] == [("text is longer than 1,000,000 characters", 200)]


@pytest.mark.parametrize(("name", "head"), [("a.txt", ""), ("a.csv", "text\n"), ("a.jsonl", "")])
def test_a_line_over_the_limit_is_skipped_in_bounded_memory(tmp_path, monkeypatch, name, head):
    monkeypatch.setattr("labelwise.connect.lines.LINE_LIMIT", 1 << 20)
    good = '{"text": "fine"}' if name == "a.jsonl" else "fine"
    path = write(tmp_path, name, f"{head}{'y' * (5 << 20)}\n{good}\n")
    got, rejects = take(path)
    start = 2 if head else 1
    assert [(row["text"], row["place"]) for row in got] == [("fine", f"{name}:{start + 1}")]
    assert [(r.place, r.reason) for r in rejects] == [(f"{name}:{start}", "line is longer than 16 MiB")]


def test_deep_json_is_rejected_at_once(tmp_path):
    deep = "[" * 100_000 + "]" * 100_000
    got, rejects = take(write(tmp_path, "a.jsonl", f'{{"text": "a", "x": {deep}}}\n{{"text": "b"}}\n'))
    assert [row["text"] for row in got] == ["b"]
    assert [r.reason for r in rejects] == ["JSON is nested too deeply"]
    with pytest.raises(InputError, match=r"a\.json:1: JSON is nested too deeply\. Flatten it"):
        take(write(tmp_path, "a.json", f'[{{"text": {deep}}}]'))


@pytest.mark.parametrize(("suffix", "unit"), [(".gz", b"\x00"), (".zst", b"\n" + b" " * 200)])
def test_a_decompression_bomb_is_refused_quickly_in_little_memory(tmp_path, suffix, unit):
    path = tmp_path / f"bomb.txt{suffix}"
    with pa.output_stream(path, compression={".gz": "gzip", ".zst": "zstd"}[suffix]) as out:
        for _ in range(40):
            out.write(unit * ((1 << 20) // len(unit)))
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(InputError, match=r"bomb\.txt\.\w+: decompresses to more than 200 times its size"):
        for _ in formats.blocks(path, path.name):
            pass
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20
    assert seconds < 20  # tracing makes it slow; without, well under a second


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", r"a\.csv: the file holds no rows\. Give a file with at least one text\."),
        ("a.csv", b"text,n\n", r"a\.csv: the file holds no rows"),
        ("a.jsonl", b"\n\n", r"a\.jsonl: the file holds no rows"),
        ("a.json", b"[]", r"a\.json: the file holds no rows"),
        ("a.parquet", b"", r"a\.parquet: is not a readable Parquet file \(.*\)\. Write it again\."),
        ("a.parquet", b"PAR1 this is not", r"a\.parquet: is not a readable Parquet file"),
        ("a.csv", b"3,4\n5,6\n",
         r"a\.csv:1: '3' is not a column name; the first line must be a header\. Put one there"),
        ("a.csv", b"text,text\na,b\n", r"a\.csv:1: column 'text' occurs twice\. Give every column its own name\."),
        ("a.csv", b"a,b\nx,y\n", r"a\.csv: unknown column for text 'text'\. Known: a, b\. Say which of them"),
        ("a.csv", "text\na".encode("utf-16"), r"a\.csv: is UTF-16, not UTF-8\. Save it as UTF-8"),
        ("a.json", b'{"text": "a"}',
         r"a\.json: is no JSON list\. Write one JSON object a line and name the file \.jsonl"),
        ("a.json", b'[{"text": "a"}, {"te', r"a\.json: malformed JSON after 1 elements of the list, near"),
        ("a.json", b'[{"text": "a"}] [', r"a\.json: malformed JSON after 1 elements"),
        ("a.txt.gz", gzip.compress(b"a\nb\n" * 9000, mtime=0)[:-20], r"a\.txt\.gz: is damaged or cut short"),
        ("a.txt.gz", b"no gzip at all", r"a\.txt\.gz: is damaged or cut short"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_an_input_error(tmp_path, name, content, message):
    with pytest.raises(InputError, match=message):
        take(write(tmp_path, name, content))


def test_columns_are_found_by_name_by_type_or_as_told(tmp_path):
    path = write(tmp_path, "a.csv", "number,comment,split,id\n1,good,test,x1\n2,bad,,\n")
    got, _ = take(path)
    assert got == [
        {"text": "good", "source_id": "x1", "split": "test", "place": "a.csv:2", "meta": {"number": "1"}},
        {"text": "bad", "source_id": None, "split": None, "place": "a.csv:3", "meta": {"number": "2"}},
    ]
    got, _ = take(path, Columns(text="comment", id="number"))
    assert [(row["source_id"], row["meta"]["id"]) for row in got] == [("1", "x1"), ("2", "")]
    with pytest.raises(
        InputError, match=r"a\.csv: unknown column for text 'coment'\. Did you mean 'comment'\? Known: "
    ):
        take(path, Columns(text="coment"))
    with pytest.raises(InputError, match=r"unknown column for split 'part'"):
        take(path, Columns(split="part"))
    pq.write_table(pa.table({"text": [1, 2], "body": ["a", "b"]}), tmp_path / "n.parquet")
    with pytest.raises(
        InputError, match=r"n\.parquet: column 'text' holds int64, not texts\. Name another .* text, body"
    ):
        take(tmp_path / "n.parquet")


def test_no_metadata_no_meta_column(tmp_path):
    (table,) = read([write(tmp_path, "a.txt", "a\n")], Columns(), pytest.fail)
    assert table.column_names == ["text", "source_id", "split", "place"]


def test_json_metadata_keeps_its_types_and_falls_back_to_json(tmp_path):
    rows = [{"text": "a", "n": 1, "mixed": 1, "big": 2**70, "none": None}, {"text": "b", "n": 2, "mixed": "x"}]
    (table,) = read([write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))], Columns(), pytest.fail)
    kinds = {f.name: str(f.type) for f in table.schema.field("meta").type}
    assert kinds == {"n": "int64", "mixed": "string", "big": "string", "none": "null"}
    assert table.column("meta").to_pylist()[0]["mixed"] == "1"


def test_parquet_strings_that_are_not_utf8_are_rejected(tmp_path):
    raw = pa.array([b"ok", b"b\xff", b"fine"])
    broken = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    pq.write_table(pa.table({"text": broken, "x": ["1", "2", "3"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["1", "2", "3"], "x": broken}), tmp_path / "b.parquet")
    got, rejects = take(tmp_path / "a.parquet")
    assert [row["text"] for row in got] == ["ok", "fine"]
    assert [(r.place, r.reason) for r in rejects] == [("a.parquet:2", "text is not valid Unicode")]
    got, rejects = take(tmp_path / "b.parquet")
    assert [row["text"] for row in got] == ["1", "3"]
    assert [(r.place, r.reason) for r in rejects] == [("b.parquet:2", "invalid UTF-8 in column 'x'")]


def test_one_percent_bad_rows_add_up(tmp_path):
    lines, bad = [b"text,n"], {}
    for i in range(10_000):
        kinds = {0: b"b\xff,1", 1: b"\x00,1", 2: b",1", 3: b"a,b,c", 4: b'"c"d,1'}
        bad_line = kinds.get(i // 100 % 5) if i % 100 == 0 else None
        if bad_line:
            bad[f"a.csv:{i + 2}"] = bad_line
        lines.append(bad_line or f'"text, ""{i}""\nsecond line",{i}'.encode().replace(b"\n", b" "))
    got, rejects = take(write(tmp_path, "a.csv", b"\n".join(lines)))
    assert len(got) + len(rejects) == 10_000
    assert {r.place for r in rejects} == set(bad)
    assert len({r.reason for r in rejects}) == 5


def test_endless_quotes_end_in_an_error_and_not_in_endless_time(tmp_path, monkeypatch):
    monkeypatch.setattr("labelwise.connect.delimited.LINE_LIMIT", 1 << 14)
    monkeypatch.setattr("labelwise.connect.delimited.RESCAN_FREE", 1 << 16)
    with pytest.raises(InputError, match=r"a\.csv:\d+: quotes are opened and not closed again and again\."):
        take(write(tmp_path, "a.csv", "text,n\n" + 'b","a\n' * 20_000))


def test_large_json_list_streams_over_blocks(tmp_path):
    rows = [{"text": f"text {i} " + "z" * 3000} for i in range(1000)]
    got, rejects = take(write(tmp_path, "a.json", json.dumps(rows)))
    assert [row["text"] for row in got] == [row["text"] for row in rows]
    assert rejects == []


def test_expand_files_folders_and_globs(tmp_path, monkeypatch):
    for name in ("b.csv", "a.txt", "c.jsonl.gz", ".hidden.csv", "note.pdf", "d.parquet.gz"):
        write(tmp_path, name, "text\nx\n")
    (tmp_path / "sub").mkdir()
    odd = write(tmp_path, "x[1].csv", "text\n")
    names = [path.name for path in expand([str(tmp_path)])]
    assert names == ["a.txt", "b.csv", "c.jsonl.gz", "x[1].csv"]
    assert expand([str(odd)]) == [odd]
    assert [p.name for p in expand([str(tmp_path / "*.csv"), str(tmp_path / "b.csv")])] == ["b.csv", "x[1].csv"]
    with pytest.raises(InputError, match=r"zz\*\.csv: no file matches\. Check the path, relative to"):
        expand([str(tmp_path / "zz*.csv")])
    with pytest.raises(InputError, match=r"sub: the folder holds no file that can be read\. Can be read: \.csv"):
        expand([str(tmp_path / "sub")])
    with pytest.raises(InputError, match=r"note\.pdf: the format '\.pdf' cannot be read\. Can be read: \.csv, \.tsv"):
        expand([str(tmp_path / "note.pdf")])
    with pytest.raises(InputError, match="no file was named"):
        expand([])


def test_files_of_one_name_are_told_apart(tmp_path):
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(write(tmp_path / folder, "t.txt", "x\n"))
    places = [table.column("place")[0].as_py() for table in read(paths, Columns(), pytest.fail)]
    assert places == [f"{path}:1" for path in paths]


def test_datasets_without_the_extra_says_what_to_install(tmp_path, monkeypatch):
    write(tmp_path, "state.json", "{}")
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert expand([str(tmp_path)]) == [tmp_path]
    with pytest.raises(MissingExtra, match=r"needs the extra 'datasets': pip install 'labelwise\[datasets\]'"):
        take(tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_datasets_folders_are_read_with_class_names_and_splits(tmp_path):
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    part = datasets.Dataset.from_dict({"text": ["a", "b", ""], "label": [1, 0, 1]}, features=features)
    datasets.DatasetDict({"train": part, "test": part.select([1])}).save_to_disk(str(tmp_path / "d"))
    got, rejects = take(tmp_path / "d")
    assert [(row["text"], row["split"], row["meta"]["label"], row["place"]) for row in got] == [
        ("a", "train", "yes", "d/train:1"), ("b", "train", "no", "d/train:2"), ("b", "test", "no", "d/test:1"),
    ]  # fmt: skip
    assert [r.place for r in rejects] == ["d/train:3"]


@pytest.mark.real
@pytest.mark.parametrize(("name", "rows"), [("trec", 5952), ("sst2", 9613), ("conll2003", 20744), ("sentimix", 34000)])
def test_real_files(real_data, name, rows):
    rejects: list[Reject] = []
    tables = list(read([real_data / f"{name}.parquet"], Columns(), rejects.append))
    assert sum(map(len, tables)) + len(rejects) == rows
    assert {s for table in tables for s in table.column("split").to_pylist()} <= {"train", "test", "val", "all"}
