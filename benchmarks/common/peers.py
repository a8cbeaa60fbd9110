"""small-text and scikit-activeml, each strategy asked for batches in their own environment.

Theirs are the vectors, our calibrated model, the labelled rows and the seed; ``peer_worker`` runs
on the other side of a pipe, so that no dependency of theirs meets ours. What they choose twice, or
fail to choose, is counted and filled up at random: they paid for the batch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

VERSIONS = ("small-text==1.4.1", "scikit-activeml==1.0.1")
WORKER = Path(__file__).with_name("peer_worker.py")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class PeerError(RuntimeError):
    """A peer's strategy failed; the text is what it said."""


def environment(cache: Path, make: bool = True) -> Path | None:
    """The interpreter of the peers' environment in ``cache``; made if it is not there, or None unless ``make``."""
    folder = cache / "peers" / "venv"
    interpreter, done = folder / "bin" / "python", cache / "peers" / "installed"
    wanted = "\n".join(VERSIONS)
    if done.is_file() and done.read_text() == wanted:
        return interpreter
    if not make:
        return None
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    subprocess.run([str(interpreter), "-m", "pip", "install", "--quiet", *VERSIONS], check=True)
    done.write_text(wanted)
    return interpreter


@dataclass(eq=False)
class Peers:
    """A worker process; give it a pool, then ask. Close it when done."""

    interpreter: Path
    folder: tempfile.TemporaryDirectory[str] = field(default_factory=tempfile.TemporaryDirectory)
    process: Any = None

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [str(self.interpreter), str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, env={**os.environ, **ONE_THREAD, "PYTHONPATH": ""},
        )  # fmt: skip

    def _ask(self, **request: Any) -> dict[str, Any]:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise PeerError(f"the peers' process ended with status {self.process.wait()} on {request}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def pool(self, vectors: Any) -> None:
        path = Path(self.folder.name) / "pool.npy"
        np.save(path, vectors)
        self._ask(pool=str(path))

    def ready(self, strategy: str, most: int) -> None:
        """Import the strategy's library beforehand, and let the process have ``most`` bytes."""
        self._ask(library=strategy.split(" ")[0], most=most)

    def choose(
        self, strategy: str, arrays: dict[str, Any], seed: int, batch: int, whole: bool = False, **options: Any
    ) -> dict[str, Any]:
        """rows as they chose them (maybe repeated or too few), cpu, wall and peak; PeerError says what failed.

        ``whole``: from all texts, however long it takes; ``options`` of scikit-activeml's class.
        """
        path = Path(self.folder.name) / "asked.npz"
        np.savez(path, **arrays)
        return self._ask(strategy=strategy, path=str(path), seed=seed, batch=batch, whole=whole, options=options)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.folder.cleanup()
