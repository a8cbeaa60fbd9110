"""The strategy keeps what every strategy promises, and what it promises itself."""

import numpy as np
from labelwise_frontier import Frontier

from labelwise.core import Categorical, Pool, stream
from labelwise.core.checks import check, promises
from labelwise.core.checks.scorers import pool_of
from labelwise.core.checks.strategies import ROW_WISE
from labelwise.select import Entropy, choose


def test_it_keeps_the_contract() -> None:
    for strategy in (Frontier(), Frontier(Entropy())):
        assert check("strategies", strategy) == list(promises("strategies"))
        for promise in ROW_WISE:
            promise(strategy)


def test_over_shards_it_chooses_what_it_would_over_one_array() -> None:
    pool = pool_of(150, 6)
    one, three = (
        choose([pool.take(rows) for rows in parts], Frontier(), 20, 0.1, lambda purpose: stream(6, purpose))
        for parts in ([np.arange(150)], np.array_split(np.arange(150), 3))
    )
    assert one.row.tolist() == (three.row + 50 * three.shard).tolist()
    assert one.propensity.tolist() == three.propensity.tolist()


def test_texts_are_drawn_as_often_as_it_says() -> None:
    beliefs = Categorical(np.array([[0.5, 0.5], [0.75, 0.25], [0.99, 0.01]]))
    pool = Pool.of(beliefs=beliefs, vectors=np.eye(3, dtype=np.float32))
    weights = np.array([1.0, 0.5, 0.02]) ** 2
    drawn = [Frontier().select(pool, 1, stream(seed, "draw")) for seed in range(4000)]
    share = np.bincount([int(chosen.rows[0]) for chosen in drawn], minlength=3) / 4000
    np.testing.assert_allclose(share, weights / weights.sum(), atol=0.02)
    for chosen in drawn[:9]:
        np.testing.assert_allclose(chosen.propensity, weights[chosen.rows] / weights.sum(), rtol=1e-5)
