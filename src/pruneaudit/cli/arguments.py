"""Arguments that are more than one value: `key=value`, and numbers with commas between."""

from __future__ import annotations

from typing import Any

from pruneaudit.core.errors import UserError


def keyed_values(option: str, given: list[str]) -> dict[str, Any]:
    """`key=value` texts as values by key.

    Raises:
        UserError: one is no such text.
    """
    from pruneaudit.core.settings_file import scalar

    values = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.strip().isidentifier():
            raise UserError(f"{option}: got '{text}', expected key=value, for example width=64")
        values[key.strip()] = scalar(value)
    return values


def numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """A text such as "0.49,0.48,0.45" as numbers.

    Raises:
        UserError: it is no such text.
    """
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(
            f"{option}: got '{text}', expected numbers with commas between, such as 0.49,0.48,0.45"
        ) from None


def rates(option: str, text: str) -> tuple[float, ...]:
    """A text such as "0.1,1%" as rates.

    Raises:
        UserError: it is no such text.
    """
    from pruneaudit.gate.budgets import parse_rate

    return tuple(parse_rate(part, option) for part in text.split(","))


def lengths(option: str, text: str | None) -> tuple[int, ...] | None:
    """A text such as "3,32,32" as lengths.

    Raises:
        UserError: it is no such text, or one is below 1.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"{option}: got '{text}', expected lengths with commas between, such as 3,32,32")
    return tuple(int(part) for part in parts)
