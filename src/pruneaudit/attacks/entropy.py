"""Entropy attack: predictions on members are less spread over the classes.

Score: -ln H with H = -sum over j of p_j ln p_j, the entropy (Shokri et al. 2017, arXiv 1610.05820; Song & Mittal 2021,
arXiv 2003.10595, who threshold H itself). Both rank alike, but H rounds to 0 on sure predictions and its logarithm does
not. It does not look at the label.
"""

# N samples, C classes

import numpy as np

from pruneaudit.attacks.attack import PredictionAttack
from pruneaudit.signals.derived import below_top


class Entropy(PredictionAttack):
    """Negated logarithm of the prediction's entropy."""

    semantics_version = 2

    def of_predictions(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """-ln H, at least -ln ln C, which is what equal probabilities have."""
        top, gap, below = below_top(logits)
        # With odds o_j = p_j / p_top of the others, H = ln(1 + sum o) + sum o (-ln o) / (1 + sum o). All o hold the
        # factor e^-gap, which would round to 0: it is taken out of both terms.
        ratios = np.exp(below)  # o_j e^gap
        total = ratios.sum(axis=1)
        odds = np.exp(-gap) * total
        surprise = gap[:, None] - below  # -ln o_j
        surprise[np.arange(len(top)), top] = 0
        first = total * np.divide(np.log1p(odds), odds, out=np.ones_like(odds), where=odds > 0)
        return np.asarray(gap - np.log(first + (ratios * surprise).sum(axis=1) / (1 + odds)))


ATTACK = Entropy
