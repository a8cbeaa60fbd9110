"""Where work on shards and rehearsals runs: here, or in several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from typing import Protocol, TypeVar

from labelwise.core import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs one function over many items."""

    def each(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """(position, result) as they finish, in any order. An error in one stops all."""
        ...


class Serial:
    """One after the other, in this process."""

    def each(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        for position, item in enumerate(items):
            yield position, function(item)


class Processes:
    """Side by side in ``workers`` fresh processes with one numeric thread each.

    Function and items must be importable and picklable in memory; nothing of it is stored.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def each(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_quiet_worker)
        try:
            futures = {pool.submit(function, item): position for position, item in enumerate(items)}
            left = set(futures)
            while left:
                done, left = wait(left, return_when=FIRST_COMPLETED)
                for future in done:
                    yield futures[future], future.result()
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _quiet_worker() -> None:
    # Ctrl-C reaches the whole process group: the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Runs before numpy is imported here: side by side, more threads than cores only get in each other's way.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def local(workers: int = 0) -> Executor:
    """The executor for this machine: as many processes as cores unless told otherwise. InputError below 0."""
    if workers < 0:
        raise InputError(f"--workers: {workers} processes cannot be; give 1 or more, or 0 for one per core.")
    count = workers or os.cpu_count() or 1
    return Serial() if count == 1 else Processes(count)
