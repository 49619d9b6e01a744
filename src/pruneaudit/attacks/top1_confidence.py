"""Top-1 confidence attack: members are classified with more confidence, whatever the class.

Score: max over j of p_j (Salem et al. 2019, arXiv 1806.01246). It does not look at the label; mia_prune
calls something else by this name, the labelled class's probability, which is `confidence` here.
"""

import numpy as np

from pruneaudit.attacks.attack import PredictionAttack
from pruneaudit.signals.derived import log_softmax


class Top1Confidence(PredictionAttack):
    """Probability of the predicted class."""

    def of_predictions(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Highest probability, in [1/C, 1]."""
        return np.exp(log_softmax(logits).max(axis=1))


ATTACK = Top1Confidence
