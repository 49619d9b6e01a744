"""Numbers that attacks need, computed stably from logits."""

# n samples, C classes

from __future__ import annotations

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Ln of the class probabilities (n, C) in float64, from logits (n, C)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def scaled_confidence(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The logit-scaled true-class confidence phi = z_y - logsumexp over j != y of z_j.

    It equals ln(p_y / (1 - p_y)), but neither p_y nor 1 - p_y is formed, so it keeps its precision
    where p_y rounds to 0 or 1 (arXiv 2112.03570).

    Args:
        logits: (n, C), C >= 2.
        labels: (n,) int.

    Returns:
        (n,) float64, in (-inf, inf).
    """
    rows = np.arange(len(labels))
    true = logits[rows, labels].astype(np.float64)
    others = logits.astype(np.float64)
    others[rows, labels] = -np.inf
    highest = others.max(axis=1)
    return true - highest - np.log(np.exp(others - highest[:, None]).sum(axis=1))


def correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the highest logit is the label's, (n,) bool."""
    return logits.argmax(axis=1) == labels


def log_probability(phi: np.ndarray) -> np.ndarray:
    """ln p_y, in (-inf, 0], from phi = ln(p_y / (1 - p_y)); any shape, float64."""  # noqa: D403
    # From phi, not from p_y: it goes on telling losses apart where p_y rounds to 1.
    return -np.logaddexp(0, -phi)


def probability(phi: np.ndarray) -> np.ndarray:
    """p_y, in (0, 1], from phi; kept above 0 so that its logarithm stays finite."""
    return np.maximum(np.exp(log_probability(phi)), np.finfo(float).tiny)
