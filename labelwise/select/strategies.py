"""Chance, the best, and how strategies combine."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from labelwise.core import InputError, MissingInput, Nomination, Pool, Scorer, Selection, Strategy
from labelwise.core.beliefs import Array, Rows
from labelwise.core.pool import Rest
from labelwise.select import fields, picking


def _at_random(pool: Pool, rows: Rows, budget: int, salt: picking.Salts) -> tuple[Rows, Array]:
    return picking.draw(pool, rows, [picking.Race(np.ones(len(rows)), picking.rest_of(pool), salt)], budget)


@dataclass(frozen=True)
class Random(picking.Counting):
    """Every open text is as likely as any other. O(n)."""

    def nominate(self, pool: Pool, budget: int, rng: np.random.Generator) -> Nomination:
        """The rows that come first in the draw."""
        rows, salt = pool.candidates(), picking.salts(rng)
        sent = picking.best(pool, rows, picking.race(pool.ids[rows], salt.draw), budget)
        return Nomination(sent, float(len(rows) - len(sent)))

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        rows, salt = pool.candidates(), picking.salts(rng)
        picks, chance = _at_random(pool, rows, budget, salt)
        return Selection(rows[picks], np.zeros(len(picks)), chance, ("random",) * len(picks))


@dataclass(frozen=True)
class Top(picking.Counting):
    """The best by score; equal scores are ordered by noise that belongs to the text. O(n).

    The same pool gives the same texts but for ties, so propensities are 1: nothing can be
    estimated from its picks. Only when all scores are equal is it a draw, with a draw's chances.
    """

    scorer: Scorer

    def __post_init__(self) -> None:
        fields.scorer("scorer", self.scorer)

    def nominate(self, pool: Pool, budget: int, rng: np.random.Generator) -> Nomination:
        """The best rows by score."""
        rows, salt = pool.candidates(), picking.salts(rng)
        scores = picking.scores_of(self.scorer, pool, rows)
        sent = picking.best(pool, rows, -scores, budget, picking.race(pool.ids[rows], salt.draw))
        return Nomination(sent, float(len(rows) - len(sent)))

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        rows, salt = pool.candidates(), picking.salts(rng)
        scores = picking.scores_of(self.scorer, pool, rows)
        fallback = picking.tied(scores, budget)
        if fallback:
            picks, chance = _at_random(pool, rows, budget, salt)
        else:
            noise = picking.race(pool.ids[rows], salt.draw)
            picks = picking.first(-scores, picking.groups_of(pool, rows), budget, noise)
            others = np.setdiff1d(np.arange(len(rows)), picks) if len(picks) < budget else picks[:0]
            late = others[picking.smallest(-scores[others], budget - len(picks), noise[others])]
            picks = np.concatenate([picks, late])
            chance = np.ones(len(picks))
        why = picking.reasons(self.scorer, pool, rows[picks], scores[picks])
        return Selection(rows[picks], scores[picks], chance, why, fallback)


@dataclass(frozen=True)
class Then:
    """``first`` leaves factor * budget candidates, ``second`` chooses among them.

    Scores, reasons and propensities are those of ``second``: chances among the candidates, not
    in the pool, so they support an estimate over the pool only if ``first`` lets everything pass.
    """

    first: Strategy
    second: Strategy
    factor: float = 3.0

    def __post_init__(self) -> None:
        fields.strategy("first", self.first)
        fields.strategy("second", self.second)
        fields.number("factor", self.factor, 1.0, 1e6)

    def left(self, pool: Pool, sent: Array) -> Rest:
        """What ``first`` says of the open rows that were not sent up."""
        return self.first.left(pool, sent) if isinstance(self.first, picking.Weighing) else 0.0

    def nominate(self, pool: Pool, budget: int, rng: np.random.Generator) -> Nomination:
        """What ``first`` sends up for factor * budget."""
        return self.first.nominate(pool, math.ceil(self.factor * budget), rng.spawn(2)[0])

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        filtering, choosing = rng.spawn(2)
        passed = self.first.select(pool, math.ceil(self.factor * budget), filtering)
        candidates = np.zeros(len(pool), dtype=bool)
        candidates[passed.rows] = True
        # every candidate is here: nothing was left behind for the second choice
        chosen = self.second.select(pool.replace(open=candidates, rest=0.0), budget, choosing)
        return replace(chosen, fallback="; ".join(filter(None, (passed.fallback, chosen.fallback))))


def _lacks(part: Strategy, error: MissingInput) -> str:
    return f"{type(part).__name__} left its share to others: {error}"


@dataclass(frozen=True)
class Mix:
    """Divides a batch: each part gets its share of the slots and chooses from what earlier parts left.

    Slots follow the largest remainder (Hamilton's method), ties going to earlier parts. What a
    part cannot fill goes on to the next. A part that lacks an input leaves its slots to the others,
    and the batch says so. Propensities are each part's own: chances among the texts that earlier
    parts left open.
    """

    parts: tuple[Strategy, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("parts", "shares"):
            if not isinstance(getattr(self, name), (list, tuple)) or not getattr(self, name):
                raise InputError(f"{name}: {getattr(self, name)!r} is not allowed; give a list of at least one.")
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for i, part in enumerate(self.parts):
            fields.strategy(f"parts[{i}]", part)
        for i, share in enumerate(self.shares):
            fields.number(f"shares[{i}]", share, 0.0, 1e9)
        if len(self.shares) != len(self.parts) or not sum(self.shares) > 0:
            raise InputError(
                f"shares: {list(self.shares)!r} is not allowed; give one share >= 0 for each of the "
                f"{len(self.parts)} parts, at least one of them > 0."
            )

    def slots(self, budget: int) -> list[int]:
        """How many of ``budget`` texts each part chooses; they add up to ``budget``."""
        exact = np.array(self.shares) * (budget / sum(self.shares))
        counts = np.floor(exact + 1e-9).astype(int)
        for i in np.argsort(-(exact - counts), kind="stable")[: budget - counts.sum()]:
            counts[i] += 1
        return [int(count) for count in counts]

    def left(self, pool: Pool, sent: Array) -> Rest:
        """One entry for each part."""
        return tuple(p.left(pool, sent) if isinstance(p, picking.Weighing) else 0.0 for p in self.parts)

    def nominate(self, pool: Pool, budget: int, rng: np.random.Generator) -> Nomination:
        """All that any part sends up; the rest is counted anew, as one part's rest may be another's choice."""
        sent: list[Array] = []
        why: list[str] = []
        for part, own in zip(self.parts, self._streams(rng), strict=True):
            try:
                sent.append(part.nominate(pool, budget, own).rows)
            except MissingInput as error:
                why.append(_lacks(part, error))
        if not sent:
            raise MissingInput("; ".join(why))
        rows = np.unique(np.concatenate(sent)).astype(np.intp)
        return Nomination(rows, self.left(pool, rows))

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        rests = pool.rest if isinstance(pool.rest, tuple) else (pool.rest,) * len(self.parts)
        chosen: list[Selection] = []
        able: list[tuple[Strategy, Rest]] = []
        why: list[str] = []
        left, missing = pool, 0
        for part, slots, rest, own in zip(self.parts, self.slots(budget), rests, self._streams(rng), strict=True):
            missing += slots
            try:
                chosen.append(part.select(left.replace(rest=rest), missing, own))
            except MissingInput as error:
                why.append(_lacks(part, error))
                continue
            able.append((part, rest))
            missing -= len(chosen[-1])
            left = picking.asked(left, chosen[-1].rows, picking.near(pool, chosen[-1].rows))
        if not able:
            raise MissingInput("; ".join(why))
        part, rest = able[-1]
        for open_now in (left.open, None):
            if missing:
                # the second time only near-duplicates of what was chosen remain: better than too small a batch
                done = np.isin(np.arange(len(pool)), Selection.join(chosen).rows)
                left = left.replace(open=pool.open & ~done if open_now is None else open_now, rest=rest)
                chosen.append(part.select(left, missing, rng))
                missing -= len(chosen[-1])
                left = picking.asked(left, chosen[-1].rows, picking.near(pool, chosen[-1].rows))
        whole = Selection.join(chosen)
        return replace(whole, fallback="; ".join(filter(None, [whole.fallback, *why])))

    def _streams(self, rng: np.random.Generator) -> list[np.random.Generator]:
        return rng.spawn(len(self.parts))
