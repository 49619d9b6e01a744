"""Entropy attack: predictions on members are less spread over the classes.

Score: sum over j of p_j ln p_j, the negated entropy (Shokri et al. 2017, arXiv 1610.05820; Song &
Mittal 2021, arXiv 2003.10595). It does not look at the label.
"""

import numpy as np

from pruneaudit.attacks.attack import PredictionAttack
from pruneaudit.signals.derived import log_softmax


class Entropy(PredictionAttack):
    """Negated entropy of the prediction."""

    def of_predictions(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Sum of p ln p, in [-ln C, 0]."""
        log_p = log_softmax(logits)
        return (np.exp(log_p) * log_p).sum(axis=1)


ATTACK = Entropy
