"""Top-1 confidence attack: members are classified with more confidence, whatever the class.

Score: the log-odds of max over j of p_j (Salem et al. 2019, arXiv 1806.01246, who threshold the probability itself).
Both rank alike, but log-odds still tell samples apart where the probability rounds to 1. The attack does not look at
the label; mia_prune calls something else by this name, the labelled class's probability, which is `confidence` here.
"""

import numpy as np

from pruneaudit.attacks.attack import PredictionAttack
from pruneaudit.signals.derived import scaled_confidence


class Top1Confidence(PredictionAttack):
    """Log-odds of the predicted class."""

    semantics_version = 2

    def of_predictions(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """ln(p / (1 - p)) of the highest probability p, at least -ln(C - 1)."""
        return scaled_confidence(logits, logits.argmax(axis=1))


ATTACK = Top1Confidence
