"""What is the same has one hash, what differs has another, and what has no identity is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pruneaudit.core.errors import UserError
from pruneaudit.core.identity import canonical, canonical_json, sha256_of, sha256_of_arrays

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=15)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
DTYPES = st.sampled_from(["u1", "i8", "f4", "f8", "?", "U3", ">f8", "c8"])
ARRAYS = hnp.arrays(DTYPES, SHAPES, elements=None)


def rewritten(value: Any) -> Any:
    """The same meaning in other words: keys in reverse order, tuples for lists, floats for whole numbers."""
    if isinstance(value, dict):
        return {key: rewritten(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return tuple(rewritten(item) for item in value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return float(value)
    return value


@given(JSON)
def test_the_same_meaning_has_one_text(value: Any) -> None:
    assert canonical_json(rewritten(value)) == canonical_json(value)
    assert sha256_of(rewritten(value)) == sha256_of(value)


@given(JSON)
def test_the_text_says_what_was_given(value: Any) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text)) == canonical(value)
    assert text.isascii()
    assert json.dumps(canonical(value), sort_keys=True, separators=(",", ":")) == text


@given(JSON, JSON)
def test_different_meanings_have_different_hashes(one: Any, other: Any) -> None:
    assert (sha256_of(one) == sha256_of(other)) == (canonical_json(one) == canonical_json(other))


def test_numbers() -> None:
    assert canonical_json([4, 4.0, -0.0, 0.1, 1e-7, np.float64(4.0), np.float64(0.1)]) == "[4,4,0,0.1,1e-07,4,0.1]"
    assert canonical_json({"b": 1, "a": (1, [2, (3,)])}) == '{"a":[1,[2,[3]]],"b":1}'
    assert sha256_of(True) != sha256_of(1) != sha256_of("1")
    # SHA-256 of the two characters {} as any tool computes it: stored hashes stay valid
    assert sha256_of({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        [{"a": -float("inf")}],
        np.float64("nan"),
        np.float32(1),
        np.int64(1),
        np.bool_(True),
        np.zeros(2),
        b"ab",
        {1, 2},
        object(),
        {1: "a", "1": "b"},
    ],
)
def test_what_has_no_identity_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^got .*, expected .*cannot be part of an identity$"):
        sha256_of(value)


@given(st.dictionaries(st.text(max_size=3), ARRAYS, max_size=3))
def test_arrays_that_are_equal_hash_alike_in_any_memory_layout(arrays: dict[str, np.ndarray]) -> None:
    laid_out_otherwise = {
        name: np.asfortranarray(arrays[name]).reshape(arrays[name].shape) for name in reversed(arrays)
    }
    strided = {name: np.repeat(array[..., None], 2, axis=-1)[..., 0] for name, array in arrays.items()}
    read_only = {name: array.copy() for name, array in arrays.items()}
    for array in read_only.values():
        array.flags.writeable = False
    expected = sha256_of_arrays(arrays)
    assert [sha256_of_arrays(other) for other in (laid_out_otherwise, strided, read_only)] == [expected] * 3


@given(
    hnp.arrays(st.sampled_from(["u1", "i8", "f4"]), hnp.array_shapes(max_side=4), elements=st.integers(0, 9)), st.data()
)
def test_a_changed_element_changes_the_hash(array: np.ndarray, data: st.DataObject) -> None:
    changed = array.copy()
    changed.flat[data.draw(st.integers(0, array.size - 1))] += 1
    assert sha256_of_arrays({"x": changed}) != sha256_of_arrays({"x": array})


def test_arrays_that_differ_hash_differently() -> None:
    zeros = np.zeros(4, np.int32)
    different = [
        {"x": zeros},
        {"y": zeros},
        {"x": zeros.reshape(2, 2)},
        {"x": zeros.reshape(4, 1)},
        {"x": zeros.view(np.float32)},
        {"x": zeros.astype(">i4")},
        {"x": np.zeros(2, np.int64)},
        {"x": zeros, "y": zeros},
        {"x": zeros[:0]},
        {"x": zeros[:0].reshape(0, 3)},
        {"x": np.array(0, np.int32)},
        {"x": np.array([0], np.int32)},
        {},
    ]
    assert len({sha256_of_arrays(arrays) for arrays in different}) == len(different)


def test_python_objects_have_no_hash() -> None:
    with pytest.raises(ValueError, match="'names': got Python objects, expected numbers"):
        sha256_of_arrays({"names": np.array(["a", None], dtype=object)})


@given(st.text())
def test_an_error_for_the_user_is_one_printable_line(text: str) -> None:
    assert str(UserError(text)).isprintable()


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1))
def test_an_error_for_the_user_says_what_it_was_given(text: str) -> None:
    assert str(UserError(f"{text}  {text}")) == f"{text} {text}"


def test_what_a_terminal_would_obey_is_escaped() -> None:
    assert str(UserError("a\n  b\x1b[2J \u202e é")) == r"a b\x1b[2J \u202e é"
