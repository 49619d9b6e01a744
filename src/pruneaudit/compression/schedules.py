"""Along which sparsities a mask goes while it moves: pure functions of how much of a training is done."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ramp:
    """From none removed to the asked sparsity, as s_t = s - s (1 - (t - begin) / (end - begin))^3.

    Source: Zhu & Gupta 2017 (arXiv 1710.01878), from an initial sparsity of 0. Most weights go early,
    when there are many to choose from and much training is left.
    """

    sparsity: float
    """Where it ends, in [0, 1)."""
    begin: float = 0.0
    """Fraction of the training before which nothing is removed, in [0, 1)."""
    end: float = 1.0
    """Fraction of the training from which the asked sparsity holds, in (begin, 1]."""
    period_steps: int = 1
    """Steps between two moves of the mask."""
    freeze_at: float = 1.0
    """Fraction of the training from which the mask no longer moves, in [end, 1]."""
    by_epoch: bool = False
    """Whether the sparsity rises at the beginning of epochs only."""

    def at(self, done: float) -> float:
        """The sparsity to hold when the fraction `done` (in [0, 1]) of the training is over."""
        if done >= self.end:
            return self.sparsity
        left = (self.end - max(done, self.begin)) / (self.end - self.begin)
        return self.sparsity * (1 - left**3)

    def after(self, step: int, steps_per_epoch: int, num_epochs: int) -> float:
        """The sparsity to hold when `step` steps are finished."""
        if self.by_epoch:
            return self.at(step // steps_per_epoch / num_epochs)
        return self.at(step / (steps_per_epoch * num_epochs))

    def is_frozen(self, step: int, steps_per_epoch: int, num_epochs: int) -> bool:
        """Whether the mask no longer moves when `step` steps are finished."""
        return step / (steps_per_epoch * num_epochs) >= self.freeze_at


def density_after_round(sparsity: float, finished: int, rounds: int) -> float:
    """The fraction of weights left after some of the rounds that reach `sparsity`: each removes the same part.

    Args:
        sparsity: where the last round ends, in [0, 1).
        finished: rounds finished, in 0..rounds.
        rounds: how many there are.
    """
    return (1 - sparsity) ** (finished / rounds)
