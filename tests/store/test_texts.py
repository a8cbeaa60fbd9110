"""Texts: what is added is what is read, once, whatever is repeated, interrupted or damaged."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelwise.connect.readers import Columns, read
from labelwise.core.errors import DamagedRecord, InputError
from labelwise.core.intake import Reject, Rejects, fault, faults, split_of
from labelwise.core.text import keys_of, text_id
from labelwise.store import shards as shard_files
from labelwise.store.seen import Digests
from labelwise.store.texts import CLASH, Texts, asked_for

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda t: not fault(t))
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def table(texts, **columns):
    strings = {name: pa.array(columns.pop(name), pa.string()) for name in ("source_id", "split") if name in columns}
    return pa.table({"text": pa.array(texts, pa.string()), **strings, **columns})


def names(report):
    return [shard.name for shard in report.shards]


def stored(texts, report):
    return [text for shard in names(report) for part in texts.texts(shard) for text in part]


@QUICK
@given(parts=st.lists(st.lists(TEXTS, max_size=8), max_size=5), shard_rows=st.integers(1, 9))
def test_any_texts_are_read_back_once_in_order(tmp_path_factory, parts, shard_rows):
    texts = Texts(tmp_path_factory.mktemp("texts"))
    report = texts.add(map(table, parts), shard_rows=shard_rows)
    first = {}
    for text in (text for part in parts for text in part):
        first.setdefault(text_id(text), text)
    assert stored(texts, report) == list(first.values())
    assert [i for shard in names(report) for i in texts.ids(shard)] == list(first)
    assert report.rows == sum(map(len, parts)) == report.added + report.duplicates + report.rejected
    assert [shard.rows for shard in report.shards[:-1]] == [shard_rows] * (len(report.shards) - 1)
    some = sorted(first) * 2
    assert texts.get(names(report), some) == [first[i] for i in some]
    for shard in names(report):
        assert (texts.keys(shard) == keys_of(texts.ids(shard))).all()


@QUICK
@given(texts=st.lists(TEXTS, max_size=30), cut=st.integers(0, 30))
def test_adding_in_two_steps_or_again_keeps_each_text_once(tmp_path_factory, texts, cut):
    store = Texts(tmp_path_factory.mktemp("texts"))
    first = store.add([table(texts[:cut])])
    second = store.add([table(texts)], names(first))
    again = store.add([table(texts)], names(first) + names(second))
    assert first.added + second.added == len(set(map(text_id, texts)))
    assert (again.added, again.duplicates, again.shards) == (0, len(texts), ())


def test_normalisation_makes_one_text_of_two_forms(tmp_path):
    report = Texts(tmp_path).add([table(["Caf\u00e9  au lait", "Cafe\u0301 au\nlait", "cafe au lait"])])
    assert (report.added, report.duplicates) == (2, 1)


def test_splits_columns_and_absent_columns(tmp_path):
    texts = Texts(tmp_path)
    meta = pa.array([{"n": 1, "a.b": "x"}, {"n": 2, "a.b": "y"}])
    report = texts.add(
        [table(["a", "b"], split=["train", "dev"], source_id=["s", None], meta=meta), table(["c"])], shard_rows=2
    )
    one, two = names(report)
    assert texts.column(one, "split") == ["pool", "val"]
    assert texts.column(one, "source_id") == ["s", None]
    assert (texts.column(one, "n"), texts.column(one, "a.b"), texts.column(one, "zz")) == (
        [1, 2],
        ["x", "y"],
        [None] * 2,
    )
    assert (texts.column(two, "n"), texts.column(two, "split"), texts.column(two, "source_id")) == (
        [None],
        ["pool"],
        [None],
    )
    assert texts.columns([one, two]) == ["n", "a.b"]
    assert "meta" not in pq.read_schema(tmp_path / f"{two}.parquet").names
    assert pq.ParquetFile(tmp_path / f"{one}.parquet").schema_arrow.names == [
        "id",
        "text",
        "source_id",
        "split",
        "meta",
    ]


def test_metadata_of_any_shape_is_stored(tmp_path):
    texts = Texts(tmp_path)
    parts = [
        table(["a"], meta=pa.array([{"n": 1, "m": 1, "none": None, "empty": {}, "deep": [{"x": {}}], "s": {"p": 1}}])),
        table(["b"]),
        table(["c"], meta=pa.array([{"n": 2.5, "m": "x", "new": [1], "s": {"q": "z"}}])),
        table(["d"], meta=pa.StructArray.from_arrays([pa.array([2**60])], names=["n"])),
        table(["e"], meta=pa.array([{}])),
    ]
    (shard,) = names(texts.add(parts[:3]))
    got = {name: texts.column(shard, name) for name in texts.columns([shard])}
    assert got["n"] == [1.0, None, 2.5]
    assert got["m"] == ["1", None, "x"]
    assert got["none"] == [None, None, None]
    assert got["new"] == [None, None, [1]]
    assert (got["empty"], got["deep"]) == (["{}", None, None], ['[{"x": {}}]', None, None])
    assert got["s"][0] in ({"p": 1, "q": None}, '{"p": 1}')
    (only,) = names(Texts(tmp_path / "e").add(parts[4:]))
    assert Texts(tmp_path / "e").columns([only]) == []
    (wide,) = names(Texts(tmp_path / "w").add(parts[2:4]))
    assert Texts(tmp_path / "w").column(wide, "n") in ([2.5, float(2**60)], ["2.5", str(2**60)])


@pytest.mark.parametrize(
    ("declared", "moved"),
    [
        (["train", "test"], "test"),
        (["test", "train"], "test"),
        (["val", "test", "train"], "test"),
        (["all", "validation"], "val"),
        ([None, "dev"], "val"),
        (["test", None], None),
        (["train", "unlabelled", None], None),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_a_text_declared_in_two_splits_moves_to_the_stricter(tmp_path, declared, moved, together):
    texts = Texts(tmp_path)
    rows = [table([" same  "], split=[split]) for split in declared]
    if together:
        report = texts.add(rows)
    else:
        first = texts.add(rows[:1])
        report = texts.add(rows[1:], names(first))
    assert report.moved == ({text_id("same"): moved} if moved else {})


def test_a_split_that_does_not_exist_names_place_value_and_what_is_allowed(tmp_path):
    with pytest.raises(
        InputError, match=r"t\.csv:9: unknown split 'tset'\. Did you mean 'test'\? Known: all, dev, pool"
    ):
        Texts(tmp_path).add([table(["a"], split=["tset"], place=["t.csv:9"])])
    assert [split_of(s) for s in (" Train ", "VALID", "test", None, "")] == ["pool", "val", "test", "pool", "pool"]


def test_a_source_id_of_two_texts_is_rejected_within_and_across_adds(tmp_path):
    found: list[Reject] = []
    texts = Texts(tmp_path)
    report = texts.add(
        [table(["a", "b", "a", "c"], source_id=["1", "1", "1", None], place=["t:1", "t:2", "t:3", "t:4"])],
        rejects=Rejects(found.append),
    )
    assert found == [Reject("t:2", CLASH, "1")]
    assert (report.rows, report.added, report.duplicates, report.rejected) == (4, 2, 1, 1)
    assert report.reasons == {"source id is already used by another text": 1}
    later = texts.add([table(["d", "e", "f"], source_id=["2", "1", "2"])], names(report))
    assert (later.added, later.reasons) == (1, {CLASH: 2})
    assert stored(texts, later) == ["d"]


def test_reader_rejects_are_in_the_report(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"id,text\n1,a\n1,b\n2,\xff\n3,a\n4,c,d\n5, \n6,e\n")
    rejects = Rejects()
    report = Texts(tmp_path / "texts").add(read([path], Columns(), rejects), rejects=rejects)
    assert (report.rows, report.added, report.duplicates, report.rejected) == (7, 2, 1, 4)
    assert report.reasons == {CLASH: 1, "invalid UTF-8": 1, "wrong number of fields": 1, "text is empty": 1}


def test_dry_run_writes_nothing_and_reports_the_same(tmp_path):
    tables = [table(["a", "b", "a"]), table(["c"])]
    dry = Texts(tmp_path / "texts").add(tables, shard_rows=2, dry_run=True)
    assert not (tmp_path / "texts").exists()
    assert dry == Texts(tmp_path / "texts").add(tables, shard_rows=2)


def test_the_same_input_gives_the_same_bytes(tmp_path):
    tables = [table([f"text {i}" for i in range(k, k + 70)], split=["train"] * 70) for k in range(0, 700, 70)]
    for folder in ("one", "two"):
        Texts(tmp_path / folder).add(tables, shard_rows=300)
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / f).iterdir()} for f in ("one", "two"))
    assert one == two
    assert len(one) == 3


@pytest.mark.parametrize("at", ["input", "write", "rename"])
def test_killed_half_way_and_added_again_ends_the_same(tmp_path, monkeypatch, at):
    tables = [table([f"text {i}" for i in range(k, k + 10)]) for k in range(0, 100, 10)]
    whole = Texts(tmp_path / "whole").add(tables, shard_rows=30)

    def dying():
        yield from tables[:7]
        raise KeyboardInterrupt

    calls = []

    def third_time_dies(original):
        def call(*args, **kwargs):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return original(*args, **kwargs)

        return call

    texts = Texts(tmp_path / "texts")
    with monkeypatch.context() as patch:
        if at == "write":
            patch.setattr(shard_files.pq, "write_table", third_time_dies(pq.write_table))
        elif at == "rename":
            patch.setattr(shard_files.Path, "replace", third_time_dies(shard_files.Path.replace))
        with pytest.raises(KeyboardInterrupt):
            texts.add(dying() if at == "input" else tables, shard_rows=30)
    assert [p.suffix for p in (tmp_path / "texts").iterdir()] == [".parquet"] * 2
    assert texts.add(tables, shard_rows=30) == whole
    assert sorted(p.name for p in (tmp_path / "texts").iterdir()) == sorted(f"{n}.parquet" for n in names(whole))


def test_get_reads_only_the_row_groups_it_needs(tmp_path):
    texts = Texts(tmp_path)
    report = texts.add([table([f"text {i}" for i in range(5000)])], shard_rows=3000)
    file = pq.ParquetFile(tmp_path / f"{names(report)[0]}.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [1024, 1024, 952]
    assert file.metadata.row_group(0).column(1).compression == "ZSTD"
    wanted = [f"text {i}" for i in (4999, 0, 1023, 1024, 0, 3000, 2999)]
    assert texts.get(names(report), [text_id(t) for t in wanted]) == wanted
    assert texts.get(names(report), []) == []
    with pytest.raises(InputError, match=r"text '[0-9a-f]{32}' is in none of the 2 shards\. Check the id, or add"):
        texts.get(names(report), [text_id("absent")])


def test_a_missing_or_damaged_shard_is_named(tmp_path):
    texts = Texts(tmp_path)
    one, two = names(texts.add([table([f"text {i}" for i in range(40)])], shard_rows=20))
    path = tmp_path / f"{one}.parquet"
    intact = path.read_bytes()
    with pytest.raises(DamagedRecord, match=r"zz\.parquet: the shard of texts is missing\. Restore it"):
        texts.ids("zz")
    path.write_bytes(intact[:100])
    for use in (texts.ids, texts.keys, lambda s: list(texts.texts(s)), lambda s: texts.column(s, "n"),
                lambda s: texts.columns([s]), lambda s: texts.add([], [s]), lambda s: texts.get([s], [text_id("text 1")])):  # fmt: skip  # noqa: E501
        with pytest.raises(DamagedRecord, match=rf"{one}\.parquet: the shard of texts is damaged"):
            use(one)
    path.write_bytes((tmp_path / f"{two}.parquet").read_bytes())
    with pytest.raises(DamagedRecord, match=r"holds other texts than its name says"):
        texts.ids(one)
    at = intact.find(b"text 7")
    flipped = bytearray(intact)
    flipped[at if at > 0 else len(intact) // 3] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(DamagedRecord):
        list(texts.texts(one)), texts.ids(one), texts.column(one, "split")


@QUICK
@given(parts=st.lists(st.sets(st.binary(min_size=2, max_size=2), max_size=40), max_size=6))
def test_digests_number_what_is_added(parts):
    digests, number = Digests(), {}
    for part in parts:
        new = [b"\0" * 8 + b + b"\0" * 6 for b in part if b"\0" * 8 + b + b"\0" * 6 not in number]  # all in one slot
        number |= {d: len(number) + i for i, d in enumerate(new)}
        digests.add(b"".join(new))
    asked = [*number, b"\1" * 16]
    assert digests.find(b"".join(asked)).tolist() == [number.get(d, -1) for d in asked]


def test_a_million_known_texts_cost_under_150_mb():
    tracemalloc.start()
    digests = Digests()
    noise = np.random.default_rng(0)
    for _ in range(20):
        digests.add(noise.bytes(16 * 50_000))
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(digests) == 1_000_000
    assert held < 50 << 20  # there are two such tables, for texts and for source ids
    assert peak < 75 << 20


@given(
    values=st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=3), st.sampled_from(["\0", "\ud800", "é"])))
)
def test_faults_of_many_are_the_faults_of_each(values):
    assert faults(values) == {row: reason for row, value in enumerate(values) if (reason := fault(value))}


@pytest.mark.real
def test_real_data_with_known_repeats(tmp_path, real_data):
    texts = Texts(tmp_path)
    paths = [real_data / f"{name}.parquet" for name in ("trec", "goemotions")]
    rejects = Rejects()
    report = texts.add(read(paths, Columns(), rejects), rejects=rejects, shard_rows=40_000)
    assert report.rows == 5_952 + 54_263 == report.added + report.duplicates + report.rejected
    assert report.duplicates > 300
    assert "test" in report.moved.values()
    assert len(report.shards) == -(-report.added // 40_000)
    ids = texts.ids(names(report)[-1])[::997]
    assert [text_id(text) for text in texts.get(names(report), ids)] == ids


def test_rows_are_found_by_id_also_where_keys_clash(tmp_path, monkeypatch):
    """Ids that share their first half, and what cannot be an id."""
    ids = ["0" * 16 + f"{n:016x}" for n in (5, 3, 9)] + ["f" * 16 + "0" * 16]
    texts = Texts(tmp_path)
    monkeypatch.setattr(Texts, "ids", lambda self, shard: ids)
    wanted = [ids[2], ids[0], "0" * 32, "", "ü" * 32, "F" * 32, ids[3], ids[1], "0" * 33]
    assert texts.find("any", asked_for(wanted)).tolist() == [2, 0, -1, -1, -1, -1, 3, 1, -1]
    assert texts.keys("any").tolist() == [0, 0, 0, 2**64 - 1]
    assert texts.names("any").astype(str).tolist() == ids
