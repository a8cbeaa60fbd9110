"""Finding the first texts of a class: from what the user says it looks like, or from the few labelled ones.

A uniform sample of a pool in which a class has a share of 0.5 % holds one of its texts in 200, and a
model that has seen none cannot be unsure about it. What helps is to ask for the likely ones (maximum
relevance, the rule of technology-assisted review: Cormack and Grossman 2014, "Evaluation of
Machine-Learning Protocols for Technology-Assisted Review in Electronic Discovery") until some ten
are found, from a seed that is biased to the class (Ein-Dor et al. 2020, "Active Learning for BERT:
An Empirical Study"). Both strategies are deterministic but for ties: nothing can be estimated from
their picks. Over shards they choose what they would choose over one array; of near-duplicates that lie
in several shards, another may stand for the group.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from labelwise.core import MissingInput, Pool, Reason, Selection
from labelwise.core.beliefs import BLOCK, Array, Beliefs, Committee, Rows, Tagged
from labelwise.core.threads import one_thread
from labelwise.select import fields, picking
from labelwise.select.comparing import Comparing, Tiered, Vectors, gather, known_vectors
from labelwise.select.nearest import nearest, similarity
from labelwise.select.scorers import name_of

RARE = 4
"""A class is rare if another has at least RARE times as many labels."""


def probabilities(beliefs: Beliefs) -> Array:
    """(n, c) probability of each class. MissingInput for spans, which have classes only token by token."""
    said = beliefs.mean() if isinstance(beliefs, Committee) else beliefs
    if isinstance(said, Tagged):
        raise MissingInput("spans give a text no class: choose a strategy that does not look at classes.")
    return next(iter(said.arrays().values()))


def by_block(pool: Pool, rows: Rows, of: Callable[[Array], Array]) -> Array:
    """``of`` the probabilities (m, c) of some rows, worked out block by block."""
    beliefs: Beliefs = pool.need("beliefs")
    starts = range(0, max(len(rows), 1), BLOCK)
    with one_thread():
        return np.concatenate([of(probabilities(beliefs.take(rows[start : start + BLOCK]))) for start in starts])


def answers(pool: Pool) -> Array:
    """The targets of what is labelled. MissingInput where answers have no classes, or nobody has passed them."""
    if pool.known is None or pool.known.targets is None:
        raise MissingInput(
            "the labels given so far are not known by class: spans have none; else pass `known.targets`."
        )
    return pool.known.targets


def belongs(targets: Array, classes: int) -> Array:
    """(t, classes) bool: which classes each labelled text has."""
    return targets[:, None] == np.arange(classes) if targets.ndim == 1 else targets[:, :classes]


def having(targets: Array, label: int) -> Array:
    """(t,) bool: which labelled texts have the class."""
    return targets == label if targets.ndim == 1 else targets[:, label]


def rare_classes(targets: Array, classes: int, enough: int) -> Rows:
    """The classes that have some but fewer than ``enough`` labels while others have many; fewest first.

    Many: at least ``enough``, and RARE times as many. One answer per text: the largest class has that
    many. Several: that many texts do not have the label. O(t classes).
    """
    counts = belongs(targets, classes).sum(axis=0)
    other = np.full(classes, counts.max(initial=0)) if targets.ndim == 1 else len(targets) - counts
    rare = np.flatnonzero((counts >= 1) & (counts < enough) & (other >= np.maximum(enough, RARE * counts)))
    return rare[np.argsort(counts[rare], kind="stable")]


def relevance(pool: Pool, rows: Rows, labels: Rows) -> Array:
    """(len(labels), m) how likely each row is of each class; only compared within a class. Higher = likelier.

    Cosines of the text to what is labelled: their mean over texts of the class less that over all others,
    one product with the difference of two centroids (Rocchio 1971, "Relevance Feedback in Information
    Retrieval"). What the model says decides only where the pool has no vectors: of a class it has seen three
    texts of, it knows little. O(m len(labels) d).
    """
    if pool.vectors is None:
        return by_block(pool, rows, lambda probs: probs[:, labels]).T
    targets = answers(pool)
    known = known_vectors(pool)[: len(targets)]
    total, towards = known.sum(axis=0), np.empty((len(labels), known.shape[1]), np.float32)
    for place, label in enumerate(labels):
        own = having(targets, int(label))
        inside = known[own].sum(axis=0)
        towards[place] = inside / own.sum() - (total - inside) / max(np.count_nonzero(~own), 1)
    said = np.empty((len(labels), len(rows)), np.float32)
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        # on a grid: the last digits of a product of matrices depend on their shape
        said[:, part] = np.round(towards @ gather(pool, rows[part]).T, 6)
    return said


def in_turn(
    wanted: Array, counts: Array, budget: int, closed: Array, alike: Callable[[int], Array] | None = None
) -> tuple[Rows, Rows, int]:
    """Picks (budget,) and the class each is for: always the class with the fewest, and its most wanted text.

    ``wanted`` (c, m), ``counts`` (c,) labels so far; a pick counts as a label. ``closed`` (m,) texts, and
    those ``alike`` a pick, come when no others are left: how many did is the third result. O(budget (c + m)).
    """
    counts, closed, taken = counts.copy(), closed.copy(), np.zeros(wanted.shape[1], dtype=bool)
    picks: list[int] = []
    turns: list[int] = []
    late = 0
    while len(picks) < budget:
        shut = closed | taken
        if shut.all():
            shut, late = taken, late + 1
        turn = int(counts.argmin())
        pick = int(np.where(shut, -np.inf, wanted[turn]).argmax())
        counts[turn] += 1
        taken[pick] = True
        if alike is not None:
            closed |= alike(pick)
        picks.append(pick)
        turns.append(turn)
    return np.array(picks, dtype=np.intp), np.array(turns, dtype=np.intp), late


@dataclass(frozen=True)
class Seeds(Comparing):
    """Cold start: the texts nearest to what the user says the labels look like (``pool.hints``).

    Asks for the hinted label with the fewest labels, until each has ``enough``; then, and without
    hints, MissingInput says so. Texts with a cosine above ``novelty`` to one that was asked or picked
    come last: copies of the example would teach nothing. The ``among`` nearest in all take part (0 =
    all), at least a batch for each hint. Where answers have no classes (spans), it never has enough.
    O(hints n d) without an index, O(among budget d) for the choice.
    """

    enough: int = 10
    novelty: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        fields.whole("enough", self.enough, 1)
        fields.number("novelty", self.novelty, 0.0, 1.0)

    def lacking(self, pool: Pool) -> tuple[Vectors, Array, Rows, Rows]:
        """Vectors and labels of the hints still needed, these labels, and how many texts have them."""
        hints = pool.hints
        told = np.zeros(0, dtype=bool) if hints is None else np.any(hints.vectors, axis=1)
        if hints is None or not told.any():
            raise MissingInput("nobody has said what the labels look like: give keywords, label names or examples.")
        labels = np.unique(hints.labels[told])
        targets = None if pool.known is None else pool.known.targets
        counts = np.zeros(len(labels), dtype=np.intp)
        if targets is not None:
            counts = belongs(targets, int(labels[-1]) + 1).sum(axis=0)[labels]
        if (counts >= self.enough).all():
            raise MissingInput(f"every label with hints has {self.enough} labelled texts: seeds have done their work.")
        few = counts < self.enough
        told &= np.isin(hints.labels, labels[few])
        return np.asarray(hints.vectors[told], np.float32), hints.labels[told], labels[few], counts[few]

    def _candidates(self, pool: Pool, order: Rows, budget: int) -> tuple[Rows, int]:
        vectors = self.lacking(pool)[0]
        if not self.among:
            return order, len(order)
        near = nearest(pool, vectors, max(self.among // len(vectors), budget), order)[0]
        rows = order[np.isin(order, near)]
        return rows, len(rows)

    def pick(self, pool: Pool, rows: Rows, sample: int, budget: int, rng: np.random.Generator) -> Selection:
        """Rows in the order picked; the score is the cosine to the nearest hint of the label asked for."""
        vectors, of, labels, counts = self.lacking(pool)
        texts = gather(pool, rows)
        wanted = np.stack([similarity(texts, vectors[of == label]) for label in labels])
        old = similarity(texts, known_vectors(pool)) > self.novelty
        picks, turns, late = in_turn(wanted, counts, budget, old, lambda pick: texts @ texts[pick] > self.novelty)
        near = wanted[turns, picks].astype(np.float64)
        reasons = []
        for turn, cosine in zip(turns, near, strict=True):
            why = f"like what you gave for {name_of(pool, int(labels[turn]))} ({counts[turn]} labels so far)"
            reasons.append(Reason(why, cosine=cosine, labelled=counts[turn]))
        note = f"{late} texts are almost copies of others: nothing else is left near the hints" if late else ""
        return Selection(rows[picks], near, np.ones(len(picks)), tuple(reasons), note)


@dataclass(frozen=True)
class RareFirst(Tiered):
    """The likeliest texts of the classes that have some labels but fewer than ``enough``, while others have many.

    See ``rare_classes`` and ``relevance``; asks for the rare class with the fewest labels. Raises
    MissingInput when no class is rare. O(n rare d): one product with as many directions as there are
    rare classes, in one sweep over the vectors.
    """

    enough: int = 10

    def __post_init__(self) -> None:
        fields.whole("enough", self.enough, 2)

    def lacking(self, pool: Pool) -> tuple[Rows, Array]:
        targets = answers(pool)
        classes = int(targets.max(initial=-1)) + 1 if targets.ndim == 1 else targets.shape[1]
        rare = rare_classes(targets, classes, self.enough)
        if not len(rare):
            raise MissingInput(
                f"no class is rare: none has 1 to {self.enough - 1} labels while others have many; "
                "choose by another strategy, or give hints for a class without labels."
            )
        return rare, belongs(targets, classes).sum(axis=0)[rare]

    def _candidates(self, pool: Pool, order: Rows, budget: int) -> tuple[Rows, int]:
        """The ``budget`` likeliest of each rare class."""
        rare = self.lacking(pool)[0]
        none = np.zeros(0), np.zeros(0, dtype=np.intp)
        best, places = [none] * len(rare), np.argsort(order)
        for start in range(0, len(order), BLOCK):
            # in the order of storage, so that vectors are read in one sweep
            some = places[start : start + BLOCK]
            for i, wanted in enumerate(relevance(pool, order[some], rare)):
                keys, at = best[i]
                may = -wanted <= (keys[-1] if len(keys) >= budget > 0 else np.inf)
                keys, at = np.concatenate([keys, -wanted[may]]), np.concatenate([at, some[may]])
                keep = picking.smallest(keys, budget, at.astype(np.float64))
                best[i] = keys[keep], at[keep]
        rows = order[np.unique(np.concatenate([at for _, at in best]))]
        return rows, len(rows)

    def pick(self, pool: Pool, rows: Rows, sample: int, budget: int, rng: np.random.Generator) -> Selection:
        """Rows in the order picked; the score is the relevance for the class asked for."""
        rare, counts = self.lacking(pool)
        wanted = relevance(pool, rows, rare)
        picks, turns, _ = in_turn(wanted, counts, budget, np.zeros(len(rows), dtype=bool))
        scores = wanted[turns, picks].astype(np.float64)
        reasons = []
        for turn, score in zip(turns, scores, strict=True):
            why = f"likely the rare class {name_of(pool, int(rare[turn]))} ({counts[turn]} labels so far)"
            reasons.append(Reason(why, relevance=score, labelled=counts[turn]))
        return Selection(rows[picks], scores, np.ones(len(picks)), tuple(reasons))
