"""A lower bound on epsilon for DP-SGD with a known sampling rate and number of steps, and an unknown amount of noise.

The claim that is tested is a noise multiplier: its trade-off curve comes from Opacus' PRV accountant (arXiv
2106.02848), and takes the place of the Gaussian curve in the recursion of arXiv 2410.22235. The guesses refute noise
multipliers above some value; the bound is the epsilon at that value. All errors of the accountant are counted so that
they make the bound lower: the curve uses the upper bounds of delta, and epsilon its lower bound. Noise is searched on a
grid, which rounds down.
"""

# m canaries

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from opacus.accountants import PRVAccountant

from pruneaudit.defenses._dp_accounting import without_harmless_warnings
from pruneaudit.metrics.trade_off import Curve, curve_of, is_refuted

STEPS_PER_OCTAVE = 16
"""Noise multipliers of the grid between one and its double: epsilon rounds down by about a twentieth at most."""
_STRIDE = STEPS_PER_OCTAVE // 2
"""The first search goes from large noise, which is cheap to account for, to less in steps of this many."""
EPSILON_ERROR = 0.02
"""Of the accountant."""
MOST_EPSILON = 40.0
"""The search ends above it: canaries show less, and the accountant would take minutes."""
_LEAST_MU = 0.02
"""The search begins at noise for which mu of the Gaussian limit, rate x sqrt(steps) / noise, is below it."""
_NUM_PAIRS = 200


@dataclass(frozen=True)
class DpSgdBound:
    """The bound of one release; called as `one_run_epsilon` is.

    Several networks have slightly different sampling rates. The claim is tested for the highest rate and number of
    steps, whose curve is the lowest, and its epsilon is that of the lowest rate and number of steps.
    """

    sample_rates: tuple[float, float]
    """The lowest and the highest, in (0, 1]."""
    steps: tuple[int, int]
    """The lowest and the highest, 1 or more."""

    def __call__(self, num_canaries: int, num_guesses: int, num_correct: int, delta: float, alpha: float) -> float:
        """A lower bound >= 0; 0 if the guesses refute no noise."""

        def refutes(place: int) -> bool:
            curve = _curve(_noise(place), self.sample_rates[1], self.steps[1], delta)
            return is_refuted(num_canaries, num_guesses, num_correct, curve, alpha)

        def epsilon(place: int) -> float:
            return _epsilon(_noise(place), self.sample_rates[0], self.steps[0], delta)

        most = self.sample_rates[1] * math.sqrt(self.steps[1]) / _LEAST_MU
        refuted = math.ceil(STEPS_PER_OCTAVE * math.log2(most))
        if not num_correct or not refutes(refuted):
            return 0.0
        allowed = refuted - _STRIDE
        while refutes(allowed):
            refuted, allowed = allowed, allowed - _STRIDE
            if epsilon(refuted) > MOST_EPSILON:
                return epsilon(refuted)
        while refuted - allowed > 1:
            middle = (refuted + allowed) // 2
            refuted, allowed = (middle, allowed) if refutes(middle) else (refuted, middle)
        return max(0.0, epsilon(refuted))


def _noise(place: int) -> float:
    """The noise multiplier at a place of the grid."""
    return float(2 ** (place / STEPS_PER_OCTAVE))


@lru_cache(maxsize=256)
def _accounted(noise: float, sample_rate: float, steps: int, delta: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Pairs of epsilon and an upper bound of delta, and a lower bound of epsilon at `delta`."""
    accountant = PRVAccountant()
    accountant.history = [(noise, sample_rate, steps)]
    delta_error = delta / 1000
    with without_harmless_warnings():
        loss = accountant._get_dprv(EPSILON_ERROR, delta_error)
        lower = float(loss.compute_epsilon(delta, delta_error, EPSILON_ERROR)[0])
    values, mass = loss.domain.ts, loss.pmf
    above = np.cumsum(mass[::-1])[::-1]  # P[loss >= value]
    tilted = np.cumsum((mass * np.exp(-values))[::-1])[::-1]
    first = int(np.searchsorted(values, 0.0))
    last = first + max(1, int(np.searchsorted(-above[first:], -delta_error)))
    places = np.unique(np.linspace(first, min(last, len(values) - 1), _NUM_PAIRS).astype(int))
    deltas = np.clip(above[places] - np.exp(values[places]) * tilted[places], 0.0, 1.0) + delta_error
    return values[places] + EPSILON_ERROR, np.minimum(deltas, 1.0), lower


def _curve(noise: float, sample_rate: float, steps: int, delta: float) -> Curve:
    epsilons, deltas, _ = _accounted(noise, sample_rate, steps, delta)
    return curve_of(epsilons, deltas)


def _epsilon(noise: float, sample_rate: float, steps: int, delta: float) -> float:
    return _accounted(noise, sample_rate, steps, delta)[2]
