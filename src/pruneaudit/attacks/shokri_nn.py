"""Classifiers of sorted posteriors, one for each true class.

Shokri et al. 2017 (arXiv 1610.05820) train an attack model per class on the class probabilities in descending order.
A class with fewer than 200 training rows of members or of non-members is scored by a classifier of all classes
together. The network is that of Yuan & Zhang 2022 (arXiv 2202.03335), C-512-256-128-2, as in `nn`, so that the two
differ only in their design.
"""

import numpy as np

from pruneaudit.attacks.classifier import ClassifierAttack
from pruneaudit.attacks.learned import Rows, Scorer, posteriors
from pruneaudit.signals.signals import Signals

MIN_ROWS_PER_SIDE = 200


class ShokriNetworks(ClassifierAttack):
    """Network per true class on the sorted class probabilities."""

    def features(self, signals: Signals, model: int, samples: np.ndarray) -> np.ndarray:
        """Posteriors in descending order, (n, C)."""
        return np.ascontiguousarray(np.sort(posteriors(signals, model, samples), axis=1)[:, ::-1])

    def trained(self, train: Rows, held_out: Rows, rng: np.random.Generator) -> Scorer:
        """One classifier for each class with enough rows, and one of all rows for the other classes."""
        of_class: dict[int, Scorer] = {}
        for label in range(train.num_classes):
            here = train.labels == label
            num_members, num_nonmembers = (here & train.member).sum(), (here & ~train.member).sum()
            if min(num_members, num_nonmembers) >= MIN_ROWS_PER_SIDE:
                of_class[label] = super().trained(train.where(here), held_out.where(held_out.labels == label), rng)
        of_all = super().trained(train, held_out, rng) if len(of_class) < train.num_classes else None

        def scorer(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
            scores = np.full(len(labels), np.nan)
            for label in np.unique(labels).tolist():
                here = labels == label
                responsible = of_class.get(label, of_all)
                assert responsible is not None  # without `of_all`, every class has its own
                scores[here] = responsible(features[here], labels[here])
            return scores

        return scorer


ATTACK = ShokriNetworks
