"""What every encoder promises. Each promise takes an encoder as configured (not yet fitted)."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

from labelwise.core.checks import ensure
from labelwise.core.protocols import Encoder, State
from labelwise.core.streams import stream

SEEDS = (0, 1)
SIZES = (0, 1, 5, 64)
TOLERANCE = 1e-5

SUBJECTS = ("the card", "my parcel", "this film", "la factura", "звонок", "请假申请", "el vuelo", "ภาพยนตร์")
VERBS = ("was late", "broke", "is great!", "no llegó", "не работает", "在哪里？", "costs too much", "arrived")
ENDS = ("again", "today?", "for 12 days", ":(", "— thanks", "in Boston", "👍", "and nobody answers")
CONTROLS = "".join(map(chr, [*range(1, 32), 127, *range(128, 160)]))
ODD = (
    "", " ", "\t\n\u3000", CONTROLS, "a", "?", "...", "!?", "5", "x" * 10_000, "word " * 2_000, "مرحبا بالعالم",
    "שלום עולם", "👩‍👩‍👧‍👦🏳️‍🌈", "caf\u00e9", "cafe\u0301", "ＦＵＬＬ ｗｉｄｔｈ", "\u200b", "\ufeffbom", "ok",
    "İstanbul ﬁ",
)  # fmt: skip


def texts(n: int, seed: int) -> list[str]:
    """n short made-up texts in several scripts."""
    rng = stream(seed, "encoder checks", n)
    picks = rng.integers(0, 8, size=(n, 3))
    return [f"{SUBJECTS[a]} {VERBS[b]} {ENDS[c]} {i % 97}" for i, (a, b, c) in enumerate(picks)]


def _fitted(encoder: Encoder, n: int = 64, seed: int = 0) -> Encoder:
    return encoder.fit(texts(n, seed), stream(seed, "encoder checks", "fit"))


def _apart(left: np.ndarray, right: np.ndarray) -> float:
    """The largest difference, infinite if the shapes differ or a value is not finite."""
    if left.shape != right.shape:
        return float("inf")
    apart = float(np.abs(left.astype(np.float64) - right).max(initial=0.0))
    return apart if np.isfinite(apart) else float("inf")


def gives_one_float32_row_per_text(encoder: Encoder) -> None:
    """``encode`` gives (n, dimensions) float32 for any n, 0 included, whatever the sample's size was."""
    for seed in SEEDS:
        for n in SIZES:
            fitted = _fitted(encoder, n, seed)
            ensure(type(fitted.dimensions) is int and fitted.dimensions > 0, "dimensions must be an int > 0")
            for m in (0, 1, 9):
                got = fitted.encode(texts(m, seed))
                wanted = (m, fitted.dimensions)
                ensure(isinstance(got, np.ndarray), f"encode gave {type(got).__name__}, not an array")
                ensure(got.shape == wanted, f"{m} texts (fitted on {n}) gave shape {got.shape}, not {wanted}")
                ensure(got.dtype == np.float32, f"encode gave {got.dtype}, not float32")


def keeps_its_dimensions_when_fitted(encoder: Encoder) -> None:
    """``dimensions`` is known before ``fit`` and stays, however small the sample."""
    for n in SIZES:
        found = _fitted(encoder, n).dimensions
        ensure(found == encoder.dimensions, f"{encoder.dimensions} dimensions became {found} on {n} texts")


def has_rows_of_unit_norm_or_zero(encoder: Encoder) -> None:
    """Every row is finite and has norm 1, or is all zeros; a text without content is all zeros."""
    for seed in SEEDS:
        for n in SIZES:
            fitted = _fitted(encoder, n, seed)
            got = fitted.encode([*texts(40, seed + 1), *ODD])
            norms = np.linalg.norm(got.astype(np.float64), axis=1)
            wrong = ~((np.abs(norms - 1) < 1e-4) | (norms == 0))
            ensure(not wrong.any(), f"fitted on {n} texts, row {int(wrong.argmax())} has norm {norms[wrong][:1]}")
            ensure(not fitted.encode(["", "  \n"]).any(), "a text without content must be all zeros")


def tells_texts_apart(encoder: Encoder) -> None:
    """Fitted on enough texts, most texts with content have a direction, and not all the same."""
    got = _fitted(encoder, 300).encode(texts(40, 1))
    ensure(bool((np.abs(got).max(axis=1) > 0).mean() > 0.5), "most texts with content became zeros")
    ensure(len(np.unique(np.round(got, 4), axis=0)) > 20, "different texts became the same vector")


def does_not_look_at_other_texts(encoder: Encoder) -> None:
    """A text's row is the same alone, in any batch and in any order (to 1e-5)."""
    for seed in SEEDS:
        fitted = _fitted(encoder, 64, seed)
        sample = [*texts(60, seed), *ODD]
        whole = fitted.encode(sample)
        order = stream(seed, "encoder checks", "order").permutation(len(sample))
        shuffled = fitted.encode([sample[i] for i in order])
        ensure(_apart(shuffled, whole[order]) <= TOLERANCE, "rows depend on the order of the texts")
        halves = np.concatenate([fitted.encode(sample[:33]), fitted.encode(sample[33:])])
        ensure(_apart(halves, whole) <= TOLERANCE, "rows depend on the batch")
        for i in range(0, len(sample), 5):
            ensure(_apart(fitted.encode([sample[i]]), whole[i : i + 1]) <= TOLERANCE, "a text alone has another row")


def is_decided_by_sample_and_generator(encoder: Encoder) -> None:
    """Fitted twice on the same sample with equal generators, it encodes alike (to 1e-5)."""
    for seed in SEEDS:
        for n in (1, 64):
            first, second = _fitted(encoder, n, seed), _fitted(encoder, n, seed)
            sample = texts(30, seed + 1)
            ensure(_apart(first.encode(sample), second.encode(sample)) <= TOLERANCE, "equal fits encode differently")


def does_not_change_by_fitting(encoder: Encoder) -> None:
    """``fit`` gives a new value: an encoder fitted earlier encodes as before, the sample is untouched."""
    before = repr(encoder)
    first = _fitted(encoder, 64, 0)
    sample = texts(30, 5)
    as_was = first.encode(sample).copy()
    other = texts(50, 9)
    kept = list(other)
    for once_more in (encoder, first):
        once_more.fit(other, stream(1, "encoder checks", "fit"))
    ensure(other == kept, "fit changed its sample")
    ensure(repr(encoder) == before, "fit changed the encoder's config")
    ensure(_apart(first.encode(sample), as_was) == 0.0, "a later fit changed an encoder fitted earlier")


def comes_back_from_its_state(encoder: Encoder) -> None:
    """``restore`` of a state that went through JSON and copied arrays encodes identically."""
    for n in SIZES:
        fitted = _fitted(encoder, n)
        state = fitted.state()
        arrays = {name: array.copy() for name, array in state.arrays.items()}
        again = encoder.restore(State(arrays, json.loads(json.dumps(dict(state.facts)))))
        sample = [*texts(30, 1), *ODD]
        ensure(_apart(again.encode(sample), fitted.encode(sample)) == 0.0, f"fitted on {n}, restored otherwise")
        ensure(again.dimensions == fitted.dimensions, "restored with other dimensions")


def has_a_state_of_arrays_and_facts(encoder: Encoder) -> None:
    """The state holds numeric arrays (no objects) and facts that JSON keeps as they are."""
    state = _fitted(encoder).state()
    ensure(isinstance(state, State), f"state() gave {type(state).__name__}, not State")
    for name, array in state.arrays.items():
        ensure(isinstance(array, np.ndarray), f"state.arrays[{name!r}] is {type(array).__name__}, not an array")
        ensure(array.dtype.kind in "biuf", f"state.arrays[{name!r}] has dtype {array.dtype}; use numbers")
    facts = dict(state.facts)
    ensure(json.loads(json.dumps(facts, allow_nan=False)) == facts, "JSON does not keep state.facts as they are")


def survives_odd_texts(encoder: Encoder) -> None:
    """Empty, blank, control, very long, right-to-left, emoji, decomposed and lone-sign texts, in fit and encode."""
    everyday, odd = _fitted(encoder), encoder.fit(ODD, stream(0, "encoder checks", "odd"))
    for fitted in (everyday, odd):
        for sample in (list(ODD), [*ODD, "\ud800 lone surrogate"]):
            got = fitted.encode(sample)
            ensure(got.shape == (len(sample), fitted.dimensions), f"odd texts gave shape {got.shape}")
            ensure(bool(np.isfinite(got).all()), "odd texts gave a value that is not finite")


PROMISES: tuple[Callable[[Encoder], None], ...] = (
    gives_one_float32_row_per_text,
    keeps_its_dimensions_when_fitted,
    has_rows_of_unit_norm_or_zero,
    tells_texts_apart,
    does_not_look_at_other_texts,
    is_decided_by_sample_and_generator,
    does_not_change_by_fitting,
    comes_back_from_its_state,
    has_a_state_of_arrays_and_facts,
    survives_odd_texts,
)
