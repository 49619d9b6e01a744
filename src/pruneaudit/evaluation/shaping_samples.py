"""Tests whether a method revealed the samples that it used in addition to members, such as calibration samples.

A release can be made with public or holdout samples: to calibrate, to distil, to choose an epoch. These samples are in
no training set of the dense networks, but can leak all the same. Here an attacker tells them from holdout samples that
no network has used. The score of a sample is the change in logit-scaled confidence (phi) from the dense network to the
same network's release: higher = more likely used. If the dense networks used the samples too, it is phi itself.

All networks of a release use the same samples, so there are no references without them, and the attack is a simple one.
A figure near 0.5 proves nothing: a stronger attack may find more.
"""

# V victims, N samples

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pruneaudit.metrics import auc_influence, two_way
from pruneaudit.signals.signals import Signals

SHAPING = "shaping_samples"
"""The key in an audit's `about`."""
MIN_SIDE = 30
"""Fewest samples that were used, and that were not."""


@dataclass(frozen=True)
class Used:
    """The samples that a release used in addition to the members."""

    release: str
    by: tuple[str, ...]
    """What used them, in words."""
    samples: np.ndarray
    """(N,) bool."""
    part: str
    """The part of the data that they come from: `public` or `holdout`."""
    also_by_dense: bool
    """Whether the dense networks also used these samples."""


def shaping_row(used: Used, release: Signals, dense: Signals, victims: Sequence[int] | np.ndarray) -> dict[str, Any]:
    """One entry of `about["shaping_samples"]`.

    Args:
        used: the samples.
        release: signals of the release.
        dense: signals of the dense networks, on the same samples.
        victims: rows of the victims in both.

    Returns:
        `release`, `by`, `part`, `num_used`, `num_unused`, and `auc`, `low`, `high` (95%), above 0.5 = used samples are
        recognised; or `reason` why there is no figure.
    """
    unused = release.untouched_holdout & ~used.samples
    counts = {"num_used": int(used.samples.sum()), "num_unused": int(unused.sum())}
    row: dict[str, Any] = {"release": used.release, "by": list(used.by), "part": used.part, **counts}
    if min(counts.values()) < MIN_SIDE:
        return row | {"reason": f"it needs {MIN_SIDE} samples that were used and {MIN_SIDE} that were not"}
    scores = release.phi[victims, :, 0].astype(np.float64)  # (V, N)
    if not used.also_by_dense:
        scores = scores - dense.phi[victims, :, 0]
    counted = np.where(used.samples | unused, scores, np.nan)
    truth = np.broadcast_to(used.samples, counted.shape)
    auc = two_way(*auc_influence(counted, truth), num_trials=min(counts.values()))
    return row | {"auc": float(auc.value), "low": float(auc.low), "high": float(auc.high)}
