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
        rows, top = np.arange(len(labels)), logits.argmax(axis=1)
        log_p = log_softmax(logits)  # (N, C)
        log_not_p = np.zeros_like(log_p)  # ln(1 - p_j)
        # Only the highest probability can round to 1, where log1p would lose everything.
        below = np.arange(logits.shape[1]) != top[:, None]
        np.log1p(-np.exp(log_p), out=log_not_p, where=below)
        log_not_p[rows, top] = -np.logaddexp(0, scaled_confidence(logits, top))
        terms = np.exp(log_p) * log_not_p
        terms[rows, labels] = np.exp(log_not_p[rows, labels]) * log_p[rows, labels]
        return np.asarray(terms.sum(axis=1))


ATTACK = ModifiedEntropy
