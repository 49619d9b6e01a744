"""Reads settings from TOML or JSON files, which can be wrong or hostile, and applies overrides."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from datetime import date, time
from pathlib import Path
from typing import Any

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import TooDeepError, check_depth, check_file, parse_json

MAX_BYTES = 1_000_000
MAX_KEY_PARTS = 50
"""A key of thousands of parts takes a TOML reader quadratic time."""
# A part of a key, bare or quoted (the closing quote can be missing), a dot, blanks, or any other character.
_TOKEN = re.compile(
    r"""(?P<part>[\w-]++|"(?:[^"\\\n]|\\.)*+"?|'[^'\n]*+'?)|(?P<dot>\.)|(?P<blank>[ \t]++)|.""", re.DOTALL
)


def read_settings(path: Path) -> str:
    """Returns the text of a settings file, without the byte-order mark of Windows editors.

    Raises:
        UserError: it is unreadable, too large, or not a text.
    """
    try:
        check_file(path)
        is_too_large = path.stat().st_size > MAX_BYTES
        text = "" if is_too_large else path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read ({reason}); expected a study in TOML or JSON") from None
    if is_too_large:
        raise UserError(f"{path}: a study file has at most {MAX_BYTES:,} bytes")
    return text


def parse_settings(text: str, name: str, is_json: bool, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Parses settings from a text, and applies `a.b=value` overrides.

    Raises:
        UserError: the text is not a TOML or JSON table, or an override names no setting.
    """
    kind = "JSON" if is_json else "TOML"
    try:
        values = parse_json(text) if is_json else _parse_toml(text)
    except (TooDeepError, RecursionError):
        raise UserError(f"{name}: nested too deeply for a study") from None
    except ValueError as error:
        raise UserError(f"{name}: not {kind}: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{name}: got a {type(values).__name__}, expected a table of settings")
    return with_overrides(values, overrides)


def _parse_toml(text: str) -> Any:
    """Parses a TOML text.

    Raises:
        TooDeepError, RecursionError: keys or values are nested too deeply.
        ValueError: it is not TOML.
    """
    if _most_key_parts(text) > MAX_KEY_PARTS:
        raise TooDeepError
    values = tomllib.loads(text)
    check_depth(values)
    return values


def _most_key_parts(text: str) -> int:
    """Returns the largest number of dot-separated key parts in a row, in linear time."""
    most = parts = 0
    is_after_dot = False
    for token in _TOKEN.finditer(text):
        if token.lastgroup == "part":
            parts = parts + 1 if is_after_dot else 1
            most = max(most, parts)
        elif token.lastgroup is None:
            parts = 0
        if token.lastgroup != "blank":
            is_after_dot = token.lastgroup == "dot" and parts > 0
    return most


def with_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Applies `a.b=value` overrides to the settings, in place.

    Raises:
        UserError: an override names no setting.
    """
    for override in overrides:
        _set(values, override)
    return values


def scalar(text: str) -> Any:
    """Parses a TOML value (`0.5`, `true`, `[1, 2]`); anything else, also a date, stays a text."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text.strip()
    value = table["value"]
    is_text = len(table) > 1 or isinstance(value, date | time)  # otherwise a second line would be lost
    return text.strip() if is_text else value


def _set(values: dict[str, Any], override: str) -> None:
    """Sets `a.b=value` in nested settings; a number indexes a list (`releases.0.sparsity=0.9`)."""
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise UserError(f"--set: got '{override}', expected key=value, for example training.epochs=5")
    place: Any = values
    try:
        for key in keys[:-1]:
            place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
        if isinstance(place, list):
            place[int(keys[-1])] = scalar(text)
        else:
            place[keys[-1]] = scalar(text)
    except (IndexError, ValueError, TypeError, AttributeError):
        raise UserError(f"--set: this study has no setting '{path}'") from None
