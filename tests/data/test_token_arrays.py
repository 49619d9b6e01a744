"""Texts as token ids in a user's `.npz` file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.core.errors import UserError
from pruneaudit.data.kinds import Vocabulary
from pruneaudit.data.npz import read_samples
from pruneaudit.data.source import RawData
from pruneaudit.data.token_arrays import token_arrays, tokens_in

IDS = np.array([[5, 6, 7, 3], [4, 3, 3, 3], [9, 8, 3, 3]])
MASK = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 0]])
Y = np.array([0, 1, 1])
GOOD = {"input_ids": IDS, "attention_mask": MASK, "vocabulary_size": 10, "y": Y}


def read(folder: Path, **arrays: Any) -> RawData:
    np.savez(folder / "texts.npz", **arrays)
    return read_samples(folder / "texts.npz")[0]


def test_what_a_tokenizer_returns_is_taken(tmp_path: Path) -> None:
    raw = read(tmp_path, **GOOD, token_type_ids=np.zeros_like(IDS))
    assert raw.x.dtype == np.int32 and np.array_equal(raw.x, IDS)
    assert raw.lengths is not None and raw.lengths.tolist() == [3, 1, 3]
    assert raw.vocabulary == Vocabulary(10, 3, 3)
    assert not raw.classes_known and raw.mean is None


@pytest.mark.parametrize("kind", ["int16", "uint8", "int64", ">i4"])
def test_lengths_stand_for_the_mask_and_ids_have_any_integer_type(tmp_path: Path, kind: str) -> None:
    arrays = {"input_ids": IDS.astype(kind), "lengths": MASK.sum(1), "vocabulary_size": 10, "y": Y}
    raw = read(tmp_path, **arrays, padding_id=0, unknown_id=1, classes=np.array(["no", "yes"]))
    assert np.array_equal(raw.x, np.where(MASK, IDS, 0)) and raw.vocabulary == Vocabulary(10, 0, 1)
    assert raw.classes == ("no", "yes") and raw.classes_known


def test_without_a_mask_all_tokens_are_real(tmp_path: Path) -> None:
    raw = read(tmp_path, input_ids=IDS, vocabulary_size=10, y=Y)
    assert raw.lengths is not None and (raw.lengths == 4).all() and raw.vocabulary == Vocabulary(10, 0, 0)


@given(st.integers(0, 2**32))
def test_arrays_return_to_what_they_were(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num, most, words = rng.integers(1, 6, 3)
    vocabulary = Vocabulary(int(words), int(rng.integers(words)), int(rng.integers(words)))
    lengths = rng.integers(1, most + 1, num).astype(np.int32)
    x = np.where(np.arange(most) < lengths[:, None], rng.integers(0, words, (num, most)), vocabulary.padding)
    found = tokens_in({key: np.asarray(value) for key, value in token_arrays(x, lengths, vocabulary).items()})
    assert np.array_equal(found["x"], x) and np.array_equal(found["lengths"], lengths)
    assert found["vocabulary"] == vocabulary


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input_ids": IDS.astype(float)}, "input_ids: got float64 of shape"),
        ({"input_ids": IDS[0]}, "input_ids: got int64 of shape"),
        ({"vocabulary_size": 9}, r"input_ids: got id 9 in row 2, expected 0\.\.8"),
        ({"input_ids": np.where(MASK, -1, IDS)}, "input_ids: got id -1 in row 0"),
        ({"vocabulary_size": None}, "no array 'vocabulary_size' in addition to input_ids"),
        ({"vocabulary_size": 10.5}, "vocabulary_size: got float64"),
        ({"attention_mask": MASK[:, ::-1]}, "row 0 has a 1 after a 0"),
        ({"attention_mask": 2 * MASK}, "attention_mask: got int64"),
        ({"attention_mask": MASK[:2]}, "attention_mask: got"),
        ({"attention_mask": MASK * [[1], [0], [1]]}, r"row 1 has 0 real tokens, expected 1\.\.4"),
        ({"lengths": np.array([1, 5, 2])}, "row 1 has 5 real tokens"),
        ({"lengths": np.array([1, 5])}, "lengths: got"),
        ({"padding_id": 10}, "padding_id: got 10"),
        ({"unknown_id": -1}, "vocabulary: got ids"),
        ({"y": None}, r"no array 'y' among .*; expected x \(for texts input_ids\), y"),
        ({"x": np.zeros((3, 4), np.float32)}, "has x and input_ids, expected one"),
    ],
)
def test_malformed_texts_are_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    arrays = {key: value for key, value in (GOOD | change).items() if value is not None}
    with pytest.raises(UserError, match=words):
        read(tmp_path, **arrays)


def test_integers_as_x_are_refused_with_both_ways_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"float32'\) for a table; texts as token ids are input_ids=x"):
        read(tmp_path, x=IDS, y=Y)
