"""Confidence attack: members are classified with more confidence in their label.

Score: p_y (Salem et al. 2019, arXiv 1806.01246). It ranks as `loss` does, except where p_y rounds to 1.
"""

import numpy as np

from pruneaudit.attacks.attack import PredictionAttack
from pruneaudit.signals.derived import log_softmax


class Confidence(PredictionAttack):
    """Probability of the labelled class."""

    def of_predictions(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """p_y, in [0, 1]."""
        return np.exp(log_softmax(logits)[np.arange(len(labels)), labels])


ATTACK = Confidence
