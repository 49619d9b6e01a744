"""A figure with the words around it: one description, drawn in the page and in files for a paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]
"""A Vega-Lite specification: JSON data without NaN, complete in itself."""


@dataclass(frozen=True)
class Choice:
    """One of the things that a figure may show."""

    name: str
    spec: Spec


@dataclass(frozen=True)
class Figure:
    """One figure with the words around it."""

    key: str
    """Names its element in the page."""
    title: str
    caption: str
    height: int
    """About how many pixels it takes in the page."""
    spec: Spec
    choices: tuple[Choice, ...] = ()
    """Figures that readers can choose instead; the first is `spec` itself. Empty: no choice."""
    choose: str = ""
    """The label of the choice."""
