"""A strategy for Labelwise: unsure texts from where nobody has asked yet, drawn with known chances."""

from dataclasses import dataclass, field

import numpy as np

from labelwise.core import Nomination, Pool, Reason, Scorer, Selection
from labelwise.select import Margin, Novelty, picking


@dataclass(frozen=True)
class Frontier:
    """Draws texts with chances in proportion to (what ``scorer`` says x distance to all that was asked)^2."""

    scorer: Scorer = field(default_factory=Margin)

    def weights(self, pool: Pool, rows: np.ndarray) -> np.ndarray:
        wanted, new = (picking.scores_of(each, pool, rows) for each in (self.scorer, Novelty()))
        return picking.grained((wanted * new) ** 2)

    def left(self, pool: Pool, sent: np.ndarray) -> float:
        return float(self.weights(pool, picking.behind(pool, sent)).sum())

    def nominate(self, pool: Pool, budget: int, rng: np.random.Generator) -> Nomination:
        rows, salt = pool.candidates(), picking.salts(rng)
        sent = picking.best(pool, rows, picking.race(pool.ids[rows], salt.draw) / self.weights(pool, rows), budget)
        return Nomination(sent, self.left(pool, sent))

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        rows, salt = pool.candidates(), picking.salts(rng)
        weights = self.weights(pool, rows)
        picks, chance = picking.draw(pool, rows, [picking.Race(weights, picking.rest_of(pool), salt)], budget)
        why, fallback = self.why(pool, rows[picks], weights[picks]), picking.tied(weights, budget)
        return Selection(rows[picks], weights[picks], chance, why, fallback)

    def why(self, pool: Pool, rows: np.ndarray, weights: np.ndarray) -> tuple[str, ...]:
        both = [picking.reasons(s, pool, rows, picking.scores_of(s, pool, rows)) for s in (self.scorer, Novelty())]
        return tuple(Reason(f"{one}, {two}", weight=w) for one, two, w in zip(*both, weights, strict=True))
