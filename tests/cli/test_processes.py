"""What only a real process shows: what is imported, Ctrl-C, a closed pipe, no orphans."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import done, new_project, write_inbox

PROGRAM = (sys.executable, "-m", "labelwise.cli.main")
HEAVY = ("numpy", "scipy", "sklearn", "pyarrow", "torch", "rich", "jinja2", "faiss", "apsw", "labelwise.core")


def start(*arguments: object, within: Path, **options) -> subprocess.Popen:
    """The program as its own process group, as a shell would start it in front.

    A test runner that was started in the background ignores Ctrl-C, and would hand that down.
    """
    return subprocess.Popen(
        [*PROGRAM, *map(str, arguments)], cwd=within, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler), **options,
    )  # fmt: skip


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["data", "--help"], ["simulate", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\nfrom labelwise.cli.main import main\n"
        f"sys.argv = ['labelwise', *{arguments!r}]\n"
        "try:\n    main()\nfinally:\n"
        f"    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stderr.strip().splitlines()[-1] == "[]"
    assert found.stdout


def members(group: int) -> list[int]:
    """Processes of a process group that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def wait_for(condition, process: subprocess.Popen) -> None:
    """Look until the condition holds; the process must not have ended before."""
    while not condition():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
            raise AssertionError(process.communicate())


def ctrl_c(process: subprocess.Popen) -> None:
    """As a terminal sends it: to the whole group."""
    os.killpg(process.pid, signal.SIGINT)


def ends_as_stopped(process: subprocess.Popen) -> None:
    """Exit code 130, one line, nobody left behind."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert err == "labelwise: stopped; everything recorded so far is kept; the same command completes it.\n"
    left = members(process.pid)
    for number in left:
        # Python's own helper ends when it sees that nobody holds its pipe any more: wait for that, at most a while.
        select.select([os.pidfd_open(number)], [], [], 20)
    assert not members(process.pid)


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes by /proc")


@needs_proc
def test_ctrl_c_during_simulate_ends_all_processes_and_the_same_command_completes(tmp_path):
    write_inbox(tmp_path / "t.csv")
    command = ("simulate", "t.csv", "--label-column", "intent", "--encoder", "hashing", "--seeds", 1, "--initial", 10,
               "--batch", 10, "--budget", 20, "--out", "out")  # fmt: skip
    process = start(*command, "--workers", 2, within=tmp_path)
    wait_for(lambda: list((tmp_path / "out").glob("runs/*/log.db")), process)
    ctrl_c(process)
    ends_as_stopped(process)
    assert not (tmp_path / "out/results.json").exists()
    assert not list((tmp_path / "out").rglob("*.tmp"))

    process = start(*command, "--workers", 2, within=tmp_path)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    resumed = json.loads((tmp_path / "out/results.json").read_text())
    done(*command[:-1], "whole", "--workers", 1, within=tmp_path)
    assert resumed["arms"] == json.loads((tmp_path / "whole/results.json").read_text())["arms"]


@needs_proc
def test_ctrl_c_during_add_records_nothing_half_and_the_same_command_completes(tmp_path):
    folder = new_project(tmp_path / "p")
    fifo = tmp_path / "endless.jsonl"
    os.mkfifo(fifo)
    process = start("add", fifo, within=folder)
    with fifo.open("w") as writer:
        # More than one block of lines, so that rows are being taken, and no end before Ctrl-C.
        writer.writelines(json.dumps({"text": f"text {n} " + "x" * 1000}) + "\n" for n in range(3000))
        writer.flush()
        ctrl_c(process)
    ends_as_stopped(process)
    status = json.loads(done("status", "--json", within=folder))
    assert status["texts"] == 0
    fifo.unlink()
    fifo.write_text("".join(json.dumps({"text": f"text {n}"}) + "\n" for n in range(50)))
    done("add", fifo, within=folder)
    assert json.loads(done("status", "--json", within=folder))["texts"] == 50
    assert not list((folder / ".labelwise").rglob("*.tmp"))


@pytest.mark.parametrize("command", [["data", "show", "--json"], ["doctor"], ["model", "show", "1"], ["data", "log"]])
def test_a_reader_that_has_gone_is_no_error_to_tell(command, lived_in):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        found = subprocess.run(
            [*PROGRAM, *command], cwd=lived_in, stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
    finally:
        os.close(writing)
    assert found.returncode == 141
    assert found.stderr == ""


def test_head_gets_its_line(lived_in):
    program = subprocess.list2cmdline(PROGRAM)
    found = subprocess.run(
        ["bash", "-c", f"{program} data show --json | head -1; echo ${{PIPESTATUS[0]}}"], cwd=lived_in,
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert found.stdout.splitlines()[0] == "{"
    assert found.stdout.splitlines()[1] in ("0", "141"), "it depends on who is quicker"
    assert found.stderr == ""


def test_a_terminal_without_unicode_gets_escapes_and_json_stays_json(tmp_path):
    done("init", "p", "--labels", "größe,日本", "--name", "größe", within=tmp_path)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONIOENCODING": "ascii"}
    for command in ("status --json", "doctor"):
        found = subprocess.run(
            [*PROGRAM, *command.split()], cwd=tmp_path / "p", capture_output=True, text=True, env=env, check=True
        )
        assert found.stdout.isascii()
        assert "--json" not in command or json.loads(found.stdout)
