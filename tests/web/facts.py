"""A full example of a report's facts, with plausible numbers."""

from __future__ import annotations

import hashlib
import math
from typing import Any

LABELS = list(range(50, 501, 50))
SHAPES = {
    "random": (0.36, 165.0),
    "margin": (0.40, 105.0),
    "typiclust then margin": (0.30, 95.0),
    "power": (0.38, 120.0),
}
CLASSES = (
    "card arrival",
    "card lost",
    "exchange rate",
    "top-up failed",
    "refund",
    "pin blocked",
    "transfer timing",
    "cash withdrawal",
    "verify identity",
    "other",
)


def _curve(strategy: str, kind: str) -> dict[str, Any]:
    drop, pace = SHAPES[strategy]
    accuracy = [0.86 - drop * math.exp(-(labels - 50) / pace) for labels in LABELS]
    width = [0.035 * math.exp(-labels / 400) for labels in LABELS]
    change = {
        "accuracy": lambda value: value,
        "macro_f1": lambda value: value - 0.025,
        "log_loss": lambda value: 1.9 * (1 - value) + 0.1,
        "ece": lambda value: 0.02 + 0.25 * (1 - value) ** 1.4,
    }[kind]
    mean = [change(value) for value in accuracy]
    return {
        "strategy": strategy,
        "labels": LABELS,
        "mean": mean,
        "lo": [value - by for value, by in zip(mean, width, strict=True)],
        "hi": [value + by for value, by in zip(mean, width, strict=True)],
    }


def _around(value: float, by: float) -> dict[str, float]:
    return {"value": value, "lo": value - by, "hi": min(1.0, value + by)}


def _summary() -> list[dict[str, Any]]:
    rows = [
        ("margin", 0.7712, 0.8495, 309.0, 0.382, [0.21, 0.49], 0.031),
        ("typiclust then margin", 0.7893, 0.8541, 288.0, 0.424, [0.26, 0.53], 0.0004),
        ("power", 0.7521, 0.8302, None, None, None, 0.41),
        ("random", 0.7304, 0.8301, 500.0, None, None, None),
    ]
    return [
        {
            "strategy": strategy,
            "alc": alc,
            "alc_interval": [alc - 0.012, alc + 0.012],
            "final": final,
            "final_interval": [final - 0.017, final + 0.016],
            "labels_to_random_final": reached,
            "saving": saving,
            "saving_interval": interval,
            "p_value_vs_random": p_value,
            "seeds": 5,
        }
        for strategy, alc, final, reached, saving, interval, p_value in rows
    ]


def _model() -> dict[str, Any]:
    per_class = [
        {
            "label": label,
            "n": 40 + 13 * place,
            "precision": _around(0.97 - 0.031 * place, 0.04 + 0.004 * place),
            "recall": _around(0.95 - 0.039 * place, 0.05 + 0.004 * place),
            "f1": _around(0.96 - 0.035 * place, 0.04 + 0.004 * place),
        }
        for place, label in enumerate(CLASSES)
    ]
    reliability = [
        {
            "confidence": at,
            "accuracy": right,
            "n": n,
            "lo": right - 1.1 / math.sqrt(n),
            "hi": min(1, right + 0.9 / math.sqrt(n)),
        }
        for at, right, n in (
            (0.26, 0.31, 22),
            (0.36, 0.33, 61),
            (0.45, 0.47, 102),
            (0.55, 0.52, 148),
            (0.65, 0.66, 190),
            (0.75, 0.71, 260),
            (0.85, 0.86, 402),
            (0.96, 0.951, 815),
        )
    ]
    slices = [
        {
            "column": column,
            "value": value,
            "n": n,
            "accuracy": _around(accuracy, by),
            "macro_f1": _around(accuracy - 0.03, by),
        }
        for column, value, n, accuracy, by in (
            ("language", "en", 1204, 0.871, 0.019),
            ("language", "de", 402, 0.833, 0.036),
            ("language", "हिन्दी", 96, 0.718, 0.09),
            ("domain", "app reviews", 980, 0.862, 0.021),
            ("domain", "e-mail", 722, 0.811, 0.028),
        )
    ]
    return {
        "version": "model-0007",
        "metrics": {
            "accuracy": _around(0.8213, 0.0165),
            "macro_f1": _around(0.7981, 0.0202),
            "log_loss": {"value": 0.5132, "lo": 0.471, "hi": 0.556},
            "ece": {"value": 0.0231, "lo": 0.0142, "hi": 0.0377},
        },
        "per_class": per_class,
        "reliability": reliability,
        "slices": slices,
        "temperature": 1.34,
        "basis": "random control",
    }


def _selected() -> list[dict[str, Any]]:
    texts = (
        "My card still has not arrived after two weeks",
        "wo finde ich den aktuellen Wechselkurs?",
        "मेरा कार्ड खो गया है",
        "the top up did nothing, and I was charged twice",
    )
    return [
        {
            "round": 1 + place // 2,
            "strategy": "random" if place % 4 == 3 else "margin",
            "arm": "control" if place % 4 == 3 else "strategy",
            "score": 0.982 - 0.04 * place,
            "propensity": 0.0042 if place % 4 == 3 else 0.61,
            "reason": "drawn uniformly at random"
            if place % 4 == 3
            else f"torn between {CLASSES[place]} and {CLASSES[place + 1]} (margin 0.0{place + 1})",
            "label": CLASSES[place],
            "text": texts[place % 4],
        }
        for place in range(8)
    ]


def full() -> dict[str, Any]:
    """Every section filled: a simulation that also reports its last model."""
    return {
        "version": 1,
        "kind": "simulation",
        "title": "Banking questions: which strategy, and is it worth it?",
        "synthetic": True,
        "made_at": "2026-03-04T10:15:00Z",
        "task": {"kind": "single", "labels": 10, "texts": 13083, "pool": 9003, "test": 3080, "dataset": "banking77"},
        "protocol": {
            "strategies": list(SHAPES),
            "seeds": [0, 1, 2, 3, 4],
            "initial": 50,
            "batch": 50,
            "budget": 500,
            "start": "random",
            "control": 0.1,
            "encoder": {"use": "static", "dimensions": 256},
            "trainer": {"use": "linear", "penalty": 1.0},
            "oracle": {"use": "noisy", "rate": 0.05},
            "test_set": "the data set's own test split, 3080 texts",
        },
        "verdict": "margin reached random's final accuracy (83.0 %) with 38 % fewer labels "
        "(95 % interval 21 to 49 %, 5 seeds).",
        "curves": {
            kind: [_curve(strategy, kind) for strategy in SHAPES]
            for kind in ("accuracy", "macro_f1", "log_loss", "ece")
        },
        "summary": _summary(),
        "cost": {
            "labels": 12480,
            "seconds": 93600.0,
            "by_arm": {"control": 1248, "strategy": 11232},
            "by_annotator": [
                {"name": "Ana", "labels": 7020, "median_seconds": 6.2},
                {"name": "Bilal", "labels": 5460, "median_seconds": 8.9},
            ],
        },
        "model": _model(),
        "selected": _selected(),
        "selection_counts": [
            {
                "round": place,
                "control": 5,
                "strategy": 45,
                "fallback": "no model yet: the batch is random" if place == 1 else "",
            }
            for place in range(1, 11)
        ],
        "versions": [
            {
                "model": f"model-000{place}",
                "snapshot": hashlib.sha256(str(place).encode()).hexdigest(),
                "labels": 50 * place,
                "metrics": {
                    "accuracy": _around(0.5 + 0.045 * place, 0.02),
                    "macro_f1": _around(0.47 + 0.045 * place, 0.024),
                },
                "status": "promoted" if place == 7 else "superseded" if place < 6 else "refused",
            }
            for place in range(1, 8)
        ],
        "notes": [
            "The oracle errs on 5 % of answers, uniformly over the other labels.",
            "Near-duplicates of test texts were removed from the pool.",
        ],
        "missing": {},
        "command": "labelwise simulate banking77 --strategies margin,power --seeds 5 && labelwise report",
    }


def empty() -> dict[str, Any]:
    """What a project knows on its first day."""
    return {
        "version": 1,
        "kind": "project",
        "title": "Support tickets",
        "synthetic": False,
        "made_at": "",
        "task": {"kind": "multi", "labels": 4, "texts": 0, "pool": 0, "test": 0, "dataset": ""},
        "missing": {
            "curves": "Two more rounds are needed: run labelwise advance.",
            "model": "40 more control labels are needed: run labelwise annotate.",
        },
        "command": "labelwise report",
    }
