"""Modified entropy attack: entropy that knows the label.

Score: -ln Mentr with Mentr = -(1 - p_y) ln p_y - sum over j != y of p_j ln(1 - p_j), of Song & Mittal 2021 (arXiv
2003.10595), who threshold Mentr itself. Both rank alike, but Mentr rounds to 0 on predictions that are sure and
right, and its logarithm does not. A confident wrong prediction scores low, where `entropy` scores it high.
"""

# N samples, C classes

import numpy as np

from pruneaudit.attacks.attack import PredictionAttack
from pruneaudit.signals.derived import below_top


class ModifiedEntropy(PredictionAttack):
    """Negated logarithm of the prediction's modified entropy."""

    semantics_version = 2

    def of_predictions(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """-ln Mentr, in (-inf, inf)."""
        top, gap, below = below_top(logits)
        right = top == labels
        result = np.empty(len(labels))
        result[right] = _of_right(gap[right], below[right])
        wrong = ~right
        result[wrong] = _of_wrong(gap[wrong], below[wrong], top[wrong], labels[wrong])
        return result


def _of_right(gap: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Scores (n,) where the highest class is the label."""
    # All terms hold the factor e^-2gap, which would round to 0: it is taken out.
    ratios = np.exp(below)
    total, scale = ratios.sum(axis=1), np.exp(-gap)
    others = ratios / (1 + scale * total)[:, None]  # p_j e^gap, and 0 for the label
    rest = others.sum(axis=1)  # (1 - p_y) e^gap
    inside = rest**2 * _slope(scale * rest) + (others**2 * _slope(scale[:, None] * others)).sum(axis=1)
    return np.asarray(2 * gap - np.log(inside))


def _of_wrong(gap: np.ndarray, below: np.ndarray, top: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Scores (n,) where another class than the label is the highest."""
    rows = np.arange(len(labels))
    ratios = np.exp(below)
    total, scale = ratios.sum(axis=1), np.exp(-gap)
    log_sum = np.log1p(scale * total)  # ln of 1 / p_top
    loss = gap - below[rows, labels] + log_sum
    others = scale[:, None] * ratios * np.exp(-log_sum)[:, None]  # p_j, and 0 for the highest class
    others[rows, labels] = 0
    of_top = np.exp(-log_sum) * np.logaddexp(0, gap - np.log(total))  # -p_top ln(1 - p_top)
    mentr = -np.expm1(-loss) * loss + of_top + (others**2 * _slope(others)).sum(axis=1)
    return np.asarray(-np.log(mentr))


def _slope(p: np.ndarray) -> np.ndarray:
    """-ln(1 - p) / p of probabilities below 1; 1 at 0."""
    return np.divide(-np.log1p(-p), p, out=np.ones_like(p), where=p > 0)


ATTACK = ModifiedEntropy
