"""A project on disk: its config, log, texts and artefacts, and the ledger of now."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from labelwise.core import Artefacts, Encoder, Event, EventLog, InputError, Model, Trainer, WrongMoment
from labelwise.core.canon import digest_of
from labelwise.core.halves import single
from labelwise.project import config as configs
from labelwise.project.components import build
from labelwise.project.config import Config
from labelwise.project.ledger import Ledger, ref
from labelwise.store.artefacts import DiskArtefacts
from labelwise.store.files import write_atomically
from labelwise.store.log import SqliteLog
from labelwise.store.texts import Texts, asked_for

HOME = ".labelwise"
CHECKPOINT_EVERY = 5_000

Array = npt.NDArray[Any]
Progress = Callable[[str, int, int], None]
"""Called with (what is being done, how much is done, of how much)."""


def silent(what: str, done: int, total: int) -> None:
    """The Progress that tells nobody."""


@dataclass
class Workspace:
    """Everything a step may touch. ``now()`` is the only way to know what is true.

    ``checked`` says that the recorded artefacts were looked at since the project was opened.
    """

    folder: Path
    config: Config
    log: EventLog
    texts: Texts
    artefacts: Artefacts
    actor: str = "labelwise"
    progress: Progress = silent
    checked: bool = False
    _ledger: Ledger = field(default_factory=Ledger, repr=False)
    _saved: int = 0
    _loaded: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, folder: Path | str = ".", progress: Progress = silent) -> Workspace:
        """The project in a folder. InputError when there is none or its config is wrong."""
        folder = Path(folder)
        config = configs.load(folder / configs.FILE)
        home = folder / HOME
        home.mkdir(parents=True, exist_ok=True)
        workspace = cls(
            folder=folder,
            config=config,
            log=SqliteLog(home / "log.db"),
            texts=Texts(home / "texts"),
            artefacts=DiskArtefacts(home / "artefacts"),
            progress=progress,
        )
        workspace._restore_checkpoint()
        workspace.remember_config()
        return workspace

    def close(self) -> None:
        """Release the log; nothing can be recorded after."""
        self.log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def snapshots(self) -> Path:
        return self.folder / HOME / "snapshots"

    def now(self) -> Ledger:
        """The log folded up to its end; incremental, checkpointed every few thousand events."""
        ledger = self._ledger.apply(self.log.read(after=self._ledger.seq))
        if ledger.seq - self._saved >= max(CHECKPOINT_EVERY, self._saved // 4):
            self._checkpoint(ledger)
        return ledger

    def append(self, kind: str, key: str, data: Mapping[str, Any]) -> Event:
        """Record one fact under the act's key and return what the log holds."""
        return self.log.append(Event(kind, key, self.actor, data))[0]

    def remember_config(self) -> None:
        """Record the config in force, with every default, when it is not the last recorded one."""
        written = self.config.written_out()
        ledger = self.now()
        if ledger.config != written:
            self.append("config.set", f"config:{ledger.seq}:{digest_of(written)}", {"config": written})

    def encoder(self) -> tuple[str, Encoder]:
        """(name, fitted encoder). WrongMoment before it has been fitted."""
        name = self.now().encoders.get(self.config.digest("encoder"))
        if name is None:
            raise WrongMoment("the encoder has not been fitted yet; run `labelwise advance`.")
        return name, self._restored(name, lambda: self.config.encoder)

    def encoder_of(self, entry: Mapping[str, Any]) -> Encoder:
        """The encoder that a recorded model reads with, whatever the config says now."""
        return self._restored(entry["encoder"], lambda: build("encoders", entry["config"]["encoder"]))

    def _restored(self, name: str, unfitted: Callable[[], Encoder]) -> Encoder:
        if name not in self._loaded:
            self._loaded[name] = unfitted().restore(self.artefacts.get(ref(name)))
        encoder: Encoder = self._loaded[name]
        return encoder

    def ids(self, shard: str) -> Array:
        """(n,) the shard's text ids as ASCII bytes, read once."""
        return self.texts.names(shard)

    def find(self, ids: Sequence[str]) -> tuple[Array, Array]:
        """(position of the shard or -1, row) of every text. O(n log N)."""
        wanted = asked_for(ids)
        shard_of, row_of = np.full(len(ids), -1), np.zeros(len(ids), dtype=np.int64)
        for number, shard in enumerate(self.now().shards):
            rows = self.texts.find(shard, wanted)
            shard_of[rows >= 0], row_of[rows >= 0] = number, rows[rows >= 0]
        return shard_of, row_of

    def rows_of(self, ids: Sequence[str]) -> tuple[list[str], Array]:
        """(shard, row) of every text. InputError naming the first unknown id."""
        shard_of, row_of = self.find(ids)
        if (shard_of < 0).any():
            missing = ids[int(np.flatnonzero(shard_of < 0)[0])]
            raise InputError(f"text {missing!r} is not in this project; `labelwise add` brings texts in.")
        shards = list(self.now().shards)
        return [shards[number] for number in shard_of], row_of

    def vectors_of(self, ids: Sequence[str], encoder: str = "") -> Array:
        """(n, d) float32 vectors of some texts, in order, by the named encoder or the configured one."""
        recorded = self.now().vectors.get(encoder or self.encoder()[0], {})
        shards, rows = self.rows_of(ids)
        of, parts, order = np.array(shards), [], []
        for shard in dict.fromkeys(shards):
            here = np.flatnonzero(of == shard)
            parts.append(single(self.artefacts.get(ref(recorded[shard])).arrays["vectors"][rows[here]]))
            order.append(here)
        out: Array = np.concatenate(parts)[np.argsort(np.concatenate(order))] if parts else np.zeros(0, np.float32)
        return out

    def model(self, version: int) -> Model:
        """A recorded model. InputError when there is no such version."""
        models = self.now().models
        if not 1 <= version <= len(models):
            known = f"1 to {len(models)}" if models else "none yet"
            raise InputError(f"model {version}: no such version; there are {known}.")
        name = models[version - 1]["ref"]
        if name not in self._loaded:
            trainer: Trainer = build("trainers", models[version - 1]["config"]["trainer"])
            self._loaded[name] = trainer.restore(self.artefacts.get(ref(name)))
        model: Model = self._loaded[name]
        return model

    def _checkpoint(self, ledger: Ledger) -> None:
        # not canonical: the order of shards and of asked texts is part of the ledger
        body = json.dumps(ledger.dump(), ensure_ascii=False, allow_nan=False)
        path = self.folder / HOME / "ledger.json"
        write_atomically(path, f"{digest_of(body)}\n{body}".encode())
        self._saved = ledger.seq

    def _restore_checkpoint(self) -> None:
        path = self.folder / HOME / "ledger.json"
        try:
            digest, body = path.read_text(encoding="utf-8").split("\n", 1)
            if digest != digest_of(body):
                raise ValueError("changed on disk")
            ledger = Ledger.load(json.loads(body))
            recorded = self.log.read(after=ledger.seq - 1)[:1]
            if not recorded or recorded[0].key != ledger.key:
                raise ValueError("of another log")
            self._ledger, self._saved = ledger, ledger.seq
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError) as error:
            warnings.warn(f"{path}: not usable ({error}); the ledger is rebuilt from the log.", stacklevel=2)
