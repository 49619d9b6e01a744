"""Settings written as TOML read back as they were."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.core.toml_text import to_toml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = TEXTS | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(allow_nan=False)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_what_is_written_reads_back(values: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(values)) == values


def test_sections_follow_single_values() -> None:
    values = {"data": {"n": 1}, "name": "a", "releases": [{"x": 1.0}, {"y": {"z": [1, True]}}]}
    blocks = to_toml(values).split("\n\n")
    assert blocks == ['name = "a"', "[data]\nn = 1", "[[releases]]\nx = 1.0", "[[releases]]\ny = { z = [1, true] }\n"]


def test_none_is_refused() -> None:
    with pytest.raises(ValueError, match="None"):
        to_toml({"a": [None]})
