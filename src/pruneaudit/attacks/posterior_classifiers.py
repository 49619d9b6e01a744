"""Random forests and logistic regressions on posteriors of one release, or of two.

CompLeak (Li et al. 2025, arXiv 2507.16872) plays them on one model (CompLeakNR) and on a model and its compressed form
(CompLeakSR). `posterior_rf` and `posterior_lr` see the posteriors in class order. `pair_rf` and `pair_lr` see those of
both releases, in ascending order of the first release's posteriors. With `label` the one-hot label is added, in the
same order: SR2 in that system, and SR1 without. With more than two releases, the inputs are the posteriors of all.

Trees and regression are scikit-learn's, on one thread. They have no epochs: all samples of the held-out references
teach the threshold (`learned.py`).

Deviations: that system fits on one shadow, with a threshold of one half; and its regression standardises the inputs of
a victim by the victim's own mean and spread. Here the training rows determine both. Rows are balanced, and at most
20,000; it takes all.
"""

# n rows, F features, C classes, d releases

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from pydantic import Field

from pruneaudit.attacks.learned import LearnedAttack, Rows, Scorer, one_hot, ordered_by_first, posteriors
from pruneaudit.core import options
from pruneaudit.core.threads import one_blas_thread
from pruneaudit.signals.signals import Signals

LEAST_VOTE = 1e-6
"""Added to both shares of a forest's vote: a unanimous vote has finite log-odds, and the order of votes stays."""


class RegressionOptions(options.Options):
    """Settings of logistic regressions."""

    label: bool = True
    """Whether the classifier sees the one-hot label too."""
    max_rows: int = Field(default=20_000, ge=2)
    """Most training rows per classifier; half of them are members."""


class ForestOptions(RegressionOptions):
    """Settings of random forests."""

    trees: int = Field(default=500, ge=1, le=100_000)
    """Number of trees."""
    min_leaf: int = Field(default=30, ge=1)
    """Fewest training rows in a leaf."""


AnyOptions = TypeVar("AnyOptions", bound=RegressionOptions)


class _OnPosteriors(LearnedAttack[AnyOptions]):
    """What regressions and forests have in common."""

    def features(self, signals: Signals, model: int, samples: np.ndarray) -> np.ndarray:
        """Posteriors in class order, with `label` followed by the one-hot label: (n, C) or (n, 2C)."""
        return np.hstack(self._parts([signals], model, samples))

    def _parts(self, releases: Sequence[Signals], model: int, samples: np.ndarray) -> list[np.ndarray]:
        label = [one_hot(releases[-1], samples)] if self.options.label else []
        return [*(posteriors(release, model, samples) for release in releases), *label]

    def limit(self) -> int:
        """Most rows that a classifier learns from."""
        return self.options.max_rows

    def trained(self, train: Rows, held_out: Rows, rng: np.random.Generator) -> Scorer:
        """A classifier of the rows `train`. It selects nothing, so `held_out` is empty."""
        seed = int(rng.integers(2**31))
        log_odds = self.fitted(train.features.astype(np.float64), train.member, seed)
        return lambda features, labels: log_odds(features.astype(np.float64))

    @abstractmethod
    def fitted(self, features: np.ndarray, member: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
        """Fits to features (n, F) and membership (n,); returns a function from features to log-odds (n,)."""


class _Pairs(_OnPosteriors[AnyOptions]):
    """Sees both releases."""

    needs = frozenset({"references", "two releases"})

    def features_of(self, releases: Sequence[Signals], model: int, samples: np.ndarray) -> np.ndarray:
        """[posteriors of each release | one-hot label], in ascending order of the first posteriors: (n, dC + C)."""
        return ordered_by_first(self._parts(releases, model, samples), descending=False)


class PosteriorRegression(_OnPosteriors[RegressionOptions]):
    """Logistic regression on the posteriors and the label, in class order.

    Posteriors sum to 1, so a linear function of them sees only where members of one class are more or less certain than
    those of another.
    """

    finds_alike = False
    standard = "nn_cls"

    def fitted(self, features: np.ndarray, member: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
        """Fits to inputs that are standardised by the training rows."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        with one_blas_thread():
            pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000)).fit(features, member)

        def log_odds(given: np.ndarray) -> np.ndarray:
            with one_blas_thread():
                return np.asarray(pipeline.decision_function(given), dtype=np.float64)

        return log_odds

    def variant(self) -> str:
        """Inputs and rows."""
        return f"{_inputs(self.options)}, {self.limit()} rows"


class PosteriorForest(_OnPosteriors[ForestOptions]):
    """Random forest on the posteriors and the label."""

    standard = "nn_cls"

    def fitted(self, features: np.ndarray, member: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
        """Fits trees, each on a bootstrap sample of the rows.

        The forest is that of scikit-learn's `RandomForestClassifier`, to the bit. That class itself may not run in two
        threads at a time: each of its calls replaces Python's list of warning filters.
        """
        from sklearn.tree import DecisionTreeClassifier

        draws, num_rows, trees = np.random.RandomState(seed), len(member), []
        rows = features.astype(np.float32)
        for own in (int(draws.randint(np.iinfo(np.int32).max)) for _ in range(self.options.trees)):
            tree = DecisionTreeClassifier(max_features="sqrt", min_samples_leaf=self.options.min_leaf, random_state=own)
            bootstrap = np.random.RandomState(own).randint(0, num_rows, num_rows, dtype=np.int32)
            weights = np.bincount(bootstrap, minlength=num_rows).astype(np.float64)
            trees.append(tree.fit(rows, member, sample_weight=weights))

        def log_odds(given: np.ndarray) -> np.ndarray:
            asked, votes = given.astype(np.float32), np.zeros((len(given), 2))  # non-member, member
            for tree in trees:
                votes += tree.predict_proba(asked)
            votes /= len(trees)
            return np.asarray(np.log(votes[:, 1] + LEAST_VOTE) - np.log(votes[:, 0] + LEAST_VOTE))

        return log_odds

    def variant(self) -> str:
        """Inputs, trees and rows."""
        settings = self.options
        return f"{_inputs(settings)}, {settings.trees} trees, leaf {settings.min_leaf}, {self.limit()} rows"


class PairRegression(_Pairs[RegressionOptions], PosteriorRegression):
    """Logistic regression on the posteriors of both releases and the label, in the order of the first release's."""

    finds_alike = True
    standard = "posterior_lr"


class PairForest(_Pairs[ForestOptions], PosteriorForest):
    """Random forest on the posteriors of both releases and the label, in the order of the first release's."""

    standard = "posterior_rf"


def _inputs(given: RegressionOptions) -> str:
    return "posteriors and label" if given.label else "posteriors"


ATTACK = {
    "posterior_lr": PosteriorRegression,
    "posterior_rf": PosteriorForest,
    "pair_lr": PairRegression,
    "pair_rf": PairForest,
}
