"""Correctness attack: what is classified right is called a member (the gap attack).

Score: 1 if the predicted class is the label, else 0 (Yeom et al. 2018, arXiv 1709.01604). Its balanced accuracy is 1/2
plus half of the gap between training and test accuracy. It is the one attack that predicted classes alone allow.
"""

import numpy as np

from pruneaudit.attacks.attack import PredictionAttack
from pruneaudit.signals.derived import correct
from pruneaudit.signals.signals import Signals


class Correctness(PredictionAttack):
    """Whether the sample is classified as labelled."""

    from_classes = True

    def of_predictions(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """0 or 1."""
        return correct(logits, labels).astype(np.float64)

    def of_model(self, signals: Signals, row: int) -> np.ndarray:
        """0 or 1, from whatever form of answers there is."""
        return signals.is_correct[row].astype(np.float64)


ATTACK = Correctness
