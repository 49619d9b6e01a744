"""Detects columns that number the rows of a table: a saved index, a running number, an id.

As a feature, such a column identifies every sample, so a network can memorise its samples through it. They are refused
unless the user allows them.
"""

# N samples

from __future__ import annotations

import re

import numpy as np

_NAMELESS = re.compile(r"(Unnamed: \d+(\.\d+)*|__index_level_\d+__|\s*)")
_ID = re.compile(r"(.*[^a-zA-Z])?(id|index)|.*[a-z]I[dD]|(.*[^a-zA-Z])?(Id|ID|Index|INDEX)")


def is_nameless(name: str) -> bool:
    """Returns whether a column has no real name, like a saved pandas index: "", `Unnamed: 0`, `__index_level_0__`."""
    return bool(_NAMELESS.fullmatch(name))


def numbering(values: np.ndarray, name: str = "") -> str:
    """Describes how values identify every row; "" if they do not.

    Args:
        values: (N,) finite numbers.
        name: the name of their column.
    """
    if len(values) < 2 or not (values == np.floor(values)).all():
        return ""
    rises, falls = values[1:] > values[:-1], values[1:] < values[:-1]
    if rises.all() or falls.all():
        return f"whole numbers that {'rise' if rises[0] else 'fall'} from row to row"
    if is_row_number(values):
        return f"every whole number from {values.min():.0f} to {values.max():.0f}"
    is_id = _ID.fullmatch(name) and len(np.unique(values)) == len(values)
    return "a different whole number in every row" if is_id else ""


def is_row_number(values: np.ndarray) -> bool:
    """Returns whether the values (N,) are N whole numbers without a gap, in any order."""
    if len(values) < 2 or values.max() - values.min() != len(values) - 1:
        return False
    return np.array_equal(np.sort(values) - values.min(), np.arange(len(values)))
