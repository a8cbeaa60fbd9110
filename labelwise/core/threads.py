"""Threads: one for each product, and blocks of work side by side, so that their number changes no result."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def one_thread() -> Iterator[None]:
    """Products inside run on one thread.

    The many small ones would mostly wait for each other's, and the last digits would follow the number of
    threads: what is recorded must not depend on where it was worked out.
    """
    with _libraries(len(sys.modules)).limit(limits=1):
        yield


@lru_cache(maxsize=1)
def _libraries(modules: int) -> Any:
    """The numeric libraries in this process, looked for anew (some milliseconds) only when modules have come in."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


_inside = threading.local()


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """``function`` of every item, in their order, each product on one thread; the first error stops the rest.

    Inside of such a function it does one after the other: its thread is one of those at hand.
    """
    work = list(items)
    count = 1 if getattr(_inside, "one", False) else min(threads(), len(work))
    with one_thread():
        if count < 2:
            return [function(item) for item in work]
        pool = ThreadPoolExecutor(count, initializer=_enter)
        try:
            return list(pool.map(function, work))
        finally:
            pool.shutdown(cancel_futures=True)


def _enter() -> None:
    """In a thread that works: OpenMP counts its threads anew for each that asks."""
    _inside.one = True
    _libraries(len(sys.modules)).limit(limits=1)


def threads() -> int:
    """Threads for blocks of work: those that numeric libraries may use, or the cores, but at most 4."""
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(free, 4, int(allowed) if allowed.isdigit() else free))
