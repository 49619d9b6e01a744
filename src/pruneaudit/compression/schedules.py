"""Sparsity schedules of moving masks: pure functions of the finished part of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Ramp:
    """Rises from 0 to the requested sparsity, as s_t = s - s (1 - (t - begin) / (end - begin))^3.

    Source: Zhu & Gupta 2017 (arXiv 1710.01878), from an initial sparsity of 0. Most weights go early,
    when there are many to choose from and much training remains.
    """

    sparsity: float
    """Final sparsity, in [0, 1)."""
    begin: float = 0.0
    """Fraction of the training after which removal begins, in [0, 1)."""
    end: float = 1.0
    """Fraction of the training after which the requested sparsity is reached, in (begin, 1]."""
    period_steps: int = 1
    """Steps between two moves of the mask."""
    freeze_at: float = 1.0
    """Fraction of the training after which the mask no longer moves, in [end, 1]."""
    by_epoch: bool = False
    """Whether the sparsity rises only at the beginning of epochs."""

    def at(self, done: float) -> float:
        """The sparsity when the fraction `done` (in [0, 1]) of the training is finished."""
        if done >= self.end:
            return self.sparsity
        left = (self.end - max(done, self.begin)) / (self.end - self.begin)
        return self.sparsity * (1 - left**3)

    def after(self, step: int, steps_per_epoch: int, num_epochs: int) -> float:
        """The sparsity when `step` steps are finished."""
        if self.by_epoch:
            return self.at(step // steps_per_epoch / num_epochs)
        return self.at(step / (steps_per_epoch * num_epochs))

    def is_frozen(self, step: int, steps_per_epoch: int, num_epochs: int) -> bool:
        """Whether the mask no longer moves when `step` steps are finished."""
        return step / (steps_per_epoch * num_epochs) >= self.freeze_at


@dataclass(frozen=True)
class Replacing:
    """When a mask of constant sparsity moves, and the fraction of its weights that it then replaces.

    f_t = drop / 2 (1 + cos(pi t / T)) every `period_steps` steps, for t < T = until x steps. Source: Evci et al. 2020
    (arXiv 1911.11134).
    """

    drop: float
    """Fraction of the kept weights that a move at the beginning would replace, in (0, 1)."""
    until: float
    """Fraction of the training after which the mask no longer moves, in (0, 1]."""
    period_steps: int
    """Steps between two moves of the mask."""

    def fraction(self, step: int, num_steps: int) -> float:
        """The fraction of kept weights to replace when `step` of `num_steps` steps are finished; 0: no move is due."""
        end = self.until * num_steps
        if step % self.period_steps or step >= end:
            return 0.0
        return self.drop / 2 * (1 + math.cos(math.pi * step / end))


def density_after_round(sparsity: float, finished: int, rounds: int) -> float:
    """The fraction of weights left after `finished` of `rounds` rounds; each removes the same fraction of the rest.

    Args:
        sparsity: the sparsity after the last round, in [0, 1).
        finished: number of finished rounds, in 0..rounds.
        rounds: number of rounds.
    """
    return (1 - sparsity) ** (finished / rounds)
