"""Scores of one prediction: functions of a sample's logits and its label, without references.

They rank samples as the published scores do, and still distinguish samples where those round to 0 or 1. If there are
references, thresholds are learned on them.
"""

# N samples, C classes

import numpy as np

from pruneaudit.attacks.attack import PredictionAttack
from pruneaudit.signals.derived import below_top, correct, scaled_confidence
from pruneaudit.signals.signals import Signals


class Loss(PredictionAttack):
    """Loss attack: members have a lower loss.

    Score: the scaled confidence phi = ln(p_y / (1 - p_y)), the log-odds of the labelled class. The loss (cross-entropy;
    Yeom et al. 2018, arXiv 1709.01604) is l = ln(1 + e^-phi), so phi ranks as -l does, and a threshold on one is a
    threshold on the other. Above phi = 745, l rounds to 0, but phi still distinguishes samples.
    """

    semantics_version = 2

    def of_predictions(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """phi, in (-inf, inf); 0 where p_y is 1/2."""
        return scaled_confidence(logits, labels)

    def of_model(self, signals: Signals, row: int) -> np.ndarray:
        """phi, computed from probabilities directly if the model gives those."""
        return signals.plain_phi(row)


class Confidence(Loss):
    """Confidence attack: models are more confident in the label of members.

    Score: the log-odds of p_y (Salem et al. 2019, arXiv 1806.01246, who threshold p_y itself). Both give the same
    ranking, but p_y rounds to 1 above log-odds of 37 and loses its last digits long before. So this is the score of
    `loss`; both names exist because other systems use them, such as mia_prune (`confidence` with thresholds per class).
    """


class Top1Confidence(PredictionAttack):
    """Top-1 confidence attack: models are more confident in their predicted class on members.

    Score: the log-odds of max over j of p_j (Salem et al. 2019, arXiv 1806.01246, who threshold the probability
    itself). Both give the same ranking, but log-odds still distinguish samples where the probability rounds to 1. The
    attack ignores the label. mia_prune uses this name for the labelled class's probability, which is `confidence`
    here.
    """

    semantics_version = 2

    def of_predictions(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """ln(p / (1 - p)) of the highest probability p, at least -ln(C - 1)."""
        return scaled_confidence(logits, logits.argmax(axis=1))


class Correctness(PredictionAttack):
    """Correctness attack: calls correctly classified samples members (the gap attack).

    Score: 1 if the predicted class is the label, else 0 (Yeom et al. 2018, arXiv 1709.01604). Its balanced accuracy is
    1/2 plus half of the gap between training and test accuracy. It is the only attack that needs just predicted
    classes.
    """

    from_classes = True

    def of_predictions(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """0 or 1."""
        return correct(logits, labels).astype(np.float64)

    def of_model(self, signals: Signals, row: int) -> np.ndarray:
        """0 or 1, from any form of answers."""
        return signals.is_correct[row].astype(np.float64)


class Entropy(PredictionAttack):
    """Entropy attack: predictions on members are less spread over the classes.

    Score: -ln H with H = -sum over j of p_j ln p_j, the entropy (Shokri et al. 2017, arXiv 1610.05820; Song & Mittal
    2021, arXiv 2003.10595, who threshold H itself). Both give the same ranking, but H rounds to 0 on confident
    predictions and its logarithm does not. It ignores the label.
    """

    semantics_version = 2

    def of_predictions(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """-ln H, at least -ln ln C, the value of equal probabilities."""
        top, gap, below = below_top(logits)
        # With odds o_j = p_j / p_top of the others, H = ln(1 + sum o) + sum o (-ln o) / (1 + sum o). All o contain
        # the factor e^-gap, which would round to 0: it is factored out of both terms.
        ratios = np.exp(below)  # o_j e^gap
        total = ratios.sum(axis=1)
        odds = np.exp(-gap) * total
        surprise = gap[:, None] - below  # -ln o_j
        surprise[np.arange(len(top)), top] = 0
        first = total * np.divide(np.log1p(odds), odds, out=np.ones_like(odds), where=odds > 0)
        return np.asarray(gap - np.log(first + (ratios * surprise).sum(axis=1) / (1 + odds)))


class ModifiedEntropy(PredictionAttack):
    """Modified entropy attack: an entropy that takes the label into account.

    Score: -ln Mentr with Mentr = -(1 - p_y) ln p_y - sum over j != y of p_j ln(1 - p_j), of Song & Mittal 2021 (arXiv
    2003.10595), who threshold Mentr itself. Both give the same ranking, but Mentr rounds to 0 on confident correct
    predictions, and its logarithm does not. A confident wrong prediction scores low, where `entropy` scores it high.
    """

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
    # All terms contain the factor e^-2gap, which would round to 0: it is factored out.
    ratios = np.exp(below)
    total, scale = ratios.sum(axis=1), np.exp(-gap)
    others = ratios / (1 + scale * total)[:, None]  # p_j e^gap, and 0 for the label
    rest = others.sum(axis=1)  # (1 - p_y) e^gap
    inside = rest**2 * _slope(scale * rest) + (others**2 * _slope(scale[:, None] * others)).sum(axis=1)
    return np.asarray(2 * gap - np.log(inside))


def _of_wrong(gap: np.ndarray, below: np.ndarray, top: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Scores (n,) where the highest class is not the label."""
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


ATTACK = {
    "loss": Loss,
    "confidence": Confidence,
    "top1_confidence": Top1Confidence,
    "correctness": Correctness,
    "entropy": Entropy,
    "modified_entropy": ModifiedEntropy,
}
