"""RMIA: does the victim give the sample a higher probability, relative to references, than it gives other samples?

Zarifzadeh et al. 2024 (arXiv 2312.03262). With r_x = p_y(x | victim) / p(x), the score is the
fraction of nulls z (half B of the holdout) with r_x / r_z >= gamma. p(x) is estimated from references:

    online      the mean of (mean over IN, mean over OUT)
    offline     ((1 + a) mean over OUT + (1 - a)) / 2

Two defaults differ from the paper's. gamma is 1, as in the authors' code (Privacy Meter). With the paper's 2 most
scores are 0, and the decision threshold falls among broken ties, which are not comparable between models; the ranking
of one victim's samples is the same. Offline, a is tuned on references (`tuning.py`) unless it is given; the paper fixes
it per data set. docs/attacks.md shows the measured effect of both.

z is in no training set, so p(z) uses the offline estimate in both modes. Online, a is used only there, does not change
any victim's ranking, and stays at the paper's 0.3 unless it is given. With fewer than 200
nulls z runs over the audited samples (stated in the variant). Several queries: a majority vote over them for each z.

The score is F_z(r_x / gamma), so sorting r_z once is enough: O((N + Z) log Z). F_z takes only Z + 1
values; r_x itself breaks ties, by less than one step of F_z, so that low false-positive
rates can be resolved. This refines the published score and never reverses its order.
"""

# V victims, K references, N samples, Z holdout samples

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput, Scores
from pruneaudit.attacks.moments import means
from pruneaudit.attacks.ratios import PUBLISHED_A, offline_mean, offline_score, share_beaten
from pruneaudit.attacks.tuning import Constant, Tunable, constant
from pruneaudit.core import options
from pruneaudit.metrics.arrays import for_each
from pruneaudit.signals.derived import log_probability, probability
from pruneaudit.study.parts import MIN_HOLDOUT


class Options(options.Options):
    """Settings of RMIA."""

    mode: Literal["online", "offline"] = "online"
    """Use IN and OUT references, or only OUT references."""
    gamma: float = Field(default=1.0, ge=1)
    """Factor by which the sample's ratio must exceed z's; 2 in the paper, 1 in its authors' code."""
    a: float | None = Field(default=None, ge=0, le=1)
    """How similar IN and OUT probabilities are, from 0 (far apart) to 1 (the same). Default: offline tuned on
    references, online 0.3. The paper has 0.3 for CIFAR-10, 0.6 for CIFAR-100."""


class Rmia(Attack[Options]):
    """Share of nulls that the sample beats in relative probability."""

    needs = frozenset({"references"})
    semantics_version = 4
    """4: z are half B of the holdout, instead of all; a is tuned from two references on, instead of three."""

    @property
    def compares_in(self) -> bool:
        """The online mean does."""
        return bool(self.options.mode == "online")

    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """Scores every victim against its allowed references; `rng` deals folds where a is tuned."""
        a = self._a(attack_input, rng)
        num_queries = attack_input.attacked.num_queries
        ratios = [self._log_ratio(attack_input, query, a.values) for query in range(num_queries)]  # Q times (V, N)
        # A majority of queries beats z exactly when the middle one (the lower, if even) does.
        ranked = np.sort(ratios, axis=0) if num_queries > 1 else ratios
        decisive = ranked[num_queries - (num_queries // 2 + 1)]  # (V, N)
        is_held_out = attack_input.nulls.sum() >= MIN_HOLDOUT
        z = attack_input.nulls if is_held_out else attack_input.attacked.counted & ~attack_input.attacked.unseen
        z_ratios = self._log_z_ratio(attack_input, z, a.values)  # (V, Z)
        scores = np.empty(decisive.shape)

        def beat(victim: int) -> None:
            scores[victim] = share_beaten(decisive[victim], z_ratios[victim], self.options.gamma)

        for_each(beat, len(scores), scores.size)
        scores[~attack_input.eligible] = np.nan
        source = "holdout" if is_held_out else "audited samples"
        told = f"gamma {self.options.gamma:g}, {a.variant}, z from the {source}"
        return Scores(scores, variant=f"{self.options.mode}, {told}")

    def _a(self, attack_input: AttackInput, rng: np.random.Generator) -> Constant:
        """The constant a of every victim."""
        given = self.options.a
        if given is None and self.options.mode == "online":
            given = PUBLISHED_A
        return constant(Tunable("a", PUBLISHED_A, offline_score), given, attack_input, rng)

    def _log_ratio(self, attack_input: AttackInput, query: int, a: np.ndarray) -> np.ndarray:
        """Ln r_x of every sample, (V, N); NaN where references are lacking."""
        known = probability(attack_input.reference.phi[..., query])
        member = attack_input.reference.member
        out = means(known, ~member, attack_input.allowed)
        if self.options.mode == "offline":
            expected = offline_mean(out, a)
        else:
            expected = (means(known, member, attack_input.allowed) + out) / 2
        return log_probability(attack_input.attacked.phi[attack_input.victims, :, query]) - np.log(expected)

    def _log_z_ratio(self, attack_input: AttackInput, z: np.ndarray, a: np.ndarray) -> np.ndarray:
        """Ln r_z of the samples `z` on the plain query, (V, Z)."""
        known, member = probability(attack_input.reference.phi[:, z, 0]), attack_input.reference.member[:, z]
        expected = offline_mean(means(known, ~member, attack_input.allowed), a)
        return log_probability(attack_input.attacked.phi[attack_input.victims][:, z, 0]) - np.log(expected)


ATTACK = Rmia
