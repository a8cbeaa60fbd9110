"""From config to components and back: the constructor is the schema.

A component is written ``{ use = "name", argument = value, ... }`` or just ``"name"``. Names come from
entry points (``labelwise.strategies`` and so on), so a plugin is used exactly like a built-in.
``describe`` is the inverse of ``build`` with every default written out.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, get_args, get_origin

from labelwise.core import (
    Aggregator,
    Calibrator,
    Encoder,
    InputError,
    LabelwiseError,
    Oracle,
    Scorer,
    Strategy,
    Trainer,
    unknown,
)

KINDS: dict[type, str] = {
    Scorer: "scorers",
    Strategy: "strategies",
    Encoder: "encoders",
    Trainer: "trainers",
    Calibrator: "calibrators",
    Aggregator: "aggregators",
    Oracle: "oracles",
}


@cache
def installed(kind: str) -> dict[str, EntryPoint]:
    """Name -> entry point of every installed component of a kind, plugins included."""
    return {point.name: point for point in sorted(entry_points(group=f"labelwise.{kind}"), key=lambda p: p.name)}


def build(kind: str, spec: Any, place: str = "") -> Any:
    """The component that ``spec`` describes; InputError with the dotted place otherwise.

    The name of a scorer is also the name of the strategy that takes its best texts.
    """
    if isinstance(spec, str):
        spec = {"use": spec}
    if not isinstance(spec, Mapping) or not isinstance(spec.get("use"), str):
        names = ", ".join(installed(kind))
        raise InputError(f'{place}: {spec!r} is not a component; write {{ use = "name", ... }} with one of: {names}.')
    name = spec["use"]
    if kind == "strategies" and name not in installed(kind) and name in installed("scorers"):
        spec = {"use": "top", "scorer": dict(spec)}
        name = "top"
    if name not in installed(kind):
        allowed = list(installed(kind)) + (list(installed("scorers")) if kind == "strategies" else [])
        raise unknown(kind.removesuffix("ies").removesuffix("s") + ("y" if kind == "strategies" else ""),
                      name, allowed, f"{place}.use" if place else "use")  # fmt: skip
    cls = installed(kind)[name].load()
    return construct(cls, {key: value for key, value in spec.items() if key != "use"}, place)


def construct(cls: Any, values: Mapping[str, Any], place: str) -> Any:
    """An instance of a config dataclass from plain values, each checked against the field's type."""
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init and _public(field)}
    for name in values:
        if name not in fields:
            raise unknown("setting", name, fields, place)
    arguments = {}
    for name, field in fields.items():
        where = f"{place}.{name}" if place else name
        if name in values:
            arguments[name] = _value(hints[name], values[name], where)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InputError(f"{where} is missing; {cls.__name__} cannot do without it.")
    try:
        return cls(**arguments)
    except LabelwiseError as error:
        message = str(error)
        raise InputError(message if message.startswith(place) else f"{place}: {message}") from None


def _public(field: dataclasses.Field[Any]) -> bool:
    return not field.name.startswith("_") and not field.metadata.get("fitted", False)


def _value(hint: Any, value: Any, place: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in KINDS:
        return build(KINDS[hint], value, place)
    if origin in (types.UnionType, typing.Union):
        return _union(arguments, value, place)
    if origin is Literal:
        if value not in arguments:
            raise unknown("value", value, [str(a) for a in arguments], place)
        return value
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        if not isinstance(value, list | tuple):
            raise InputError(f"{place}: {value!r} is not a list; write [ ... ].")
        return tuple(_value(arguments[0], item, f"{place}[{i}]") for i, item in enumerate(value))
    if origin is tuple:
        if not isinstance(value, list | tuple) or len(value) != len(arguments):
            raise InputError(f"{place}: {value!r} is not a list of {len(arguments)}; write [ ... ].")
        return tuple(_value(arguments[i], item, f"{place}[{i}]") for i, item in enumerate(value))
    if origin in (dict, Mapping) or getattr(origin, "__name__", "") == "Mapping":
        if not isinstance(value, Mapping):
            raise InputError(f"{place}: {value!r} is not a table; write {{ name = value }}.")
        return {str(key): _value(arguments[1], item, f"{place}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise InputError(f"{place}: {value!r} is not a table; write {{ name = value }}.")
        return construct(hint, value, place)
    return _scalar(hint, value, place)


def _union(arguments: tuple[Any, ...], value: Any, place: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    options = [option for option in arguments if option is not type(None)]
    for option in options[:-1]:
        try:
            return _value(option, value, place)
        except InputError:
            continue
    return _value(options[-1], value, place)


def _scalar(hint: Any, value: Any, place: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wanted = {str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false"}
    if hint not in wanted:
        raise TypeError(f"{place}: a component's field has the type {hint!r}, which config cannot express")
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise InputError(f"{place}: {value!r} is not {wanted[hint]}.")
    return value


def describe(component: Any) -> Any:
    """Plain data from which ``build`` or ``construct`` makes an equal component; nothing left to defaults."""
    if isinstance(component, tuple | list):
        return [describe(item) for item in component]
    if isinstance(component, Mapping):
        return {key: describe(item) for key, item in component.items()}
    if not dataclasses.is_dataclass(component):
        return component
    named = {"use": name} if (name := _name_of(component.__class__)) else {}
    fields = [field for field in dataclasses.fields(component) if field.init and _public(field)]
    values = {field.name: describe(getattr(component, field.name)) for field in fields}
    return named | {name: value for name, value in values.items() if value is not None}


@cache
def _name_of(cls: type) -> str:
    target = f"{cls.__module__}:{cls.__qualname__}"
    for kind in KINDS.values():
        for name, point in installed(kind).items():
            if point.value == target:
                return name
    return ""


def label_of(spec: Any) -> str:
    """A short name for a component as the user wrote it: its name, or name(argument=value, ...)."""
    if isinstance(spec, list | tuple):
        return "[" + ", ".join(label_of(item) for item in spec) + "]"
    if not isinstance(spec, Mapping):
        return str(spec)
    arguments = ", ".join(f"{key}={label_of(value)}" for key, value in spec.items() if key != "use")
    return f"{spec['use']}({arguments})" if arguments else str(spec["use"])
