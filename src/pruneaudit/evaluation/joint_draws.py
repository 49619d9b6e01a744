"""Joint draws of means over victims, for intervals far out in the tails.

`envelope.joint_replicates` resamples the samples 200 times, which is enough for a 95% interval. Simultaneous intervals
need quantiles near .001. Here the draw of the samples is normal, with the covariance that the influence values give
exactly, so any number of draws costs little. The draw of the models is that of `envelope.joint_replicates`.
"""

# V victims, N samples, K figures

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pruneaudit.evaluation.envelope import draws_of_models, root
from pruneaudit.metrics import PerVictim
from pruneaudit.metrics.arrays import Floats


def joint_draws(figures: Sequence[PerVictim], num: int, rng: np.random.Generator) -> Floats:
    """Draws of the means over victims of several figures, over samples and models at once.

    Args:
        figures: (K,) figures of the same victims on the same samples, without NaN.
        num: number of draws.
        rng: source of the draws.

    Returns:
        (num, K). With one victim, only over the draw of samples.
    """
    values = np.stack([figure.values for figure in figures], axis=1)  # (V, K)
    num_victims = len(values)
    mean_influence = np.stack([figure.influence.mean(axis=0) for figure in figures])  # (K, N)
    by_sample = mean_influence @ mean_influence.T
    draws = values.mean(axis=0) + rng.standard_normal((num, len(figures))) @ root(by_sample).T
    if num_victims < 2:
        return draws
    flat = np.stack([figure.influence.ravel() for figure in figures])  # (K, V N)
    by_both = flat @ flat.T / num_victims**2
    return draws + draws_of_models(values, by_sample, by_both, num, rng)
