"""Measuring what may fail, without failing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
MAX_REASON = 200


class Gaps(dict[str, str]):
    """What could not be measured, and why, in one line each."""

    def measured(self, what: str, measure: Callable[[], T]) -> T | None:
        """What `measure` returns; None where it fails, with the reason kept under `what`."""
        try:
            return measure()
        except Exception as error:  # a user's network may do anything
            self[what] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:MAX_REASON]
            return None
