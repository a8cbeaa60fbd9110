"""auto is made anew for every batch from what is known, and is the choice of its parts."""

import numpy as np
import pytest

from labelwise.core import Hints, Known, MissingInput, stream
from labelwise.core.checks.scorers import pool_of
from labelwise.select import Auto, Herding, Margin, Mix, RareFirst, Seeds, choose


def told(*, counts, hints=(), beliefs=True):
    """A pool of 300 whose labels are counted so, with hints for some labels."""
    pool = pool_of(300, 4).replace(groups=None)
    targets = np.repeat(np.arange(len(counts)), counts)
    vectors = pool.vectors[: len(targets)].astype(np.float32)
    hinted = Hints(pool.vectors[: len(hints)].astype(np.float32), np.array(hints, int)) if len(hints) else None
    known = Known(vectors, targets, None)
    return pool.replace(known=known, hints=hinted, beliefs=pool.beliefs if beliefs else None)


@pytest.mark.parametrize(
    ("pool", "parts", "shares"),
    [
        (told(counts=(9, 9, 9)), (Herding(Margin()),), (1.0,)),
        (told(counts=(), beliefs=False), (Herding(),), (1.0,)),
        (told(counts=(40, 3)), (RareFirst(20), Herding(Margin())), (0.6, 0.4)),
        (told(counts=(19, 3)), (Herding(Margin()),), (1.0,)),
        (told(counts=(40, 3), hints=(0,)), (RareFirst(20), Herding(Margin())), (0.6, 0.4)),
        (told(counts=(), hints=(1,), beliefs=False), (Seeds(), Herding()), (0.5, 0.5)),
        (told(counts=(40, 3), hints=(1, 2)), (Seeds(), RareFirst(20), Herding(Margin())), (0.5, 0.3, 0.2)),
    ],
)
def test_it_is_composed_of_what_the_labels_call_for(pool, parts, shares):
    composed = Auto().composed(pool)
    assert isinstance(composed, Mix)
    assert composed.parts == parts
    assert composed.shares == pytest.approx(shares)
    one, other = (s.select(pool, 20, stream(1, "auto")) for s in (Auto(), composed))
    assert one.rows.tolist() == other.rows.tolist()
    assert one.fallback == other.fallback


def test_over_shards_it_is_the_choice_over_one_array():
    pool = told(counts=(40, 3), hints=(1, 2))
    parts = [pool.take(np.arange(i, 300, 3)) for i in range(3)]
    batches = [choose(shards, Auto(), 24, 0.25, lambda p: stream(3, p)) for shards in ([pool], parts)]
    ids = [[int(s[a].ids[b]) for a, b in zip(batch.shard, batch.row, strict=True)] for s, batch in
           zip(([pool], parts), batches, strict=True)]  # fmt: skip
    assert ids[0] == ids[1]
    assert batches[0].reason == batches[1].reason
    kinds = [reason.split(" ")[0] for reason in batches[0].reason]
    assert {"random", "like", "likely", "stands"} <= set(kinds)


def test_without_vectors_it_says_so():
    pool = told(counts=(40, 3)).replace(vectors=None)
    with pytest.raises(MissingInput, match="no vectors"):
        Auto().select(pool, 5, stream(1, "auto"))


def test_unsure_everywhere_is_coverage():
    """Where the model knows nothing, the uncertain choice is the representative one."""
    pool = told(counts=(9, 9, 9))
    flat = type(pool.beliefs)(np.full((300, 4), 0.25))
    unsure = Auto().select(pool.replace(beliefs=flat), 12, stream(2, "auto"))
    covering = Herding().select(pool, 12, stream(2, "auto").spawn(1)[0])
    assert unsure.rows.tolist() == covering.rows.tolist()
    assert "only where texts lie decided" in unsure.fallback
