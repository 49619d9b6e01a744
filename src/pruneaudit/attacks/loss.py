"""Loss attack: members have a lower loss.

Score: ln p_y, the negated cross-entropy (Yeom et al. 2018, arXiv 1709.01604). Needs no references;
its threshold is learned on them where there are any.
"""

import numpy as np

from pruneaudit.attacks.attack import PredictionAttack
from pruneaudit.signals.derived import log_probability, scaled_confidence


class Loss(PredictionAttack):
    """Negated cross-entropy of the labelled class."""

    def of_predictions(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """ln p_y, in (-inf, 0]."""  # noqa: D403
        return log_probability(scaled_confidence(logits, labels))


ATTACK = Loss
