"""One way to write plain data, so that equal data has one name."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from labelwise.core.errors import InputError


def canonical_json(value: Any) -> str:
    """Compact JSON with sorted keys. InputError for what JSON cannot say (NaN, infinity, objects)."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"this cannot be recorded as JSON: {error}") from None


def digest_of(value: Any) -> str:
    """32 hex digits: BLAKE2b-128 of the canonical JSON."""
    return hashlib.blake2b(canonical_json(value).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
