"""CompLeak's attack on several releases: a network on the votes of one forest per further release, and on losses.

CompLeakMR (Li et al. 2025, arXiv 2507.16872), as its notebook has it. Each release beside the first is paired with the
first one, and a random forest learns from the pair as `pair_rf` does (SR2 there). A network learns from the forests'
votes and from the losses of these releases:

    votes    2 per further release: the forest's shares for non-member and for member
    losses   -ln p_y of each further release
    network  2k-128-64 and k-128-64, side by side, then 128-256-128-64-2; dropout 0.5; SGD with learning rate 0.01 along
             a cosine, momentum 0.9, weight decay 5e-4, 100 epochs of batches of 128

The first release's loss is not an input there, so it is not one here.

Deviations. Each corrects a fault of the published code, or limits the cost:

- **Votes are cross-fitted.** The notebook trains its network on votes of forests about their own training rows. Such
  votes are far surer than votes about a victim. Here the reference models are dealt into folds, and a vote about a
  training row comes from a forest that learned without that model. With a single reference the folds are folds of
  samples. Votes about victims come from forests that learned from all rows;
- **every release answers for itself.** The notebook queries the last release in place of all the others of a shadow;
- **equal queries.** The notebook crops and flips members before it queries them, but not non-members (`published/`
  replays that). Here all answers are to one plain query;
- **the last epoch** is kept. The notebook also prints the epoch that is best on the victim;
- losses above 20 nats count as 20, so that one extreme answer does not end the training;
- several references teach, in place of one shadow. Rows are balanced and at most 8,000, and forests have 200 trees; it
  has 20,000 rows and 500 trees.

On the recipe `families` (28 models, five releases), it takes 265 CPU seconds (four networks, 80 forests) and reaches an
AUC of .709; with 100 trees, 158 seconds and .708; with 100 trees and 4,000 rows, 85 seconds and .706.

It may find less than the same attack on fewer releases. docs/families.md compares it with `family`.
"""

# n rows, C classes, d releases, k = d - 1 further releases

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from pruneaudit.attacks.learned import LearnedAttack, Rows, Scorer, one_hot, ordered_by_first, posteriors
from pruneaudit.attacks.posterior_classifiers import ForestOptions, PosteriorForest
from pruneaudit.core import options
from pruneaudit.signals.derived import log_softmax
from pruneaudit.signals.signals import Signals

if TYPE_CHECKING:
    from pruneaudit.attacks._fitting import Recipe

HIGHEST_LOSS = 20.0
"""In nats: p_y = 2e-9."""
MAX_VOTING_FOLDS = 4


class Options(options.Options):
    """Settings of CompLeak's attack on several releases."""

    max_rows: int = Field(default=8_000, ge=2)
    """Most training rows, for the forests and for the network; half of them are members."""
    trees: int = Field(default=200, ge=1, le=100_000)
    """Number of trees of each forest; 500 in the published code."""
    min_leaf: int = Field(default=30, ge=1)
    """Fewest training rows in a leaf."""
    epochs: int = Field(default=100, ge=1)
    """Passes of the network over the training rows."""


class CompleakMr(LearnedAttack[Options]):
    """Network on cross-fitted votes of forests about pairs of releases, and on losses."""

    needs = frozenset({"references", "two releases"})
    standard = "pair_rf"

    def features(self, signals: Signals, model: int, samples: np.ndarray) -> np.ndarray:
        """The inputs from one release alone, which no pair can be made of."""
        return self.features_of([signals], model, samples)

    def features_of(self, releases: Sequence[Signals], model: int, samples: np.ndarray) -> np.ndarray:
        """[posteriors of each release | one-hot label | losses], (n, dC + C + k).

        Posteriors and label are in ascending order of the first posteriors.
        """
        parts = [*(posteriors(release, model, samples) for release in releases), one_hot(releases[-1], samples)]
        further = [losses(release, model, samples) for release in releases[1:]]
        return np.hstack([ordered_by_first(parts, descending=False), *(loss[:, None] for loss in further)])

    def limit(self) -> int:
        """Most rows that forests and network learn from."""
        return self.options.max_rows

    def trained(self, train: Rows, held_out: Rows, rng: np.random.Generator) -> Scorer:
        """Forests and network of the rows `train`. They select nothing, so `held_out` is empty."""
        from pruneaudit.attacks._fitting import fit, log_odds
        from pruneaudit.attacks._networks import VotesAndLosses

        blocks = [block.astype(np.float64) for block in pairs_in(train.features, train.num_classes)]
        fold = voting_folds(train, rng)
        votes = np.empty((len(fold), len(blocks)))  # (n, k)
        for number in np.unique(fold):
            for pair, block in enumerate(blocks):
                forest = self._forest(block[fold != number], train.member[fold != number], rng)
                votes[fold == number, pair] = forest(block[fold == number])
        forests = [self._forest(block, train.member, rng) for block in blocks]
        inputs = _inputs(votes, train.features[:, -len(blocks) :])
        nothing = inputs[:0], train.member[:0]
        build = partial(VotesAndLosses, 2 * len(blocks), len(blocks))
        network = fit(build, inputs, train.member, nothing, self.recipe(), int(rng.integers(2**62)), self.device)

        def scored(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
            asked = pairs_in(features, train.num_classes)
            votes = [forest(block.astype(np.float64)) for forest, block in zip(forests, asked, strict=True)]
            return log_odds(network, _inputs(np.stack(votes, axis=1), features[:, -len(forests) :]))

        return scored

    def _forest(
        self, features: np.ndarray, member: np.ndarray, rng: np.random.Generator
    ) -> Callable[[np.ndarray], np.ndarray]:
        """A forest's shares for member, as a function of features."""
        asked = ForestOptions(trees=self.options.trees, min_leaf=self.options.min_leaf)
        log_odds = PosteriorForest(asked).fitted(features, member, int(rng.integers(2**31)))
        return lambda given: np.asarray(1 / (1 + np.exp(-log_odds(given))))

    def recipe(self) -> Recipe:
        """How the network is trained."""
        from pruneaudit.attacks._fitting import Recipe

        return Recipe(
            optimizer="sgd",
            learning_rate=0.01,
            weight_decay=5e-4,
            epochs=self.options.epochs,
            batch_size=128,
            schedule="cosine",
            select_epoch=False,
        )

    def variant(self) -> str:
        """Inputs, trees, rows and epochs."""
        asked = self.options
        forests = f"{asked.trees} trees, leaf {asked.min_leaf}, {asked.max_rows} rows"
        return f"cross-fitted votes, {forests}, {asked.epochs} epochs"


def losses(signals: Signals, model: int, samples: np.ndarray) -> np.ndarray:
    """-ln p_y in nats of one model on some samples, (n,) float32, at most `HIGHEST_LOSS`."""
    own = log_softmax(signals.logits_of(model, samples))
    return np.minimum(-own[np.arange(len(samples)), signals.labels[samples]], HIGHEST_LOSS).astype(np.float32)


def pairs_in(features: np.ndarray, num_classes: int) -> Iterator[np.ndarray]:
    """Yields what the forest of each further release sees, (n, 3C): first posteriors, its own posteriors, the label.

    Args:
        features: (n, dC + C + k), from `features_of`.
        num_classes: C.
    """
    num_releases = (features.shape[1] + 1 - num_classes) // (num_classes + 1)
    first, *others, label = np.split(features[:, : (num_releases + 1) * num_classes], num_releases + 1, axis=1)
    for other in others:
        yield np.hstack([first, other, label])


def voting_folds(train: Rows, rng: np.random.Generator) -> np.ndarray:
    """The fold of each row, (n,) int: all rows of a model share one; rows of a single model are dealt at random."""
    models, number = np.unique(train.model, return_inverse=True)
    if len(models) > 1:
        return number % MAX_VOTING_FOLDS
    return rng.permutation(len(train.model)) % MAX_VOTING_FOLDS


def _inputs(votes: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """The network's inputs from shares for member (n, k) and losses (n, k): (n, 3k) float32."""
    shares = np.stack([1 - votes, votes], axis=2).reshape(len(votes), -1)
    return np.hstack([shares, losses]).astype(np.float32)


ATTACK = CompleakMr
