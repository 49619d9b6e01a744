"""Classifier of posteriors: a network learns from references how a model answers on its members.

Shokri et al. 2017 (arXiv 1610.05820), with the network of Yuan & Zhang 2022 (arXiv 2202.03335): C-512-256-128-2 on
the C class probabilities in class order. One classifier for all classes; `shokri_nn` has one for each.
"""

import numpy as np

from pruneaudit.attacks.classifier import ClassifierAttack, posteriors
from pruneaudit.signals.signals import Signals


class PosteriorNetwork(ClassifierAttack):
    """Network on the class probabilities, in class order."""

    def features(self, signals: Signals, model: int, samples: np.ndarray) -> np.ndarray:
        """Posteriors (n, C)."""
        return posteriors(signals, model, samples)


ATTACK = PosteriorNetwork
