"""Both executors do the same; worker processes fail loudly and leave Ctrl-C to their parent."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info

from labelwise.core import InputError, MissingExtra
from labelwise.project.executors import Processes, Serial, local


def square(x):
    return x * x


def asked_for(x):
    if x == 3:
        raise InputError(f"item {x} cannot be used")
    return x


def lacking(x):
    raise MissingExtra(f"item {x}", "minilm")


def interrupted(x):
    os.kill(os.getpid(), signal.SIGINT)
    return x + 1


def surroundings(x):
    return os.getpid(), {pool["num_threads"] for pool in threadpool_info()}


def fail_or_wait(item):
    """One item waits for ever; the other fails, naming the waiting process, as soon as that runs."""
    role, pipe = item
    if role == "wait":
        pipe.write_text(str(os.getpid()))  # a named pipe: opens once the other side reads
        signal.pause()
    raise InputError(pipe.read_text())


@pytest.fixture(params=[Serial(), Processes(2)], ids=["serial", "processes"])
def executor(request):
    return request.param


def test_every_item_comes_back_with_its_position(executor):
    assert dict(executor.each(square, [3, 1, 2, 1])) == {0: 9, 1: 1, 2: 4, 3: 1}


def test_nothing_to_do_is_nothing_done(executor):
    assert list(executor.each(square, [])) == []


def test_an_error_surfaces_as_itself(executor):
    with pytest.raises(InputError, match=r"^item 3 cannot be used$"):
        list(executor.each(asked_for, [1, 3, 5]))


def test_an_error_with_arguments_of_its_own_surfaces_as_itself(executor):
    with pytest.raises(MissingExtra, match=r"item 1 needs the extra 'minilm'"):
        list(executor.each(lacking, [1]))


def test_serial_stops_at_the_error():
    results = Serial().each(asked_for, [1, 3, 5])
    assert next(results) == (0, 1)
    with pytest.raises(InputError):
        next(results)
    assert list(results) == []


def test_an_error_stops_the_others(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError) as raised:
        list(Processes(2).each(fail_or_wait, [("wait", pipe), ("fail", pipe)]))
    with pytest.raises(ProcessLookupError):
        os.kill(int(str(raised.value)), 0)


def test_stopping_early_stops_the_workers():
    results = Processes(1).each(square, [2, 3])
    assert next(results) in {(0, 4), (1, 9)}  # both may have ended before the first is asked for
    results.close()
    with pytest.raises(StopIteration):
        next(results)


def test_workers_ignore_ctrl_c():
    assert dict(Processes(1).each(interrupted, [1, 2])) == {0: 2, 1: 3}


def test_workers_are_other_processes_with_one_numeric_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    (process, threads) = dict(Processes(1).each(surroundings, [None]))[0]
    assert process != os.getpid()
    assert threads == {1}
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_the_local_executor_needs_no_process_for_one_worker():
    assert isinstance(local(1), Serial)
    several = local(3)
    assert isinstance(several, Processes)
    assert several.workers == 3


def test_workers_end_with_a_killed_parent(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code = (
        "import pathlib, sys\n"
        "from labelwise.project.executors import Processes\n"
        "from tests.project.test_executors import fail_or_wait\n"
        "if __name__ == '__main__':\n"
        "    list(Processes(1).each(fail_or_wait, [('wait', pathlib.Path(sys.argv[1]))]))\n"
    )
    driver = tmp_path / "driver.py"
    driver.write_text(code)
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, str(driver), str(pipe)], cwd=root, env=os.environ | {"PYTHONPATH": str(root)}
    ) as parent:
        worker = os.pidfd_open(int(pipe.read_text()))
        parent.kill()
        ended, _, _ = select.select([worker], [], [], 30)
    os.close(worker)
    assert ended
