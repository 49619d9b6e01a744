"""Loss attack: members have a lower loss.

Score: the scaled confidence phi = ln(p_y / (1 - p_y)), the log-odds of the labelled class. The loss (cross-entropy;
Yeom et al. 2018, arXiv 1709.01604) is l = ln(1 + e^-phi), so phi ranks as -l does, and a threshold on one is a
threshold on the other. phi still tells samples apart where l rounds to 0, beyond phi = 745. The attack needs no
references; its threshold is learned on them where there are any.
"""

import numpy as np

from pruneaudit.attacks.attack import PredictionAttack
from pruneaudit.signals.derived import scaled_confidence
from pruneaudit.signals.signals import Signals


class Loss(PredictionAttack):
    """Log-odds of the labelled class, which rank as the negated cross-entropy does."""

    semantics_version = 2

    def of_predictions(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """phi, in (-inf, inf); 0 where p_y is 1/2."""
        return scaled_confidence(logits, labels)

    def of_model(self, signals: Signals, row: int) -> np.ndarray:
        """phi, of probabilities as they are given."""
        return signals.plain_phi(row)


ATTACK = Loss
