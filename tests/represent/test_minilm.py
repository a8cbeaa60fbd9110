"""Pooling, masking and batching against numpy, on an embedding table dressed up as a transformer."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from labelwise.core import DamagedRecord, InputError, MissingExtra, stream
from labelwise.core.checks import promises
from labelwise.represent.minilm import MiniLM

VOCABULARY = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "card": 4, "late": 5, "my": 6, "where": 7}
TABLE = np.random.default_rng(0).normal(size=(len(VOCABULARY), 6)).astype(np.float32)


def write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(length=40)  # as many published folders have it; must be undone
    tokenizer.save(str(folder / "tokenizer.json"))


def write_model(path: Path, *, pooled: bool = False) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    ids = [helper.make_tensor_value_info(n, TensorProto.INT64, ["n", "t"]) for n in ("input_ids", "attention_mask")]
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["tokens"])]
    shape: list[str | int] = ["n", "t", 6]
    if pooled:
        nodes.append(helper.make_node("ReduceMax", ["tokens"], ["pooled"], axes=[1], keepdims=0))
        shape = ["n", 6]
    output = helper.make_tensor_value_info("pooled" if pooled else "tokens", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "tiny", ids, [output], [numpy_helper.from_array(TABLE, "table")])
    path.parent.mkdir(exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tiny")
    write_tokenizer(place)
    write_model(place / "onnx" / "model.onnx")
    return place


def expected(texts: list[str], most: int = 256) -> np.ndarray:
    out = np.zeros((len(texts), 6))
    for row, text in enumerate(texts):
        if text.split():
            ids = [2, *[VOCABULARY.get(word, 1) for word in text.split()][: most - 2], 3]
            out[row] = TABLE[ids].mean(axis=0)
            out[row] /= np.linalg.norm(out[row])
    return out


@pytest.mark.parametrize("batch", [1, 2, 3, 32])
def test_means_leave_out_padding_whatever_the_batch(folder: Path, batch: int) -> None:
    texts = ["card", "where my card late late late", "", "my my", "unheard card", " ", "late " * 30]
    encoder = MiniLM(str(folder), batch=batch)
    assert encoder.dimensions == 6
    np.testing.assert_allclose(encoder.encode(texts), expected(texts), atol=1e-6)


def test_reads_no_more_tokens_than_allowed(folder: Path) -> None:
    texts = ["card late my where", "my"]
    encoder = MiniLM(str(folder), max_tokens=4)
    np.testing.assert_allclose(encoder.encode(texts), expected(texts, 4), atol=1e-6)


@pytest.mark.parametrize("promise", [name for name in promises("encoders") if name != "tells_texts_apart"])
def test_keeps_the_promises_of_encoders(folder: Path, promise: str) -> None:
    """All but one: a vocabulary of four words cannot tell the suite's texts apart."""
    promises("encoders")[promise](MiniLM(str(folder)))


def test_refuses_other_files_under_the_same_name(folder: Path, tmp_path: Path) -> None:
    state = MiniLM(str(folder)).fit([], stream(0, "fit")).state()
    write_tokenizer(tmp_path)
    write_model(tmp_path / "model.onnx")
    assert MiniLM(str(tmp_path)).restore(state).folder == str(tmp_path)  # the same files elsewhere
    with pytest.raises(DamagedRecord, match="max_tokens = 256, but here it is 128"):
        MiniLM(str(tmp_path), max_tokens=128).restore(state)


def test_names_the_missing_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lacks tokenizer\.json and model\.onnx or onnx/model\.onnx"):
        MiniLM(str(tmp_path / "nowhere")).encode(["a"])
    write_tokenizer(tmp_path)
    with pytest.raises(InputError, match=r"lacks model\.onnx or onnx/model\.onnx\. Give a local"):
        MiniLM(str(tmp_path)).encode(["a"])


def test_refuses_a_model_that_has_pooled_already(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    write_model(tmp_path / "model.onnx", pooled=True)
    with pytest.raises(InputError, match="no text encoder with one vector per token"):
        MiniLM(str(tmp_path)).encode(["a"])


def test_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tokenizer(tmp_path)
    write_model(tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"labelwise\[minilm\]"):
        MiniLM(str(tmp_path)).encode(["a"])


@pytest.mark.parametrize("given", [{"folder": ""}, {"batch": 0}, {"max_tokens": 2}, {"threads": -1}])
def test_refuses_numbers_out_of_range(given: dict) -> None:
    with pytest.raises(InputError, match=f"minilm.{next(iter(given))}"):
        MiniLM(**{"folder": "somewhere", **given})
