"""Classifier of the three largest posteriors, which needs neither the label nor the number of classes.

Salem et al. 2019 (arXiv 1806.01246), with the network of Yuan & Zhang 2022 (arXiv 2202.03335): 3-512-256-128-2 on the
three largest class probabilities, largest first. With two classes there are only two.
"""

import numpy as np

from pruneaudit.attacks.classifier import ClassifierAttack, posteriors
from pruneaudit.signals.signals import Signals


class TopPosteriorNetwork(ClassifierAttack):
    """Network on the three largest class probabilities."""

    def features(self, signals: Signals, model: int, samples: np.ndarray) -> np.ndarray:
        """The three largest posteriors in descending order, (n, 3); (n, 2) for two classes."""
        return np.ascontiguousarray(np.sort(posteriors(signals, model, samples), axis=1)[:, :-4:-1])


ATTACK = TopPosteriorNetwork
