"""Tests whether members and others differ in their inputs: a classifier that sees only inputs and labels must not tell.

If members come from another source than others (other years, other preprocessing, other compression of pictures), an
attack can find that difference instead of membership. Gradient boosting is trained to recognise members from the label
and features of the input:

    tables    the columns (at most `MAX_COLUMNS`, drawn once), and mean, spread and share of zeros of each row
    images    means of blocks of pixels, and for each channel mean, spread, extremes, edges, blocks of JPEG and border
    texts     counts of the most frequent tokens, and the number of tokens (`data/token_counts.py`), as a table

The classifier is cross-fitted: each half of the samples is scored by one that was trained on the other half. The AUC is
the mean of the halves' own AUCs, since scores of two classifiers do not compare, and pooling them would be biased. If
there is no difference, each half's AUC has mean 0.5 and DeLong's variance, whatever was learned. But the two AUCs are
correlated: a chance association in one half shows up in both. So the ends of the interval are the means of the halves'
own ends, which is wide enough for any correlation. (With five folds, intervals that took folds for independent covered
82% instead of 95% with 300 samples, and 92% with 1,000.)
"""

# N samples, F features, K folds

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from pruneaudit.core import seeds
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.metrics import Estimate, auc_influence, per_victim

NUM_FOLDS = 2
MIN_SAMPLES = 100
"""Fewest members, and fewest others: 50 of each in a half."""
MAX_SAMPLES = 4_000
"""More are drawn at random, half of them members: the classifier must stay a matter of seconds."""
MAX_COLUMNS = 300
GRID = 8
"""Block means per side of an image."""
JPEG_BLOCK = 8


@dataclass(frozen=True)
class InputDifference:
    """How well a classifier recognises members by their inputs alone."""

    auc: Estimate
    """0.5 without a difference, with a 95% interval over samples."""
    num_members: int
    """Samples that were used."""
    num_others: int

    @property
    def differs(self) -> bool:
        """Whether the interval excludes 0.5."""
        return not self.auc.low <= 0.5 <= self.auc.high


def input_difference(
    x: np.ndarray, y: np.ndarray, member: np.ndarray, counted: np.ndarray, seed: int = 0
) -> InputDifference | None:
    """Trains classifiers of members on inputs and labels, and measures them on samples that they did not see.

    Args:
        x: (N, ...) numbers: tables (N, F), images (N, channels, height, width), or texts by `numbers_of`.
        y: (N,) int labels.
        member: (N,) bool, of one model.
        counted: (N,) bool, the samples that the audit scores.
        seed: seed of folds and classifiers.

    Returns:
        None with fewer than `MIN_SAMPLES` members or others.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, y, member = rng.normal(size=(400, 3)), np.zeros(400, int), np.arange(400) < 200
        >>> x[member, 0] += 2  # members differ
        >>> input_difference(x, y, member, np.ones(400, bool)).differs
        True
    """
    rng = numpy_generator(seed, seeds.INPUTS)
    sides = [np.flatnonzero(counted & side) for side in (member, ~member)]
    if min(map(len, sides)) < MIN_SAMPLES:
        return None
    sides = [np.sort(rng.permutation(rows)[: MAX_SAMPLES // 2]) for rows in sides]
    rows = np.concatenate(sides)
    truth = np.repeat([True, False], [len(side) for side in sides])
    fold = np.concatenate([rng.permutation(np.arange(len(side)) % NUM_FOLDS) for side in sides])
    seen = np.column_stack([y[rows], features(x[rows], rng)])  # (n, 1 + F)
    scores = _cross_fitted(seen, truth, fold, int(rng.integers(2**31)))
    by_fold = np.where(fold == np.arange(NUM_FOLDS)[:, None], scores, np.nan)  # (K, n)
    areas = auc_influence(by_fold, np.broadcast_to(truth, by_fold.shape))
    of_folds = per_victim(*areas, num_trials=min(map(len, sides)) // NUM_FOLDS)
    value, low, high, error = np.mean([(each.value, each.low, each.high, each.std_error) for each in of_folds], axis=0)
    auc = Estimate(float(value), float(low), float(high), float(error), "mean of two halves, over samples")
    return InputDifference(auc, len(sides[0]), len(sides[1]))


def features(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the classifier sees of the inputs, (N, F) float32.

    Args:
        x: (N, ...) inputs.
        rng: chooses columns of wide tables.
    """
    if x.ndim == 4:
        return _of_images(x.astype(np.float32))
    return _of_tables(x.reshape(len(x), -1).astype(np.float32), rng)


def _cross_fitted(seen: np.ndarray, truth: np.ndarray, fold: np.ndarray, seed: int) -> np.ndarray:
    """Scores (n,), each from a classifier that was trained without the fold of the sample."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    scores = np.empty(len(truth))
    with threadpool_limits(limits=1):
        for number in range(NUM_FOLDS):
            held_out = fold == number
            classifier = HistGradientBoostingClassifier(
                max_iter=40,
                max_leaf_nodes=8,
                min_samples_leaf=10,
                l2_regularization=1.0,
                early_stopping=False,
                random_state=seed,
            )
            classifier.fit(seen[~held_out], truth[~held_out])
            scores[held_out] = classifier.decision_function(seen[held_out])
    return scores


def _of_tables(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    whole = np.column_stack([x.mean(axis=1), x.std(axis=1), (x == 0).mean(axis=1)])
    if x.shape[1] > MAX_COLUMNS:
        x = x[:, np.sort(rng.choice(x.shape[1], MAX_COLUMNS, replace=False))]
    return np.column_stack([x, whole])


def _of_images(x: np.ndarray) -> np.ndarray:
    """Block means (N, channels, at most 8, at most 8) and statistics (N, channels, ...), flat."""
    heights, widths = (_edges(size) for size in x.shape[2:])
    blocks = np.add.reduceat(np.add.reduceat(x, heights[:-1], axis=2), widths[:-1], axis=3)
    blocks /= np.outer(np.diff(heights), np.diff(widths))
    pixels, border = (2, 3), np.ones(x.shape[2:], dtype=bool)
    border[1:-1, 1:-1] = False
    statistics: list[np.ndarray] = [reduce(x, pixels) for reduce in _STATISTICS]
    statistics += [(x == 0).mean(pixels), x[..., border].mean(-1), (x[..., border] == 0).mean(-1)]
    for axis in pixels:
        if x.shape[axis] < 3:
            continue
        step = np.abs(np.diff(x, axis=axis))
        bend = np.abs(np.diff(x, n=2, axis=axis))
        at_block = np.arange(1, x.shape[axis]) % JPEG_BLOCK == 0
        statistics += [step.mean(pixels), bend.mean(pixels)]
        if at_block.any():
            statistics.append(np.compress(at_block, step, axis=axis).mean(pixels) - step.mean(pixels))
    return np.column_stack([blocks.reshape(len(x), -1), np.stack(statistics, axis=-1).reshape(len(x), -1)])


_STATISTICS: tuple[Callable[..., np.ndarray], ...] = (np.mean, np.std, np.min, np.max)


def _edges(size: int) -> np.ndarray:
    """Where blocks begin along an axis, and its end; at most `GRID` blocks."""
    return np.unique(np.linspace(0, size, min(GRID, size) + 1).astype(int))
