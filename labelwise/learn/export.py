"""A trained linear model for other programs: an ONNX graph, or a fitted scikit-learn estimator.

Both answer as ``calibration.apply(model.believe(vectors))`` does, labels that nobody has given yet
included. A graph begins at vectors: ONNX has no operator for our tokenizers, so whoever runs it
encodes the texts with the encoder that the model was trained with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labelwise.core import Calibration, Encoder, InputError, MissingExtra
from labelwise.learn.adaptive import Chosen
from labelwise.learn.forms import TINY
from labelwise.learn.heads import Head
from labelwise.learn.linear import LinearModel
from labelwise.learn.temperature import Tempered
from labelwise.learn.vector import Scaled

OPSET, IR = 17, 8
"""Old enough for any onnxruntime of the last years, new enough for all operators used."""


def to_onnx(model: Any, calibration: Calibration, notes: Mapping[str, str]) -> bytes:
    """The graph vectors (n, d) float32 -> probabilities (n, c) float32; ``notes`` become its metadata.

    InputError for a model that is not linear or a calibration that is neither a temperature nor vector
    scaling, MissingExtra without the package ``onnx``.
    """
    head, line = _linear(model).head, _line(calibration)
    try:
        import onnx
    except ImportError:
        raise MissingExtra("writing ONNX", "onnx") from None
    nodes, weights, last = _graph(head, *line)
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output], **settings) for kind, inputs, output, settings in nodes]
        + [helper.make_node("Identity", [last], ["probabilities"])],
        "labelwise",
        [helper.make_tensor_value_info("vectors", real, ["n", head.coef.shape[1]])],
        [helper.make_tensor_value_info("probabilities", real, ["n", len(head.rest)])],
        [onnx.numpy_helper.from_array(np.asarray(value, dtype=np.float32), name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(graph, producer_name="labelwise", opset_imports=opset, ir_version=IR)
    helper.set_model_props(made, dict(notes))
    onnx.checker.check_model(made, full_check=True)
    return bytes(made.SerializeToString())


def to_sklearn(model: Any, calibration: Calibration, labels: Sequence[str], encoder: Encoder | None = None) -> Any:
    """A fitted estimator: ``LinearClassifier`` on vectors or, with an encoder, a Pipeline on texts.

    It can be fitted again like any other. InputError for a model that is not linear.
    """
    from labelwise.learn.estimator import fitted

    classifier = fitted(_linear(model), calibration, tuple(labels))
    if encoder is None:
        return classifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    return Pipeline([("encode", FunctionTransformer(encoder.encode)), ("classify", classifier)])


def _linear(model: Any) -> LinearModel:
    if isinstance(model, LinearModel):
        return model
    raise InputError(f"a {type(model).__name__} cannot be exported; only models of the trainer 'linear' can.")


def _line(calibration: Calibration) -> tuple[Any, Any]:
    """Slope and offset, of all labels or of each (c,), that the calibration applies to log-probabilities."""
    if isinstance(calibration, Chosen):
        return _line(calibration.calibration)
    if isinstance(calibration, Tempered):
        return 1.0 / calibration.temperature, 0.0
    if isinstance(calibration, Scaled):
        return calibration.slopes, calibration.offsets
    raise InputError(
        f"a calibration by {type(calibration).__name__} has no ONNX form here; "
        "use the calibrator 'temperature' or 'vector', or export to .safetensors."
    )


Node = tuple[str, list[str], str, dict[str, Any]]


def _graph(head: Head, slope: Any, offset: Any) -> tuple[list[Node], dict[str, Any], str]:
    """The nodes, their constants, and the name of the last value: the same steps as ``Head.probs`` and ``scaled``."""
    nodes: list[Node] = []
    weights: dict[str, Any] = {}

    def step(kind: str, *inputs: str, **settings: Any) -> str:
        nodes.append((kind, list(inputs), f"v{len(nodes)}", settings))
        return nodes[-1][2]

    def constant(name: str, value: Any) -> str:
        weights[name] = value
        return name

    softmax, learned = head.link == "softmax", max(len(head.seen), 1)  # a graph has no tensors without rows
    spread = np.zeros((learned, len(head.rest)))
    spread[np.arange(len(head.seen)), head.seen] = 1.0 - head.rest.sum() if softmax else 1.0
    rest = head.rest.copy()
    rest[head.seen] = 0.0
    coef, intercept = np.zeros((learned, head.coef.shape[1])), np.zeros(learned)
    coef[: len(head.seen)], intercept[: len(head.seen)] = head.coef, head.intercept
    last = step("Gemm", "vectors", constant("coef", coef), constant("intercept", intercept), transB=1)
    last = step("Softmax", last, axis=1) if softmax else _sigmoid(step, constant, last)
    # every label learned in its own column, what nobody has given yet in the others
    last = step("Add", step("MatMul", last, constant("columns", spread)), constant("rest", rest))
    if np.all(slope == 1.0) and not np.any(offset):
        return nodes, weights, last
    tiny = constant("tiny", TINY)

    def line(logits: str) -> str:
        return step("Add", step("Mul", logits, constant("slope", slope)), constant("offset", offset))

    log = step("Log", step("Max", last, tiny))
    if softmax:
        return nodes, weights, step("Softmax", line(log), axis=1)
    other = step("Log", step("Max", step("Sub", constant("one", 1.0), last), tiny))
    return nodes, weights, step("Sigmoid", line(step("Sub", log, other)))


def _sigmoid(step: Any, constant: Any, logits: str) -> str:
    """By the hyperbolic tangent, as the model does, so that also a probability near 0 is rounded alike."""
    half = constant("half", 0.5)
    return str(step("Add", step("Mul", step("Tanh", step("Mul", logits, half)), half), half))
