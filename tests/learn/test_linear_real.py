"""The whole of the learning room on real questions: train, calibrate, judge on texts never seen."""

import numpy as np
import pytest

from labelwise.core import Examples, Task, stream
from labelwise.learn.linear import Linear
from labelwise.learn.temperature import Temperature
from labelwise.measure.metrics import evaluate

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def trec(real_data):
    """(labels, vectors, targets, is_test): 6 kinds of questions as 200 latent dimensions of their words."""
    import pyarrow.parquet as parquet
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    rows = parquet.read_table(real_data / "trec.parquet").to_pydict()
    words = TfidfVectorizer(tokenizer=str.split, token_pattern=None, ngram_range=(1, 2), min_df=2).fit_transform(
        rows["text"]
    )
    vectors = normalize(TruncatedSVD(200, random_state=0).fit_transform(words)).astype(np.float32)
    labels, targets = np.unique(rows["label"], return_inverse=True)
    return tuple(map(str, labels)), vectors, targets, np.array(rows["split"]) == "test"


@pytest.mark.parametrize("n", [100, 800])
def test_held_out_beliefs_foretell_the_test_and_calibration_helps(trec, n):
    labels, vectors, targets, is_test = trec
    chosen = stream(0, "trec").permutation(np.flatnonzero(~is_test))[:n]
    examples = Examples(Task("single", labels), targets[chosen], np.ones(n), vectors[chosen])
    model = Linear().fit(examples, None, stream(0, "fit"))
    calibration = Temperature().fit(model.held_out, examples.targets, examples.weights)
    raw, truth = model.believe(vectors[is_test]), targets[is_test]
    report = evaluate(calibration.apply(raw), truth, labels, rng=stream(0, "judge"))
    accuracy = report["metrics"]["accuracy"]
    foretold = np.mean(model.held_out.hard() == examples.targets)
    assert abs(foretold - accuracy["value"]) < (0.15 if n == 100 else 0.1)
    assert accuracy["value"] > (0.45 if n == 100 else 0.65)
    assert calibration.apply(raw).surprise(truth).mean() < raw.surprise(truth).mean() + 0.02
    assert report["metrics"]["ece"]["value"] < 0.15
