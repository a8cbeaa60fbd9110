"""Where work on shards and rehearsals runs: here, or in several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
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
            with _one_thread_each():
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


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started inside compute on one thread: more threads than cores only get in each other's way.

    Numeric libraries read these when they are loaded, so they must be set before the process begins.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    before = {name: os.environ.get(name) for name in (*threads, "TOKENIZERS_PARALLELISM")}
    os.environ.update(threads, TOKENIZERS_PARALLELISM="false")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _quiet_worker() -> None:
    # Ctrl-C reaches the whole process group: the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent can stop nobody: without this, its workers would go on for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def local(workers: int = 0) -> Executor:
    """The executor for this machine: as many processes as cores unless told otherwise. InputError below 0."""
    if workers < 0:
        raise InputError(f"--workers: {workers} processes cannot be; give 1 or more, or 0 for one per core.")
    count = workers or os.cpu_count() or 1
    return Serial() if count == 1 else Processes(count)
