"""Back-front attack: how much does the confidence change from the first release to the attacked one?

After Jagielski et al. 2022 (arXiv 2205.06369), who combine attacks on a model before and after an update. Here the
model before is, for example, the dense network, the model after is its pruned release, and the signals are subtracted.

    fall        s(first release, x) - s(attacked release, x)
    rise        the negative of that

with s the scaled confidence phi, or ln p_y, the negated loss. Several queries: the mean over them.

No sign is right everywhere, because an update can remove memory or add to it. Pruning removes memory: part of a dense
network's confidence on its members is memory and goes with the weights, but general knowledge stays. So the confidence
of members falls further, and `fall` is the default. Fine-tuning without pruning adds: the network trains on its members
again, and their confidence rises. Measured with phi on CIFAR-10 and on the demo's Fashion-MNIST bank, AUC of `fall`:
pruned to 90% .80 and .63, to 70% .61 and .57, dense with the same fine-tuning .31 and .39 (`rise`: .69 and .61). With
the loss `fall` finds less: .72 and .61, .55 and .56, .40 and .40. The change alone does not show how hard a sample is;
`family` learns how much each release tells from references.
"""

# M models, V victims, N samples, Q queries

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput, Scores
from pruneaudit.core import options
from pruneaudit.signals.derived import log_probability
from pruneaudit.signals.signals import Signals


class Options(options.Options):
    """Settings of the back-front attack."""

    signal: Literal["phi", "loss"] = "phi"
    """The signal to compare: the scaled confidence, or the negated loss ln p_y."""
    direction: Literal["fall", "rise"] = "fall"
    """Samples count as members if their signal falls (or rises) from the first release to the attacked one."""


class BackFront(Attack[Options]):
    """Fall of the signal from the first release to the attacked one."""

    needs = frozenset({"two releases"})

    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """Scores each victim and each reference by its own two releases; `rng` is not used."""
        victims = self._change(attack_input.releases)[attack_input.victims]
        victims[~attack_input.eligible] = np.nan
        references = self._change(attack_input.references) if len(attack_input.references) > 1 else None
        return Scores(victims, references, variant=f"{self.options.direction} of {self.options.signal}")

    def _change(self, releases: Sequence[Signals]) -> np.ndarray:
        """Scores (M, N) of all models."""
        first, last = releases[0].phi, releases[-1].phi  # (M, N, Q)
        if self.options.signal == "loss":
            first, last = log_probability(first), log_probability(last)
        fall = (first - last).mean(axis=2)
        return np.asarray(fall if self.options.direction == "fall" else -fall)


ATTACK = BackFront
