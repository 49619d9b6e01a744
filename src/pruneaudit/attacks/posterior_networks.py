"""Networks on posteriors: classifiers that learn, on references, how a model answers on its members.

They differ in the network's inputs. `classifier.py` and `learned.py` describe the training.
"""

import numpy as np

from pruneaudit.attacks.classifier import ClassifierAttack
from pruneaudit.attacks.learned import one_hot, posteriors
from pruneaudit.signals.signals import Signals


class PosteriorNetwork(ClassifierAttack):
    """Classifier of posteriors: a network learns from references how a model answers on its members.

    Shokri et al. 2017 (arXiv 1610.05820), with the network of Yuan & Zhang 2022 (arXiv 2202.03335): C-512-256-128-2 on
    the C class probabilities in class order. One classifier for all classes; `shokri_nn` has one for each.
    """

    def features(self, signals: Signals, model: int, samples: np.ndarray) -> np.ndarray:
        """Posteriors (n, C)."""
        return posteriors(signals, model, samples)


class TopPosteriorNetwork(ClassifierAttack):
    """Classifier of the three largest posteriors: works without the label and the number of classes.

    Salem et al. 2019 (arXiv 1806.01246), with the network of Yuan & Zhang 2022 (arXiv 2202.03335): 3-512-256-128-2 on
    the three largest class probabilities, largest first. With two classes there are only two.
    """

    def features(self, signals: Signals, model: int, samples: np.ndarray) -> np.ndarray:
        """The three largest posteriors in descending order, (n, 3); (n, 2) for two classes."""
        return np.ascontiguousarray(np.sort(posteriors(signals, model, samples), axis=1)[:, :-4:-1])


class LabelledPosteriorNetwork(ClassifierAttack):
    """Classifier of posteriors and label: like `nn`, but the network also gets the true class.

    Yuan & Zhang 2022 (arXiv 2202.03335): 2C-512-256-128-2 on the C class probabilities and the one-hot label.
    """

    def features(self, signals: Signals, model: int, samples: np.ndarray) -> np.ndarray:
        """[posteriors | one-hot label], (n, 2C)."""
        return np.hstack([posteriors(signals, model, samples), one_hot(signals, samples)])


ATTACK = {
    "nn": PosteriorNetwork,
    "nn_top3": TopPosteriorNetwork,
    "nn_cls": LabelledPosteriorNetwork,
}
