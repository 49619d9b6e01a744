"""Modified entropy attack: entropy that knows the label.

Score: (1 - p_y) ln p_y + sum over j != y of p_j ln(1 - p_j), the negated Mentr of Song & Mittal 2021
(arXiv 2003.10595). A confident wrong prediction scores low, where `entropy` scores it high.
"""

import numpy as np

from pruneaudit.attacks.attack import PredictionAttack
from pruneaudit.signals.derived import log_softmax, scaled_confidence


class ModifiedEntropy(PredictionAttack):
    """Negated modified entropy of the prediction."""

    def of_predictions(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Negated Mentr, in (-inf, 0]."""
        num_samples, num_classes = logits.shape
        log_p = log_softmax(logits)
        score = np.zeros(num_samples)
        for j in range(num_classes):
            phi = scaled_confidence(logits, np.full(num_samples, j))
            log_not_p = -np.logaddexp(0, phi)  # ln(1 - p_j), precise where p_j rounds to 1
            wrong = np.exp(log_p[:, j]) * log_not_p
            right = np.exp(log_not_p) * log_p[:, j]
            score += np.where(labels == j, right, wrong)
        return score


ATTACK = ModifiedEntropy
