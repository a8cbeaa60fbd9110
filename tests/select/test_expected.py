"""The expected change of a committee's predictions equals its plain definition, and its batches are spread."""

import numpy as np
import pytest

from labelwise.core import Categorical, Committee, MissingInput, Multilabel, Pool, Tagged, stream
from labelwise.core.beliefs import Streamed
from labelwise.core.checks import check, promises
from labelwise.core.checks.scorers import believed, pool_of
from labelwise.select import CoreMSE, choose
from labelwise.select.expected import movements


def committee(n, members, c, seed):
    rng = stream(seed, "committee")
    return Committee(tuple(Categorical(rng.dirichlet(np.full(c, 0.7), n)) for _ in range(members)))


def published(probs, x, other):
    """Methods a.12: probs (e, n, c); the sum over members, answers to x and to the other text."""
    members, _, c = probs.shape
    score = 0.0
    for y in range(c):
        weights = probs[:, x, y] / probs[:, x, y].sum()
        after = weights @ probs[:, other]
        score += probs[:, x, y].mean() * sum(
            (probs[e, other] - after) @ (probs[e, other] - after) for e in range(members)
        )
    return score


def moved(probs, x, other):
    """The expected squared movement of the mean prediction, by the definition."""
    score = 0.0
    for y in range(probs.shape[2]):
        weights = probs[:, x, y] / max(probs[:, x, y].sum(), 1e-12)
        score += probs[:, x, y].mean() * ((weights @ probs[:, other] - probs[:, other].mean(axis=0)) ** 2).sum()
    return score


@pytest.mark.parametrize(("members", "c"), [(4, 3), (10, 5), (2, 2)])
def test_movements_are_the_definition_and_rank_as_the_published_score(members, c):
    said = committee(14, members, c, 1)
    probs = np.stack([member.probs for member in said.members])
    rows, others = np.arange(2, 14), np.arange(5)
    moves = movements(said, rows, others)
    assert moves == pytest.approx(np.array([[moved(probs, x, o) for o in others] for x in rows]), rel=1e-4)
    spread = ((probs - probs.mean(axis=0)) ** 2).sum(axis=(0, 2))
    whole = np.array([[published(probs, x, o) for o in others] for x in rows])
    assert members * moves + spread[others] == pytest.approx(whole, rel=1e-4)


def test_every_label_of_several_is_a_question_of_its_own():
    rng = stream(2, "multi")
    said = Committee(tuple(Multilabel(rng.random((6, 3))) for _ in range(4)))
    each = np.stack([np.stack([m.probs, 1 - m.probs], axis=-1) for m in said.members])  # (e, n, labels, 2)
    expected = np.zeros((6, 6))
    for x in range(6):
        for other in range(6):
            for asked in range(3):
                for label in range(3):
                    pair = np.stack([each[:, x, asked], each[:, other, label]], axis=1)
                    expected[x, other] += moved(pair, 0, 1) / 9
    assert movements(said, np.arange(6), np.arange(6)) == pytest.approx(expected, rel=1e-4)


def test_spans_count_by_their_most_torn_token():
    one = Tagged(np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2]]), np.array([0, 2, 2, 3]))
    two = Tagged(np.array([[0.8, 0.2], [0.3, 0.7], [0.9, 0.1]]), np.array([0, 2, 2, 3]))
    torn = Committee(tuple(Categorical(t.probs[[1, 2]]) for t in (one, two)))
    moves = movements(Committee((one, two)), np.array([0, 2]), np.array([0, 2]))
    assert moves == pytest.approx(movements(torn, np.arange(2), np.arange(2)))
    assert movements(Committee((one, two)), np.array([1]), np.arange(3)).tolist() == [[0, 0, 0]]


def test_beliefs_may_be_streamed(monkeypatch):
    said, rows = committee(50, 3, 4, 3), stream(1, "rows").permutation(50)
    whole = movements(said, rows, rows[:20])
    monkeypatch.setattr("labelwise.select.expected.BLOCK", 7)
    streamed = Streamed(50, lambda part: said.take(np.arange(50)[part]))
    assert movements(streamed, rows, rows[:20]) == pytest.approx(whole, rel=1e-5)


def test_a_batch_moves_different_parts_of_the_pool():
    """Two questions divide the committee; the second moves less, yet a batch of two asks both."""
    rng = stream(4, "questions")
    about = (np.arange(80) % 8 >= 3).astype(int)
    opinions = np.array([[0.95, 0.5], [0.05, 0.5], [0.5, 0.85], [0.5, 0.15]])  # member x question
    probs = np.clip(opinions[:, about] + rng.normal(0, 0.01, 80), 0.01, 0.99)
    pool = Pool.of(
        vectors=np.ones((80, 2)), beliefs=Committee(tuple(Categorical(np.stack([p, 1 - p], 1)) for p in probs))
    )
    chosen = CoreMSE().select(pool, 2, stream(1, "batch"))
    assert set(about[chosen.rows]) == {0, 1}
    moves = movements(pool.beliefs, np.arange(80), np.arange(80)).mean(axis=1)
    assert set(about[np.argsort(-moves)[:2]]) == {0}


def test_scores_are_the_mean_over_the_estimation_texts_of_the_uniform_sample():
    pool = pool_of(40, 3, "committee").replace(groups=None)
    chosen = CoreMSE(estimation=400).select(pool, 6, stream(1, "all"))
    keep = pool.candidates()
    assert chosen.scores == pytest.approx(movements(pool.beliefs, chosen.rows, keep).mean(axis=1), rel=1e-5)
    assert (np.diff(chosen.scores) <= 0).all()
    few = [CoreMSE(estimation=2).select(pool, 6, stream(seed, "few")).scores[0] for seed in range(4)]
    assert len(set(few)) == 4


@pytest.mark.parametrize("strategy", [CoreMSE(), CoreMSE(estimation=3, among=20)], ids=repr)
def test_every_promise_is_kept(strategy):
    assert check("strategies", strategy) == list(promises("strategies"))


@pytest.mark.parametrize("among", [0, 40])
def test_a_choice_over_shards_is_the_choice_over_the_whole(among):
    pool, strategy = pool_of(200, 3, "committee"), CoreMSE(estimation=30, among=among)
    parts = [pool.take(np.arange(i, 200, 3)) for i in range(3)]
    whole, several = (choose(pools, strategy, 12, 0.2, lambda purpose: stream(3, purpose)) for pools in ([pool], parts))
    ids = [int(parts[shard].ids[row]) for shard, row in zip(several.shard, several.row, strict=True)]
    assert ids == pool.ids[whole.row].tolist()
    assert whole.fallback == several.fallback == ""


def test_one_opinion_is_a_missing_input_and_falls_back_visibly():
    with pytest.raises(MissingInput, match="train a committee"):
        CoreMSE().select(pool_of(9, 1), 2, stream(1, "x"))
    with pytest.raises(MissingInput, match="no beliefs"):
        CoreMSE().select(pool_of(9, 1).replace(beliefs=None), 2, stream(1, "x"))
    batch = choose([pool_of(60, 1)], CoreMSE(), 4, 0.2, lambda purpose: stream(3, purpose))
    assert "CoreMSE could not choose" in batch.fallback


@pytest.mark.parametrize(
    "beliefs",
    [
        Committee((believed("single", 30, 1),)),
        Committee((believed("single", 30, 1),) * 3),
        Committee((Categorical(np.ones((30, 1))),) * 2),
        Committee((Tagged(np.zeros((0, 2)), np.zeros(31, int)),) * 2),
    ],
    ids=["one-member", "all-agree", "one-class", "no-tokens"],
)
def test_a_committee_that_agrees_is_said_to_have_nothing_to_tell(beliefs):
    chosen = CoreMSE().select(Pool.of(beliefs=beliefs), 3, stream(1, "agree"))
    assert chosen.fallback == "all scores are equal (0): the texts were chosen at random"
    assert chosen.propensity == pytest.approx([1 / 30, 1 / 29, 1 / 28])


@pytest.mark.parametrize("n", [1, 2, 7])
def test_small_pools_give_as_many_as_there_are(n, capfd):
    for distinct in (1, n):
        pool = Pool.of(beliefs=committee(n, 3, 2, 1).take(np.arange(n) % distinct))
        for budget in (0, 1, 3, 50):
            chosen = CoreMSE().select(pool, budget, stream(1, "small"))
            assert len(set(chosen.rows.tolist())) == len(chosen) == min(n, budget)
    assert capfd.readouterr() == ("", "")
