"""Checks of a component's fields: one sentence that names the field, the value and what is allowed."""

from __future__ import annotations

from labelwise.core import InputError, Scorer, Strategy


def number(field: str, value: object, low: float, high: float = float("inf")) -> None:
    """Raise InputError unless ``value`` is a number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        allowed = f"a number >= {low:g}" if high == float("inf") else f"a number from {low:g} to {high:g}"
        raise InputError(f"{field}: {value!r} is not allowed; give {allowed}.")


def whole(field: str, value: object, low: int) -> None:
    """Raise InputError unless ``value`` is an integer >= low."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise InputError(f"{field}: {value!r} is not allowed; give a whole number >= {low}.")


def scorer(field: str, value: object) -> None:
    """Raise InputError unless ``value`` is a scorer."""
    if not isinstance(value, Scorer):
        raise InputError(f'{field}: {value!r} is not a scorer; give one such as {{ use = "margin" }}.')


def strategy(field: str, value: object) -> None:
    """Raise InputError unless ``value`` is a strategy."""
    if not isinstance(value, Strategy):
        raise InputError(f'{field}: {value!r} is not a strategy; give one such as {{ use = "random" }}.')
