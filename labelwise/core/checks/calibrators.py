"""What every calibrator promises."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from labelwise.core.beliefs import Beliefs, Categorical, Committee, Multilabel, Tagged
from labelwise.core.checks import ensure
from labelwise.core.protocols import Calibration, Calibrator
from labelwise.core.streams import stream
from labelwise.core.tokens import Tags

Array = npt.NDArray[Any]
Case = tuple[str, Beliefs, Any]

SIZES = ((15, 2, 0), (120, 4, 1), (1000, 9, 2))  # texts, classes, seed


def _softmax(logits: Array) -> Array:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def _draw(probs: Array, rng: np.random.Generator) -> Array:
    """(n,) truths drawn from the rows, so that the rows are perfectly calibrated."""
    return np.asarray((probs.cumsum(axis=1) < rng.random((len(probs), 1))).sum(axis=1).clip(max=probs.shape[1] - 1))


def _cases(n: int, c: int, seed: int, sharpness: float) -> list[Case]:
    """Beliefs of every form whose logits are ``sharpness`` times the honest ones, with the truth."""
    rng = stream(seed, "calibrator check", n)
    logits = 1.5 * rng.standard_normal((n, c))
    honest = _softmax(logits)
    stated = _softmax(sharpness * logits).astype(np.float32)
    truth = _draw(honest, rng)
    sigmoid = 1 / (1 + np.exp(-logits))
    members = tuple(Categorical(_softmax(sharpness * (logits + 0.3 * rng.standard_normal((n, c))))) for _ in range(3))
    offsets = np.unique(np.concatenate([[0, n], np.arange(0, n, 3)]))
    return [
        ("Categorical", Categorical(stated), truth),
        ("Multilabel", Multilabel(1 / (1 + np.exp(-sharpness * logits))), rng.random((n, c)) < sigmoid),
        ("Tagged", Tagged(stated, offsets), Tags(truth, offsets)),
        ("Committee", Committee(members), truth),
    ]


def _fit(calibrator: Calibrator, beliefs: Beliefs, truth: Any) -> Calibration:
    return calibrator.fit(beliefs, truth, np.ones(len(beliefs)))


def _loss(beliefs: Beliefs, truth: Any) -> float:
    return float(beliefs.surprise(truth).mean())


def _same(one: Beliefs, other: Beliefs, tolerance: float) -> bool:
    a, b = one.arrays(), other.arrays()
    return a.keys() == b.keys() and all(np.allclose(a[k], b[k], rtol=0, atol=tolerance) for k in a)


def keeps_the_form(calibrator: Calibrator) -> None:
    """Out comes the form that went in, with the same shape, texts and, for one answer or tag, valid rows."""
    for n, c, seed in SIZES:
        for name, beliefs, truth in _cases(n, c, seed, 3.0):
            after = _fit(calibrator, beliefs, truth).apply(beliefs)
            ensure(type(after) is type(beliefs), f"{name} became {type(after).__name__}")
            before_shapes = {key: array.shape for key, array in beliefs.arrays().items()}
            after_shapes = {key: array.shape for key, array in after.arrays().items()}
            ensure(before_shapes == after_shapes, f"{name} of shapes {before_shapes} became {after_shapes}")


def keeps_clear_answers(calibrator: Calibrator) -> None:
    """It changes how sure an answer is: where classes are alike, few answers turn, and only torn ones.

    At most one in ten of a thousand texts, one in four of fewer; none that led by more than three
    quarters. Committees are excepted, since their mean may turn.
    """
    for n, c, seed in SIZES:
        for name, beliefs, truth in _cases(n, c, seed, 2.5):
            if name == "Committee":
                continue
            after = _fit(calibrator, beliefs, truth).apply(beliefs)
            old, new = (said.codes if isinstance(said, Tags) else said for said in (beliefs.hard(), after.hard()))
            turned = np.asarray(new != old)
            ensure(
                float(turned.mean()) <= (0.1 if n >= 1000 else 0.25), f"{turned.mean():.1%} of {name} answers changed"
            )
            probs = next(array for array in beliefs.arrays().values() if array.ndim == 2)
            lead = np.abs(2 * probs - 1) if name == "Multilabel" else Categorical(probs).margin()
            ensure(not (turned & (lead > 0.75)).any(), f"{name} answers that led by more than three quarters changed")


def never_worsens_log_loss(calibrator: Calibrator) -> None:
    """On the data it was fitted to, log-loss does not rise, whether beliefs were too sure, too timid or right."""
    for n, c, seed in SIZES:
        for sharpness in (0.3, 1.0, 4.0):
            for name, beliefs, truth in _cases(n, c, seed, sharpness):
                after = _fit(calibrator, beliefs, truth).apply(beliefs)
                rise = _loss(after, truth) - _loss(beliefs, truth)
                ensure(rise <= 1e-6, f"log-loss of {name} rose by {rise:.3g} with {n} texts")


def mends_overconfident_beliefs(calibrator: Calibrator) -> None:
    """Beliefs with tripled logits lose at least half of the log-loss that the tripling cost, on new texts."""
    for seed in (3, 4):
        stated = {name: (beliefs, truth) for name, beliefs, truth in _cases(2000, 4, seed, 3.0)}
        honest = {name: beliefs for name, beliefs, _ in _cases(2000, 4, seed, 1.0)}
        half = np.arange(1000)
        for name in ("Categorical", "Multilabel"):
            beliefs, truth = stated[name]
            calibration = _fit(calibrator, beliefs.take(half), truth[half])
            rest = np.arange(1000, 2000)
            floor = _loss(honest[name].take(rest), truth[rest])
            before = _loss(beliefs.take(rest), truth[rest]) - floor
            left = _loss(calibration.apply(beliefs.take(rest)), truth[rest]) - floor
            ensure(left <= before / 2, f"{name}: {left:.3f} of {before:.3f} nats of overconfidence are left")


def leaves_honest_beliefs_alone(calibrator: Calibrator) -> None:
    """Beliefs that are right as they are move by less than 0.1."""
    for name, beliefs, truth in _cases(2000, 4, 5, 1.0):
        if name == "Committee":
            continue  # members that disagree are not honest one by one
        after = _fit(calibrator, beliefs, truth).apply(beliefs)
        ensure(_same(beliefs, after, 0.1), f"honest {name} beliefs were changed by more than 0.1")


def survives_certainty(calibrator: Calibrator) -> None:
    """Probabilities of exactly 0 and 1, right and wrong, give finite probabilities and losses."""
    probs = np.eye(3)[np.arange(12) % 3]
    truth = np.where(np.arange(12) < 10, np.arange(12) % 3, 0)
    for beliefs, answers in (
        (Categorical(probs), truth),
        (Multilabel(probs), np.eye(3, dtype=bool)[truth]),
        (Tagged(probs, np.array([0, 5, 5, 12])), Tags(truth, np.array([0, 5, 5, 12]))),
    ):
        weights = np.ones(len(beliefs))
        after = calibrator.fit(beliefs, answers, weights).apply(beliefs)
        ensure(bool(np.isfinite(after.surprise(answers)).all()), f"{type(beliefs).__name__}: infinite surprise")


def needs_no_data(calibrator: Calibrator) -> None:
    """Fitted to nothing it changes nothing."""
    for n, c, seed in SIZES:
        for name, beliefs, truth in _cases(n, c, seed, 2.0):
            empty = np.arange(0)
            nothing = truth[:0]
            after = calibrator.fit(beliefs.take(empty), nothing, np.ones(0)).apply(beliefs)
            ensure(_same(beliefs, after, 1e-6), f"{name} changed without any data")


def respects_weights(calibrator: Calibrator) -> None:
    """The heavier texts decide: weighted to the overconfident half it flattens more than to the timid half."""
    name, sure, truth = _cases(400, 3, 6, 4.0)[0]
    _, timid, _ = _cases(400, 3, 6, 0.4)[0]
    mixed = Categorical(np.concatenate([sure.arrays()["categorical"][:200], timid.arrays()["categorical"][200:]]))
    first = np.where(np.arange(400) < 200, 100.0, 1.0)
    flat = calibrator.fit(mixed, truth, first).apply(mixed).entropy().mean()
    sharp = calibrator.fit(mixed, truth, first[::-1].copy()).apply(mixed).entropy().mean()
    ensure(flat > sharp + 0.01, f"weights changed nothing for {name}: mean entropy {flat:.3f} and {sharp:.3f}")


def restores_what_it_stored(calibrator: Calibrator) -> None:
    """The state is plain (numeric arrays, JSON facts) and the calibration made of it does the same."""
    for n, c, seed in SIZES:
        for name, beliefs, truth in _cases(n, c, seed, 3.0):
            calibration = _fit(calibrator, beliefs, truth)
            state = calibration.state()
            json.dumps(dict(state.facts), allow_nan=False)
            ensure(all(array.dtype.kind in "biufSU" for array in state.arrays.values()), "state arrays are not plain")
            same = _same(calibration.apply(beliefs), calibrator.restore(state).apply(beliefs), 0.0)
            ensure(same, f"the restored calibration treats {name} otherwise")


PROMISES = (
    keeps_the_form,
    keeps_clear_answers,
    never_worsens_log_loss,
    mends_overconfident_beliefs,
    leaves_honest_beliefs_alone,
    survives_certainty,
    needs_no_data,
    respects_weights,
    restores_what_it_stored,
)
