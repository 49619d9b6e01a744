"""What is wrong with settings is said in one line: where, what was got, what was expected."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError, field_validator, model_validator

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options, validated


class Inner(Options):
    size: int = Field(default=1, ge=1)
    kind: Literal["small", "large"] = "small"


class Outer(Options):
    name: str
    width: float = 1.0
    inner: Inner = Inner()
    maybe: Inner | None = None
    several: tuple[Inner, ...] = ()
    texts: tuple[str, ...] = Field(default=("a",), min_length=1)
    table: dict[str, Any] = Field(default={})

    @field_validator("name")
    @classmethod
    def _short(cls, name: str) -> str:
        if len(name) > 70:
            raise ValueError(f"got {len(name)} letters, expected at most 70")
        return name

    @model_validator(mode="after")
    def _fits(self) -> Outer:
        if self.width < self.inner.size:
            raise ValueError("width must not be below inner.size")
        return self


KEYS = "inner, maybe, name, several, table, texts, width"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "'name' is missing"),
        ({"name": "a", "widht": 1}, f"unknown key 'widht' (did you mean 'width'?); known keys: {KEYS}"),
        ({"name": "a", "zzz": 1}, f"unknown key 'zzz'; known keys: {KEYS}"),
        (
            {"name": "a", "inner": {"sise": 1}},
            "unknown key 'inner.sise' (did you mean 'size'?); known keys: kind, size",
        ),
        ({"name": "a", "maybe": {"knd": 1}}, "unknown key 'maybe.knd' (did you mean 'kind'?); known keys: kind, size"),
        ({"name": "a", "several": [{}, {"size_": 1}]}, "unknown key 'several.1.size_' (did you mean 'size'?); known"),
        ({"name": "a", "width": "wide"}, "'width': got 'wide', expected: a valid number"),
        ({"name": "a", "width": float("nan")}, "'width': got nan, expected: a finite number"),
        ({"name": "a", "inner": {"size": 0}}, "'inner.size': got 0, expected: greater than or equal to 1"),
        ({"name": "a", "inner": {"kind": "tiny"}}, "'inner.kind': got 'tiny', expected: 'small' or 'large'"),
        ({"name": "a", "inner": 3}, "'inner': got 3, expected: a table of settings"),
        ({"name": "a", "several": 3}, "'several': got 3, expected: a list"),
        ({"name": "a", "table": 3}, "'table': got 3, expected: a table of settings"),
        ({"name": "a", "inner": {"size": 2}}, "width must not be below inner.size"),
        ({"name": "a" * 71}, "'name': got 71 letters, expected at most 70"),
        (3, "'the whole': got 3, expected: a table of settings"),
    ],
)
def test_one_line_says_what_is_wrong(values: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        validated(Outer, values, "here")
    assert str(caught.value).startswith(f"here: {message}")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "Outer: 'name' is missing"),
        ({"name": "a", "widht": 1}, f"Outer: unknown key 'widht' (did you mean 'width'?); known keys: {KEYS}"),
        (
            {"name": "a", "several": [{}, {"size": 0}]},
            "Outer: 'several.1.size': got 0, expected: greater than or equal to 1",
        ),
        ({"name": "a", "inner": {"size": 2}}, "Outer: width must not be below inner.size"),
        ({"name": "a", "inner": {"size": 0}, "width": "w"}, "Outer: 'width': got 'w', expected: a valid number"),
    ],
)
def test_settings_made_in_python_say_it_in_one_line_too(values: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        Outer(**values)
    assert str(caught.value).startswith(message)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    with pytest.raises(ValidationError):  # whoever goes through pydantic's own parts still gets them
        Outer.model_validate(values)


def test_a_part_made_in_python_says_its_own_name() -> None:
    with pytest.raises(UserError, match=r"^Inner: 'size': got 0, expected: greater than or equal to 1$"):
        Outer(name="a", inner=Inner(size=0))
    assert Outer(name="a", inner=Inner(size=1)) == Outer.model_validate({"name": "a", "inner": {"size": 1}})


def test_at_most_three_problems_are_shown() -> None:
    with pytest.raises(UserError, match=r"and 2 more$") as caught:
        validated(Outer, {"name": 1, "width": "x", "inner": 1, "several": 2, "table": 3}, "here")
    assert str(caught.value).count("expected") == 3


def test_a_wrong_item_is_not_called_a_list_that_is_too_short() -> None:
    with pytest.raises(UserError) as caught:
        validated(Outer, {"name": "a", "texts": [3]}, "here")
    assert str(caught.value) == "here: 'texts.0': got 3, expected: a valid string"
    with pytest.raises(UserError, match=r"'texts': got \[\], expected: .* at least 1"):
        validated(Outer, {"name": "a", "texts": []}, "here")


def test_what_is_long_is_shortened() -> None:
    with pytest.raises(UserError) as caught:
        validated(Outer, {"name": "a", "k" * 10_000: 1, "width": "w" * 10_000}, "here")
    assert len(str(caught.value)) < 400


def test_settings_are_frozen() -> None:
    settings = validated(Outer, {"name": "a"}, "here")
    with pytest.raises(ValidationError, match="frozen"):
        settings.width = 2.0  # type: ignore[misc]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*Outer.model_fields, "size", "?"]), inner)
    ),
    max_leaves=12,
)


@given(JSON)
def test_whatever_is_given_gives_settings_or_one_line(values: Any) -> None:
    try:
        settings = validated(Outer, values, "here")
    except UserError as error:
        assert str(error).startswith("here: ")
        assert str(error).isprintable()
    else:
        assert validated(Outer, settings.model_dump(), "here").width >= settings.inner.size
