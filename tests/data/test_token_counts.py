"""Texts as counts of tokens, where inputs are looked at as numbers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pruneaudit.data.drawing import draw
from pruneaudit.data.features import input_features
from pruneaudit.data.kinds import Vocabulary
from pruneaudit.data.source import RawData
from pruneaudit.data.token_counts import MOST_COUNTED, numbers_of, token_counts
from pruneaudit.evaluation.input_difference import input_difference
from pruneaudit.study import Data

# N samples, T tokens


def ids_of(num: int, most: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = (size * rng.random((num, most)) ** 3).astype(np.int32)
    return x, rng.integers(1, most + 1, num).astype(np.int32)


@pytest.mark.parametrize("size", [20, 900])
def test_counts_are_those_of_a_slow_count(size: int) -> None:
    x, lengths = ids_of(5000 if size > 20 else 60, 11, size)
    known = np.arange(len(x)) < len(x) // 2
    found = token_counts(x, lengths, size, known)
    rows = [ids[:length].tolist() for ids, length in zip(x, lengths, strict=True)]
    frequency = Counter(token for row, is_known in zip(rows, known, strict=True) if is_known for token in row)
    counted = sorted(sorted(frequency, key=lambda token: (-frequency[token], token))[:MOST_COUNTED])
    assert found.shape == (len(x), len(counted) + 3) and found.dtype == np.float32
    for row in range(0, len(x), 37):
        count = Counter(rows[row])
        rest = sum(number for token, number in count.items() if token not in counted)
        assert found[row].tolist() == [*(count[token] for token in counted), len(rows[row]), len(count), rest]


def test_what_stands_behind_the_end_does_not_count() -> None:
    x, lengths = ids_of(50, 9, 30)
    other = np.where(np.arange(9) < lengths[:, None], x, 29)
    everything = np.ones(50, bool)
    np.testing.assert_array_equal(
        token_counts(x, lengths, 30, everything), token_counts(other, lengths, 30, everything)
    )


def test_images_and_tables_are_left_as_they_are() -> None:
    x = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    data = draw(RawData(x, np.arange(30) % 2, ("a", "b")), Data(num_samples=20), seed=0)
    assert numbers_of(data) is data.x


def test_members_of_another_source_are_recognised_by_their_words_whatever_the_ids() -> None:
    x, lengths = ids_of(400, 12, 60)
    member = np.arange(400) % 2 == 0
    swapped = member & (np.random.default_rng(1).random(400) < 0.8)
    x[swapped, 0] = 57  # a word that only members begin with
    shuffled = np.random.default_rng(2).permutation(60).astype(np.int32)
    raw = RawData(shuffled[x], np.arange(400) % 3, ("a", "b", "c"), lengths=lengths, vocabulary=Vocabulary(60, 0, 1))
    data = draw(raw, Data(num_samples=400), seed=0)
    counted = np.ones(400, bool)
    found = input_difference(numbers_of(data), data.y, member[data.ids], counted)
    assert found is not None and found.differs and found.auc.value > 0.8
    fair = input_difference(numbers_of(data), data.y, np.random.default_rng(3).random(400) < 0.5, counted)
    assert fair is not None and not fair.differs


def test_features_of_texts_are_few_finite_numbers() -> None:
    x, lengths = ids_of(600, 12, 900)
    raw = RawData(x, np.arange(600) % 2, ("a", "b"), lengths=lengths, vocabulary=Vocabulary(900, 0, 1))
    data = draw(raw, Data(num_samples=200, num_holdout=400), seed=0)
    found = input_features(numbers_of(data, data.holdout), data.holdout)
    assert found.shape == (600, 30) and np.isfinite(found).all()
    assert found[data.holdout].std(axis=0) == pytest.approx(1, rel=1e-3)
