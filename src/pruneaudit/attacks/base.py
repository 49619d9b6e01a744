"""BASE: compares the victim's loss on a sample with the average loss of reference models.

arXiv 2505.24089. Score: ln p_y(victim) - c ln mean_k p_y(reference k). Online the mean runs over all
references and c = 1. Offline it runs over references that never saw the sample, and c is tuned on references
(`tuning.py`); the paper's value there is 0.33. Online, with the same mean, it ranks the samples of a victim as
RMIA does.
"""

# V victims, N samples

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput, Scores
from pruneaudit.attacks.moments import averaged, means
from pruneaudit.attacks.tuning import Constant, Tunable, constant
from pruneaudit.core import options
from pruneaudit.signals.derived import log_probability, probability

ONLINE_SCALE = 1.0
PUBLISHED_OFFLINE_SCALE = 0.33


class Options(options.Options):
    """Settings of BASE."""

    mode: Literal["online", "offline"] = "online"
    """Compare with all references, or only with OUT references."""
    scale: float | None = Field(default=None, ge=0)
    """c; default: 1 online, tuned on references offline (0.33 in the paper)."""


class Base(Attack[Options]):
    """ln p_y minus the scaled logarithm of its mean over references."""

    needs = frozenset({"references"})
    semantics_version = 3
    """3: c is tuned from two references on, instead of three."""

    @property
    def compares_in(self) -> bool:
        """The online mean does."""
        return bool(self.options.mode == "online")

    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """Scores every victim against its allowed references; `rng` deals folds where the scale is tuned."""
        mode, scale = self.options.mode, self._scale(attack_input, rng)
        member = attack_input.reference.member
        chosen = np.ones_like(member) if mode == "online" else ~member

        def one_query(query: int) -> np.ndarray:
            expected = means(
                probability(attack_input.reference.phi[..., query]), chosen, attack_input.allowed
            )  # (V, N)
            return log_probability(attack_input.attacked.phi[attack_input.victims, :, query]) - scale.values * np.log(
                expected
            )

        scores = averaged(one_query(query) for query in range(attack_input.attacked.num_queries))
        scores[~attack_input.eligible] = np.nan
        return Scores(scores, variant=f"{mode}, {scale.variant}")

    def _scale(self, attack_input: AttackInput, rng: np.random.Generator) -> Constant:
        """The constant c of every victim."""
        given = self.options.scale
        if given is None and self.options.mode == "online":
            given = ONLINE_SCALE
        return constant(Tunable("scale", PUBLISHED_OFFLINE_SCALE, _offline_score), given, attack_input, rng)


def _offline_score(log_p: np.ndarray, out: np.ndarray, scale: float) -> np.ndarray:
    return np.asarray(log_p - scale * np.log(out))


ATTACK = Base
