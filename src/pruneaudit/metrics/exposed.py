"""Tests which samples a recipe exposes: an exact test per sample over the networks that the recipe made.

For one sample, are the scores of victims trained on it higher than those of the others? If training on a sample does
not change its scores, they are independent of its membership coins, which are iid over the victims. So every
assignment of the coins with the same number of members is equally likely, given the scores: a one-sided rank test
(Mann & Whitney 1947) is exact for every sample, whatever the distribution of scores. This needs victims that are not
references of each other (`attacks/disjoint.py`, one half of the bank as victims); otherwise the scores depend on the
other victims' coins.

Ties count against exposure. Then p is at least the p of every way to break them, so it stays valid.

With few victims no p can be small: 1 / C(V, V_in) at best, so 1 / 70 with 8 victims, 4 of them trained on the sample.
Under Benjamini-Hochberg at q over N samples, a list of R samples needs p of at most q R / N. So there is a shortest
possible list.
"""

# V victims, N samples

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from pruneaudit.metrics.arrays import Bools, Floats, checked


class RecipeTest(NamedTuple):
    """The exact test of every sample."""

    p_value: Floats
    """(N,) in (0, 1], one-sided: small where victims trained on the sample score higher. 1 where all or none of the
    victims were trained on it; NaN where no victim scores it."""
    smallest: Floats
    """(N,) the smallest p that is possible with these numbers of victims: 1 / C(V, V_in)."""
    num_members: np.ndarray
    """(N,) int: scored victims that were trained on the sample."""
    num_others: np.ndarray
    """(N,) int: scored victims that were not."""


def exposed_by_recipe(scores: ArrayLike, member: ArrayLike) -> RecipeTest:
    """Tests for every sample whether victims that were trained on it score higher than the others.

    Args:
        scores: (V, N), higher = more likely a member; NaN = not scored. The references of these victims must be other
            models; see `attacks.disjoint`.
        member: (V, N) bool.

    Raises:
        UserError: the two shapes do not fit.

    Example:
        >>> scores, member = [[3.0], [2.0], [1.0]], [[True], [False], [False]]
        >>> round(float(exposed_by_recipe(scores, np.array(member)).p_value.item()), 3)
        0.333
    """
    rows, truth = checked(scores, member)
    scored = ~np.isnan(rows)
    num_members = np.count_nonzero(scored & truth, axis=0)  # (N,)
    num_others = np.count_nonzero(scored & ~truth, axis=0)
    p_value = np.where(num_members + num_others > 0, 1.0, np.nan)
    numbers, kind = np.unique(np.stack([num_members, num_others]), axis=1, return_inverse=True)
    for place, (inside, outside) in enumerate(numbers.T):
        if inside and outside:
            alike = np.flatnonzero(kind.ravel() == place)  # samples with the same null distribution
            p_value[alike] = _p_values(rows[:, alike], truth[:, alike], int(inside + outside))
    smallest = 1 / scipy.special.binom(num_members + num_others, num_members)
    return RecipeTest(p_value, np.where(np.isnan(p_value), np.nan, smallest), num_members, num_others)


def _p_values(scores: Floats, member: Bools, num_scored: int) -> Floats:
    """The p (n,) of samples (V, n) that all have `num_scored` scores, and equally many of members."""
    # Ascending by score, of equal ones members first; what is not scored comes last.
    order = np.lexsort((~member, scores), axis=0)[:num_scored]
    inside = np.take_along_axis(member, order, axis=0).T  # (n, V')
    ranks = np.broadcast_to(np.arange(num_scored), inside.shape)
    of_members, of_others = (ranks[side].reshape(len(inside), -1) for side in (inside, ~inside))  # no ties any more
    found = scipy.stats.mannwhitneyu(of_members, of_others, alternative="greater", method="exact", axis=1)
    return np.asarray(found.pvalue)
