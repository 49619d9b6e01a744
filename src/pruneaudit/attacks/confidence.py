"""Confidence attack: members are classified with more confidence in their label.

Score: the log-odds of p_y (Salem et al. 2019, arXiv 1806.01246, who threshold p_y itself). Both rank alike, but p_y
rounds to 1 beyond log-odds of 37 and its last digits are lost long before. So this is the score of `loss`; the two
attacks differ where a system uses one of the names, as mia_prune does (`confidence` with thresholds per class).
"""

import numpy as np

from pruneaudit.attacks.attack import PredictionAttack
from pruneaudit.signals.derived import scaled_confidence
from pruneaudit.signals.signals import Signals


class Confidence(PredictionAttack):
    """Log-odds of the labelled class."""

    semantics_version = 2

    def of_predictions(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """ln(p_y / (1 - p_y)), in (-inf, inf)."""
        return scaled_confidence(logits, labels)

    def of_model(self, signals: Signals, row: int) -> np.ndarray:
        """phi, of probabilities as they are given."""
        return signals.plain_phi(row)


ATTACK = Confidence
