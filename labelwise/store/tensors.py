"""Arrays and facts in the safetensors format: written in a stream, read as a memory map.

The format is 8 bytes of header length, a JSON header, and the bytes of the arrays without gaps.
We write it ourselves because the header holds a checksum that covers the arrays, and read it
ourselves to map arrays instead of copying them; any safetensors reader can open the files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from labelwise.core import ContractError, DamagedRecord, InputError, State
from labelwise.core.canon import canonical_json

Array = npt.NDArray[Any]
Facts = Mapping[str, str]

CODES = {
    "BOOL": "|b1", "I8": "|i1", "U8": "|u1", "I16": "<i2", "U16": "<u2", "F16": "<f2",
    "I32": "<i4", "U32": "<u4", "F32": "<f4", "I64": "<i8", "U64": "<u8", "F64": "<f8",
}  # fmt: skip
NAMES = {np.dtype(code): name for name, code in CODES.items()}
METADATA = "__metadata__"
ALIGNMENT = 64  # so that every mapped array starts where its type wants to


def plain(name: str, state: State) -> tuple[dict[str, Array], str]:
    """The arrays, little-endian and C-ordered, and the facts as canonical JSON.

    Raises ContractError for a state that cannot be stored: other types, names that are no strings.
    """
    arrays = {}
    for key, array in state.arrays.items():
        if not isinstance(key, str) or key == METADATA:
            raise ContractError(f"artefact {name!r}: {key!r} cannot name an array; use any other string.")
        little = array.dtype.newbyteorder("<") if isinstance(array, np.ndarray) else None
        if little not in NAMES:
            found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            allowed = ", ".join(sorted(dtype.name for dtype in NAMES))
            raise ContractError(f"artefact {name!r}: array {key!r} is {found}; allowed are {allowed}.")
        arrays[key] = np.asarray(array, dtype=little, order="C")
    try:
        return arrays, canonical_json(state.facts)
    except InputError as error:
        raise ContractError(f"artefact {name!r}: facts: {error}") from None


def write(file: BinaryIO, arrays: Mapping[str, Array], facts: Facts) -> None:
    """Write arrays made by ``plain``, facts and the checksum over both. O(bytes), twice."""
    # Falling item size keeps every array aligned although the format allows no gaps.
    order = sorted(arrays, key=lambda key: (-arrays[key].itemsize, key))
    layout: dict[str, Any] = {}
    offset = 0
    for key in order:
        array = arrays[key]
        layout[key] = {
            "dtype": NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    digest = _start(layout, facts)
    for key in order:
        digest.update(_bytes(arrays[key]))
    header = canonical_json({METADATA: {**facts, "checksum": digest.hexdigest()}, **layout}).encode()
    header += b" " * (-(len(header) + 8) % ALIGNMENT)
    file.write(len(header).to_bytes(8, "little") + header)
    for key in order:
        file.write(_bytes(arrays[key]))


def open_mapped(path: Path, verify: bool) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays, mapped read-only without copying, and the facts.

    With ``verify`` the whole file is read and compared with its checksum. Raises DamagedRecord if it
    is not what was written, FileNotFoundError if there is none.
    """
    try:
        raw = np.memmap(path, dtype=np.uint8, mode="r")
        start = 8 + int.from_bytes(raw[:8].tobytes(), "little")
        layout = json.loads(raw[8:start].tobytes())
        facts = layout.pop(METADATA)
        checksum = facts.pop("checksum")
        data = np.asarray(raw[start:])
        arrays = {key: _map(data, entry) for key, entry in layout.items()}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedRecord(f"{path}: cannot be read ({error}).") from error
    if verify and _checksum(layout, facts, data) != checksum:
        raise DamagedRecord(f"{path}: its content is not what was written.")
    return arrays, facts


def _map(data: Array, entry: Mapping[str, Any]) -> Array:
    begin, end = entry["data_offsets"]
    return data[begin:end].view(CODES[entry["dtype"]]).reshape(entry["shape"])


def _bytes(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _checksum(layout: Mapping[str, Any], facts: Facts, data: Array) -> str:
    try:
        digest = _start(layout, facts)
    except InputError:  # a damaged header may hold what we would never write
        return ""
    digest.update(_bytes(data))
    return digest.hexdigest()


def _start(layout: Mapping[str, Any], facts: Facts) -> hashlib.blake2b:
    digest = hashlib.blake2b(digest_size=32)
    digest.update(canonical_json([layout, facts]).encode() + b"\x00")
    return digest
