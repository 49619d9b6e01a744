"""SAMIA, the self-attention attack: a network on posteriors, their sensitivity to noise, and the label, class by class.

Yuan & Zhang 2022 (arXiv 2202.03335). Every class is a token of three numbers: its probability, its sensitivity
(the mean change of the probability under small input noise, signal `sensitivity`), and whether it is the label.
After BatchNorm over all 3C numbers the tokens pass a Linear 3-64 with GELU, three post-norm encoder layers (width
64, 4 heads, feed-forward 128, dropout 0.2, GELU, no positional encoding), Linear 64C-64 with ReLU, and Linear 64-2.

It trains about 9 times as long as the MLPs (10 classes; the time grows with the number of classes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pruneaudit.attacks.classifier import ClassifierAttack
from pruneaudit.attacks.learned import one_hot, posteriors
from pruneaudit.signals.signals import Signals

if TYPE_CHECKING:
    from torch import nn


class Samia(ClassifierAttack):
    """Self-attention over classes on posteriors, sensitivities and the label."""

    needs = frozenset({"references", "sensitivity"})
    standard = "nn"

    def features(self, signals: Signals, model: int, samples: np.ndarray) -> np.ndarray:
        """[posteriors | sensitivity | one-hot label], (n, 3C)."""
        assert signals.sensitivity is not None  # `lacks` refuses signals without
        sensitivity = signals.sensitivity[model, samples]
        return np.hstack([posteriors(signals, model, samples), sensitivity, one_hot(signals, samples)])

    def network(self, num_features: int) -> nn.Module:
        """The attention network, (B, 3C) -> (B, 2)."""
        from pruneaudit.attacks._networks import AttentionNetwork

        return AttentionNetwork(num_features // 3)


ATTACK = Samia
