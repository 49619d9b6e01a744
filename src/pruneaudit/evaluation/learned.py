"""Checks whether networks learned anything: one that always predicts the most frequent class cannot leak.

Networks learned if their accuracy, on members or on others, is above the share of the most frequent class. The lower
end of the 95% interval must be above it, or the accuracy itself if there is no interval.
"""

# V victims, N samples

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pruneaudit.evaluation.measure import Accuracies
from pruneaudit.metrics import two_way
from pruneaudit.signals.signals import Signals

NOT_LEARNED = "not_learned"
"""The key in an audit's `about` of the releases that did not learn."""


def not_learned(signals: Signals, known: Accuracies) -> dict[str, float]:
    """Accuracies and the share of the most frequent class if the victims did not learn; empty if they did.

    Args:
        signals: the release's signals.
        known: the accuracies of its victims.

    Returns:
        `train`, `test` and `majority`, each in [0, 1].
    """
    wanted = signals.ordinary[signals.victims]  # (V, N)
    counts = np.bincount(signals.labels, weights=wanted.sum(axis=0))
    majority = float(counts.max() / max(1.0, counts.sum()))
    train, test = two_way(*known.train), two_way(*known.test)
    for found in (train, test):
        if (found.value if math.isnan(found.low) else found.low) > majority:
            return {}
    return {"train": float(train.value), "test": float(test.value), "majority": majority}


def record_not_learned(releases: Mapping[str, Signals], known: Mapping[str, Accuracies]) -> dict[str, Any]:
    """The part of an audit's `about` on releases that did not learn; empty if all did.

    Args:
        releases: signals by release.
        known: accuracies by release.
    """
    failed = {name: found for name, signals in releases.items() if (found := not_learned(signals, known[name]))}
    return {NOT_LEARNED: failed} if failed else {}


def not_learned_words(networks: str, found: dict[str, float]) -> str:
    """The sentence to show before any statement about leakage; `networks` such as `the dense networks`."""
    named = f"{networks[0].upper()}{networks[1:]}"
    return (
        f"{named} did not learn: accuracy {found['train']:.1%} on members and {found['test']:.1%} on others, not"
        f" above the {found['majority']:.1%} of always predicting the most frequent class."
    )
