"""Attacks written the plainest way: one victim and one sample at a time, straight from the papers' formulas.

What `attacks.py` measures the package against, and checks its answers by.
"""

# M models, N samples, C classes, Z holdout samples

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np


def softmax_of_one(logits: np.ndarray) -> list[float]:
    """The class probabilities of one sample, from its logits (C,)."""
    highest = max(logits)
    powers = [math.exp(value - highest) for value in logits]
    return [power / sum(powers) for power in powers]


def loss(p: Sequence[float], label: int) -> float:
    """The log-odds of p_y, which rank as the negated cross-entropy does (arXiv 1709.01604)."""
    return math.log(p[label] / (1 - p[label]))


def entropy(p: Sequence[float], label: int) -> float:
    """The negated logarithm of the entropy (arXiv 2003.10595)."""
    return -math.log(-sum(value * math.log(value) for value in p))


def modified_entropy(p: Sequence[float], label: int) -> float:
    """The negated logarithm of the modified entropy (arXiv 2003.10595)."""
    wrong = sum(value * math.log(1 - value) for other, value in enumerate(p) if other != label)
    return -math.log(-(1 - p[label]) * math.log(p[label]) - wrong)


OF_PREDICTIONS: dict[str, Callable[[Sequence[float], int], float]] = {
    "loss": loss,
    "entropy": entropy,
    "modified_entropy": modified_entropy,
}


def prediction_scores(name: str, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Scores (M, N) of every model's prediction on every sample, from logits (M, N, C)."""
    score = OF_PREDICTIONS[name]
    return np.array(
        [
            [score(softmax_of_one(row), label) for row, label in zip(model.tolist(), labels.tolist(), strict=True)]
            for model in logits
        ]
    )


def lira(phi: np.ndarray, member: np.ndarray, scored: np.ndarray, pools: bool, victims: Sequence[int]) -> np.ndarray:
    """LiRA online (arXiv 2112.03570): each victim against all other models.

    Args:
        phi: (M, N) float64.
        member: (M, N) bool.
        scored: (N,) bool.
        pools: one variance of each side for all samples, instead of one per sample.
        victims: rows of models.

    Returns:
        (victims, N), NaN where a sample is not scored.
    """
    scores = np.full((len(victims), phi.shape[1]), np.nan)
    for row, victim in zip(scores, victims, strict=True):
        others = np.arange(len(phi)) != victim
        squares, freedom = [0.0, 0.0], [0, 0]
        means, variances = np.full((phi.shape[1], 2), np.nan), np.full((phi.shape[1], 2), np.nan)
        for sample in range(phi.shape[1]):
            for side in (0, 1):
                values = phi[others & (member[:, sample] == bool(side)), sample]
                if len(values) > 1:
                    variances[sample, side] = values.var(ddof=1)
                if len(values):
                    means[sample, side] = values.mean()
                    squares[side] += ((values - values.mean()) ** 2).sum()
                    freedom[side] += len(values) - 1
        pooled = [total / number for total, number in zip(squares, freedom, strict=True)]
        for sample in np.flatnonzero(scored):
            logs = []
            for side in (0, 1):
                variance = pooled[side] if pools or math.isnan(variances[sample, side]) else variances[sample, side]
                away = phi[victim, sample] - means[sample, side]
                logs.append(-(away**2) / (2 * variance) - math.log(variance) / 2)
            row[sample] = logs[1] - logs[0]
    return scores


def rmia(
    phi: np.ndarray, member: np.ndarray, scored: np.ndarray, victims: Sequence[int], gamma: float = 1.0, a: float = 0.3
) -> np.ndarray:
    """RMIA online (arXiv 2312.03262), every sample beside every z; without the package's breaking of ties.

    Args:
        phi: (M, N) float64.
        member: (M, N) bool.
        scored: (N,) bool; the others are the Z samples z.
        victims: rows of models.
        gamma: how much more probable than z the sample must be.
        a: of the estimate of p(z).

    Returns:
        (victims, N), NaN where a sample is not scored.
    """
    probability = 1 / (1 + np.exp(-phi))
    scores = np.full((len(victims), phi.shape[1]), np.nan)
    for row, victim in zip(scores, victims, strict=True):
        others = np.arange(len(phi)) != victim
        z_ratios = np.array(
            [
                probability[victim, z] / (((1 + a) * probability[others, z].mean() + (1 - a)) / 2)
                for z in np.flatnonzero(~scored)
            ]
        )
        for sample in np.flatnonzero(scored):
            inside, outside = others & member[:, sample], others & ~member[:, sample]
            if inside.any() and outside.any():
                prior = (probability[inside, sample].mean() + probability[outside, sample].mean()) / 2
                row[sample] = (probability[victim, sample] / prior >= gamma * z_ratios).mean()
    return scores


def class_threshold(scores: np.ndarray, member: np.ndarray) -> float:
    """The threshold with the best balanced accuracy, every member's score tried in turn (arXiv 2003.10595).

    It lies halfway to the next lower score; of equally good ones the highest is taken.

    Args:
        scores: (n,), higher = more likely a member.
        member: (n,) bool, both kinds.
    """
    best, found = -1.0, math.nan
    for cut in sorted(set(scores[member].tolist())):
        accuracy = ((scores[member] >= cut).mean() + (scores[~member] < cut).mean()) / 2
        if accuracy >= best - 1e-12:
            best, found = accuracy, cut
    below = scores[scores < found]
    return (found + below.max()) / 2 if len(below) else found
