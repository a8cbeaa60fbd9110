"""The CRF says what CRFsuite says, keeps what it promised, and refuses what it cannot trust."""

import builtins

import numpy as np
import pycrfsuite
import pytest

from labelwise.core import DamagedRecord, Examples, InputError, MissingExtra, Span, State, Task, stream
from labelwise.learn import crf
from labelwise.learn.crf import CRF

TASK = Task("spans", ("PER", "LOC"))
NAMES = {"Anna": "PER", "Bob": "PER", "Carla Ruiz": "PER", "Paris": "LOC", "New York": "LOC", "Rome": "LOC"}


def sentences(n, seed=0):
    rng = stream(seed, "sentences")
    texts, answers = [], []
    for _ in range(n):
        name = list(NAMES)[rng.integers(len(NAMES))]
        before = " ".join(rng.choice(["the", "Old", "saw-it", "in", "met", "(so)", "42"], rng.integers(0, 6)))
        text = f"{before} {'near' if NAMES[name] == 'LOC' else 'dear'} {name} {rng.choice(['sat', 'RAN', 'is'])}."
        texts.append(text)
        answers.append((Span(text.index(name), text.index(name) + len(name), NAMES[name]),))
    return Examples(TASK, TASK.targets(answers, texts), np.ones(n), texts=texts), answers


@pytest.fixture(scope="module")
def model():
    return CRF().fit(sentences(60)[0], None, stream(0, "fit"))


def test_it_finds_the_spans_of_new_texts(model):
    new, answers = sentences(40, seed=1)
    assert TASK.spans(model.believe(new.texts).hard(), new.texts) == answers


def test_marginals_are_those_of_crfsuite(tmp_path):
    examples, _ = sentences(60)
    targets, texts = examples.targets, examples.texts
    solver = crf._Solver.of(texts, targets, np.ones(60, int), np.zeros(60, int), range(60), TASK.columns)
    chain = solver.chain(CRF(l1=0.0, iterations=15), -1, 1e-4)
    solver.trainer.train(str(tmp_path / "model"))
    tagger = pycrfsuite.Tagger()
    tagger.open(str(tmp_path / "model"))
    asked = [*texts, "", "Anna", "Carla Ruiz near " * 9]
    offsets, slots = crf._described(asked)
    said = chain.tagged(asked)
    assert len(said) == len(asked)
    for i in range(len(asked)):
        items = [[n for units, names in slots for n in names[units[t]]] for t in range(offsets[i], offsets[i + 1])]
        tagger.set(items)
        mine = said.probs[offsets[i] : offsets[i + 1], chain.seen] / (1 - chain.rest.sum())
        theirs = [[tagger.marginal(str(tag), t) for tag in chain.seen] for t in range(len(items))]
        np.testing.assert_allclose(mine, np.reshape(theirs, mine.shape), atol=1e-4)


def test_a_text_is_believed_alike_alone_and_among_others(model):
    texts = sentences(30, seed=2)[0].texts
    together = model.believe(texts)
    for row in (0, 7, 29):
        np.testing.assert_allclose(model.believe([texts[row]]).probs, together.take(np.array([row])).probs, atol=1e-6)


def test_texts_without_tokens_and_a_single_example_are_no_trouble():
    one = Examples(TASK, TASK.targets([()], [" "]), np.ones(1), texts=[" "])
    model = CRF().fit(one, None, stream(0, "fit"))
    assert len(model.held_out) == 1
    assert model.believe(["", "Anna met Bob"]).hard().codes.tolist() == [0, 0, 0]
    assert model.believe([]).probs.shape == (0, TASK.columns)


def test_facts_count_what_no_tags_fit():
    texts = ["Anna Bob"] * 2
    answers = [(Span(0, 8, "PER"), Span(0, 4, "LOC")), (Span(1, 3, "PER"),)]
    examples = Examples(TASK, TASK.targets(answers, texts), np.ones(2), texts=texts)
    facts = CRF().fit(examples, None, stream(0, "fit")).facts
    assert (facts["lost"], facts["widened"]) == (1, 1)


@pytest.mark.parametrize("name", ["attributes", "weights", "moves", "seen", "rest"])
def test_changed_or_missing_bytes_are_refused(model, name):
    state = model.state()
    poisoned = state.arrays[name].copy()
    poisoned.flat[0] = poisoned.flat[0] + 1
    with pytest.raises(DamagedRecord, match="not those that were stored"):
        CRF().restore(State({**state.arrays, name: poisoned}, state.facts))
    with pytest.raises(DamagedRecord, match=f"lacks '{name}'"):
        CRF().restore(State({k: v for k, v in state.arrays.items() if k != name}, state.facts))


@pytest.mark.parametrize("setting", [{"l1": -1.0}, {"l2": float("nan")}, {"iterations": 0}, {"folds": 1}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(InputError, match=f"{next(iter(setting))}: .* is not allowed"):
        CRF(**setting)


def test_what_it_cannot_read_is_refused(model):
    examples, _ = sentences(4)
    with pytest.raises(InputError, match="reads texts"):
        CRF().fit(Examples(TASK, examples.targets, examples.weights), None, stream(0))
    single = Task("single", ("a", "b"))
    with pytest.raises(InputError, match="cannot learn 'single'"):
        CRF().fit(Examples(single, np.zeros(1, int), np.ones(1), texts=["a"]), None, stream(0))
    with pytest.raises(InputError, match="reads a list of texts"):
        model.believe(np.zeros((2, 3)))


def test_without_the_library_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def missing(name, *rest, **more):
        if name == "pycrfsuite":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtra, match=r"labelwise\[spans\]"):
        CRF().fit(sentences(4)[0], None, stream(0))
