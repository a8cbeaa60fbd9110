"""How much a text is wanted, given what was labelled, what the user looks for, or a signal of the pool.

A score depends on the text and on what all shards share, so what compares a text with the rest of
the pool is made beforehand (``densities``) and read as a signal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labelwise.core import InputError, MissingInput, Pool, Reason, unknown
from labelwise.core.beliefs import BLOCK, TINY, Array, Beliefs, Floats, Multilabel, Rows, Tagged
from labelwise.select import fields
from labelwise.select.comparing import Vectors, gather, known_vectors, squared
from labelwise.select.geometry import DIAMETER
from labelwise.select.scorers import blockwise, name_of, opinion

TILE = 1024
"""Others that texts are compared with at a time."""
SAME = 3e-3
"""Distance within which two vectors may be one text: half precision and the rounding of a product."""


def nearest(texts: Vectors, others: Vectors, k: int) -> tuple[Rows, Vectors]:
    """(m, k) the k others nearest to each text, nearest first, and their distances; 1 <= k <= len(others).

    O(m others (d + k)), memory of (m, TILE). Distances are float32: below about 2e-3 they are noise.
    """
    every = np.arange(len(texts))
    at = np.zeros((len(texts), 0), dtype=np.intp)
    apart = np.zeros((len(texts), 0), dtype=np.float32)
    for first in range(0, len(others), TILE):
        found = squared(texts, others[first : first + TILE])
        columns, values = [at], [apart]
        for _ in range(min(k, found.shape[1])):  # for a few neighbours faster than a partition
            best = found.argmin(axis=1)
            columns.append(best[:, None] + first)
            values.append(found[every, best][:, None])
            found[every, best] = np.inf
        at, apart = np.hstack(columns), np.hstack(values)
        keep = np.argsort(apart, axis=1, kind="stable")[:, :k]
        at, apart = np.take_along_axis(at, keep, axis=1), np.take_along_axis(apart, keep, axis=1)
    return at, np.sqrt(apart)


def densities(vectors: Array, sample: Vectors, neighbours: int = 20) -> Floats:
    """(n,) in [0, 1] how near the ``neighbours`` nearest of a ``sample`` (s, d) of the pool are to each text.

    1 - half the mean distance: the order of typicality (Hacohen, Dekel and Weinshall 2022) in a fixed
    range. Give all shards one uniform sample, and ``Signal`` the result under a name. A text that is
    itself in the sample is not its own neighbour. ``vectors`` (n, d) may be memory-mapped. O(n s d).
    """
    fields.whole("neighbours", neighbours, 1)
    sample = np.asarray(sample, dtype=np.float32)
    if not len(sample):
        return np.zeros(len(vectors))

    def near(rows: Rows) -> Floats:
        texts = np.asarray(vectors[rows], dtype=np.float32)
        distance = nearest(texts, sample, min(neighbours + 1, len(sample)))[1]
        counts = np.ones(distance.shape, dtype=bool)
        counts[:, 0] = distance[:, 0] > SAME
        counts[:, neighbours:] = ~counts[:, :1]
        how_many = counts.sum(axis=1)
        far = (distance * counts).sum(axis=1, dtype=np.float64) / np.maximum(how_many, 1)
        return np.where(how_many > 0, np.clip(1.0 - far / DIAMETER, 0.0, 1.0), 0.0)

    return blockwise(np.arange(len(vectors)), near)


@dataclass(frozen=True)
class Novelty:
    """Distance to the nearest text asked about so far, as a share of the largest possible. O(m known d).

    Nearest-neighbour detection of what is unlike anything known: Sun, Ming, Zhu and Li 2022,
    "Out-of-Distribution Detection with Deep Nearest Neighbors". It wants junk as much as new topics:
    give it a share of a batch, not all of it. A batch of its best may be one new region only.
    """

    def score(self, pool: Pool, rows: Array) -> Array:
        """(m,) in [0, 1]; 1 where nothing is known. MissingInput without vectors."""
        known = known_vectors(pool)
        if not len(known):
            return np.ones(len(rows))

        def far(part: Rows) -> Floats:
            # the matrix product finds the nearest; its rounding depends on what else is in the block, so measure anew
            texts = gather(pool, part)
            apart = texts - known[nearest(texts, known, 1)[0][:, 0]].astype(np.float64)
            return np.asarray(np.linalg.norm(apart, axis=1))

        return np.minimum(blockwise(rows, far) / DIAMETER, 1.0)

    def reason(self, pool: Pool, row: int, score: float) -> str:
        if not len(known_vectors(pool)):
            return Reason("nothing is labelled yet, so every text is new")
        distance = DIAMETER * score
        return Reason(f"at distance {distance:.2f} from everything labelled", distance=distance)


@dataclass(frozen=True)
class CAL:
    """How much the model says otherwise of a text than of its labelled neighbours. O(m labelled d).

    1 - exp(-mean KL(neighbour || text)) over the ``neighbours`` nearest labelled texts: Margatina,
    Vernikos, Barrault and Aletras 2021, "Active Learning by Acquiring Contrastive Examples". Of the
    neighbours it takes held-out beliefs, which do not know their answers. For several labels it is a
    mean over labels; tags of two texts have no counterpart, so their mean distributions are compared.
    """

    neighbours: int = 10

    def __post_init__(self) -> None:
        fields.whole("neighbours", self.neighbours, 1)

    def score(self, pool: Pool, rows: Array) -> Array:
        """(m,) in [0, 1]; MissingInput without vectors, beliefs, or held-out beliefs about labelled texts."""
        known = self._labelled(pool)
        return blockwise(rows, lambda part: -np.expm1(-self._beside(pool, part, *known)[0]))

    def reason(self, pool: Pool, row: int, score: float) -> str:
        apart, near, own = (part[0] for part in self._beside(pool, np.array([row]), *self._labelled(pool)))
        one, two = int(near.argmax()), int(own.argmax())
        said = opinion(pool.need("beliefs").take(np.array([row])))
        if isinstance(said, Multilabel):
            label = int(np.abs(near - own).argmax()) % said.probs.shape[1]
            why = f"the model and its labelled neighbours differ on whether {name_of(pool, label)} applies"
        elif one == two or not own.any():
            why = "the model is not as sure as of its labelled neighbours, or surer"
        elif isinstance(said, Tagged):
            why = f"its labelled neighbours have more of tag {one}, the model finds more of tag {two}"
        else:
            why = f"its labelled neighbours look like {name_of(pool, one)}, the model leans to {name_of(pool, two)}"
        return Reason(f"{why} (divergence {apart:.1f})", divergence=apart)

    @staticmethod
    def _labelled(pool: Pool) -> tuple[Vectors, Floats]:
        """(t, d) the labelled texts, and (t, w) what was said of each when it was held out."""
        if pool.known is None or pool.known.beliefs is None or not len(pool.known.beliefs):
            raise MissingInput(
                "the pool has no held-out beliefs about labelled texts: label some, or choose a scorer that "
                'needs none, such as "margin".'
            )
        said = pool.known.beliefs
        rows = np.arange(len(said))
        each = [profiles(said.take(rows[at : at + BLOCK])) for at in range(0, len(rows), BLOCK)]
        return known_vectors(pool)[: len(said)], np.concatenate(each)

    def _beside(self, pool: Pool, rows: Rows, labelled: Vectors, known: Floats) -> tuple[Floats, Floats, Floats]:
        """(m,) divergences, (m, w) what is said of the neighbours on average, (m, w) what is said of the texts."""
        own = profiles(pool.need("beliefs").take(rows))
        at, _ = nearest(gather(pool, rows), labelled, min(self.neighbours, len(labelled)))
        near = sum((known[column] for column in at.T), start=np.zeros(own.shape)) / at.shape[1]
        certain = np.sum(known * np.log(np.maximum(known, TINY)), axis=1)
        apart = certain[at].mean(axis=1) - np.sum(near * np.log(np.maximum(own, TINY)), axis=1)
        return np.where(own.any(axis=1), np.maximum(apart, 0.0), 0.0), near, own


def profiles(said: Beliefs) -> Floats:
    """(n, w) one distribution for each text; all 0 for a text without tokens.

    For several labels w = 2c, so that a divergence is the mean of those of the labels.
    """
    said = opinion(said)
    if isinstance(said, Tagged):
        lengths = np.diff(said.offsets)
        some, out = lengths > 0, np.zeros((len(said), said.probs.shape[1]))
        if some.any():
            sums = np.add.reduceat(said.probs, said.offsets[:-1][some], axis=0, dtype=np.float64)
            out[some] = sums / lengths[some][:, None]
        return out
    p = _answers(said)
    return np.hstack([p, 1.0 - p]) / p.shape[1] if isinstance(said, Multilabel) else p


def _answers(said: Beliefs) -> Floats:
    """(m, c) probability of each answer about a text as a whole; MissingInput for tags."""
    said = opinion(said)
    if isinstance(said, Tagged):
        raise MissingInput(
            "the pool's beliefs are tags and this scorer needs answers about whole texts: "
            'choose one that does not, such as "margin".'
        )
    return np.asarray(next(iter(said.arrays().values())), dtype=np.float64)


@dataclass(frozen=True)
class Rarity:
    """How rare the text's answer is expected to be among the labels so far. O(m c).

    The mean of 1 / (1 + labels of the answer), weighted by the model's probabilities, where the
    rarest answer counts 1; one never seen is the rarest there is. For several labels the mean over
    the labels the text is expected to have; a text likely to have none has little. Inverse class
    frequency is the customary weight for imbalance; it is only as good as the model is about rare answers.
    """

    def score(self, pool: Pool, rows: Array) -> Array:
        """(m,) in [0, 1]; MissingInput without beliefs or labels' answers, and for tags."""
        said: Beliefs = pool.need("beliefs")

        def expected(part: Rows) -> Floats:
            p = _answers(said.take(part))
            worth = p @ self._rare(pool, p.shape[1])[0] / np.maximum(p.sum(axis=1), 1.0)
            return np.asarray(np.clip(worth, 0.0, 1.0))

        return blockwise(rows, expected)

    def reason(self, pool: Pool, row: int, score: float) -> str:
        p = _answers(pool.need("beliefs").take(np.array([row])))[0]
        rare, counts = self._rare(pool, len(p))
        label = int((p * rare).argmax())
        why = f"may be {name_of(pool, label)}, which has {counts[label]} labels so far (probability {p[label]:.2f})"
        return Reason(why, probability=p[label], labels=counts[label], rarity=score)

    @staticmethod
    def _rare(pool: Pool, c: int) -> tuple[Floats, Array]:
        """(c,) rarity of each answer, the rarest 1, and (c,) how often it was given."""
        targets = None if pool.known is None else pool.known.targets
        if targets is None:
            raise MissingInput(
                "the pool has no answers to count: label some texts, or choose a scorer that needs none, "
                'such as "margin".'
            )
        counts = targets.sum(axis=0) if targets.ndim == 2 else np.bincount(targets, minlength=c)
        return (1.0 + counts.min()) / (1.0 + counts), counts


@dataclass(frozen=True)
class Relevance:
    """Probability of one ``label``: to find more of a rare kind, or all of it. O(m c).

    Lewis and Gale 1994, "A Sequential Algorithm for Training Text Classifiers" (relevance sampling);
    what technology-assisted review asks about next (Cormack and Grossman 2014). It teaches the model
    little about other labels, and finds only what is like what it found.
    """

    label: str

    def __post_init__(self) -> None:
        _name("label", self.label)

    def score(self, pool: Pool, rows: Array) -> Array:
        """(m,) in [0, 1]; InputError for a label the pool does not have, MissingInput without beliefs and for tags."""
        said: Beliefs = pool.need("beliefs")
        column = self._column(pool)
        return np.minimum(blockwise(rows, lambda part: _answers(said.take(part))[:, column]), 1.0)

    def reason(self, pool: Pool, row: int, score: float) -> str:
        return Reason(f"may be {name_of(pool, self._column(pool))} (probability {score:.2f})", probability=score)

    def _column(self, pool: Pool) -> int:
        if self.label not in pool.labels:
            raise unknown("label", self.label, pool.labels, "label")
        return list(pool.labels).index(self.label)


@dataclass(frozen=True)
class Signal:
    """A number the pool has for every text under a ``name``, such as typicality or a user's own priority. O(m)."""

    name: str

    def __post_init__(self) -> None:
        _name("name", self.name)

    def score(self, pool: Pool, rows: Array) -> Array:
        """(m,) in [0, 1]; MissingInput if the pool has no such signal, InputError if it leaves [0, 1]."""
        if self.name not in pool.signals:
            present = ", ".join(pool.signals) or "none"
            raise MissingInput(f"the pool has no signal {self.name!r} (present: {present}): provide it.")
        values = np.asarray(pool.signals[self.name][rows], dtype=np.float64)
        if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
            raise InputError(f"the signal {self.name!r} must be one number from 0 to 1 for every text.")
        return values

    def reason(self, pool: Pool, row: int, score: float) -> str:
        return Reason(f"{' '.join(self.name.split())[:40]} {score:.2f}, where 1 is the most", **{self.name: score})


def _name(field: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{field}: {value!r} is not allowed; give a name.")
