"""Attacks that train a network to tell members from non-members, on the answers of references.

`learned.py` describes who learns from whom.

Preset `mia_prune` trains as the published code does (arXiv 2202.03335): on all references outside the fold, for 100
epochs of SGD from Xavier-normal weights, keeping the last epoch. It calls a sample a member if the log-odds are at
least 0. Deviations: rows are balanced, and the batches of an epoch differ by at most one row.
"""

# F features, n rows

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from pruneaudit.attacks.learned import LearnedAttack, Rows, Scorer
from pruneaudit.core import options

if TYPE_CHECKING:
    from torch import nn

    from pruneaudit.attacks._fitting import Recipe

DEFAULT_MAX_ROWS = 20_000
DEFAULT_EPOCHS = 20


class Options(options.Options):
    """Settings of attacks that train a classifier; the preset fills in those that are not given."""

    preset: Literal["default", "mia_prune"] = "default"
    """default: Adam, learning rate 3e-4, batch 128, 20 epochs, at most 20,000 rows, epoch and threshold from held-out
    models; mia_prune: SGD, learning rate 1e-3, batch 128, Xavier-normal first weights, 100 epochs, all rows, the last
    epoch, threshold 0."""
    epochs: int | None = Field(default=None, ge=1)
    """Passes over the training rows."""
    max_rows: int | None = Field(default=None, ge=2)
    """Most training rows per classifier; half of them are members."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Learning rate at the beginning."""


class ClassifierAttack(LearnedAttack[Options]):
    """An attack whose score is a network's output for one model's signals."""

    semantics_version = 3
    """2: dropout from other bits. 3: preset mia_prune starts from that system's weights, learns from all references."""

    @property
    def selects_epoch(self) -> bool:
        """Held-out rows select the epoch, except with preset mia_prune."""
        return self.options.preset != "mia_prune"

    @property
    def fixed_threshold(self) -> float | None:
        """0 with preset mia_prune."""
        return None if self.selects_epoch else 0.0

    def network(self, num_features: int) -> nn.Module:
        """The untrained classifier, (B, F) -> (B, 2); the MLP of arXiv 2202.03335 unless overridden."""
        from pruneaudit.attacks._networks import posterior_mlp

        return posterior_mlp(num_features)

    def trained(self, train: Rows, held_out: Rows, rng: np.random.Generator) -> Scorer:
        """A classifier of the rows `train`; `held_out` selects its epoch if the recipe says so."""
        from pruneaudit.attacks._fitting import fit, log_odds

        seed = int(rng.integers(2**62))
        num_features = train.features.shape[1]
        network = fit(
            lambda: self.network(num_features),
            train.features,
            train.member,
            (held_out.features, held_out.member),
            self.recipe(),
            seed,
            self.device,
        )
        return lambda features, labels: log_odds(network, features)

    def recipe(self) -> Recipe:
        """How classifiers are trained, from the options."""
        from pruneaudit.attacks._fitting import Recipe

        given = self.options
        published = given.preset == "mia_prune"
        return Recipe(
            optimizer="sgd" if published else "adam",
            learning_rate=given.learning_rate or (1e-3 if published else 3e-4),
            weight_decay=5e-4 if published else 0.0,
            epochs=given.epochs or (100 if published else DEFAULT_EPOCHS),
            batch_size=128,
            schedule="steps" if published else "constant",
            select_epoch=self.selects_epoch,
            weights_of_mia_prune=published,
        )

    def limit(self) -> int | None:
        """Most rows that a classifier learns from; None: all."""
        published = self.options.preset == "mia_prune"
        return self.options.max_rows or (None if published else DEFAULT_MAX_ROWS)

    def variant(self) -> str:
        """Preset, epochs and rows."""
        return f"{self.options.preset} recipe, {self.recipe().epochs} epochs, {self.limit() or 'all'} rows"
