"""Small parts of sentences: plurals, lists, names of attacks."""

from __future__ import annotations

from collections.abc import Sequence

_MOST_NAMED = 3
"""Number of names that a sentence lists; the tables have all."""
_ATTACK_NAMES = {"lira": "LiRA", "rmia": "RMIA", "base": "BASE", "bavaria": "BaVarIA"}


def counted(number: int, singular: str, plural: str = "") -> str:
    """`1 release`, `2 releases`, `1,200 releases`.

    Args:
        number: how many.
        singular: the noun.
        plural: where an "s" at the end is not enough.
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def verb(number: int, singular: str, plural: str) -> str:
    """The form that goes with a number of things: `verb(1, "leaks", "leak")` is `leaks`."""
    return singular if number == 1 else plural


def listed(parts: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}" if parts else ""


def attack_name(label: str) -> str:
    """An attack's label as a sentence says it: "lira:mode=offline" is "LiRA (mode=offline)"."""
    name, _, options = label.partition(":")
    return _ATTACK_NAMES.get(name, name) + (f" ({options})" if options else "")


def first_few(names: Sequence[str]) -> str:
    """The first three names, and how many more there are: `a, b, c and 2 more`."""
    more = len(names) - _MOST_NAMED
    return listed([*names[:_MOST_NAMED], *([f"{more} more"] if more > 0 else [])])
