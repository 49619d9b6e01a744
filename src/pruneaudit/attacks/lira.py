"""LiRA, the likelihood-ratio attack: is the victim's confidence that of models with, or without, the sample?

Carlini et al. 2022 (arXiv 2112.03570). Per sample, the scaled confidence phi of the references is
taken to be normal, once over the references trained on the sample (IN), once over the others (OUT):

    online                  ln N(phi; mean_IN, var_IN) - ln N(phi; mean_OUT, var_OUT)
    offline                 (phi - mean_OUT) / std_OUT, the paper's one-sided test
    offline_two_sided       -ln N(phi; mean_OUT, var_OUT), as in released code

Variances are `per_example`, or `pooled`: the within-example variance pooled over all samples, IN and
OUT apart; `auto` pools below 64 references. Several queries: the mean of the scores per query.
Deviations: variances are unbiased (n - 1); the released code divides by n. A sample with one IN (or
OUT) reference takes the pooled variance for that side; with none it has no score (NaN, counted as
`num_unscored`), where released code gives a silent number.
"""

# V victims, K references, N samples

from __future__ import annotations

from typing import Literal

import numpy as np

from pruneaudit import options
from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.moments import Moments, moments
from pruneaudit.attacks.view import Scores, View

POOL_BELOW = 64
_SMALLEST_VARIANCE = 1e-12


class Options(options.Options):
    """Settings of LiRA."""

    mode: Literal["online", "offline", "offline_two_sided"] = "online"
    """Compare IN with OUT references, or look at OUT references alone."""
    variance: Literal["auto", "pooled", "per_example"] = "auto"
    """One within-example variance for all samples, or one for each; auto: pooled below 64 references."""


class Lira(Attack):
    """Likelihood ratio of the scaled confidence under IN and OUT references."""

    Options = Options
    needs = frozenset({"references"})

    def score(self, view: View, rng: np.random.Generator) -> Scores:
        """Scores every victim against its allowed references; `rng` is not used."""
        variance = self.options.variance
        if variance == "auto":
            variance = "pooled" if view.allowed.sum(axis=1).min() < POOL_BELOW else "per_example"
        per_query = [self._one_query(view, query, variance) for query in range(view.attacked.num_queries)]
        scores = np.mean(per_query, axis=0)
        scores[~view.eligible] = np.nan
        return Scores(scores, variant=f"{self.options.mode}, {variance} variance")

    def _one_query(self, view: View, query: int, variance: str) -> np.ndarray:
        phi = view.attacked.phi[view.victims, :, query]  # (V, N)
        reference_phi, member = view.reference.phi[..., query], view.reference.member  # (K, N)
        counted = ~view.reference.canaries
        out = moments(reference_phi, ~member, view.allowed)
        if self.options.mode == "offline":
            return (phi - out.mean) / np.sqrt(_variance(out, variance, counted))
        log_out = _log_normal(phi, out.mean, _variance(out, variance, counted))
        if self.options.mode == "offline_two_sided":
            return -log_out
        inside = moments(reference_phi, member, view.allowed)
        return _log_normal(phi, inside.mean, _variance(inside, variance, counted)) - log_out


def _variance(side: Moments, variance: str, counted: np.ndarray) -> np.ndarray:
    """Variance per victim and sample, (V, N) or (V, 1)."""
    pooled = np.maximum(side.pooled_variance(counted), _SMALLEST_VARIANCE)
    if variance == "pooled":
        return pooled
    single = side.sample_variance()
    return np.where(np.isnan(single), pooled, np.maximum(single, _SMALLEST_VARIANCE))


def _log_normal(x: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Ln N(x; mean, variance) without the constant that both sides share."""
    return -0.5 * ((x - mean) ** 2 / variance + np.log(variance))


ATTACK = Lira
