"""The default: what to ask about next, from what the labels so far show. docs/auto.md explains it on one page."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from labelwise.core import MissingInput, Nomination, Pool, Scorer, Selection, Strategy
from labelwise.select import fields
from labelwise.select.herding import Herding
from labelwise.select.scorers import Margin
from labelwise.select.seeding import RareFirst, Seeds
from labelwise.select.strategies import Mix


@dataclass(frozen=True)
class Auto:
    """Representative while labels are few, uncertain and diverse later; rare classes and hints, always.

    A composition, made anew for every batch from what is known:

    - while a label with ``hints`` has fewer than 10 labels, ``hinted`` of the slots go to ``Seeds``;
    - while a class has fewer than ``enough`` labels and others have many, ``rare`` of them to ``RareFirst``;
    - all others to ``Herding`` with ``scorer``: texts that stand for many which the model is unsure of and
      nothing asked so far resembles.

    No constant says when labels are few. Held-out answers do, through the calibrated beliefs: a model that is
    often wrong is unsure everywhere, so every text counts alike and the choice is coverage; the better
    it gets, the fewer texts it is unsure of, and the more the choice is for those. The balls that pick
    and labels cover shrink as they share out the pool between more of them.

    Deterministic but for ties and clustering: propensities are 1, so estimates rest on the batch's control.
    O(n c) for the scores, O(m^2 d) for the m = 8192 + 2048 candidates of herding.
    """

    scorer: Scorer = field(default_factory=Margin)
    rare: float = 0.6
    hinted: float = 0.5
    enough: int = 20

    def __post_init__(self) -> None:
        fields.scorer("scorer", self.scorer)
        fields.number("rare", self.rare, 0.0, 1.0)
        fields.number("hinted", self.hinted, 0.0, 1.0)
        fields.whole("enough", self.enough, 2)

    def composed(self, pool: Pool) -> Strategy:
        """What chooses from this pool; equal in all shards, as it depends on what they share.

        MissingInput without vectors.
        """
        pool.need("vectors")
        parts: list[Strategy] = []
        shares: list[float] = []
        seeds, rare = Seeds(), RareFirst(self.enough)
        for part, share, needs in ((seeds, self.hinted, seeds.lacking), (rare, self.rare, rare.lacking)):
            try:
                needs(pool)
            except MissingInput:
                continue
            parts.append(part)
            shares.append(share * (1.0 - sum(shares)))
        covering = Herding(None if pool.beliefs is None else self.scorer)
        return Mix((*parts, covering), (*shares, 1.0 - sum(shares)))

    def nominate(self, pool: Pool, budget: int, rng: np.random.Generator) -> Nomination:
        """What any part sends up."""
        return self.composed(pool).nominate(pool, budget, rng)

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        return self.composed(pool).select(pool, budget, rng)
