"""An exported model answers as the model does, and the notebook's estimator as well."""

import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from labelwise.core import Examples, InputError, MissingExtra, State, Task, stream
from labelwise.learn.adaptive import Chosen
from labelwise.learn.export import to_onnx, to_sklearn
from labelwise.learn.linear import Linear
from labelwise.learn.temperature import Temperature, Tempered
from labelwise.learn.vector import Scaled

LABELS = ("bug", "größe", "praise", "spam")


def examples(kind, targets, d=9):
    targets = np.asarray(targets)
    vectors = stream(len(targets), kind).normal(size=(len(targets), d)).astype(np.float32)
    columns = targets if targets.ndim == 2 else targets[:, None] == np.arange(len(LABELS))
    vectors[:, : len(LABELS)] += columns
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Examples(Task(kind, LABELS), targets, np.ones(len(targets)), vectors)


def table(n, *constant):
    drawn = stream(n, "table").random((n, len(LABELS))) < 0.4
    for column, value in constant:
        drawn[:, column] = value
    return drawn


CASES = {
    "single": ("single", np.arange(80) % 4),
    "single, two labels not given yet": ("single", np.arange(80) % 2 * 2),
    "single, one label given": ("single", np.zeros(6, dtype=np.int64)),
    "multi": ("multi", table(80)),
    "multi, one label never and one always": ("multi", table(80, (1, False), (2, True))),
    "multi, nothing to learn": ("multi", np.zeros((6, 4), dtype=bool)),
}


def run(graph, vectors):
    (probs,) = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, {"vectors": vectors})
    return probs


SLOPES = Scaled(np.array([0.4, 1.0, 2.0, 1.3]), np.array([0.5, 0.0, -1.0, 0.2]))
CALIBRATIONS = (Tempered(1.0), Tempered(0.3), Tempered(2.5), SLOPES, Chosen("vector", SLOPES))


@pytest.mark.parametrize("calibration", CALIBRATIONS, ids=["as is", "sharper", "flatter", "vector", "adaptive"])
@pytest.mark.parametrize("case", CASES)
def test_onnx_and_scikit_learn_answer_as_the_model(case, calibration):
    kind, targets = CASES[case]
    known = examples(kind, targets)
    model = Linear(grid=(10.0,)).fit(known, None, stream(0, "fit"))
    vectors = np.concatenate([known.vectors, np.zeros((1, 9), dtype=np.float32), -3 * known.vectors[:5]])
    expected = next(iter(calibration.apply(model.believe(vectors)).arrays().values()))
    graph = to_onnx(model, calibration, {"labels": "[]"})
    assert onnx.load_from_string(graph).metadata_props[0].key == "labels"
    for rows in (vectors, vectors[:1], vectors[:0]):
        np.testing.assert_allclose(run(graph, rows), expected[: len(rows)], atol=1e-5)

    estimator = to_sklearn(model, calibration, LABELS)
    np.testing.assert_allclose(estimator.predict_proba(vectors), expected, atol=1e-6)
    assert estimator.classes_.tolist() == list(LABELS)
    if kind == "single":
        assert estimator.predict(vectors).tolist() == [LABELS[i] for i in expected.argmax(axis=1)]
    else:
        assert (estimator.predict(vectors) == (expected > 0.5)).all()


def test_a_pipeline_takes_texts():
    from labelwise.represent.hashing import Hashing

    texts = [f"{word} number {n}" for n in range(10) for word in ("crash", "invoice", "thanks", "offer")]
    encoder = Hashing(dimensions=64).fit(texts, stream(0, "encoder"))
    known = Examples(Task("single", LABELS), np.arange(40) % 4, np.ones(40), encoder.encode(texts))
    model = Linear(grid=(10.0,)).fit(known, None, stream(0, "fit"))
    calibration = Temperature().fit(model.held_out, known.targets, known.weights)
    pipeline = to_sklearn(model, calibration, LABELS, encoder)
    assert pipeline.predict(["invoice number 77"]).tolist() == ["größe"]
    expected = calibration.apply(model.believe(known.vectors)).probs
    np.testing.assert_allclose(pipeline.predict_proba(texts), expected, atol=1e-6)


class Other:
    """A calibration or model that is not ours."""

    def apply(self, beliefs):
        return beliefs

    def state(self):
        return State()


def test_what_cannot_be_exported_is_said(monkeypatch):
    model = Linear(grid=(10.0,)).fit(examples(*CASES["single"]), None, stream(0, "fit"))
    with pytest.raises(InputError, match=r"calibration by Other.*safetensors"):
        to_onnx(model, Other(), {})
    for export in (lambda: to_onnx(Other(), Tempered(1.0), {}), lambda: to_sklearn(Other(), Tempered(1.0), LABELS)):
        with pytest.raises(InputError, match="Other cannot be exported; only models of the trainer 'linear'"):
            export()
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match=r"pip install 'labelwise\[onnx\]'"):
        to_onnx(model, Tempered(1.0), {})
