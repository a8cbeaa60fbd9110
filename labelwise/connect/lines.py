"""The lines of a text file, compressed or not, in bounded memory whatever the file holds.

Every limit is counted on what really comes out of the decompressor, never on what a header says.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO

import pyarrow as pa

from labelwise.core.errors import InputError

BLOCK = 1 << 20
LINE_LIMIT = 16 << 20
"""Bytes; room for one text of the greatest length, written with JSON escapes."""

RATIO_LIMIT = 200
RATIO_FREE = 32 << 20
"""Text shrinks 3 to 20 times; beyond this many bytes a file that shrank 200 times is a bomb."""

CODECS = {".gz": "gzip", ".zst": "zstd"}

STDIN = Path("-")
"""Stands for standard input, whose content is plain text or JSON Lines."""

OVERLONG = "\ud800"
"""Marks the stump of a line over the limit. Decoding makes only surrogates from U+DC80, so it is unmistakable."""


def blocks(path: Path, place: str) -> Iterator[list[str]]:
    """Complete lines with their line feeds, about 1 MiB at a time; O(LINE_LIMIT) memory.

    Only LF separates lines. A BOM is dropped; invalid bytes become lone surrogates for the caller
    to find; a line over the limit is cut to a stump marked with ``OVERLONG``. InputError if the
    file cannot be opened, is damaged, is not UTF-8 at all, or expands like a bomb.
    """
    tail, dropping = b"", False
    for data in _bytes(path, place):
        if dropping:
            end = data.find(b"\n")
            if end < 0:
                continue
            data, dropping = data[end + 1 :], False
        cut = data.rfind(b"\n") + 1
        if cut:
            yield _split(tail + data[:cut])
            tail = data[cut:]
            continue
        tail += data
        if len(tail) > LINE_LIMIT:
            yield [tail[:200].decode("utf-8", "ignore") + OVERLONG + "\n"]
            tail, dropping = b"", True
    if tail:
        yield _split(tail)


def _split(data: bytes) -> list[str]:
    """Lines as str. io.StringIO splits at LF alone, in C; str.splitlines would split at U+2028 too."""
    return list(io.StringIO(data.decode("utf-8", "surrogateescape"), newline="\n"))


def _bytes(path: Path, place: str) -> Iterator[bytes]:
    """The decompressed content without BOM, at most BLOCK bytes at a time."""
    codec = CODECS.get(path.suffix.lower())
    first, made = True, 0
    try:
        with nullcontext(sys.stdin.buffer) if path == STDIN else path.open("rb") as raw:
            source: IO[bytes] = pa.CompressedInputStream(pa.PythonFile(raw, "r"), codec) if codec else raw
            while data := source.read(BLOCK):
                made += len(data)
                if codec and made > RATIO_FREE and made > RATIO_LIMIT * raw.tell():
                    raise InputError(
                        f"{place}: decompresses to more than {RATIO_LIMIT} times its size, as only a bomb does. "
                        "Decompress it yourself, look at it, and give the plain file."
                    )
                if first:
                    data, first = _start(data, place), False
                if data:
                    yield data
    except OSError as error:
        what = "is damaged or cut short" if codec and path.is_file() else "cannot be read"
        raise InputError(f"{place}: {what} ({error}). Check the file and give it again.") from error


def _start(data: bytes, place: str) -> bytes:
    """The first block without a UTF-8 BOM; InputError if it is UTF-16."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{place}: is UTF-16, not UTF-8. Save it as UTF-8 (in Excel: 'CSV UTF-8') and give it again.")
    return data.removeprefix(b"\xef\xbb\xbf")
