"""BaVarIA: LiRA's ratio, averaged over the uncertainty of its estimated means and variances.

arXiv 2603.11799. On each side (IN, OUT) mean and variance of a sample's phi have a normal-inverse-gamma
prior; the conjugate posterior's predictive density is Student's t:

    k = k0 + n;  m = (k0 m0 + n mean) / k;  a = a0 + n / 2;  b = b0 + SS / 2 + k0 n (mean - m0)^2 / (2 k)
    score = ln t_{2a}(phi; m, b (k + 1) / (a k)) of IN minus that of OUT

Hyperparameters by empirical Bayes, per victim and side, from moments pooled over samples: m0 the mean
of means, k0 the within-sample over the between-sample variance, a0 from how much the sample variances
differ beyond chance, b0 so that the prior mean of the variance is the pooled one. With few references
the score leans on the pooled variance, with many on the sample's own. A sample without IN or OUT
references is scored by the prior on that side.
"""

# V victims, N samples

from __future__ import annotations

import numpy as np
import scipy

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput, Scores
from pruneaudit.attacks.moments import Moments, averaged, moments
from pruneaudit.core.options import Options
from pruneaudit.metrics.arrays import for_each

SMALLEST_SHAPE, LARGEST_SHAPE = 2.1, 1000.0
_SMALLEST = 1e-12


class Bavaria(Attack[Options]):
    """Ratio of Student-t predictive densities of the scaled confidence."""

    needs = frozenset({"references"})
    standard = "lira"

    @property
    def compares_in(self) -> bool:
        """Its ratio does."""
        return True

    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """Scores every victim against its allowed references; `rng` is not used."""
        scores = averaged(
            self._one_query(attack_input, query) for query in range(attack_input.attacked.num_queries)
        )  # (V, N)
        scores[~attack_input.eligible] = np.nan
        return Scores(scores, variant="normal-inverse-gamma, empirical Bayes")

    def _one_query(self, attack_input: AttackInput, query: int) -> np.ndarray:
        phi, references = (
            attack_input.attacked.phi[attack_input.victims, :, query],
            attack_input.reference.phi[..., query],
        )
        member, counted = attack_input.reference.member, attack_input.reference.counted
        inside, outside = (
            moments(references, member, attack_input.allowed),
            moments(references, ~member, attack_input.allowed),
        )
        sides = list(zip(inside.by_victim(), outside.by_victim(), strict=True))
        scores = np.empty(phi.shape)

        def compare(victim: int) -> None:
            one, two = (_log_predictive(phi[victim], side, counted) for side in sides[victim])
            np.subtract(one, two, out=scores[victim])

        for_each(compare, len(scores), scores.size)
        return scores


def _log_predictive(phi: np.ndarray, side: Moments, counted: np.ndarray) -> np.ndarray:
    """ln t density of one victim's phi (N,) under one side's references, (N,)."""  # noqa: D403
    m0, k0, a0, b0 = _prior(side, counted)  # (V, 1) each
    n, mean = side.count, np.where(side.count > 0, side.mean, m0)  # (1, N)
    k = k0 + n
    centre = (k0 * m0 + n * mean) / k
    a = a0 + n / 2
    b = b0 + side.squares / 2 + k0 * n * (mean - m0) ** 2 / (2 * k)
    scale2 = b * (k + 1) / (a * k)
    freedom = 2 * a
    # The gamma functions depend only on the count, which takes few values.
    possible = 2 * (a0 + np.arange(n.max(initial=0) + 1) / 2)  # (1, n + 1), degrees of freedom
    gammas = scipy.special.gammaln((possible + 1) / 2) - scipy.special.gammaln(possible / 2)
    found = (
        gammas[0, n.astype(np.intp)]
        - 0.5 * np.log(freedom * np.pi * scale2)
        - (freedom + 1) / 2 * np.log1p((phi - centre) ** 2 / (freedom * scale2))
    )
    return np.asarray(found[0])


def _prior(side: Moments, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """m0, k0, a0, b0 per victim, (V, 1) each, by moments over the counted samples."""
    present = counted & (side.count > 0)  # (V, N)
    variance, a0 = variance_prior(side, counted)
    num_present = np.maximum(present.sum(axis=1, keepdims=True), 1)
    m0 = np.where(present, side.mean, 0.0).sum(axis=1, keepdims=True) / num_present
    spread = np.where(present, (side.mean - m0) ** 2, 0.0).sum(axis=1, keepdims=True) / num_present
    chance = np.where(present, variance / np.maximum(side.count, 1), 0.0).sum(axis=1, keepdims=True) / num_present
    k0 = variance / np.maximum(spread - chance, _SMALLEST)
    return m0, k0, a0, variance * (a0 - 1)


def variance_prior(side: Moments, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and shape a0 of the inverse-gamma prior of the samples' variances, by moments.

    Args:
        side: the references on one side, IN or OUT.
        counted: (N,) bool, the samples to learn it from.

    Returns:
        Per victim, (V, 1) each.
    """
    variance = np.maximum(np.nan_to_num(side.pooled_variance(counted), nan=1.0), _SMALLEST)
    # The variance of sample variances s2 is 2 v^2 / (n - 1) by chance, plus the prior's v^2 / (a0 - 2).
    several = counted & (side.count > 2)
    num_several = np.maximum(several.sum(axis=1, keepdims=True), 1)
    freedom = np.maximum(side.count - 1, 1)
    found = np.where(several, (side.squares / freedom - variance) ** 2, 0.0).sum(axis=1, keepdims=True) / num_several
    expected = np.where(several, 2 / freedom, 0.0).sum(axis=1, keepdims=True) / num_several
    # E[s2^2] under the prior also raises the chance part: v^2 (1 + 1 / (a0 - 2)) 2 / (n - 1).
    beyond = np.maximum((found / variance**2 - expected) / (1 + expected), _SMALLEST)
    return variance, np.clip(2 + 1 / beyond, SMALLEST_SHAPE, LARGEST_SHAPE)


ATTACK = Bavaria
