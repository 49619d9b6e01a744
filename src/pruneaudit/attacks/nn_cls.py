"""Classifier of posteriors and label: as `nn`, and the network is told which class is the true one.

Yuan & Zhang 2022 (arXiv 2202.03335): 2C-512-256-128-2 on the C class probabilities and the one-hot label.
"""

import numpy as np

from pruneaudit.attacks.classifier import ClassifierAttack, one_hot, posteriors
from pruneaudit.signals.signals import Signals


class LabelledPosteriorNetwork(ClassifierAttack):
    """Network on the class probabilities and the label."""

    def features(self, signals: Signals, model: int, samples: np.ndarray) -> np.ndarray:
        """[posteriors | one-hot label], (n, 2C)."""
        return np.hstack([posteriors(signals, model, samples), one_hot(signals, samples)])


ATTACK = LabelledPosteriorNetwork
