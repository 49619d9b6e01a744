"""The epsilon of several DP-SGD trainings on the same samples, for all their networks together.

Trainings compose: their steps count as the steps of one long training, and one conversion at delta gives the epsilon
(Mironov 2017, arXiv 1702.07476; the PRV accountant, arXiv 2106.02848). A later training may start from the network of
an earlier one. It holds because their random draws are independent: batches and noise of each training are seeded by
its whole release (`Defense.independent_draws`). The same batches would reveal more, and the same noise would cancel.

A network that is made from others without private data costs nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache

from pruneaudit.defenses._dp_accounting import Account, Spending


def joint_history(trainings: Iterable[Spending]) -> list[Spending]:
    """Returns the steps of all trainings as those of one, equal steps together.

    Args:
        trainings: each training once.

    Example:
        >>> joint_history([(1.0, 0.01, 3000), (0.8, 0.01, 600), (1.0, 0.01, 600)])
        [(0.8, 0.01, 600), (1.0, 0.01, 3600)]
    """
    total: dict[tuple[float, float], int] = defaultdict(int)
    for noise_multiplier, sample_rate, steps in trainings:
        total[noise_multiplier, sample_rate] += steps
    return [(*key, steps) for key, steps in sorted(total.items())]


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
