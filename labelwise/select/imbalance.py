"""Strategies for pools in which some classes are rare: look near the labelled, share out by class, bisect.

AnchorAL, Seals and Balanced leave the choice to another strategy and say among which texts; its
propensities are chances among those. What they leave empty goes to it over the whole pool. Over
shards they choose what they would choose over one array if their base does, unless near-duplicates
that lie in several shards leave fewer different texts than a batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from labelwise.core import MissingInput, Nomination, Pool, Reason, Selection, Strategy
from labelwise.core.beliefs import Array, Rows
from labelwise.core.pool import Rest
from labelwise.select import fields, picking
from labelwise.select.comparing import Comparing, Vectors, known_vectors, squared
from labelwise.select.nearest import nearest
from labelwise.select.scorers import name_of
from labelwise.select.seeding import answers, belongs, by_block, having, probabilities


def _only(pool: Pool, rows: Rows) -> Pool:
    still = np.zeros(len(pool), dtype=bool)
    still[rows] = pool.open[rows]
    return pool.replace(open=still)


def _different(pool: Pool, rows: Rows) -> int:
    """How many of the rows are not near-duplicates of one another."""
    return len(picking.apart(rows, pool.groups)[0])


def _left(base: Strategy, pool: Pool, sent: Array) -> Rest:
    return base.left(pool, sent) if isinstance(base, picking.Weighing) else 0.0


def _chosen(
    pool: Pool, base: Strategy, parts: Sequence[tuple[Rows, int, Rest]], budget: int, streams: list[np.random.Generator]
) -> tuple[Selection, int]:
    """What ``base`` chooses in each part (rows, slots, rest) and then elsewhere, and how many were in the parts.

    ``pool.rest`` is that of the choice elsewhere; the last of the streams decides it.
    """
    chosen: list[Selection] = []
    left, missing = pool, budget
    for (rows, slots, rest), own in zip([*parts, (pool.candidates(), budget, pool.rest)], streams, strict=True):
        inside = budget - missing
        still = rows[left.open[rows]]
        count = min(slots, missing, _different(pool, still))
        if count:
            chosen.append(base.select(_only(left, still).replace(rest=rest), count, own))
            left = picking.asked(left, chosen[-1].rows, picking.near(pool, chosen[-1].rows))
            missing -= count
    if missing:
        # only near-duplicates of what was chosen remain
        again = np.setdiff1d(pool.candidates(), Selection.join(chosen).rows)
        if len(again):
            chosen.append(base.select(_only(left.replace(open=pool.open), again), missing, streams[-1]))
    return Selection.join(chosen), inside


@dataclass(frozen=True)
class _Near(ABC):
    """``base`` chooses among open texts near labelled ones."""

    base: Strategy

    def __post_init__(self) -> None:
        fields.strategy("base", self.base)

    @abstractmethod
    def near(self, pool: Pool, rng: np.random.Generator) -> tuple[Rows, int]:
        """The open rows found, best first, and how many of them the base chooses among."""

    def left(self, pool: Pool, sent: Array) -> Rest:
        """What ``base`` says of the open rows that were not sent up."""
        return _left(self.base, pool, sent)

    def nominate(self, pool: Pool, budget: int, rng: np.random.Generator) -> Nomination:
        """All that is near in this shard; where that is too few, also what ``base`` sends up."""
        finding, _, filling = rng.spawn(3)
        rows, size = self.near(pool, finding)
        if _different(pool, rows[:size]) >= budget:
            return Nomination(np.sort(rows))
        rows = np.union1d(rows, self.base.nominate(pool, budget, filling).rows).astype(np.intp)
        return Nomination(rows, self.left(pool, rows))

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        finding, *streams = rng.spawn(3)
        rows, size = self.near(pool, finding)
        chosen, inside = _chosen(pool, self.base, [(rows[:size], budget, 0.0)], budget, streams)
        if inside == len(chosen):
            return chosen
        note = f"only {inside} different texts lie near labelled ones: the others come from the whole pool"
        return replace(chosen, fallback="; ".join(filter(None, [note, chosen.fallback])))


@dataclass(frozen=True)
class AnchorAL(_Near):
    """``base`` chooses among the open texts near some labelled texts of each class.

    At most ``anchors`` labelled texts of a class, spread by k-means++ and drawn anew each time, call
    their ``neighbours`` nearest open texts; the ``size`` with the best mean cosine to the anchors
    that called them are the sub-pool, in which rare classes are far more frequent. Lesci and Vlachos
    2024, "AnchorAL: Computationally Efficient Active Learning for Large and Imbalanced Datasets".

    A class without a label has no anchors: start it with ``Seeds``. A text that is an anchor of several
    classes counts once. MissingInput where answers have no classes. O(classes anchors n d) without an
    index; the base values the sub-pool only.
    """

    anchors: int = 10
    neighbours: int = 50
    size: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("anchors", "neighbours", "size"):
            fields.whole(name, getattr(self, name), 1)

    def near(self, pool: Pool, rng: np.random.Generator) -> tuple[Rows, int]:
        """Rows by falling mean cosine to the anchors that called them."""
        targets = answers(pool)
        vectors = known_vectors(pool)[: len(targets)]
        groups = np.unique(targets) if targets.ndim == 1 else np.arange(targets.shape[1])
        chosen = [_spread(vectors, np.flatnonzero(having(targets, int(c))), self.anchors, rng) for c in groups]
        anchors = np.unique(np.concatenate([np.zeros(0, dtype=np.intp), *chosen]))
        rows, cosines = nearest(pool, vectors[anchors], self.neighbours)
        found, which = np.unique(rows[rows >= 0], return_inverse=True)
        mean = np.bincount(which, cosines[rows >= 0]) / np.maximum(np.bincount(which), 1)
        return found[np.lexsort((pool.ids[found], -mean))], self.size


def _spread(vectors: Vectors, members: Rows, count: int, rng: np.random.Generator) -> Rows:
    """``count`` members by k-means++: each with a chance in proportion to its squared distance to the nearest picked.

    All of them if they are no more than ``count``; fewer if those left are copies of picked ones.
    """
    if len(members) <= count:
        return members
    texts = vectors[members]
    picks = [int(rng.integers(len(members)))]
    near = squared(texts, texts[picks])[:, 0].astype(np.float64)
    while len(picks) < count:
        near[picks] = 0.0
        if not near.any():
            break
        picks.append(int(rng.choice(len(members), p=near / near.sum())))
        near = np.minimum(near, squared(texts, texts[picks[-1:]])[:, 0])
    return members[picks]


@dataclass(frozen=True)
class Seals(_Near):
    """``base`` chooses among the ``neighbours`` nearest open texts of every labelled one.

    Coleman et al. 2022, "Similarity Search for Efficient Active Learning and Search of Rare Concepts".
    They keep the sub-pool and add to it; here the search answers anew, so what was closed leaves it
    and others move up. It grows with the labels and follows the majority where the labels do. One
    search per labelled text: O(labelled n d) without an index; the base values the sub-pool only.
    """

    neighbours: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        fields.whole("neighbours", self.neighbours, 1)

    def near(self, pool: Pool, rng: np.random.Generator) -> tuple[Rows, int]:
        """Rows, ascending; texts whose answer is awaited call none where it is known which are."""
        labelled = known_vectors(pool)
        if pool.known is not None and pool.known.targets is not None:
            labelled = labelled[: len(pool.known.targets)]
        rows = np.unique(nearest(pool, labelled, self.neighbours)[0])
        rows = rows[rows >= 0]
        return rows, len(rows)


@dataclass(frozen=True)
class Balanced:
    """``base`` chooses inside each predicted class, most where there are the fewest labels.

    Each slot goes to the class with the fewest labels and slots that still has texts predicted to be
    of it (most probable class; most probable label where a text may have several). What small-text
    calls ClassBalancer (Schröder et al. 2023, "Small-Text: Active Learning for Text Classification in
    Python"). It can only find what the model predicts: for a class that it never predicts take
    ``RareFirst`` or ``AnchorAL``. O(n c + budget c) and one choice of ``base`` per class with slots.
    """

    base: Strategy

    def __post_init__(self) -> None:
        fields.strategy("base", self.base)

    def _parts(self, pool: Pool, budget: int) -> tuple[list[Rows], Rows]:
        """Open rows by predicted class, and the slots of each class."""
        targets, rows = answers(pool), pool.candidates()
        likely = by_block(pool, rows, lambda probs: probs.argmax(axis=1))
        classes = probabilities(pool.need("beliefs").take(rows[:0])).shape[1]
        parts = [rows[likely == label] for label in range(classes)]
        counts = belongs(targets, classes).sum(axis=0)
        return parts, water_filled(counts, np.array([_different(pool, part) for part in parts]), budget)

    def left(self, pool: Pool, sent: Array) -> Rest:
        """One entry for each class, and one for all."""
        return self._rests(pool, self._parts(pool, 0)[0], sent)

    def _rests(self, pool: Pool, parts: list[Rows], sent: Array) -> Rest:
        return (*(_left(self.base, _only(pool, part), sent) for part in parts), _left(self.base, pool, sent))

    def nominate(self, pool: Pool, budget: int, rng: np.random.Generator) -> Nomination:
        """What ``base`` sends up in each class; over all shards no class has more slots than it has here."""
        parts, slots = self._parts(pool, budget)
        *streams, filling = rng.spawn(len(parts) + 1)
        sent = [pool.candidates()[:0]]
        for part, count, own in zip(parts, slots, streams, strict=True):
            if count:
                sent.append(self.base.nominate(_only(pool, part), int(count), own).rows)
        if slots.sum() < budget:
            sent.append(self.base.nominate(pool, budget, filling).rows)
        rows = np.unique(np.concatenate(sent)).astype(np.intp)
        return Nomination(rows, self._rests(pool, parts, rows))

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        parts, slots = self._parts(pool, budget)
        rests = pool.rest if isinstance(pool.rest, tuple) else (pool.rest,) * (len(parts) + 1)
        turns = [(part, int(count), rest) for part, count, rest in zip(parts, slots, rests[:-1], strict=True)]
        return _chosen(pool.replace(rest=rests[-1]), self.base, turns, budget, rng.spawn(len(parts) + 1))[0]


def water_filled(counts: Array, room: Array, budget: int) -> Rows:
    """(c,) how many of ``budget`` slots each class gets: one by one to the class with the fewest that has room.

    Of equal classes the first. O(budget c).
    """
    slots = np.zeros(len(counts), dtype=np.intp)
    for _ in range(min(budget, int(room.sum()))):
        slots[np.where(slots < room, counts + slots, np.inf).argmin()] += 1
    return slots


@dataclass(frozen=True)
class Galaxy(Comparing):
    """Bisects, class by class, the stretch of probabilities where the class begins.

    All texts stand in line by the probability of the class. The shortest run of open texts between
    two labelled neighbours of which one has the class and the other has not is halved; when there
    is none, the open text next to the cut is asked, by turns below and above it. Zhang, Katz-Samuels
    and Nowak 2022, "GALAXY: Graph-based Active Learning at the Extreme"; here classes take turns,
    fewest labels first, and within a batch a pick's answer is what the model expects (theirs is
    told at once). The cut is that with the fewest labelled texts on the wrong side.

    Uncertainty sampling with a rare class asks mostly about the majority; this asks as often on
    both sides. Labelled texts stand where held-out beliefs put them: MissingInput without
    these, or when no class has labelled texts both in and out. O(m c log m + budget m).
    """

    def pick(self, pool: Pool, rows: Rows, sample: int, budget: int, rng: np.random.Generator) -> Selection:
        """Rows in the order picked; the score falls with the length of the run, or the distance to the cut."""
        targets = answers(pool)
        if pool.known is None or pool.known.beliefs is None:
            raise MissingInput("no held-out beliefs about the labelled texts: train a model that keeps them.")
        before = probabilities(pool.known.beliefs)
        known = belongs(targets, before.shape[1])
        turns = np.flatnonzero(known.any(axis=0) & ~known.all(axis=0))
        if not len(turns):
            raise MissingInput("no class has labelled texts both in and out of it: label some texts first.")
        turns = turns[np.argsort(known.sum(axis=0)[turns], kind="stable")]
        chances = by_block(pool, rows, lambda probs: probs)
        single = targets.ndim == 1
        guess = belongs(chances.argmax(axis=1), chances.shape[1]) if single else chances > 0.5
        line = np.argsort(np.concatenate([before, chances]), axis=0, kind="stable")
        told = np.concatenate([known.astype(np.int8), np.full(chances.shape, -1, dtype=np.int8)])
        picks: list[int] = []
        figures: list[tuple[int, int]] = []
        while len(picks) < budget:
            at = len(picks)
            label = int(turns[at % len(turns)])
            place, run = halve(told[line[:, label], label], above=bool(at // len(turns) % 2))
            pick = int(line[place, label]) - len(known)
            told[len(known) + pick] = guess[pick]
            picks.append(pick)
            figures.append((label, run))
        reasons = tuple(
            Reason(
                f"where {name_of(pool, label)} begins (probability {chances[pick, label]:.2f})",
                probability=chances[pick, label],
                run=run,
            )
            for pick, (label, run) in zip(picks, figures, strict=True)
        )
        scores = np.array([1.0 / (1 + run) for _, run in figures])
        return Selection(rows[picks], scores, np.ones(len(picks)), reasons)


def halve(told: Array, above: bool) -> tuple[int, int]:
    """Place to ask in a line of answers (n,) 1, 0 or -1 = open, and the run's length, or the distance to the cut.

    There are both 1 and 0, and an open one. ``above`` says on which side of the cut to ask when no
    run of open ones is left between neighbours that differ. O(n).
    """
    at = np.flatnonzero(told >= 0)
    said = told[at]
    between = np.diff(at) - 1
    differ = said[1:] != said[:-1]
    runs = np.flatnonzero(differ & (between > 0))
    if len(runs):
        run = runs[between[runs].argmin()]
        return int(at[run] + (between[run] + 1) // 2), int(between[run])
    cuts = np.flatnonzero(differ)
    wrong = np.cumsum(said == 1)[cuts] + (said == 0).sum() - np.cumsum(said == 0)[cuts]
    cut = int(at[cuts[wrong.argmin()]])
    free = np.flatnonzero(told < 0)
    low, high = free[free < cut], free[free > cut]
    if len(high) and (above or not len(low)):
        return int(high[0]), int(high[0]) - cut
    return int(low[-1]), cut + 1 - int(low[-1])
