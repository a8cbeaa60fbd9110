"""The tuned encoder: what it refuses, and on a tiny BERT that it learns, stores and repeats itself."""

from __future__ import annotations

import random
import socket
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from labelwise.core import DamagedRecord, Examples, InputError, Kind, MissingExtra, State, Task, Trainer, stream
from labelwise.core.checks.trainers import _examples, _noise
from labelwise.learn import tuning
from labelwise.learn.linear import Linear
from labelwise.learn.transformer import Transformer, TransformerModel
from tests.learn.encoders import tiny

EXTRA = "needs the extra: pip install 'labelwise[transformers]'"
QUICK = {"epochs": 3, "learning_rate": 1e-3, "threads": 1}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("torch", reason=EXTRA)
    pytest.importorskip("transformers", reason=EXTRA)
    return str(tiny(tmp_path_factory.mktemp("encoder") / "tiny"))


def fit(trainer: Transformer, examples: Examples, start: TransformerModel | None = None) -> TransformerModel:
    return trainer.fit(examples, start, stream(0, "fit"))


def same(one: TransformerModel, other: TransformerModel) -> bool:
    a, b = one.state().arrays, other.state().arrays
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", ""), ("epochs", 0), ("epochs", 2.0), ("batch", 0), ("learning_rate", 0.0),
        ("learning_rate", float("nan")), ("warmup", 1.0), ("frozen", -1), ("lora", -1), ("max_tokens", 2),
        ("folds", 1), ("patience", 0), ("shrink", 1.0), ("threads", -1), ("device", "cuda:7"),
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_named(field: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"transformer\.{field}: "):
        Transformer(**{"model": "folder", field: value})  # type: ignore[arg-type]


def test_is_a_trainer_of_texts() -> None:
    trainer = Transformer("folder")
    assert isinstance(trainer, Trainer)
    assert (trainer.reads, trainer.kinds) == ("texts", ("single", "multi"))


def test_a_missing_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"lacks tokenizer.json and model.safetensors\. .* nothing is downloaded"):
        fit(Transformer(str(tmp_path)), _examples(4, 2, 0))


def test_without_torch_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"pip install 'labelwise\[transformers\]'"):
        fit(Transformer(str(tmp_path)), _examples(4, 2, 0))


def test_wrong_examples_are_refused(tmp_path: Path) -> None:
    good = _examples(4, 2, 0)
    with pytest.raises(InputError, match=r"examples\.texts"):
        fit(Transformer(str(tmp_path)), replace(good, texts=None))
    with pytest.raises(InputError, match="'spans'"):
        fit(Transformer(str(tmp_path)), replace(good, task=Task("spans", ("a",))))


def test_changed_weights_and_lost_arrays_are_refused(tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_bytes(b"x")
    trainer = Transformer(str(tmp_path))
    parts = {"seen": np.arange(2), "coef": np.ones((2, 3)), "intercept": np.zeros(2), "rest": np.zeros(2)}
    facts = {"kind": "single", "base": tuning.fingerprint(str(tmp_path))}
    trainer.restore(State(parts, facts))
    with pytest.raises(DamagedRecord, match="lacks 'coef'"):
        trainer.restore(State({"seen": parts["seen"]}, facts))
    (tmp_path / "model.safetensors").write_bytes(b"y" * 2)
    with pytest.raises(DamagedRecord, match="tuned from an encoder with fingerprint"):
        trainer.restore(State(parts, facts))


@pytest.mark.parametrize("broken", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_damaged_folder_is_one_clear_error(base: str, tmp_path: Path, broken: str) -> None:
    for path in Path(base).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / broken).write_bytes(b"{")
    with pytest.raises(InputError, match=r"transformer\.model: "):
        fit(Transformer(str(tmp_path)), _examples(4, 2, 0))


def test_too_many_frozen_layers_and_tokens_are_refused(base: str) -> None:
    with pytest.raises(InputError, match=r"leaves none of 2 layers"):
        fit(Transformer(base, frozen=2), _examples(4, 2, 0))
    with pytest.raises(InputError, match=r"max_tokens: 129 is not possible; .* at most 128"):
        fit(Transformer(base, max_tokens=129), _examples(4, 2, 0))


def test_a_rate_that_diverges_is_refused(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tuning.Encoder.features
    calls = iter(range(10**6))
    monkeypatch.setattr(
        tuning.Encoder, "features", lambda self, rows: whole(self, rows) * (float("nan") if next(calls) > 2 else 1.0)
    )
    with pytest.raises(InputError, match=r"learning_rate: with 0\.9 the loss is no number in epoch 1"):
        fit(Transformer(base, learning_rate=0.9, folds=0, threads=1), _examples(60, 2, 0))


def test_only_the_trained_layers_change_and_are_stored(base: str) -> None:
    examples = _examples(30, 2, 0)
    sizes = {}
    for name, settings in {"all": {}, "frozen": {"frozen": 1}, "lora": {"lora": 2}}.items():
        model = fit(Transformer(base, folds=0, **QUICK, **settings), examples)  # type: ignore[arg-type]
        arrays = model.state().arrays
        sizes[name] = sum(array.size for n, array in arrays.items() if n.startswith("encoder/"))
        assert all(array.dtype == np.float16 for n, array in arrays.items() if n.startswith("encoder/"))
        assert not any("embeddings" in n for n in arrays)
        assert not any("layer.0." in n for n in arrays) or name != "frozen"
    layer = 4 * (32 * 32 + 32) + 2 * 32 * 64 + 64 + 32 + 4 * 32
    assert sizes == {"all": 2 * layer, "frozen": layer, "lora": 2 * 2 * (4 * 64 + 2 * (32 + 64))}


def test_lora_learns_and_comes_back(base: str) -> None:
    pytest.importorskip("peft", reason=EXTRA)
    examples = _examples(60, 3, 1)
    trainer = Transformer(base, lora=4, folds=0, **{**QUICK, "learning_rate": 1e-2})
    model = fit(trainer, examples)
    told = model.believe(examples.texts)
    assert np.mean(told.hard() == examples.targets) > 0.95
    assert any(np.abs(array).max() > 0 for name, array in model.weights.items() if "lora_B" in name)
    again = trainer.restore(model.state()).believe(examples.texts)
    assert np.array_equal(again.arrays()["categorical"], told.arrays()["categorical"])


def test_zero_epochs_are_the_linear_model(base: str) -> None:
    model = fit(Transformer(base, **{**QUICK, "patience": 1}), _noise(40, 0))
    assert model.facts["epochs"] == 0
    assert not model.weights
    assert model.facts["cv_log_loss"][0] <= 1.01 * min(model.facts["cv_log_loss"])


def test_held_out_beliefs_are_those_of_the_chosen_epoch(base: str) -> None:
    examples = _examples(40, 2, 3)
    model = fit(Transformer(base, **QUICK), examples)
    assert model.held_out is not None
    loss = float(model.held_out.surprise(examples.targets).mean())
    assert loss == pytest.approx(model.facts["cv_log_loss"][model.facts["epochs"]], abs=1e-6)
    least = min(model.facts["cv_log_loss"])
    assert model.facts["cv_log_loss"][model.facts["epochs"]] <= 1.01 * least
    assert all(loss > 1.01 * least for loss in model.facts["cv_log_loss"][: model.facts["epochs"]])


def test_without_folds_all_epochs_are_taken_and_nothing_is_held_out(base: str) -> None:
    model = fit(Transformer(base, folds=0, **QUICK), _examples(30, 2, 0))
    assert (model.held_out, model.facts["epochs"]) == (None, 3)


def test_a_start_is_used_only_where_shrink_says_so(base: str, tmp_path: Path) -> None:
    examples = _examples(40, 2, 0)
    cold = Transformer(base, folds=0, **QUICK)
    earlier = fit(cold, examples.take(np.arange(20)))
    assert same(fit(cold, examples, earlier), fit(cold, examples))
    warm = replace(cold, shrink=0.5)
    started = fit(warm, examples, earlier)
    assert (started.facts["started"], started.facts["epochs"]) == (True, 2)
    assert np.mean(started.believe(examples.texts).hard() == examples.targets) > 0.9
    for other in (replace(cold, frozen=1), replace(cold, model=str(tiny(tmp_path / "other", seed=1)))):
        assert not fit(warm, examples, fit(other, examples)).facts["started"]


def test_mixing_lies_between_the_weights(base: str) -> None:
    pytest.importorskip("torch")
    encoder = tuning.load(Transformer(base))
    before = {name: value.detach().numpy().copy() for name, value in encoder.trained.items()}
    encoder.mix({name: array + 1 for name, array in before.items()}, 0.25)
    gap = max(np.abs(encoder.trained[name].detach().numpy() - array - 0.25).max() for name, array in before.items())
    assert gap < 1e-6
    with pytest.raises(DamagedRecord, match="not those of its base"):
        encoder.mix({}, 0.25)


def test_nothing_global_is_left_behind(base: str) -> None:
    import torch

    before = torch.get_rng_state(), torch.get_num_threads(), random.getstate()
    fit(Transformer(base, **{**QUICK, "threads": 2}), _examples(30, 2, 0))
    after = torch.get_rng_state(), torch.get_num_threads(), random.getstate()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_an_interrupt_leaves_threads_and_generators_as_they_were(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    before = torch.get_rng_state()
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", stop)
    with pytest.raises(KeyboardInterrupt):
        fit(Transformer(base, **QUICK), _examples(30, 2, 0))
    assert torch.equal(before, torch.get_rng_state())


def test_odd_texts_are_read(base: str) -> None:
    texts = ["", " ", "\ud800 word1", "word1 " * 5000, "\U0001f600", "word0"]
    examples = Examples(Task("single", ("a", "b")), np.arange(6) % 2, np.ones(6), None, texts)
    model = fit(Transformer(base, **QUICK), examples)
    assert np.isfinite(model.believe(texts).arrays()["categorical"]).all()
    assert len(model.believe([])) == 0
    for wrong in ("one text", np.zeros((2, 32))):
        with pytest.raises(InputError, match="reads a list of texts"):
            model.believe(wrong)


def test_beliefs_do_not_depend_on_who_sits_beside(base: str) -> None:
    examples = _examples(30, 2, 0)
    model = fit(Transformer(base, folds=0, **QUICK), examples)
    together = model.believe(examples.texts).arrays()["categorical"]
    alone = np.concatenate([model.believe([text]).arrays()["categorical"] for text in examples.texts or ()])
    assert np.abs(together - alone).max() < 1e-5


def test_weights_that_do_not_fill_the_network_are_refused(base: str, tmp_path: Path) -> None:
    deep = tiny(tmp_path / "deep", layers=3)
    (deep / "model.safetensors").write_bytes((Path(base) / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match=r"its weights lack encoder\.layer\.2"):
        fit(Transformer(str(deep)), _examples(4, 2, 0))


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_training_begins_at_the_optimum_of_its_objective(kind: Kind) -> None:
    torch = pytest.importorskip("torch", reason=EXTRA)
    examples = replace(_examples(90, 3, 0, kind=kind), weights=stream(0, "weights").random(90) + 0.5)
    model = Linear().fit(examples, None, stream(0, "fit"))
    coef, intercept = (torch.tensor(part, requires_grad=True) for part in (model.head.coef, model.head.intercept))
    logits = torch.nn.functional.linear(torch.tensor(examples.vectors, dtype=torch.float64), coef, intercept)
    weights = torch.tensor(examples.weights / examples.weights.mean())
    penalty = 1 / (model.facts["c"] * len(examples))
    tuning.objective(logits, torch.tensor(examples.targets), weights, coef, penalty).backward()
    assert max(coef.grad.abs().max(), intercept.grad.abs().max()) < 1e-5


def test_no_network_is_touched(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: tried.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *names, **_: tried.append(names) or [])
    examples = _examples(8, 2, 0)
    fit(Transformer(base, folds=0, **QUICK), examples).believe(examples.texts)
    assert tried == []
