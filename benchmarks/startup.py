"""How long `labelwise --help` takes: the whole process, from start to exit.

Run on an idle machine; the first run, which compiles and fills the disk cache, is not counted.
`--quick` changes nothing here, since all of it takes a few seconds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

GOAL = 0.3
RUNS = 15
PROGRAM = [sys.executable, "-m", "labelwise.cli.main", "--help"]


def seconds() -> float:
    begun = time.perf_counter()
    subprocess.run(PROGRAM, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="the same: all of it is quick")
    options.add_argument("--json", action="store_true", help="print the facts as JSON")
    wanted = options.parse_args()
    seconds()
    times = sorted(seconds() for _ in range(RUNS))
    value = statistics.median(times)
    target = {"value": round(value, 4), "goal": GOAL, "met": value < GOAL}
    if wanted.json:
        print(json.dumps({"targets": {"help_seconds": target}, "runs": [round(t, 4) for t in times]}, indent=1))
    else:
        print(f"labelwise --help: median {value:.3f} s of {RUNS} runs ({times[0]:.3f} to {times[-1]:.3f})")
        print(json.dumps({"targets": {"help_seconds": target}}, indent=1))


if __name__ == "__main__":
    main()
