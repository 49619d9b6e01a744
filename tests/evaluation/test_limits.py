"""Limits: what users write, and what is refused in one line."""

import pytest

from pruneaudit.core.amounts import parse_size
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.limits import Limits, parse_limits


def test_texts_of_the_command_line():
    limits = parse_limits(["10%:0.3", "1%:0.05"], "20k", min_accuracy="75%", max_auc="0.6", minimize=None)
    assert limits == Limits(min_accuracy=0.75, max_tpr={0.01: 0.05, 0.1: 0.3}, max_auc=0.6, max_bytes=20_000)
    assert list(limits.leakage) == ["tpr_at_1%_fpr", "tpr_at_10%_fpr", "auc"]
    assert limits.ranked_by == "tpr_at_1%_fpr" and limits.sizes == {"bytes": 20_000}
    assert Limits(max_tpr={"1%": "5%"}, max_bytes="20k") == parse_limits(["1%:0.05"], "20k")


def test_limits_are_read_back():
    limits = parse_limits(["0.1%:0.005", "1%:0.05"], min_accuracy="0.5")
    assert Limits.model_validate_json(limits.model_dump_json()) == limits


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("20k", 20_000), ("1.5MB", 1_500_000), ("64KiB", 65_536), ("20_000", 20_000)]
)
def test_sizes(text, size):
    assert parse_size(text, "--max-bytes") == size


@pytest.mark.parametrize("text", ["", "0", "k", "-3", "20q", "1e3", "9" * 30])
def test_wrong_sizes(text):
    with pytest.raises(UserError, match="--max-bytes"):
        parse_size(text, "--max-bytes")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, ["no limit", "--min-accuracy"]),
        ({"max_bytes": 5}, ["no limit"]),
        ({"max_tpr": ["1%:0.01"]}, ["guessing", "1%"]),
        ({"max_tpr": ["10%:0.05"]}, ["guessing", "10%"]),
        ({"max_tpr": ["1%"]}, ["FPR:LIMIT", "'1%'"]),
        ({"max_tpr": ["1%:0.5", "0.01:0.4"]}, ["two limits", "1%"]),
        ({"max_tpr": 3}, ["max_tpr", "3"]),
        ({"max_auc": 0.5}, ["max_auc", "0.5"]),
        ({"min_accuracy": 75}, ["min_accuracy", "75"]),
        ({"min_accuracy": "all"}, ["min_accuracy", "all"]),
        ({"min_accuracy": 0.5, "minimize": "size"}, ["minimize", "bytes"]),
        ({"min_accuracy": 0.5, "max_bytes": 0}, ["max_bytes"]),
        ({"min_accuracy": 0.5, "max_latency": 0}, ["max_latency", "max_"]),
    ],
)
def test_impossible_limits_are_refused_in_one_line(values, words):
    with pytest.raises(UserError) as caught:
        Limits(**values)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words)
