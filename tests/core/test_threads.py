"""Work side by side: the same results in the same order, whatever the number of threads."""

import os
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from labelwise.core.threads import one_thread, side_by_side


@pytest.fixture(params=["1", "3"])
def count(request, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", request.param)
    return int(request.param)


def test_results_come_in_order_and_no_more_threads_work_than_there_are(count):
    seen = set()

    def square(n):
        seen.add(threading.get_ident())
        return n * n

    assert side_by_side(square, range(50)) == [n * n for n in range(50)]
    assert len(seen) <= count
    assert side_by_side(square, []) == []


def test_inside_it_is_one_after_the_other(count):
    def outer(n):
        return {threading.get_ident(), *side_by_side(lambda _: threading.get_ident(), range(5))}

    assert all(len(threads) == 1 for threads in side_by_side(outer, range(4)))


def test_products_inside_are_on_one_thread_and_free_again_after(count):
    np.ones((2, 2)) @ np.ones((2, 2))
    before = [library["num_threads"] for library in threadpool_info()]
    with one_thread():
        assert {library["num_threads"] for library in threadpool_info()} <= {1}
        told = side_by_side(lambda _: {library["num_threads"] for library in threadpool_info()}, range(4))
        assert all(threads <= {1} for threads in told)
    assert [library["num_threads"] for library in threadpool_info()] == before


def test_the_first_error_is_raised(count):
    def fails(n):
        if n == 2:
            raise ZeroDivisionError(n)
        return n

    with pytest.raises(ZeroDivisionError, match="2"):
        side_by_side(fails, range(5))
