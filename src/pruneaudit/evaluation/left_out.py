"""Finds the samples that an audit leaves out of all its parts: releases and references.

A reference that may have been trained on a sample is neither IN nor OUT for it, so the sample is also left out for the
victims. And a placebo row of the victims is not a null of the references.
"""

# N samples

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.signals.left_out import placebo_rows
from pruneaudit.signals.signals import Signals

Parts = Mapping[str, Signals]


def with_shared_left_out(releases: Parts, references: Parts) -> tuple[Parts, Parts]:
    """The same releases and references, each without the samples of unknown membership in any of them.

    Signals that are the same object stay the same object. Without any left-out sample, nothing changes.

    Args:
        releases: the victims' signals by release.
        references: the references' signals by release; can be empty.

    Raises:
        UserError: two parts have different placebo rows.
    """
    parts = {id(part): part for part in (*releases.values(), *references.values())}
    if len({part.num_samples for part in parts.values()}) > 1 or not any(
        part.left_out.any() for part in parts.values()
    ):
        return releases, references  # different numbers of samples are refused where the parts are paired
    unknown = np.zeros(next(iter(parts.values())).num_samples, dtype=bool)
    for part in parts.values():
        unknown |= False if part.unknown is None else part.unknown
    placebo = next((part.placebo for part in releases.values() if part.placebo is not None), None)
    shared = {key: _left_out(part, unknown, placebo) for key, part in parts.items()}
    return (
        {name: shared[id(part)] for name, part in releases.items()},
        {name: shared[id(part)] for name, part in references.items()},
    )


def _left_out(part: Signals, unknown: np.ndarray, placebo: np.ndarray | None) -> Signals:
    """The part without the `unknown` (N,) samples, and with the placebo rows of the victims."""
    rows = part.placebo
    if rows is None and placebo is not None:
        if placebo.ndim == 2:
            raise UserError(
                "placebo: got (models, samples) for some predictions and none for others, expected the path on which"
                " each model got each placebo row; add placebo to all releases and references"
            )
        rows = placebo
    elif rows is not None and (placebo is None or not np.array_equal(part.placebos, placebo_rows(placebo))):
        raise UserError(
            "placebo: releases and references mark different rows, expected the same placebo rows in all; give all of"
            " them the same placebo"
        )
    is_changed = rows is not part.placebo or (unknown & ~part.left_out).any()
    return replace(part, unknown=unknown, placebo=rows) if is_changed else part


def unknown_words(signals: Signals) -> str:
    """Says how many samples are left out because their membership is unknown; empty for none."""
    if signals.unknown is None or not signals.unknown.any():
        return ""
    return (
        f"left out: {int(signals.unknown.sum()):,} of {signals.num_samples:,} samples, because their membership is "
        f"unknown for at least one model"
    )
