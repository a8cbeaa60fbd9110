"""A local encoder folder as a network that can be tuned (extra ``transformers``). Nothing is downloaded.

Any folder in the form that ``transformers`` writes: config.json, tokenizer.json and weights as
safetensors. A text is the mean of its token vectors, scaled to unit norm, as sentence encoders
are used. What trains is the layers above the frozen ones, or low-rank additions to them (Hu et
al. 2022, "LoRA"); token embeddings never do: a few hundred labels touch few of their rows, and
they are half of a small encoder.
"""

from __future__ import annotations

import functools
import hashlib
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from labelwise.core import DamagedRecord, InputError, MissingExtra
from labelwise.core.text import normalised

if TYPE_CHECKING:
    from labelwise.learn.transformer import Transformer

Array = npt.NDArray[Any]
CHARACTERS = 64
"""What is read of a text for each token, in code points: beyond it a single text could hold up a batch."""
CHUNK = 8
"""Batches among which texts are sorted by length, so that little of a batch is padding."""
DECAY, LONGEST = 0.01, 1.0
"""Weight decay of the encoder and the longest gradient, as in Devlin et al. 2019, "BERT"."""
HEAD = 100.0
"""How many times faster the head learns: its weights are that much larger (benchmarks/finetuning.py)."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """A loaded network; ``trained`` are its parameters that training may change, by name."""

    settings: Transformer
    net: Any
    tokenizer: Any
    device: Any
    trained: Mapping[str, Any]

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token numbers of every text, special tokens included, at most ``max_tokens``."""
        cap = CHARACTERS * self.settings.max_tokens
        read = [normalised(text[:cap]).encode("utf-8", "ignore").decode("utf-8") for text in texts]
        return [piece.ids for piece in self.tokenizer.encode_batch(read)]

    def features(self, tokens: Sequence[list[int]]) -> Any:
        """(b, d) tensor, float32 of unit norm; bfloat16 inside on a GPU that has it."""
        import torch

        lengths = torch.tensor([len(piece) for piece in tokens])
        ids = torch.full((len(tokens), max(1, int(lengths.max()))), self.net.config.pad_token_id or 0)
        for row, piece in enumerate(tokens):
            ids[row, : len(piece)] = torch.tensor(piece)
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        ids, mask = ids.to(self.device), mask.to(self.device)
        mixed = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            hidden = self.net(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        total = (hidden.float() * mask[..., None]).sum(dim=1)
        return torch.nn.functional.normalize(total, dim=1)  # the mean's direction is the sum's

    def encode(self, texts: Sequence[str]) -> Array:
        """(n, d) float32 vectors of unit norm."""
        import torch

        tokens, size = self.tokens(texts), 2 * self.settings.batch
        out = np.zeros((len(texts), self.net.config.hidden_size), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda row: len(tokens[row]))
        self.net.eval()
        with torch.inference_mode():
            for start in range(0, len(order), size):
                rows = order[start : start + size]
                out[rows] = self.features([tokens[row] for row in rows]).cpu().numpy()
        return out

    def weights(self) -> dict[str, Array]:
        """What training changed, as float16; float32 where that is too narrow."""
        full = {name: value.detach().cpu().numpy() for name, value in self.trained.items()}
        limit = np.finfo(np.float16).max
        return {n: a.astype(np.float16) if np.abs(a).max(initial=0) <= limit else a.copy() for n, a in full.items()}

    def mix(self, weights: Mapping[str, Array], share: float) -> None:
        """Make the trained parameters ``share`` of these weights and the rest of what they are.

        With a share below 1 this is shrink and perturb (Ash and Adams 2020, "On Warm-Starting Neural
        Network Training") about the pre-trained weights: what has none is drawn anew. DamagedRecord if
        names or shapes are not those of this network.
        """
        import torch

        shapes = {name: tuple(value.shape) for name, value in self.trained.items()}
        if {name: array.shape for name, array in weights.items()} != shapes:
            raise DamagedRecord("a tuned encoder's weights are not those of its base; train the model again.")
        with torch.no_grad():
            for name, value in self.trained.items():
                told = torch.from_numpy(weights[name].astype(np.float32))
                value.lerp_(told.to(value.device), share) if share < 1 else value.copy_(told)


def load(settings: Transformer) -> Encoder:
    """The base network of a folder on the device, ready to tune; randomness from torch's generator (LoRA only).

    Raises InputError for a folder that cannot be used, MissingExtra without the packages.
    """
    try:
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModel
        from transformers.utils import logging
    except ImportError:
        raise MissingExtra("trainer transformer", "transformers") from None
    folder = files(settings.model)[0].parent
    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        net, found = AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32,
            output_loading_info=True,
        )  # fmt: skip
        lost = sorted(name for name in found["missing_keys"] if "pooler." not in name)
        if lost:  # transformers would draw them at random
            raise ValueError(f"its weights lack {lost[0]}, which its config.json asks for")
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"transformer.model: {str(folder)!r} cannot be loaded as an encoder ({str(error).splitlines()[0]}). "
            "Give a folder that transformers' AutoModel reads."
        ) from None
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
    room = getattr(net.config, "max_position_embeddings", settings.max_tokens)
    if settings.max_tokens > room:
        raise InputError(
            f"transformer.max_tokens: {settings.max_tokens} is not possible; {folder.name} reads at most {room}."
        )
    if getattr(net, "pooler", None) is not None:
        net.pooler = None  # reads the first token alone, which nothing here uses
    device = torch.device("cuda" if settings.device == "auto" and torch.cuda.is_available() else "cpu")
    return Encoder(settings, net.to(device), _tokenizer(settings), device, _trained(net, settings, device))


def _trained(net: Any, settings: Transformer, device: Any) -> dict[str, Any]:
    """The parameters that may change, all others frozen; with LoRA the network is given its additions."""
    from torch import nn

    stacks = [list(module) for module in net.modules() if isinstance(module, nn.ModuleList)]
    every = max(stacks, key=lambda stack: len(stack), default=[])
    layers = every[settings.frozen :]
    if not layers:
        raise InputError(
            f"transformer.frozen: {settings.frozen} leaves none of {len(every)} layers to train; "
            "freeze fewer, or use the trainer 'linear' on the vectors of this encoder."
        )
    net.requires_grad_(False)
    if settings.lora:
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError:
            raise MissingExtra("transformer.lora", "transformers") from None
        plan = LoraConfig(r=settings.lora, lora_alpha=2 * settings.lora, target_modules="all-linear")
        inject_adapter_in_model(plan, net)
        net.requires_grad_(False)
        net.to(device)
    wanted = {id(value) for layer in layers for value in layer.parameters()}
    return {
        name: value.requires_grad_()
        for name, value in net.named_parameters()
        if id(value) in wanted and (not settings.lora or ".lora_" in name)
    }


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What to learn: texts, targets of the seen labels ((n,) codes or (n, k) bool), weights (n,) of mean one.

    penalty: what half the head's squared length costs, as in ``logistic``. Without it the head would grow
    until its examples are certain, which takes one epoch and leaves the encoder nothing to learn from.
    """

    texts: Sequence[str]
    targets: Array
    weights: Array
    penalty: float


def tuned(
    encoder: Encoder, coef: Array, intercept: Array, lesson: Lesson, epochs: int, seed: int
) -> Iterator[tuple[Array, Array]]:
    """Train the encoder in place together with a linear head (k, d), (k,); yield the head after every epoch.

    AdamW with linear warm-up and decay over all epochs, however many are taken. Raises InputError if the
    loss is not finite any more. O(n tokens parameters) per epoch.
    """
    import torch
    from torch.nn import functional

    settings, rng = encoder.settings, np.random.default_rng(seed)
    head = [torch.tensor(part, dtype=torch.float32, device=encoder.device, requires_grad=True)
            for part in (coef, intercept)]  # fmt: skip
    body, rate = list(encoder.trained.values()), settings.learning_rate
    groups = [
        {"params": body, "lr": rate, "weight_decay": DECAY},
        {"params": head, "lr": HEAD * rate, "weight_decay": 0.0},
    ]
    optimizer, tokens = torch.optim.AdamW(groups), encoder.tokens(lesson.texts)
    rates = [group["lr"] for group in optimizer.param_groups]
    step, steps = 0, epochs * -(-len(tokens) // settings.batch)
    warm = settings.warmup * steps
    for epoch in range(epochs):
        encoder.net.train()
        for rows in _batches(tokens, settings.batch, rng):
            factor = min((step + 1) / max(warm, 1), (steps - step) / max(steps - warm, 1))
            for group, full in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = full * min(factor, 1.0)
            logits = functional.linear(encoder.features([tokens[row] for row in rows]), head[0], head[1])
            truth, weights = (
                torch.from_numpy(part[rows]).to(encoder.device) for part in (lesson.targets, lesson.weights)
            )
            loss = objective(logits, truth, weights, head[0], lesson.penalty)
            if not torch.isfinite(loss):
                raise InputError(
                    f"transformer.learning_rate: with {rate!r} the loss is no number in epoch {epoch + 1}; choose less."
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_([*body, *head], LONGEST)
            optimizer.step()
            step += 1
        yield head[0].detach().cpu().numpy().copy(), head[1].detach().cpu().numpy().copy()


def objective(logits: Any, truth: Any, weights: Any, coef: Any, penalty: float) -> Any:
    """What ``logistic`` minimises, of one batch: weighted mean loss of texts and the price of the head's length."""
    from torch.nn import functional

    if truth.ndim == 1:
        losses = functional.cross_entropy(logits, truth, reduction="none")
    else:
        losses = functional.binary_cross_entropy_with_logits(logits, truth.to(logits.dtype), reduction="none").sum(1)
    return (losses * weights.to(logits.dtype)).mean() + 0.5 * penalty * coef.square().sum()


def _batches(tokens: Sequence[list[int]], size: int, rng: np.random.Generator) -> Iterator[Array]:
    """Every row once, in batches of texts of like length, in random order."""
    order = rng.permutation(len(tokens))
    lengths = np.array([len(piece) for piece in tokens])
    batches = []
    for start in range(0, len(order), CHUNK * size):
        rows = order[start : start + CHUNK * size]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[first : first + size] for first in range(0, len(rows), size)]
    for i in rng.permutation(len(batches)):
        yield batches[i]


@contextmanager
def isolated(seed: int, threads: int) -> Iterator[None]:
    """Torch seeded and on so many threads (0 = every core) inside; its generators and threads as before after it."""
    try:
        import torch
    except ImportError:
        raise MissingExtra("trainer transformer", "transformers") from None
    before, python = torch.get_num_threads(), random.getstate()
    try:
        with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_available() else []):
            torch.manual_seed(seed)
            torch.set_num_threads(threads or cores())
            yield
    finally:
        random.setstate(python)
        torch.set_num_threads(before)


def cores() -> int:
    """Cores free to this process, or what it was told to use of them."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(told) if told.isdigit() else free)


def files(folder: str) -> list[Path]:
    """config.json, tokenizer.json and the weights of a folder; InputError says what is missing."""
    place = Path(folder).expanduser()
    needed = [place / "config.json", place / "tokenizer.json"]
    weights = sorted(place.glob("model*.safetensors"))
    missing = [path.name for path in needed if not path.is_file()] + ([] if weights else ["model.safetensors"])
    if missing:
        raise InputError(
            f"transformer.model: {str(place)!r} lacks {' and '.join(missing)}. Give a local folder of an encoder "
            "as transformers' save_pretrained writes it; nothing is downloaded."
        )
    return [*needed, *weights]


def fingerprint(folder: str) -> str:
    """BLAKE2b-128 over config, tokenizer and weights, in hex; worked out again when a file was changed."""
    found = [(path, path.stat()) for path in files(folder)]
    return _hash(tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in found))


@functools.lru_cache(maxsize=8)
def _hash(found: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path, size, _ in found:
        digest.update(f"{Path(path).name} {size}\n".encode())
        with open(path, "rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def _tokenizer(settings: Transformer) -> Any:
    from tokenizers import Tokenizer

    path = files(settings.model)[1]
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001  the tokenizers package raises nothing narrower
        raise InputError(f"transformer.model: {str(path)!r} is no tokenizer ({error}).") from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(settings.max_tokens)
    return tokenizer
