"""Snapshots: one name for equal rows, differences as sets, and damage that is named."""

from __future__ import annotations

import hashlib
import json
import struct
import tempfile

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwise.core import DamagedRecord, InputError
from labelwise.core.canon import canonical_json
from labelwise.store import snapshots

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
LABELS = st.sampled_from(["bug", "praise", ["joy", "löve"], [[0, 5, "PER"]], []]).map(canonical_json)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": TEXT,
            "label": LABELS,
            "weight": st.none() | NUMBERS,
            "split": st.none() | TEXT,
            "guideline": TEXT,
            "propensity": st.none() | NUMBERS,
            "arm": st.none() | st.sampled_from(["", "control", "active"]),
            "annotators": st.none() | st.integers(0, 2**31 - 1),
        }
    ),
    unique_by=lambda row: row["id"],
    max_size=8,
)


def table(rows):
    return pa.Table.from_pylist(rows, schema=snapshots.SCHEMA)


def row(key, label="bug", **other):
    values = {"weight": 1.0, "split": "train", "guideline": "1", "propensity": 0.5, "arm": "control", "annotators": 2}
    return {"id": key, "label": canonical_json(label), **values, **other}


@settings(max_examples=50, deadline=None)
@given(rows=ROWS, random=st.randoms(use_true_random=False), data=st.data())
def test_order_chunks_and_types_do_not_change_the_name(rows, random, data):
    shuffled = random.sample(rows, len(rows))
    cut = data.draw(st.integers(0, len(rows)))
    chunked = pa.concat_tables([table(shuffled[:cut]), table(shuffled[cut:])])
    columns = random.sample(chunked.column_names, len(chunked.column_names))
    other = chunked.select(columns).set_column(
        columns.index("split"), "split", chunked["split"].cast(pa.large_string()).dictionary_encode()
    )
    with tempfile.TemporaryDirectory() as folder:
        name = snapshots.write(folder, table(rows), {"seq": 7})
        assert snapshots.write(folder, other, {"seq": 7}) == name
        found, facts = snapshots.read(folder, name)
    assert found.to_pylist() == sorted(rows, key=lambda r: r["id"].encode())
    assert facts == {"seq": 7}


@settings(max_examples=40, deadline=None)
@given(ROWS.filter(bool), st.data())
def test_any_change_changes_the_name(rows, data):
    changed = [dict(r) for r in rows]
    column = data.draw(st.sampled_from(snapshots.SCHEMA.names[1:]))
    new = {"label": '"other"', "weight": 0.123, "propensity": 0.123, "annotators": -1}.get(column, "another")
    data.draw(st.sampled_from(changed))[column] = new
    with tempfile.TemporaryDirectory() as folder:
        names = {snapshots.write(folder, table(some), {}) for some in (rows, changed, rows[1:])}
    assert len(names) == 3


def test_the_name_is_the_same_for_ever(tmp_path):
    rows = [row("b", ["ä"], annotators=3), row("a", arm=None, weight=-0.0)]
    columns = [
        b"id:s\n\1\1", struct.pack("<qq", 1, 1), b"ab",
        b"label:s\n\1\1", struct.pack("<qq", 5, 6), '"bug"["ä"]'.encode(),
        b"weight:d\n\1\1", struct.pack("<dd", 0.0, 1.0),
        b"split:s\n\1\1", struct.pack("<qq", 5, 5), b"traintrain",
        b"guideline:s\n\1\1", struct.pack("<qq", 1, 1), b"11",
        b"propensity:d\n\1\1", struct.pack("<dd", 0.5, 0.5),
        b"arm:s\n\0\1", struct.pack("<qq", 0, 7), b"control",
        b"annotators:i\n\1\1", struct.pack("<ii", 2, 3),
    ]  # fmt: skip
    expected = hashlib.blake2b(b"labelwise snapshot 1\n2\n" + b"".join(columns), digest_size=16).hexdigest()
    assert snapshots.write(tmp_path, table(rows), {}) == expected == "7733b454576e3b56d661d8fd38b56715"


@settings(max_examples=80, deadline=None)
@given(ROWS, ROWS)
def test_diff_equals_set_difference(a, b):
    found = snapshots.diff(table(a), table(b))
    old, new = ({r["id"]: r["label"] for r in rows} for rows in (a, b))
    assert found.added == {key: new[key] for key in new.keys() - old.keys()}
    assert found.removed == {key: old[key] for key in old.keys() - new.keys()}
    assert found.changed == {k: (old[k], new[k]) for k in old.keys() & new.keys() if old[k] != new[k]}
    for part in (found.added, found.removed, found.changed):
        assert list(part) == sorted(part, key=str.encode)


def test_the_first_facts_of_some_rows_stay(tmp_path):
    name = snapshots.write(tmp_path, table([row("a")]), {"seq": 1, "counts": {"train": 1}})
    assert snapshots.write(tmp_path, table([row("a")]), {"seq": 2}) == name
    assert snapshots.read(tmp_path, name)[1] == {"seq": 1, "counts": {"train": 1}}
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".parquet"]


@pytest.mark.parametrize("suffix", [".parquet", ".json"])
def test_damage_is_named_and_mended_by_writing_again(tmp_path, suffix):
    rows = table([row(str(i)) for i in range(50)])
    name = snapshots.write(tmp_path, rows, {"seq": 1})
    path = tmp_path / f"{name}{suffix}"
    content = path.read_bytes()
    for damaged in (b"", content[:-3], content.replace(b"1", b"2"), None):
        path.unlink() if damaged is None else path.write_bytes(damaged)
        with pytest.raises(DamagedRecord, match=rf"{name}\{suffix}.*backup"):
            snapshots.read(tmp_path, name)
        assert snapshots.write(tmp_path, rows, {"seq": 1}) == name
        assert snapshots.read(tmp_path, name)[0].num_rows == 50


def test_other_rows_under_a_name_are_noticed(tmp_path):
    one, two = (snapshots.write(tmp_path, table([row(key)]), {}) for key in "ab")
    (tmp_path / f"{one}.parquet").replace(tmp_path / f"{two}.parquet")
    with pytest.raises(DamagedRecord, match="the rows are not what was written"):
        snapshots.read(tmp_path, two)


def test_changed_facts_are_noticed(tmp_path):
    name = snapshots.write(tmp_path, table([row("a")]), {"seq": 1})
    path = tmp_path / f"{name}.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"facts": {"seq": 2}}))
    with pytest.raises(DamagedRecord, match="the manifest is not what was written"):
        snapshots.read(tmp_path, name)


GOOD = table([row("a"), row("b")])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (GOOD.drop_columns(["arm"]), "columns are .* give exactly"),
        (GOOD.append_column("extra", pa.array([1, 2])), "give exactly"),
        (GOOD.set_column(2, "weight", pa.array(["x", "y"])), "use the types"),
        (pa.concat_tables([GOOD, GOOD]), "id 'a' occurs twice"),
        (table([row("a", weight=float("nan"))]), "weight: there is a NaN"),
        (table([row("a", propensity=float("inf"))]), "propensity: there is a NaN"),
        (table([{**row("a"), "label": None}]), "label: 1 rows have none"),
        (table([{**row("a"), "label": '["a", "b"]'}]), "not canonical JSON"),
        (table([{**row("a"), "label": "bug"}]), "not canonical JSON"),
    ],
)
def test_what_is_no_snapshot_is_refused(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        snapshots.write(tmp_path, rows, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "../" + "0" * 29, "0" * 33])
def test_names_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(InputError, match="32 hexadecimal digits"):
        snapshots.read(tmp_path, name)


def test_an_empty_snapshot_is_a_snapshot(tmp_path):
    name = snapshots.write(tmp_path, table([]), {})
    rows, _ = snapshots.read(tmp_path, name)
    assert rows.num_rows == 0
    assert snapshots.diff(rows, GOOD).added == dict.fromkeys("ab", '"bug"')
