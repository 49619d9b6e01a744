"""Difficulty calibration: how much more confident is the victim than models that never saw the sample?

Watson et al. 2022 (arXiv 2111.08440). Score: s(victim, x) - mean over OUT references of s(reference, x),
with s the scaled confidence phi or the negated loss.
"""

# V victims, N samples

from __future__ import annotations

from typing import Literal

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput, Scores
from pruneaudit.attacks.moments import averaged, moments
from pruneaudit.core import options
from pruneaudit.signals.derived import log_probability


class Options(options.Options):
    """Settings of difficulty calibration."""

    signal: Literal["phi", "loss"] = "phi"
    """The signal to compare: the scaled confidence, or the negated loss ln p_y."""


class Calibration(Attack[Options]):
    """The victim's signal minus its mean over OUT references."""

    needs = frozenset({"references"})

    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """Scores every victim against its allowed references; `rng` is not used."""
        scores = averaged(self._one_query(attack_input, query) for query in range(attack_input.attacked.num_queries))
        scores[~attack_input.eligible] = np.nan
        return Scores(scores, variant=f"{self.options.signal}")

    def _one_query(self, attack_input: AttackInput, query: int) -> np.ndarray:
        signal, references = (
            attack_input.attacked.phi[attack_input.victims, :, query],
            attack_input.reference.phi[..., query],
        )
        if self.options.signal == "loss":
            signal, references = log_probability(signal), log_probability(references)
        return signal - moments(references, ~attack_input.reference.member, attack_input.allowed).mean  # (V, N)


ATTACK = Calibration
