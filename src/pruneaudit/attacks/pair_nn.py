"""Classifier of two releases: a network learns from references how the releases' answers differ on members.

CompLeak's attack with one compressed model as the reference of the original (CompLeakSR; Li et al. 2025, arXiv
2507.16872). Its inputs are the posteriors of both releases, in descending order of the first release's, and the
label. The network is that of Yuan & Zhang 2022 (arXiv 2202.03335), 3C-512-256-128-2; so it differs from `nn` only in
its inputs. With more than two releases, the inputs are the posteriors of all. Choice: the one-hot label is put in the
same order. In class order it would not show which posterior belongs to the true class (demo bank pruned to 90%, dense
networks seen too: AUC .671 as here, .625 with the label in class order).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pruneaudit.attacks.classifier import ClassifierAttack
from pruneaudit.attacks.learned import one_hot, ordered_by_first, posteriors
from pruneaudit.signals.signals import Signals

# n rows, C classes, d releases


class PairNetwork(ClassifierAttack):
    """Network on the class probabilities of both releases and the label, in the order of the first release's."""

    needs = frozenset({"references", "two releases"})
    standard = "nn"

    def features(self, signals: Signals, model: int, samples: np.ndarray) -> np.ndarray:
        """The inputs from one release, before ordering: posteriors (n, C)."""
        return posteriors(signals, model, samples)

    def features_of(self, releases: Sequence[Signals], model: int, samples: np.ndarray) -> np.ndarray:
        """[posteriors of each release | one-hot label], in descending order of the first posteriors, (n, (d+1)C)."""
        parts = [self.features(release, model, samples) for release in releases]
        return ordered_by_first([*parts, one_hot(releases[-1], samples)], descending=True)


ATTACK = PairNetwork
