"""One way to write plain data, so that equal data has one name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from labelwise.core.errors import InputError


def canonical_json(value: Any) -> str:
    """Compact JSON with sorted keys; equal data gives equal text, and the text gives the data back.

    Any Mapping is an object and a tuple is a list. Raises InputError for what JSON cannot say: NaN
    and infinity, keys that are not strings, lone surrogates, other types, data that contains itself.
    """
    try:
        _check_keys(value)
        text = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_mapping
        )
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"this cannot be recorded as JSON: {error}. "
            "Use objects with string keys, lists, strings, finite numbers, true, false and null."
        ) from None
    return text


def digest_of(value: Any) -> str:
    """32 hex digits: BLAKE2b-128 of the canonical JSON. Raises InputError as ``canonical_json`` does."""
    return hashlib.blake2b(canonical_json(value).encode(), digest_size=16).hexdigest()


def _mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def _check_keys(value: Any) -> None:
    # json.dumps turns the key 1 into "1", so what is read back would differ from what was recorded.
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is a {type(key).__name__}")
            _check_keys(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _check_keys(inner)
