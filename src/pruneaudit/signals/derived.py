"""Numbers that attacks need, computed from logits in a numerically stable way."""

# n samples, C classes

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np

from pruneaudit.metrics.arrays import for_each

NUMBERS_AT_ONCE = 2**16
"""Number of logits processed at a time, so that their copy stays in the processor's cache."""


def answer_digest(logits: np.ndarray) -> bytes:
    """SHA-256 of one model's logits (n, C); equal for two models with bit-identical answers."""
    return hashlib.sha256(np.ascontiguousarray(logits)).digest()  # type: ignore[arg-type]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Ln of the class probabilities (n, C) in float64, from logits (n, C)."""
    result = np.empty(logits.shape)
    for rows, block in _class_by_class(logits):
        block -= block.max(axis=0)
        block -= np.log(np.exp(block).sum(axis=0))
        result[rows] = block.T
    return result


def scaled_confidence(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The logit-scaled true-class confidence phi = z_y - logsumexp over j != y of z_j.

    It equals ln(p_y / (1 - p_y)), but computes neither p_y nor 1 - p_y, so it stays precise
    where p_y rounds to 0 or 1 (arXiv 2112.03570).

    Args:
        logits: (n, C), C >= 2.
        labels: (n,) int.

    Returns:
        (n,) float64, in (-inf, inf).
    """
    result = np.empty(len(labels))
    for rows, block in _class_by_class(logits):
        place = labels[rows], np.arange(block.shape[1])
        true = block[place]
        block[place] = -np.inf
        highest = block.max(axis=0)
        block -= highest
        result[rows] = true - highest - np.log(np.exp(block, out=block).sum(axis=0))
    return result


def _class_by_class(logits: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields parts of the rows, each with a writable copy of its logits (C, n) in float64.

    With a class's logits contiguous, sums over classes are sums of vectors: two to three times as fast.
    """
    size = max(1, NUMBERS_AT_ONCE // max(1, logits.shape[1]))
    for start in range(0, len(logits), size):
        rows = slice(start, start + size)
        yield rows, np.array(logits[rows].T, dtype=np.float64, order="C")


def below_top(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The classes' distances below the highest one, which stay distinguishable however confident the prediction is.

    Args:
        logits: (n, C), C >= 2.

    Returns:
        The highest class (n,); its logit minus the second highest, (n,) float64, 0 or more; the logits minus the second
        highest, (n, C) float64, 0 or less, and -inf for the highest class itself.
    """
    rows, top = np.arange(len(logits)), logits.argmax(axis=1)
    others = np.array(logits, dtype=np.float64)
    highest = others[rows, top]
    others[rows, top] = -np.inf
    following = others.max(axis=1)
    others -= following[:, None]
    return top, highest - following, others


def correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the highest logit is the label's, (n,) bool."""
    return logits.argmax(axis=1) == labels


def log_probability(phi: np.ndarray) -> np.ndarray:
    """ln p_y, in (-inf, 0], from phi = ln(p_y / (1 - p_y)); any shape, float64."""  # noqa: D403
    # From phi, not from p_y: phi still distinguishes losses where p_y rounds to 1.
    return _block_by_block(_log_probability, phi)


def _log_probability(phi: np.ndarray) -> np.ndarray:
    # -ln(1 + e^-phi), with the larger of 1 and e^-phi factored out; logaddexp takes three times as long.
    return np.asarray(np.minimum(phi, 0) - np.log1p(np.exp(-np.abs(phi))))


def _block_by_block(formula: Callable[[np.ndarray], np.ndarray], numbers: np.ndarray) -> np.ndarray:
    """A formula of each number, in float64, in threads if there are many numbers."""
    values = np.asarray(numbers, dtype=np.float64)
    result = np.empty(values.shape)
    flat, found = values.reshape(-1), result.reshape(-1)

    def compute(index: int) -> None:
        part = slice(index * NUMBERS_AT_ONCE, (index + 1) * NUMBERS_AT_ONCE)
        found[part] = formula(flat[part])

    for_each(compute, -(-flat.size // NUMBERS_AT_ONCE), flat.size)
    return result


def probability(phi: np.ndarray) -> np.ndarray:
    """p_y, in (0, 1], from phi; kept above 0 so that its logarithm stays finite."""
    return _block_by_block(lambda part: np.maximum(np.exp(_log_probability(part)), np.finfo(float).tiny), phi)
