"""The privacy budget (epsilon) that a DP-SGD training has spent, as computed by Opacus."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from opacus.accountants import create_accountant
from opacus.accountants.utils import get_noise_multiplier

from pruneaudit.core.errors import UserError

PRV_UP_TO = 100.0
"""Above this epsilon, RDP replaces PRV: PRV's tables would take minutes and gigabytes."""
PRV_TARGET_UP_TO = 20.0
"""The same limit for a target epsilon: the search for its noise computes much larger epsilons on the way."""

Spending = tuple[float, float, int]
"""Noise multiplier, sampling rate, number of steps."""


@dataclass
class Account:
    """The steps taken so far, and epsilon at `delta`."""

    delta: float
    accountant: str
    """`rdp` or `prv`."""
    history: list[Spending] = field(default_factory=list)
    """One entry per run of identical steps."""

    @property
    def num_steps(self) -> int:
        """Steps taken so far."""
        return sum(steps for _, _, steps in self.history)

    def step(self, noise_multiplier: float, sample_rate: float) -> None:
        """Records one step."""
        if self.history and self.history[-1][:2] == (noise_multiplier, sample_rate):
            self.history[-1] = (noise_multiplier, sample_rate, self.history[-1][2] + 1)
        else:
            self.history.append((noise_multiplier, sample_rate, 1))

    def spent(self) -> tuple[float, str]:
        """Epsilon so far (infinite without noise, 0 before the first step), and the accountant that computed it."""
        if not self.history:
            return 0.0, self.accountant
        if any(noise_multiplier == 0 for noise_multiplier, _, _ in self.history):
            return math.inf, self.accountant
        epsilon = self._epsilon("rdp")
        if self.accountant == "rdp" or epsilon > PRV_UP_TO:
            return epsilon, "rdp"
        return self._epsilon("prv"), "prv"

    def _epsilon(self, accountant: str) -> float:
        made = create_accountant(mechanism=accountant)
        made.history = list(self.history)
        with without_harmless_warnings():
            return float(made.get_epsilon(delta=self.delta))


def noise_for(target_epsilon: float, account: Account, sample_rate: float, steps: int) -> float:
    """The noise multiplier with which `steps` steps spend between 99% and 100% of `target_epsilon`.

    Args:
        target_epsilon: above 0.
        account: gives delta and the accountant.
        sample_rate: in (0, 1].
        steps: at least 1.

    Raises:
        UserError: this accountant finds no noise that is enough.
    """
    accountant = account.accountant if target_epsilon <= PRV_TARGET_UP_TO else "rdp"
    try:
        with without_harmless_warnings():
            found = get_noise_multiplier(
                target_epsilon=target_epsilon,
                target_delta=account.delta,
                sample_rate=sample_rate,
                steps=steps,
                accountant=accountant,
                epsilon_tolerance=0.01 * target_epsilon,
            )
    except ValueError:
        other = ", or set accountant = 'prv'" if accountant == "rdp" else ""
        raise UserError(
            f"defense 'dp': no noise reaches target_epsilon = {target_epsilon:g} at delta = {account.delta:g} in "
            f"{steps:,} steps; raise it{other}"
        ) from None
    return float(found)


@contextmanager
def without_harmless_warnings() -> Iterator[None]:
    """Silences two warnings that do not concern the correctness of epsilon.

    RDP warns when its best order is the first or last of its grid: the bound holds, but could be tighter. PRV takes
    the logarithm of 1 - q, which is correctly -infinity at q = 1.
    """
    with warnings.catch_warnings(), np.errstate(divide="ignore"):
        warnings.filterwarnings("ignore", message="Optimal order is the", category=UserWarning)
        yield
