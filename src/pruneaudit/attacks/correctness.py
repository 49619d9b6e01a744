"""Correctness attack: what is classified right is called a member (the gap attack).

Score: 1 if the highest logit is the label's, else 0 (Yeom et al. 2018, arXiv 1709.01604). Its balanced
accuracy is 1/2 plus half of the gap between training and test accuracy.
"""

import numpy as np

from pruneaudit.attacks.attack import PredictionAttack
from pruneaudit.signals.derived import correct


class Correctness(PredictionAttack):
    """Whether the sample is classified as labelled."""

    def of_predictions(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """0 or 1."""
        return correct(logits, labels).astype(np.float64)


ATTACK = Correctness
