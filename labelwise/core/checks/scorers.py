"""What every scorer promises; UNCERTAINTY adds what those promise that ask how unsure the model is.

A scorer may refuse a pool that lacks what it needs (MissingInput), as one does that compares the
members of a committee, but not every pool. An uncertainty scorer's own tests run both.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from labelwise.core.beliefs import BLOCK, Array, Beliefs, Categorical, Committee, Multilabel, Streamed, Tagged
from labelwise.core.checks import ensure
from labelwise.core.errors import MissingInput
from labelwise.core.pool import Hints, Known, Pool
from labelwise.core.protocols import Scorer
from labelwise.core.streams import stream


def believed(form: str, n: int, seed: int) -> Beliefs:
    """Made-up beliefs of one form about n texts: "single", "multi", "spans" or "committee"."""
    rng = stream(seed, "beliefs", form, n)
    if form == "committee":
        return Committee(tuple(Categorical(rng.dirichlet(np.full(4, 0.5), n)) for _ in range(3)))
    if form == "single":
        return Categorical(rng.dirichlet(np.full(4, 0.5), n))
    if form == "multi":
        return Multilabel(rng.random((n, 3)))
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 6, n))]).astype(np.int64)
    return Tagged(rng.dirichlet(np.full(3, 0.5), int(offsets[-1])), offsets)


FORMS = ("single", "multi", "spans", "committee")


def pool_of(n: int, seed: int, form: str = "single") -> Pool:
    """A made-up pool with every part, so that any component can run.

    A fifth is labelled, a tenth neither open nor labelled (but at least one text is open), a
    third has near-duplicates; vectors are float16 with unit norm, costs 2 to 30 seconds.
    """
    rng = stream(seed, "pool", n)
    labelled = rng.random(n) < 0.2
    opened = ~labelled & (rng.random(n) > 0.1)
    labelled[:1], opened[:1] = False, True
    vectors = rng.normal(size=(5, 8))[rng.integers(5, size=n)] + 0.5 * rng.normal(size=(n, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    beliefs = believed(form, n, seed)
    said = beliefs.take(np.flatnonzero(labelled))
    # one class has most of the labels, two have few and one has none
    answers = np.where(np.arange(len(said)) % 8, 0, 1 + np.arange(len(said)) // 8 % 2)
    targets = {"spans": None, "multi": answers[:, None] == np.arange(3)}.get(form, answers)
    known = Known(vectors[labelled].astype(np.float32), targets, said)
    return Pool.of(
        ids=rng.permutation(n).astype(np.uint64) + np.uint64(seed << 32),
        open=opened, labelled=labelled, costs=rng.uniform(2, 30, n), beliefs=beliefs,
        calibrated=True, vectors=vectors.astype(np.float16), clusters=rng.integers(4, size=n),
        labels=("a", "b", "c", "d")[: 4 if form in ("single", "committee") else 3], known=known,
        hints=Hints(vectors[rng.integers(n, size=2)].astype(np.float32), np.array([0, 2])),
        groups=np.where(rng.random(n) < 1 / 3, rng.integers(max(n // 8, 1), size=n), -1),
        signals={name: rng.random(n) for name in ("rarity", "switching", "ambiguity", "novelty", "domain")},
    )  # fmt: skip


def _cases(scorer: Scorer) -> list[Pool]:
    """Pools of every form of beliefs and several sizes, without those the scorer refuses; never none."""
    pools = [pool_of(n, seed, form) for form in FORMS for n, seed in ((1, 1), (9, 2), (64, 3))]
    return _not_refused(scorer, pools)


def _not_refused(scorer: Scorer, pools: list[Pool]) -> list[Pool]:
    taken, why = [], ""
    for pool in pools:
        try:
            scorer.score(pool, np.arange(1))
        except MissingInput as error:
            why = str(error)
        else:
            taken.append(pool)
    ensure(bool(taken), f"every pool was refused, though it has every part: {why}")
    return taken


def _scores(scorer: Scorer, pool: Pool) -> Array:
    return np.asarray(scorer.score(pool, np.arange(len(pool))))


def scores_are_finite_and_between_0_and_1(scorer: Scorer) -> None:
    """One finite number in [0, 1] for every row, for every form of beliefs and no rows at all."""
    for pool in _cases(scorer):
        for rows in (np.arange(len(pool)), np.arange(0)):
            scores = np.asarray(scorer.score(pool, rows))
            ensure(scores.shape == rows.shape, f"{len(rows)} rows gave scores of shape {scores.shape}")
            ensure(bool(np.isfinite(scores).all()), "a score is not finite")
            ensure(bool(((scores >= 0) & (scores <= 1)).all()), f"scores leave [0, 1]: {scores[:9]}")


def a_score_depends_on_its_row_alone(scorer: Scorer) -> None:
    """The same text has the same score among any others, in any order, in any shard."""
    for pool in _cases(scorer):
        whole, order = _scores(scorer, pool), stream(5, "order").permutation(len(pool))
        ensure(np.allclose(scorer.score(pool, order), whole[order], atol=1e-12), "scores follow the order of rows")
        ensure(np.allclose(_scores(scorer, pool.take(order[:5])), whole[order[:5]], atol=1e-12), "scores follow others")


def a_more_torn_text_is_more_wanted(scorer: Scorer) -> None:
    """Between the same two answers, the score rises as the model hesitates more, and not only at the end."""
    lead = np.linspace(1.0, 0.5, 6)
    two = np.stack([lead, 1 - lead], axis=1)
    forms: list[Beliefs] = [
        Categorical(two),
        Multilabel(two),
        Tagged(two, np.arange(7)),
        Committee((Categorical(two),)),
    ]
    for beliefs in forms:
        scores = _scores(scorer, Pool.of(beliefs=beliefs))
        ensure(bool((np.diff(scores) > 0).all()), f"{type(beliefs).__name__}: scores {scores.round(3)} do not rise")


def streamed_beliefs_are_scored_alike(scorer: Scorer) -> None:
    """Beliefs worked out BLOCK texts at a time give the scores of those held, and no more are asked for at once."""
    n = BLOCK + 50
    rows = np.arange(n)[::-1]
    pools = [pool_of(n, 4, form).replace(known=pool_of(64, 4, form).known) for form in FORMS]
    for pool in _not_refused(scorer, pools):
        held: Beliefs = pool.need("beliefs")

        def tell(some: Array, held: Beliefs = held) -> Beliefs:
            part = held.take(some)
            ensure(len(part) <= BLOCK, f"beliefs about {len(part)} texts were asked for at once")
            return part

        scores = scorer.score(pool.replace(beliefs=Streamed(n, tell)), rows)
        ensure(np.allclose(scores, scorer.score(pool, rows), atol=1e-9), "streamed beliefs have other scores")


def the_pool_is_not_changed(scorer: Scorer) -> None:
    """Scoring leaves beliefs as they were."""
    for pool in _cases(scorer):
        before = {name: array.copy() for name, array in (pool.beliefs.arrays() if pool.beliefs else {}).items()}
        _scores(scorer, pool)
        after = pool.beliefs.arrays() if pool.beliefs else {}
        ensure(all(np.array_equal(before[name], after[name]) for name in before), "beliefs were changed")


def reasons_are_short_sentences(scorer: Scorer) -> None:
    """Every text has a reason of one line, at most 160 characters; its numbers are finite."""
    for pool in _cases(scorer):
        for row, score in enumerate(_scores(scorer, pool)):
            reason = scorer.reason(pool, row, float(score))
            ensure(bool(reason.strip()) and "\n" not in reason and len(reason) <= 160, f"reason {reason!r} for {score}")
            numbers = getattr(reason, "numbers", {})
            ensure(bool(np.isfinite(list(numbers.values())).all()), f"numbers {numbers} are not all finite")


PROMISES: tuple[Callable[[Scorer], None], ...] = (
    scores_are_finite_and_between_0_and_1,
    a_score_depends_on_its_row_alone,
    streamed_beliefs_are_scored_alike,
    the_pool_is_not_changed,
    reasons_are_short_sentences,
)
UNCERTAINTY: tuple[Callable[[Scorer], None], ...] = (a_more_torn_text_is_more_wanted,)
