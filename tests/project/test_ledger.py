"""The ledger is a fold: however the log is cut, dropped, stored or damaged, the same is true."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwise.core import Event, Ref, Task, Vote, stream
from labelwise.project import workspace as workspaces
from labelwise.project.ledger import FOLDS, Asked, Given, Ledger, ref
from labelwise.project.starting import start
from labelwise.project.workspace import HOME, Workspace

TASK = Task("single", ("bug", "praise"))
TEXTS = [f"{number:032x}" for number in (9, 3, 7, 1)]
NAMES = ["ann", "bob"]


def selected(number, items):
    return "batch.selected", {"round": number, "items": [{"text": t, "arm": a, "propensity": q} for t, a, q in items]}


def answered(text, annotator="ann", answer="bug", version=0, seconds=2.0):
    return "answer.given", {
        "text": text, "annotator": annotator, "answer": answer, "version": version, "seconds": seconds
    }  # fmt: skip


texts, shards = st.sampled_from(TEXTS), st.sampled_from(["s9", "s1", "s5"])
refs = st.sampled_from(["model/a1", "model/b2"])
FREE = st.one_of(
    st.builds(lambda seed: ("config.set", {"config": {"project": {"seed": seed}}}), st.integers(0, 3)),
    st.builds(lambda shard, rows, text: ("texts.added", {"shard": shard, "rows": rows, "source": "a.csv",
              "duplicates": 0, "moved": {text: "test"}}), shards, st.integers(1, 9), texts),
    st.builds(lambda name: ("encoder.fitted", {"config": name, "ref": "encoder/e"}), st.sampled_from("xyz")),
    st.builds(lambda shard, to: ("shard.represented", {"encoder": "e", "shard": shard, "ref": to}), shards, refs),
    st.builds(lambda shard: ("pool.divided", {"ref": "division/d", "shards": [shard], "pool": 3}), shards),
    st.builds(selected, st.integers(0, 5),
              st.lists(st.tuples(texts, st.sampled_from(["control", "strategy"]), st.just(0.5)), max_size=3)),
    st.builds(answered, texts, st.sampled_from(NAMES), st.sampled_from(TASK.labels), st.integers(0, 3)),
    st.builds(lambda name: ("snapshot.taken", {"name": name, "counts": {"train": 1}}), st.sampled_from("pqr")),
    st.builds(lambda tag, name: ("data.tagged", {"tag": tag, "snapshot": name}), st.sampled_from("tu"), st.just("p")),
    st.just(("somebody.else", {"anything": [1, None, "ä"]})),
)  # fmt: skip
ABOUT_MODELS = st.sampled_from(
    ["model.calibrated", "model.evaluated", "model.promoted", "model.refused", "model.rolled-back"]
)


@st.composite
def logs(draw):
    """Events as the log gives them; those about a model come after it was trained."""
    events, models = [], 0
    for _ in range(draw(st.integers(0, 25))):
        kind, data = draw(FREE)
        if draw(st.integers(0, 3)) == 0:
            kind = draw(ABOUT_MODELS) if models and draw(st.booleans()) else "model.trained"
            models += kind == "model.trained"
            version = models if kind == "model.trained" else draw(st.integers(1, models))
            data = {"version": version, "why": "better", "metrics": {"accuracy": 0.5}}
        seq = len(events) + 1
        events.append(Event(kind, f"key{seq}", "ann", data, at=float(seq), seq=seq))
    return events


def ordered(ledger):
    """The ledger as text, in which the order of every table shows."""
    return json.dumps(ledger.dump())


def log_of(*facts):
    return [Event(kind, f"key{i}", "ann", data, at=float(i), seq=i) for i, (kind, data) in enumerate(facts, start=1)]


@given(logs(), st.data())
def test_all_at_once_in_pieces_and_from_a_stored_copy_are_the_same(events, data):
    whole = Ledger().apply(events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=4)))
    ledger = Ledger()
    for begin, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        ledger.apply(events[begin:end])
        stored = Ledger.load(json.loads(json.dumps(ledger.dump())))
        assert stored == ledger
        if data.draw(st.booleans()):
            ledger = stored
    assert ledger == whole
    assert ordered(ledger) == ordered(whole)


@given(logs())
def test_folding_changes_no_event_and_ends_at_the_last(events):
    before = deepcopy(events)
    ledger = Ledger().apply(events)
    assert events == before
    assert (ledger.seq, ledger.key) == ((events[-1].seq, events[-1].key) if events else (0, ""))


@given(logs())
def test_kinds_of_others_are_passed_over(events):
    ledger = Ledger().apply(events)
    ours = Ledger().apply([event for event in events if event.kind in FOLDS])
    ours.seq, ours.key = ledger.seq, ledger.key
    assert ours == ledger


@given(logs())
def test_what_is_derived_is_what_the_events_say(events):
    ledger = Ledger().apply(events)
    asked = dict.fromkeys(i["text"] for e in events if e.kind == "batch.selected" for i in e.data["items"])
    answers = [e.data for e in events if e.kind == "answer.given"]
    given_texts = {a["text"] for a in answers}
    assert ledger.pending == [text for text in asked if text not in given_texts]
    assert ledger.annotated == len(given_texts & set(asked))
    assert ledger.answers == len(answers)
    assert ledger.seconds == sum(a["seconds"] for a in answers)
    current = {(a["text"], a["annotator"]): a["answer"] for a in answers}
    assert {(v.text, v.annotator): v.answer for v in ledger.votes(TASK)} == current
    promoted = [e.data["version"] for e in events if e.kind in ("model.promoted", "model.rolled-back")]
    assert (ledger.champion or {}).get("version") == (promoted[-1] if promoted else None)
    sizes = {e.data["shard"]: e.data["rows"] for e in events if e.kind == "texts.added"}
    assert ledger.texts == sum(sizes.values())


def test_a_small_project_by_hand():
    one, two, three, _ = TEXTS
    ledger = Ledger().apply(log_of(
        selected(0, [(one, "control", 0.1), (two, "strategy", 0.5)]),
        answered(two), answered(two, "bob", "praise"), answered(two, "ann", "praise", 1, 3.5), answered(three),
    ))  # fmt: skip
    assert ledger.asked == {one: Asked(0, "control", 0.1), two: Asked(0, "strategy", 0.5)}
    assert ledger.pending == [one]
    assert ledger.annotated == 1
    assert ledger.given[two]["ann"] == Given("praise", 1, 3.5, 4)
    assert ledger.votes(TASK)[:2] == [Vote(two, "ann", "praise"), Vote(two, "bob", "praise")]
    assert (ledger.answers, ledger.last_answer, ledger.seconds) == (4, 5, 9.5)
    assert ledger.champion is None


def test_judgements_are_kept_with_the_model_and_the_last_promotion_counts():
    def judged(kind, version):
        return kind, {"version": version, "why": f"{kind} {version}"}

    facts = [("model.trained", {"version": v, "ref": f"model/{v}"}) for v in (1, 2)]
    facts += [judged("model.promoted", 1), judged("model.promoted", 2), judged("model.refused", 1)]
    ledger = Ledger().apply(log_of(*facts))
    assert ledger.champion["version"] == 2
    assert ledger.model(1)["verdict"] == {"kind": "model.refused", "why": "model.refused 1"}
    assert Ledger().apply(log_of(*facts, judged("model.rolled-back", 1))).champion["version"] == 1


def test_a_stored_ledger_of_another_format_is_refused():
    data = Ledger().dump()
    with pytest.raises(ValueError, match="another format"):
        Ledger.load({**data, "format": 0})
    with pytest.raises(KeyError):
        Ledger.load({name: value for name, value in data.items() if name != "asked"})


def test_a_written_reference_is_read_back():
    assert ref("model/abc") == Ref("model", "abc")
    assert str(ref("model/abc")) == "model/abc"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project with a checkpoint, and one event after it."""
    start(tmp_path, TASK.labels, "single", "")
    monkeypatch.setattr(workspaces, "CHECKPOINT_EVERY", 10)
    with Workspace.open(tmp_path) as workspace:
        fill(workspace, TEXTS)
    return tmp_path


def fill(workspace, order):
    for shard in ("s9", "s1", "s5"):
        workspace.append("texts.added", shard, {"shard": shard, "rows": 2, "source": "ä", "duplicates": 0, "moved": {}})
    for number, text in enumerate(order):
        record(workspace, f"batch:{number}", selected(number, [(text, "control", 0.5)]))
    record(workspace, "answer", answered(order[1]))
    for number in range(3):
        workspace.append("somebody.else", f"else:{number}", {})
    assert workspace.now().seq >= 10
    record(workspace, "late", answered(order[2]))


def record(workspace, key, fact):
    workspace.append(fact[0], key, fact[1])


def folded(folder):
    """(the ledger a restart ends with, the same from the log alone), order included."""
    with Workspace.open(folder) as workspace:
        return ordered(workspace.now()), ordered(Ledger().apply(workspace.log.read()))


def test_a_checkpoint_is_used_and_keeps_every_order(folder, monkeypatch):
    read = []
    original = Ledger.load.__func__
    monkeypatch.setattr(Ledger, "load", classmethod(lambda cls, data: read.append(data["seq"]) or original(cls, data)))
    restarted, rebuilt = folded(folder)
    assert read == [12]
    assert restarted == rebuilt
    with Workspace.open(folder) as workspace:
        assert workspace.now().pending == [TEXTS[0], TEXTS[3]]
        assert list(workspace.now().shards) == ["s9", "s1", "s5"]


def test_a_dropped_checkpoint_is_rebuilt_from_the_log(folder):
    before = folded(folder)
    (folder / HOME / "ledger.json").unlink()
    assert folded(folder) == before
    assert (folder / HOME / "ledger.json").is_file()


def test_a_damaged_checkpoint_is_rebuilt_whichever_byte_was_hit(folder):
    before = folded(folder)
    path = folder / HOME / "ledger.json"
    content = path.read_bytes()
    for at in stream(0, "damage").choice(len(content), 20, replace=False):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.warns(UserWarning, match=r"ledger\.json: not usable \(.*\); the ledger is rebuilt from the log"):
            assert folded(folder) == before
    for remains in (b"", content[:40], b"\xff" + content):
        path.write_bytes(remains)
        with pytest.warns(UserWarning, match="the ledger is rebuilt from the log"):
            assert folded(folder) == before


@pytest.mark.parametrize("events", ["fewer", "others"])
def test_a_checkpoint_of_another_log_is_not_believed(folder, tmp_path_factory, events):
    other = tmp_path_factory.mktemp("other")
    start(other, TASK.labels, "single", "")
    with Workspace.open(other) as workspace:
        if events == "others":
            workspace.append("somebody.else", "one more", {})
            fill(workspace, TEXTS[::-1])
        expected = ordered(Ledger().apply(workspace.log.read()))
    (other / HOME / "ledger.json").write_bytes((folder / HOME / "ledger.json").read_bytes())
    with pytest.warns(UserWarning, match=r"not usable \(of another log\)"):
        assert folded(other) == (expected, expected)
