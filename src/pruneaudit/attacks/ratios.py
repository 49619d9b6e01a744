"""The ratio that RMIA and `forgetting` share (arXiv 2312.03262), and the share of nulls that it beats.

r_x = p_y(x | victim) / p(x). Without IN references p(x) comes from the mean over OUT references alone: with
p_in = a p_out + (1 - a), the mean of both is ((1 + a) p_out + (1 - a)) / 2.
"""

# N samples, Z nulls

from __future__ import annotations

import numpy as np

from pruneaudit.attacks.ties import tie_break

PUBLISHED_A = 0.3


def offline_mean(out: np.ndarray, a: np.ndarray | float) -> np.ndarray:
    """p(x) from the mean over OUT references; any shape."""
    return np.asarray(((1 + a) * out + (1 - a)) / 2)


def offline_score(log_p: np.ndarray, out: np.ndarray, a: np.ndarray | float) -> np.ndarray:
    """Ln r_x, which ranks the samples of one victim as the share of beaten nulls does."""
    return np.asarray(log_p - np.log(offline_mean(out, a)))


def share_beaten(log_x: np.ndarray, log_z: np.ndarray, gamma: float = 1.0) -> np.ndarray:
    """Fraction of nulls z with r_x / r_z >= gamma, (N,) float64; r_x breaks ties, by less than one step.

    Args:
        log_x: (N,) ln r_x of one victim; NaN stays NaN.
        log_z: (Z,) ln r_z; only finite ones count.
        gamma: factor by which the sample's ratio must exceed z's.
    """
    log_z = np.sort(log_z[np.isfinite(log_z)])
    if not len(log_z):
        return np.full(log_x.shape, np.nan)
    # Sorted queries make each lookup start near the last one. NumPy sorts NaN slowly, infinity fast.
    order = np.argsort(np.where(np.isnan(log_x), np.inf, log_x))
    beaten = np.empty(len(log_x))
    beaten[order] = np.searchsorted(log_z, log_x[order] - np.log(gamma), side="right") / len(log_z)
    return np.where(np.isnan(log_x), np.nan, beaten + tie_break(log_x))
