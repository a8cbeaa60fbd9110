"""Scorers equal their plain definitions for every form of beliefs, and survive every degenerate pool."""

from itertools import pairwise
from math import exp, log

import numpy as np
import pytest

from labelwise.core import (
    Categorical,
    Committee,
    InputError,
    Known,
    MissingInput,
    Multilabel,
    Pool,
    Streamed,
    Tagged,
    stream,
)
from labelwise.core.checks.scorers import FORMS, pool_of
from labelwise.select import (
    BALD,
    CAL,
    MNLP,
    Disagreement,
    LeastConfidence,
    Margin,
    Novelty,
    Power,
    Rarity,
    Relevance,
    Signal,
    TokenEntropy,
    Top,
    VoteEntropy,
    choose,
    densities,
)
from labelwise.select.contextual import TILE, nearest

KINDS = ("single", "multi", "spans")


def members(kind, n, seed, e=5, c=3):
    rng = stream(seed, "members", kind)
    if kind == "single":
        return [Categorical(rng.dirichlet(np.full(c, 0.5), n)) for _ in range(e)]
    if kind == "multi":
        return [Multilabel(rng.random((n, c))) for _ in range(e)]
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 6, n))]).astype(np.int64)
    return [Tagged(rng.dirichlet(np.full(c, 0.5), int(offsets[-1])), offsets) for _ in range(e)]


def distributions(said):
    """For each text the list of its decisions, each a list of probabilities that sum to 1."""
    if isinstance(said, Categorical):
        return [[list(p)] for p in said.probs]
    if isinstance(said, Multilabel):
        return [[[1 - p, p] for p in row] for row in said.probs]
    return [[list(p) for p in said.probs[a:b]] for a, b in pairwise(said.offsets)]


def entropy(p):
    return -sum(x * log(x) for x in p if x > 0)


def mean(values):
    return sum(values) / len(values) if values else 0.0


def scores(scorer, pool):
    return scorer.score(pool, np.arange(len(pool)))


@pytest.mark.parametrize("kind", KINDS)
def test_mnlp_is_the_mean_log_probability_of_the_best_answers(kind):
    said = members(kind, 40, 1)[0]
    expected = [1 - exp(mean([log(max(p)) for p in text])) for text in distributions(said)]
    assert scores(MNLP(), Pool.of(beliefs=said)) == pytest.approx(expected, abs=1e-12)


def test_for_one_answer_mnlp_is_least_confidence_and_token_entropy_entropy():
    pool = Pool.of(beliefs=members("single", 40, 2)[0])
    assert scores(MNLP(), pool) == pytest.approx(scores(LeastConfidence(), pool), abs=1e-12)
    assert scores(TokenEntropy(), pool) == pytest.approx(pool.beliefs.entropy(), abs=1e-12)


def test_least_confidence_of_tags_is_that_of_the_least_sure_token():
    said = members("spans", 40, 3)[0]
    expected = [1 - min([max(p) for p in text], default=1.0) for text in distributions(said)]
    assert scores(LeastConfidence(), Pool.of(beliefs=said)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("top", [1, 3, 99])
def test_token_entropy_is_the_mean_of_the_largest(kind, top):
    said = members(kind, 40, 4)[0]
    expected = [
        mean(sorted((entropy(p) / log(len(p)) for p in text), reverse=True)[:top]) for text in distributions(said)
    ]
    assert scores(TokenEntropy(top), Pool.of(beliefs=said)) == pytest.approx(expected, abs=1e-9)


def committee_scores(committee):
    """Per text (BALD, vote entropy, disagreement), decision by decision."""
    of_members, of_mean = [distributions(m) for m in committee.members], distributions(committee.mean())
    e = len(of_members)
    for i, text in enumerate(of_mean):
        information, spread, differ = [], [], []
        for j, p in enumerate(text):
            each = [m[i][j] for m in of_members]
            information.append((entropy(p) - mean([entropy(q) for q in each])) / log(len(p)))
            votes = [int(np.argmax(q)) for q in each]
            shares = [votes.count(v) / e for v in set(votes)]
            spread.append(entropy(shares) / log(min(e, len(p))) if min(e, len(p)) > 1 else 0.0)
            differ.append(sum(v != int(np.argmax(p)) for v in votes) / e)
        yield mean(information), mean(spread), mean(differ)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("e", [1, 2, 5])
def test_committee_scorers_are_their_definitions(kind, e):
    committee = Committee(tuple(members(kind, 40, 5, e)))
    pool, expected = Pool.of(beliefs=committee), np.array(list(committee_scores(committee)))
    for column, scorer in enumerate((BALD(), VoteEntropy(), Disagreement())):
        assert scores(scorer, pool) == pytest.approx(expected[:, column], abs=1e-9)
        assert scorer.reason(pool, 0, 0.3)


def test_members_that_split_evenly_without_doubt_tell_the_most_and_members_in_common_doubt_nothing():
    one, two = np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.5, 0.5]])
    pool = Pool.of(beliefs=Committee((Categorical(one), Categorical(two))), labels=("x", "y"))
    assert scores(BALD(), pool) == pytest.approx([1, 0])
    assert scores(VoteEntropy(), pool) == pytest.approx([1, 0])
    assert BALD().reason(pool, 0, 1.0) == "the committee is split between 'x' and 'y' (1 of 2 differ)"
    assert BALD().reason(pool, 1, 0.0) == "the committee agrees on the answer (information 0.00)"


@pytest.mark.parametrize("kind", KINDS)
def test_a_committee_of_one_class_or_no_tokens_is_no_trouble(kind):
    said = members(kind, 3, 6, 2, c=1)
    if kind == "spans":
        said = [Tagged(np.zeros((0, 2)), np.zeros(4, dtype=np.int64))] * 2
    pool = Pool.of(beliefs=Committee(tuple(said)))
    for scorer in (MNLP(), TokenEntropy(), BALD(), VoteEntropy(), Disagreement()):
        assert np.isfinite(scores(scorer, pool)).all()
        assert scorer.reason(pool, 0, 0.0)


@pytest.mark.parametrize("scorer", [BALD(), VoteEntropy(), Disagreement()], ids=repr)
def test_one_model_is_no_committee(scorer):
    with pytest.raises(MissingInput, match="makes a committee, or a scorer that needs none"):
        scores(scorer, pool_of(9, 1))
    chosen = choose([pool_of(30, 1)], Top(scorer), 4, 0.0, lambda purpose: stream(1, purpose))
    assert "compares several" in chosen.fallback


@pytest.mark.parametrize("k", [1, 7])
def test_nearest_are_the_nearest_across_tiles(k):
    rng = stream(1, "nearest")
    texts, others = (rng.normal(size=(n, 3)).astype(np.float32) for n in (25, TILE + 40))
    apart = np.linalg.norm(texts[:, None].astype(np.float64) - others[None], axis=2)
    at, distance = nearest(texts, others, k)
    assert at.tolist() == np.argsort(apart, axis=1)[:, :k].tolist()
    assert distance == pytest.approx(np.sort(apart, axis=1)[:, :k], abs=1e-3)


def unit(n, d, seed):
    vectors = stream(seed, "unit").normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_novelty_is_half_the_distance_to_what_is_known():
    vectors, known = unit(30, 4, 1), unit(7, 4, 2)
    pool = Pool.of(vectors=vectors, known=Known(known))
    expected = [min(np.linalg.norm(v.astype(float) - k) for k in known) / 2 for v in vectors]
    assert scores(Novelty(), pool) == pytest.approx(expected, abs=1e-9)
    assert Novelty().reason(pool, 0, 0.415) == "at distance 0.83 from everything labelled"
    opposite = Pool.of(vectors=np.array([[1.0, 0], [-1, 0], [0, 0]]), known=Known(np.array([[1.0, 0]])))
    assert scores(Novelty(), opposite) == pytest.approx([0, 1, 0.5])


def test_everything_is_new_while_nothing_is_known():
    pool = Pool.of(vectors=unit(3, 4, 1), known=Known(np.zeros((0, 4), dtype=np.float32)))
    assert scores(Novelty(), pool).tolist() == [1, 1, 1]
    assert "every text is new" in Novelty().reason(pool, 0, 1.0)
    with pytest.raises(MissingInput, match="no vectors"):
        scores(Novelty(), Pool.of(3))
    with pytest.raises(InputError, match="one encoder"):
        scores(Novelty(), pool.replace(known=Known(unit(2, 5, 1))))


def divergence(p, q):
    return sum(a * log(a / max(b, 1e-12)) for a, b in zip(p, q, strict=True) if a > 0)


def literal_cal(pool, k):
    """Margatina 2021, one text at a time; several labels: mean over labels; tags: of the mean distributions."""
    known, own = distributions(pool.known.beliefs), distributions(pool.beliefs)
    labelled = pool.known.vectors[: len(known)].astype(np.float64)
    for vector, said in zip(pool.vectors.astype(np.float64), own, strict=True):
        near = np.argsort(np.linalg.norm(labelled - vector, axis=1))[:k]
        if isinstance(pool.beliefs, Tagged):
            mine = [np.mean(said, axis=0)] if said else []
            theirs = [[np.mean(known[i], axis=0)] if known[i] else [np.zeros(3)] for i in near]
        else:
            mine, theirs = said, [known[i] for i in near]
        pairs = [mean([divergence(p, q) for p, q in zip(text, mine, strict=True)]) for text in theirs if mine]
        yield 1 - exp(-max(mean(pairs), 0.0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 10, 500])
def test_cal_is_the_mean_divergence_from_labelled_neighbours(kind, k):
    pool = pool_of(80, 3, kind)
    pool = pool.replace(known=pool.known.awaiting(pool.vectors[:9].astype(np.float32)))  # awaited ones have no beliefs
    assert scores(CAL(k), pool) == pytest.approx(list(literal_cal(pool, k)), abs=1e-9)


def test_cal_tells_which_answers_contrast():
    vectors = np.array([[1.0, 0], [1.0, 0], [0, 1.0]])
    known = Known(vectors[:1], np.array([0]), Categorical(np.array([[0.9, 0.1]])))
    pool = Pool.of(vectors=vectors, beliefs=Categorical(np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4]])), known=known)
    pool, score = pool.replace(labels=("x", "y")), scores(CAL(), pool)
    assert score[0] == pytest.approx(0, abs=1e-12)
    assert score[1] == score.max()
    assert CAL().reason(pool, 1, score[1]) == (
        "its labelled neighbours look like 'x', the model leans to 'y' (divergence 1.8)"
    )
    assert CAL().reason(pool, 1, score[1]).numbers["divergence"] == pytest.approx(0.8 * log(9))
    assert "not as sure" in CAL().reason(pool, 2, score[2])


@pytest.mark.parametrize("known", [None, Known(unit(3, 8, 1)), Known(unit(0, 8, 1), None, members("single", 0, 1)[0])])
def test_cal_without_labelled_beliefs_is_refused(known):
    with pytest.raises(MissingInput, match="no held-out beliefs"):
        scores(CAL(), pool_of(9, 1).replace(known=known))


@pytest.mark.parametrize("form", FORMS)
def test_cal_compares_with_a_streamed_or_joint_opinion_alike(form):
    pool = pool_of(60, 4, form)
    said = pool.known.beliefs
    streamed = Known(pool.known.vectors, None, Streamed(len(said), said.take))
    assert scores(CAL(), pool.replace(known=streamed)) == pytest.approx(scores(CAL(), pool), abs=1e-12)


def test_rarity_is_the_expected_rarity_of_the_answer():
    targets = np.array([0, 0, 0, 1])
    said = Categorical(np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0.5, 0.25, 0.25]]))
    pool = Pool.of(beliefs=said, labels=("a", "b", "c"), known=Known(unit(4, 2, 1), targets))
    assert scores(Rarity(), pool) == pytest.approx([1 / 4, 1 / 2, 1, 0.5 / 4 + 0.25 / 2 + 0.25])
    assert Rarity().reason(pool, 1, 0.5) == "may be 'b', which has 1 labels so far (probability 1.00)"
    seen = pool.replace(known=Known(unit(4, 2, 1), np.array([0, 0, 0, 1, 2])))
    assert scores(Rarity(), seen) == pytest.approx([2 / 4, 1, 1, 0.5 / 2 + 0.5])


def test_rarity_of_several_labels_is_the_mean_over_those_expected():
    targets = np.array([[1, 0], [1, 0], [1, 1]], dtype=bool)
    said = Multilabel(np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.1], [0.0, 0.0]]))
    pool = Pool.of(beliefs=said, known=Known(unit(3, 2, 1), targets))
    assert scores(Rarity(), pool) == pytest.approx([(0.5 + 1) / 2, 1, 0.1, 0])


@pytest.mark.parametrize("known", [None, Known(unit(3, 2, 1))])
def test_rarity_without_answers_is_refused(known):
    with pytest.raises(MissingInput, match="no answers to count"):
        scores(Rarity(), pool_of(9, 1).replace(known=known))


@pytest.mark.parametrize("scorer", [Rarity(), Relevance("a")], ids=repr)
def test_tags_are_no_answers_about_a_text(scorer):
    with pytest.raises(MissingInput, match="whole texts"):
        scores(scorer, pool_of(9, 1, "spans"))


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_relevance_is_the_probability_of_the_label(kind):
    said = members(kind, 20, 7)
    pool = Pool.of(beliefs=said[0], labels=("x", "y", "z"))
    assert scores(Relevance("y"), pool).tolist() == said[0].probs[:, 1].tolist()
    joint = scores(Relevance("y"), pool.replace(beliefs=Committee(tuple(said))))
    assert joint == pytest.approx(np.mean([m.probs[:, 1] for m in said], axis=0))
    assert Relevance("y").reason(pool, 0, 0.12) == "may be 'y' (probability 0.12)"


def test_relevance_of_a_label_the_task_does_not_have_names_those_it_has():
    with pytest.raises(InputError, match=r"label: unknown label 'spam'.* Known: a, b, c, d"):
        scores(Relevance("spam"), pool_of(9, 1))


def test_a_signal_is_read_as_it_is():
    pool = pool_of(9, 1)
    assert scores(Signal("domain"), pool).tolist() == pool.signals["domain"].tolist()
    assert Signal("domain").reason(pool, 0, 0.5) == "domain 0.50, where 1 is the most"
    with pytest.raises(MissingInput, match=r"no signal 'vectors' \(present: rarity"):
        scores(Signal("vectors"), pool)


@pytest.mark.parametrize("values", [[0.1, np.nan], [0.1, 1.1], [[0.1], [0.1]]])
def test_a_signal_outside_the_range_is_refused(values):
    with pytest.raises(InputError, match="one number from 0 to 1"):
        scores(Signal("mine"), Pool.of(signals={"mine": np.array(values)}))


@pytest.mark.parametrize("neighbours", [1, 5, 300])
def test_densities_are_typicality_against_the_sample(neighbours):
    vectors = unit(60, 4, 3).astype(np.float16)
    rows = stream(3, "sample").choice(60, 25, replace=False)
    expected = []
    for i, vector in enumerate(vectors.astype(np.float64)):
        others = sorted(np.linalg.norm(vector - vectors[r]) for r in rows if r != i)
        expected.append(1 - np.mean(others[:neighbours]) / 2)
    found = densities(vectors, vectors[rows], neighbours)
    assert found == pytest.approx(expected, abs=1e-5)
    assert densities(vectors[30:], vectors[rows], neighbours) == pytest.approx(found[30:], abs=1e-5)


def test_a_text_of_the_sample_is_not_its_own_neighbour_despite_rounding():
    vectors = unit(200, 256, 4)  # products of float32 vectors put equal ones up to 0.0012 apart
    rows = np.arange(200)
    apart = np.linalg.norm(vectors[rows, None].astype(np.float64) - vectors[None, rows], axis=2)
    np.fill_diagonal(apart, np.inf)
    found = densities(vectors.astype(np.float16), vectors[rows], 1)[rows]
    assert found == pytest.approx(1 - apart.min(axis=1) / 2, abs=1e-3)


def test_densities_of_the_degenerate():
    assert densities(unit(3, 2, 1), np.zeros((0, 2), dtype=np.float32)).tolist() == [0, 0, 0]
    assert densities(unit(1, 2, 1), unit(1, 2, 1)).tolist() == [0]
    assert densities(np.zeros((0, 2)), unit(4, 2, 1)).shape == (0,)
    assert densities(np.ones((5, 1)), np.ones((4, 1)), 2).tolist() == [1] * 5


@pytest.mark.parametrize(
    ("scorer", "form"),
    [(MNLP(), "spans"), (TokenEntropy(), "spans"), (BALD(), "committee"), (VoteEntropy(), "committee"),
     (Disagreement(), "committee"), (Novelty(), "single"), (CAL(), "multi"), (Rarity(), "single"),
     (Relevance("a"), "single"), (Signal("novelty"), "single")],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("strategy", [Top, Power], ids=lambda strategy: strategy.__name__)
def test_the_choice_over_shards_is_the_choice_over_one_array(scorer, form, strategy):
    pool = pool_of(90, 5, form).replace(groups=None)
    shards = [np.arange(i, 90, 3) for i in range(3)]
    one = choose([pool], strategy(scorer), 12, 0.2, lambda purpose: stream(5, purpose))
    many = choose([pool.take(rows) for rows in shards], strategy(scorer), 12, 0.2, lambda purpose: stream(5, purpose))
    assert one.row.tolist() == [int(shards[s][r]) for s, r in zip(many.shard, many.row, strict=True)]
    assert one.fallback == many.fallback == ""


@pytest.mark.parametrize(
    "make",
    [lambda: TokenEntropy(0), lambda: TokenEntropy(True), lambda: CAL(0), lambda: CAL(1.5), lambda: Relevance(""),
     lambda: Relevance(3), lambda: Signal(" ")],
)  # fmt: skip
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(InputError, match="is not allowed"):
        make()


@pytest.mark.parametrize("scorer", [Margin(), MNLP(), BALD(), CAL(), Rarity(), Relevance("a")], ids=repr)
def test_without_beliefs_the_missing_is_named(scorer):
    with pytest.raises(MissingInput, match="no beliefs"):
        scores(scorer, pool_of(9, 1).replace(beliefs=None))
