"""The evidence of one release about a sample: two log ratios. Attacks on several releases combine them.

    lira    ln N(phi; mean_IN, var_IN) - ln N(phi; mean_OUT, var_OUT), variances pooled over samples (`lira.py`)
    rmia    ln[p_y / p(x)], p(x) the mean of (mean over IN, mean over OUT) (`rmia.py`, online)

Several queries: the mean over them. A sample without IN or without OUT references has none (NaN).
"""

# V victims, K references, N samples, Q queries

from __future__ import annotations

import numpy as np

from pruneaudit.attacks.lira import log_normal, pooled
from pruneaudit.attacks.moments import averaged, means, moments
from pruneaudit.signals.derived import log_probability, probability

KINDS = ("lira", "rmia")
"""The ratios, in the order of the first axis."""


def evidence(
    phi: np.ndarray, reference_phi: np.ndarray, member: np.ndarray, allowed: np.ndarray, counted: np.ndarray
) -> np.ndarray:
    """Both ratios of every victim and sample.

    Args:
        phi: (V, N, Q) the victims' scaled confidences.
        reference_phi: (K, N, Q) the references'.
        member: (K, N) bool: the references' training sets.
        allowed: (V, K) bool: which reference may be used against which victim.
        counted: (N,) bool: the samples over which variances are pooled.

    Returns:
        (2, V, N) float64, higher = more likely a member.
    """
    return averaged(
        np.stack(_of_query(phi[..., query], reference_phi[..., query], member, allowed, counted))
        for query in range(phi.shape[2])
    )


def _of_query(
    phi: np.ndarray, known: np.ndarray, member: np.ndarray, allowed: np.ndarray, counted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Both ratios (V, N) of one query; phi (V, N), known (K, N)."""
    sides = [moments(known, chosen, allowed) for chosen in (member, ~member)]
    inside, outside = (log_normal(phi, side.mean, pooled(side, counted)) for side in sides)
    likely = probability(known)
    expected = (means(likely, member, allowed) + means(likely, ~member, allowed)) / 2
    return inside - outside, log_probability(phi) - np.log(expected)
