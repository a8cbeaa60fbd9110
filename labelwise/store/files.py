"""Files that are either whole or not there, whatever is interrupted."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from labelwise.core import DamagedRecord, WrongMoment

FULL = (errno.ENOSPC, errno.EDQUOT)


def write_atomically(path: Path | str, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Put bytes, or whatever a function writes to an open file, under a name; all or nothing, durably.

    Missing folders are made. A reader sees the old file or the new one, also after a power cut: the
    temporary file is synced before the rename and the folder after it. Raises WrongMoment when the
    disk is full or may not be written, DamagedRecord when it fails; the old file then stays.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with writing(path):
        make_folder(path.parent)
        try:
            with temporary.open("xb") as file:
                if isinstance(content, bytes):
                    file.write(content)
                else:
                    content(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents so that they survive a power cut. Raises OSError."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write ``path`` into errors that say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise WrongMoment(
                f"{path}: the disk is full; nothing was written. Free some space and try again."
            ) from error
        if error.errno == errno.EIO:
            raise DamagedRecord(f"{path}: the disk failed ({error}). Check the disk, then try again.") from error
        raise WrongMoment(f"{path}: cannot be written ({error}). Make the folder writable and try again.") from error
