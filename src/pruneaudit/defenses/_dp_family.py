"""The epsilon of several DP-SGD trainings on the same samples: what all their networks reveal together.

Trainings compose: their steps count as the steps of one long training, and one conversion at delta gives the epsilon
(Mironov 2017, arXiv 1702.07476; the PRV accountant, arXiv 2106.02848). That holds if their random draws are
independent. Two cases differ:

- *The same batches.* Trainings that draw their batches from the same seed draw the same ones. A sample is then in step
  t of all of them or of none, so step t of k trainings is one step with k noisy sums. Their joint signal is that of one
  sum with noise multiplier (sum of 1 / noise_i^2)^(-1/2), at the largest sampling rate: the batches of a smaller rate
  are part of those of a larger one. Later trainings may depend on earlier ones: a sum that is clipped harder or moved
  in another direction is a function of the noisy sum at full length, and of noise of its own.
- *The same noise.* Differences of the networks then remove it, and nothing is guaranteed.

No step of a network that is a function of others, without private data, costs anything.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from pruneaudit.defenses._dp_accounting import Account, Spending


@dataclass(frozen=True)
class PrivateTraining:
    """The steps of one training with DP-SGD, of one network."""

    noise_multiplier: float
    """Above 0."""
    sample_rate: float
    """In (0, 1]."""
    steps: int
    batches: str
    """Names the draws of its batches: trainings of equal names have the same ones."""


def joint_history(trainings: Sequence[PrivateTraining]) -> list[Spending]:
    """Returns the steps of all trainings as those of one, equal steps together.

    Args:
        trainings: each training once; their noise is independent.

    Example:
        >>> apart = [PrivateTraining(1.0, 0.01, 600, name) for name in ("a", "b")]
        >>> joint_history(apart)
        [(1.0, 0.01, 1200)]
        >>> together = [PrivateTraining(1.0, 0.01, 600, "a") for _ in range(4)]
        >>> joint_history(together)
        [(0.5, 0.01, 600)]
    """
    by_batches = defaultdict(list)
    for training in trainings:
        by_batches[training.batches].append(training)
    total: dict[tuple[float, float], int] = defaultdict(int)
    for same in by_batches.values():
        for noise_multiplier, sample_rate, steps in _with_the_same_batches(same):
            total[noise_multiplier, sample_rate] += steps
    return [(*key, steps) for key, steps in sorted(total.items())]


def _with_the_same_batches(trainings: Sequence[PrivateTraining]) -> list[Spending]:
    """Returns the steps of trainings whose step t has the same batch in each that is as long."""
    history, done = [], 0
    for end in sorted({training.steps for training in trainings}):
        running = [training for training in trainings if training.steps >= end]
        inverse = math.fsum(training.noise_multiplier**-2 for training in running)
        noise = running[0].noise_multiplier if len(running) == 1 else inverse**-0.5
        history.append((noise, max(training.sample_rate for training in running), end - done))
        done = end
    return history


def joint_epsilon(histories: Sequence[Sequence[Spending]], delta: float, accountant: str) -> tuple[float, str]:
    """Returns the largest epsilon of several models, and the accountant that computed it; see `Account.spent`.

    Args:
        histories: by model, the steps of all its trainings as those of one.
        delta: the probability with which the bound may fail.
        accountant: `rdp` or `prv`.
    """
    found = [_spent(history, delta, accountant) for history in _worst({tuple(history) for history in histories})]
    return max(found, default=(0.0, accountant))


def _worst(histories: set[tuple[Spending, ...]]) -> list[tuple[Spending, ...]]:
    """Returns the histories without those that another one exceeds everywhere: less noise, higher rates, more steps."""

    def exceeds(more: tuple[Spending, ...], less: tuple[Spending, ...]) -> bool:
        if len(more) != len(less) or more == less:
            return False
        return all(a[0] <= b[0] and a[1] >= b[1] and a[2] >= b[2] for a, b in zip(more, less, strict=True))

    return [history for history in sorted(histories) if not any(exceeds(other, history) for other in histories)]


@lru_cache(maxsize=1024)
def _spent(history: tuple[Spending, ...], delta: float, accountant: str) -> tuple[float, str]:
    return Account(delta, accountant, list(history)).spent()
