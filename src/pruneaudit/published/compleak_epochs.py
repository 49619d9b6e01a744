"""CompLeak's choice of an epoch: by the accuracy on the victim. It uses the victim's members, so it is not an audit.

For SAMIA the system trains a network for 100 epochs on its shadow, measures it on the victim after each, and reports
the best (arXiv 2507.16872). Even if nothing can be found, the best of many epochs lies above one half.
"""

# V victims, N samples, F features

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.classifier import ClassifierAttack
from pruneaudit.attacks.folds import settings
from pruneaudit.attacks.learned import drawn_over

if TYPE_CHECKING:
    from torch import nn


def best_on_victims(attack: ClassifierAttack, attack_input: AttackInput, rng: np.random.Generator) -> np.ndarray:
    """Scores every victim by the epoch that tells its members best.

    The networks learn from all references outside a victim's fold.

    Args:
        attack: an attack that trains a network.
        attack_input: its input.
        rng: draws folds, rows and the training.

    Returns:
        Log-odds of membership, (V, N) float64; NaN where nothing is scored.
    """
    from pruneaudit.attacks._fitting import fit

    seed, samples = int(rng.integers(2**62)), drawn_over(attack_input.attacked)
    scores = np.full(attack_input.eligible.shape, np.nan)
    for index, (victims, references) in enumerate(settings(attack_input, seed)):
        own = np.random.default_rng([seed, index])
        train = attack.rows(attack_input.references, references, samples, attack.limit(), own)
        watched = [_Watched.of(attack, attack_input, victim, samples) for victim in victims]
        fit(
            partial(attack.network, train.features.shape[1]),
            train.features,
            train.member,
            (train.features[:0], train.member[:0]),
            replace(attack.recipe(), select_epoch=False, after_epoch=partial(_measure, watched)),
            int(own.integers(2**62)),
            attack.device,
        )
        for victim, one in zip(victims, watched, strict=True):
            scores[victim, one.samples] = one.best
    return scores


def _measure(watched: list[_Watched], network: nn.Module) -> None:
    for one in watched:
        one.measure(network)


@dataclass(eq=False)
class _Watched:
    """A victim on which the network is measured after each epoch."""

    samples: np.ndarray
    """(n,) int: the scored samples."""
    features: np.ndarray
    """(n, F) float32."""
    member: np.ndarray
    """(n,) bool."""
    highest: float = -1.0
    best: np.ndarray = field(default_factory=lambda: np.empty(0))
    """(n,) float64: the log-odds of the best epoch so far."""

    @classmethod
    def of(cls, attack: ClassifierAttack, attack_input: AttackInput, victim: int, samples: np.ndarray) -> _Watched:
        """The victim with this number, and its eligible samples."""
        chosen, row = samples[attack_input.eligible[victim, samples]], attack_input.victims[victim]
        features = attack.features_of(attack_input.releases, row, chosen)
        return cls(chosen, features, attack_input.attacked.member[row, chosen])

    def measure(self, network: nn.Module) -> None:
        """Keeps the answers if their balanced accuracy at even odds is the highest so far."""
        from pruneaudit.attacks._fitting import log_odds

        odds = log_odds(network, self.features)
        accuracy = float(((odds[self.member] >= 0).mean() + (odds[~self.member] < 0).mean()) / 2)
        if accuracy > self.highest:
            self.highest, self.best = accuracy, odds
