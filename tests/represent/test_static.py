"""The compact encoder against the plain loop it replaces, and its refusals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from labelwise.core import DamagedRecord, State, WrongMoment, stream
from labelwise.represent import static
from labelwise.represent.common import CHARACTERS
from labelwise.represent.static import Static

TEXTS = ["Where is my card?", "the card is late", "Wo ist meine Karte?", "我的卡在哪里", "ok", ""]


def plain(texts: list[str], mean: np.ndarray) -> np.ndarray:
    """Mean of token rows less the mean, one text after the other."""
    tokenizer, table = static._installed()
    out = np.zeros((len(texts), 256))
    for row, text in enumerate(texts):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if ids:
            centred = table[ids].mean(axis=0, dtype=np.float64) - mean
            out[row] = centred / np.linalg.norm(centred)
    return out


@pytest.mark.parametrize("centre", [True, False])
def test_equals_the_plain_loop(centre: bool) -> None:
    fitted = Static(centre).fit(TEXTS, stream(0, "fit"))
    np.testing.assert_allclose(fitted.encode(TEXTS), plain(TEXTS, fitted.mean), atol=1e-5)
    assert bool(fitted.mean.any()) is centre


def test_the_mean_is_that_of_texts_with_content() -> None:
    rng = stream(0, "fit")
    with_blanks = Static().fit([*TEXTS, "", " "], rng)
    np.testing.assert_array_equal(with_blanks.mean, Static().fit(TEXTS, rng).mean)
    assert not Static().fit(["only one"], rng).encode(["only one"]).any()


def test_one_text_by_its_id_has_one_vector() -> None:
    fitted = Static().fit(TEXTS, stream(0, "fit"))
    same = fitted.encode(["caf\u00e9  noir\n", " cafe\u0301 noir"])
    np.testing.assert_array_equal(same[0], same[1])


def test_only_the_first_characters_are_read() -> None:
    fitted = Static().fit(TEXTS, stream(0, "fit"))
    long = "word " * (CHARACTERS // 5)
    np.testing.assert_array_equal(fitted.encode([long]), fitted.encode([long + "and what comes after"]))


def test_says_what_to_do_before_it_is_fitted() -> None:
    with pytest.raises(WrongMoment, match=r"Static\(centre=True\) is not fitted yet: call fit"):
        Static().encode(["a"])
    with pytest.raises(WrongMoment, match="learned nothing yet"):
        Static().state()


def test_refuses_a_state_of_other_files_or_another_config(monkeypatch: pytest.MonkeyPatch) -> None:
    state = Static().fit(TEXTS, stream(0, "fit")).state()
    with pytest.raises(DamagedRecord, match="centre = True, but here it is False"):
        Static(centre=False).restore(state)
    with pytest.raises(DamagedRecord, match="an array 'mean'"):
        Static().restore(State({}, state.facts))
    monkeypatch.setattr(static, "fingerprint", lambda: "0" * 32)
    with pytest.raises(DamagedRecord, match=f"files = '{state.facts['files']}', but here it is '0000"):
        Static().restore(state)


def test_says_when_the_wheel_is_incomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "WEIGHTS", "weights/gone.safetensors")
    with pytest.raises(DamagedRecord, match=r"lacks .*gone\.safetensors.*pip install --force-reinstall"):
        static._files()


def test_the_wheels_code_is_never_imported() -> None:
    code = (
        "import sys, numpy as np; from labelwise.represent.static import Static; "
        "Static().fit(['a text'], np.random.default_rng(0)).encode(['another']); "
        "sys.exit('wordllama' in sys.modules or 'sklearn' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.real
def test_separates_real_intents(real_data: Path) -> None:
    rows = pq.read_table(real_data / "banking77.parquet", columns=["text", "label"]).slice(0, 3000).to_pydict()
    fitted = Static().fit(rows["text"], stream(0, "fit"))
    vectors, labels = fitted.encode(rows["text"]), np.array(rows["label"])
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    # guessing by the most frequent label would be right for about one in twenty of these
    assert (labels[cosines.argmax(axis=1)] == labels).mean() > 0.8
