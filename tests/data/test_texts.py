"""Texts become token ids: copies, tokenizers of a study's own, T, and what is told of them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import unicodedata
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.data.audit_data import copies_note
from pruneaudit.data.drawing import draw
from pruneaudit.data.source import RawData
from pruneaudit.data.texts import RawTexts, TextOptions, normalised
from pruneaudit.data.tokenizing import build_tokenizer, decoded
from pruneaudit.study import Data

# R texts, N samples, T tokens

WORDS = ("card", "lost", "Money", "transfer", "weather", "rain", "sun", "tomorrow", "straße", "naïve", "東京", "can't")


def sentences(num: int, seed: int = 0, most: int = 9) -> tuple[str, ...]:
    rng = np.random.default_rng(seed)
    return tuple(" ".join(rng.choice(WORDS, rng.integers(2, most))) + f" {row}" for row in range(num))


def raw_texts(texts: tuple[str, ...] | None = None, **options: Any) -> RawTexts:
    texts = sentences(300) if texts is None else texts
    return RawTexts(texts, np.arange(len(texts)) % 3, ("a", "b", "c"), TextOptions(**options))


def taken(raw: RawTexts, num_public: int = 100) -> RawData:
    rows = np.arange(len(raw.texts))
    return raw.taken(rows, rows < num_public)


def spelled(raw: RawData) -> list[str]:
    assert raw.lengths is not None
    return decoded(raw.tokenizer, [ids[:length].tolist() for ids, length in zip(raw.x, raw.lengths, strict=True)])


@given(st.lists(st.text(st.sampled_from("aA ﬁfi\t\u00a0éE\u0301ßs\u017fK\u212a"), min_size=1), max_size=12))
def test_copies_are_found_as_by_comparing_all_pairs(texts: list[str]) -> None:
    texts = [text for text in texts if text.strip()] + ["x", "y", "z"]

    def same(one: str, other: str) -> bool:
        fold = [unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", each).casefold()) for each in (one, other)]
        return fold[0].split() == fold[1].split()

    found = raw_texts(tuple(texts)).first_equal().tolist()
    assert found == [next(i for i in range(len(texts)) if same(texts[i], text)) for text in texts]


@given(st.text(max_size=20))
def test_normalisation_does_nothing_twice(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


def test_a_tokenizer_of_our_own_loses_nothing() -> None:
    texts = (*sentences(200), "[PAD] and [UNK] are words  here", "ümläut\n\ttabs", "\x00 control", "👩‍🚀 and 語")
    raw = taken(raw_texts(texts, max_length=90), 50)
    assert spelled(raw) == [text.strip() for text in texts]
    assert raw.lengths is not None and raw.vocabulary is not None
    real = np.arange(raw.x.shape[1]) < raw.lengths[:, None]
    assert (raw.vocabulary.padding, raw.vocabulary.unknown) == (0, 1)
    assert (raw.x[~real] == 0).all() and (raw.x[real] > 1).all(), "special tokens in a text are ordinary characters"


def test_texts_are_cut_on_the_right_and_padded_there() -> None:
    whole, cut = (taken(raw_texts(max_length=length)) for length in (60, 7))
    assert whole.lengths is not None and cut.lengths is not None
    assert cut.lengths.tolist() == np.minimum(whole.lengths, 7).tolist()
    np.testing.assert_array_equal(cut.x, whole.x[:, :7])


def test_the_tokenizer_is_built_on_public_texts_alone() -> None:
    raw = raw_texts(vocabulary_size=400)
    changed = replace(raw, texts=(*raw.texts[:100], *sentences(200, seed=9)))
    first, second = taken(raw), taken(changed)
    assert first.tokenizer == second.tokenizer and first.x.shape == second.x.shape
    np.testing.assert_array_equal(first.x[:100], second.x[:100])
    order = np.random.default_rng(0).permutation(300)
    shuffled = raw.taken(order, order < 100)
    np.testing.assert_array_equal(shuffled.x, first.x[order])
    everything = taken(raw_texts(vocabulary_size=400, tokenizer="all-rows"), 0)
    assert everything.tokenizer != first.tokenizer and "all texts" in everything.notes[0]
    assert first.notes == ()


def test_without_public_samples_the_advice_works() -> None:
    raw = raw_texts()
    with pytest.raises(UserError, match=r"no public samples.*tokenizer=FOLDER.*data\.num_public .*2000"):
        draw(raw, Data(num_samples=100), seed=0)
    assert draw(raw, Data(num_samples=100, num_public=100), seed=0).kind == "tokens"


def test_a_study_gets_the_ids_of_its_samples_with_their_tokenizer() -> None:
    texts = (*sentences(200), *(text.upper() for text in sentences(20)))
    raw = raw_texts(texts, max_length=120)
    data = draw(raw, Data(num_samples=100, num_holdout=20, num_public=60, num_canaries=10), seed=3)
    assert data.lengths is not None and data.copy_of is not None
    rows = [ids[:length].tolist() for ids, length in zip(data.x, data.lengths, strict=True)]
    assert decoded(data.tokenizer, rows) == [texts[row] for row in data.ids]
    public = [texts[row] for row in data.ids[data.public]]
    assert data.tokenizer == build_tokenizer(public, 2000).json
    for copy in np.flatnonzero(data.is_copy):
        assert texts[data.ids[copy]].casefold() == texts[data.ids[data.copy_of[copy]]].casefold()
    assert "(equal text, any label)" in copies_note(data)[0]
    kept = ~data.canary & ~data.is_copy
    assert (data.y[kept] == raw.y[data.ids[kept]]).all() and (data.y[data.canary] != raw.y[data.ids[data.canary]]).all()


@pytest.mark.parametrize(("longest", "expected"), [(9, 30), (200, 128)])
def test_t_is_enough_for_almost_all_public_texts(longest: int, expected: int) -> None:
    raw = raw_texts(sentences(300, most=longest))
    found = taken(raw)
    assert found.x.shape[1] <= expected
    full = build_tokenizer(raw.texts[:100], 2000)
    lengths = full.lengths(raw.texts[:100])
    if longest == 9:
        assert (lengths <= found.x.shape[1]).mean() >= 0.98 and (lengths == found.x.shape[1]).any()
    else:
        num_cut = int((full.lengths(raw.texts) > 128).sum())
        assert f"{num_cut} of 300 texts" in found.notes[0] and "max_length" in found.notes[0]


def test_different_texts_with_equal_ids_are_told() -> None:
    texts = (*sentences(100), *(f"one two three four five six {row}" for row in range(10)))
    notes = taken(raw_texts(texts, max_length=6), 60).notes
    assert any(note.startswith("9 texts have the same tokens") for note in notes)
    assert not [note for note in taken(raw_texts(texts, max_length=60), 60).notes if "same tokens" in note]


@pytest.mark.parametrize(
    ("texts", "labels", "classes", "words"),
    [
        (("a", " \n", "b"), [0, 1, 0], ("x", "y"), "row 2 is empty"),
        (("a", "b", "\ud83d"), [0, 1, 0], ("x", "y"), r"row 3 .*Unicode"),
        (("a", "b", "c"), [0, 0, 0], ("x",), "expected 2 or more"),
        (("a", "b", "c"), [0, 1], ("x", "y"), r"shape \(2,\)"),
        (("a", "b", "c"), [0, 1, 2], ("x", "y"), "0..2, expected 0..1"),
    ],
)
def test_wrong_texts_are_refused(texts: tuple[str, ...], labels: list[int], classes: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        RawTexts(texts, np.array(labels), classes, TextOptions())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tokenizer": "model", "vocabulary_size": 900}, "its own vocabulary"),
        ({"vocabulary_size": 100}, "vocabulary_size"),
        ({"max_length": 0}, "max_length"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        validated(TextOptions, options, "data")


PROGRAM = """
import hashlib, json, sys, warnings
warnings.simplefilter("error")
from pruneaudit.data.tokenizing import build_tokenizer
texts = json.loads(sys.stdin.read())
made = build_tokenizer(texts, 600)
x, lengths = made.encode(texts, 12)
print(hashlib.sha256(made.json.encode() + x.tobytes() + lengths.tobytes()).hexdigest())
import os
if not os.fork():  # the library warns in a fork if it ran threads before
    build_tokenizer(texts, 400).encode(texts, 12)
    os._exit(0)
os.wait()
"""


def test_every_process_builds_the_same_tokenizer() -> None:
    texts = sentences(400, most=30)
    made = build_tokenizer(texts, 600)
    x, lengths = made.encode(texts, 12)
    expected = hashlib.sha256(made.json.encode() + x.tobytes() + lengths.tobytes()).hexdigest()
    for seed, threads in (("1", "1"), ("2", "4")):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            input=json.dumps(texts),
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "true"},
        )
        assert (done.stdout.strip(), done.stderr) == (expected, "")
