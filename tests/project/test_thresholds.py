"""A project of several labels per text answers by thresholds that were chosen on held-out beliefs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from labelwise.core import stream
from labelwise.core.text import text_id
from labelwise.project.ledger import ref
from labelwise.project.plan import advance
from labelwise.project.steps.believe import believe, inputs_of
from labelwise.project.steps.submit import Submission, submit
from tests.project.live import QUICK, begin

LABELS = ("fruit", "metal", "rare")
WORDS = {"fruit": ["apple", "pear", "plum", "grape"], "metal": ["iron", "copper", "zinc", "tin"], "rare": ["opal"]}


def test_thresholds_are_kept_with_the_calibration_and_decide(tmp_path: Path) -> None:
    rng, truth = stream(0, "multi"), {}
    while len(truth) < 160:
        given = [label for label, p in zip(LABELS, (0.5, 0.4, 0.08), strict=True) if rng.random() < p]
        words = [str(rng.choice(WORDS[label])) for label in given] + [str(n) for n in rng.integers(0, 999, 5)]
        truth[" ".join(rng.permutation(words).tolist())] = given
    table = pa.table({"text": list(truth)})
    task = {"kind": "multi", "labels": list(LABELS)}
    with begin(tmp_path, [table], task=task, trainer=QUICK, selection={"initial": 60}) as workspace:
        advance(workspace)
        known = {text_id(text): given for text, given in truth.items()}
        asked = workspace.now().pending
        submit(workspace, [Submission(text, "ann", known[text], 2.0) for text in asked])
        advance(workspace)
        entry = workspace.now().model(1)
        kept = workspace.artefacts.get(ref(entry["calibration"]["ref"])).arrays["thresholds"]
        assert kept.shape == (3,)
        assert (kept != 0.5).any()
        said = believe(workspace, entry, inputs_of(workspace, entry, asked))
        assert np.array_equal(said.hard(), said.probs > kept)
