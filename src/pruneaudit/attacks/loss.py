"""Loss attack: members have a lower loss.

Score: ln p_y, the negated cross-entropy (Yeom et al. 2018, arXiv 1709.01604). Needs no references;
its threshold is learned on them where there are any.
"""

import numpy as np

from pruneaudit.attacks.attack import PredictionAttack
from pruneaudit.signals.derived import scaled_confidence


class Loss(PredictionAttack):
    """Negated cross-entropy of the labelled class."""

    def of_predictions(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """ln p_y, in (-inf, 0]."""  # noqa: D403
        # From phi, not from p_y: it goes on telling losses apart where p_y rounds to 1.
        return -np.logaddexp(0, -scaled_confidence(logits, labels))


ATTACK = Loss
