"""Settings as TOML text: the reverse of `tomllib.loads`, which the standard library lacks."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(values: Mapping[str, Any]) -> str:
    """Settings as TOML: single values first, then a section for each table and each entry of a list of tables.

    Args:
        values: texts, numbers, booleans, lists and tables of them, as `tomllib` and JSON give them.

    Raises:
        ValueError: a value is None or of another type.

    Example:
        >>> print(to_toml({"name": "a", "data": {"num_samples": 100}}), end="")
        name = "a"
        <BLANKLINE>
        [data]
        num_samples = 100
    """
    return "\n\n".join("\n".join(block) for block in _blocks(values) if block) + "\n"


def _blocks(values: Mapping[str, Any]) -> Iterator[list[str]]:
    """The lines of each section."""
    yield [f"{_key(key)} = {_inline(value)}" for key, value in values.items() if not _is_section(value)]
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield [f"[{_key(key)}]", *_lines(value)]
        elif _is_section(value):
            yield from ([f"[[{_key(key)}]]", *_lines(entry)] for entry in value)


def _is_section(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(entry, Mapping) for entry in value)
    return isinstance(value, Mapping)


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_inline(value)}" for key, value in table.items()]


def _inline(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for the delete character and half of a surrogate pair, which TOML cannot say.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(_lines(value)) + " }" if value else "{}"
    raise ValueError(f"got {value!r}, expected a text, a number, true or false, a list or a table")


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _inline(key)
