"""Difficulty calibration: how much better the victim does than models that never saw the sample.

Watson et al. 2022 (arXiv 2111.08440). Score: s(victim, x) - mean over OUT references of s(reference, x),
with s the scaled confidence phi or the negated loss.
"""

# V victims, N samples

from __future__ import annotations

from typing import Literal

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.moments import averaged, moments
from pruneaudit.attacks.view import Scores, View
from pruneaudit.core import options
from pruneaudit.signals.derived import log_probability


class Options(options.Options):
    """Settings of difficulty calibration."""

    signal: Literal["phi", "loss"] = "phi"
    """What is compared: the scaled confidence, or the negated loss ln p_y."""


class Calibration(Attack[Options]):
    """The victim's signal less its mean over OUT references."""

    needs = frozenset({"references"})

    def score(self, view: View, rng: np.random.Generator) -> Scores:
        """Scores every victim against its allowed references; `rng` is not used."""
        scores = averaged(self._one_query(view, query) for query in range(view.attacked.num_queries))
        scores[~view.eligible] = np.nan
        return Scores(scores, variant=f"{self.options.signal}")

    def _one_query(self, view: View, query: int) -> np.ndarray:
        signal, references = view.attacked.phi[view.victims, :, query], view.reference.phi[..., query]
        if self.options.signal == "loss":
            signal, references = log_probability(signal), log_probability(references)
        return signal - moments(references, ~view.reference.member, view.allowed).mean  # (V, N)


ATTACK = Calibration
