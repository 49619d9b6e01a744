"""Turns inputs into meaningful numbers: images and tables unchanged, texts as counts of tokens.

Ids are names, so their values have no meaning; the tokens of a text are counted instead. Attacks and checks that learn
from inputs alone (`features.py`, `evaluation/input_difference.py`) read these numbers.
"""

# N samples, T tokens, V vocabulary, K counted ids

from __future__ import annotations

import numpy as np

from pruneaudit.data.audit_data import AuditData

MOST_COUNTED = 250
"""K: ids that are counted one by one; the most frequent ones."""
_BLOCK = 4096


def numbers_of(audit_data: AuditData, known: np.ndarray | None = None) -> np.ndarray:
    """Returns inputs whose numbers can be compared.

    Args:
        audit_data: N samples.
        known: (N,) bool, the texts that say which ids are frequent; None: all.

    Returns:
        x itself (N, ...) for images and tables; for texts float32 (N, K + 3): how often each of the most frequent ids
        occurs, then the number of tokens, of different ones, and of those that are not among the K.
    """
    if audit_data.lengths is None or audit_data.vocabulary is None:
        return audit_data.x
    telling = np.ones(len(audit_data.y), dtype=bool) if known is None else known
    return token_counts(audit_data.x, audit_data.lengths, audit_data.vocabulary.size, telling)


def token_counts(x: np.ndarray, lengths: np.ndarray, vocabulary_size: int, known: np.ndarray) -> np.ndarray:
    """Counts the most frequent ids of texts.

    Args:
        x: (N, T) int ids.
        lengths: (N,) int, the number of real tokens.
        vocabulary_size: V.
        known: (N,) bool, the texts that say which ids are frequent.

    Returns:
        float32 (N, K + 3), as `numbers_of` describes.
    """
    rows = np.flatnonzero(known)
    real = np.arange(x.shape[1]) < lengths[rows, None]
    frequency = np.bincount(x[rows][real], minlength=vocabulary_size)  # (V,)
    counted = np.argsort(-frequency, kind="stable")[:MOST_COUNTED]
    counted = np.sort(counted[frequency[counted] > 0])  # (K,)
    column = np.full(vocabulary_size, len(counted))  # the last column is that of all other ids
    column[counted] = np.arange(len(counted))
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(x), _BLOCK)]
    return np.concatenate([_counts(x[block], lengths[block], column, len(counted)) for block in blocks])


def _counts(x: np.ndarray, lengths: np.ndarray, column: np.ndarray, num_counted: int) -> np.ndarray:
    real = np.arange(x.shape[1]) < lengths[:, None]  # (n, T)
    rows = np.nonzero(real)[0]
    places = rows * (num_counted + 1) + column[x[real]]
    counts = np.bincount(places, minlength=len(x) * (num_counted + 1)).reshape(len(x), -1)  # (n, K + 1)
    ordered = np.sort(np.where(real, x, -1), axis=1)
    different = (np.diff(ordered, axis=1, prepend=-1) > 0).sum(axis=1)  # a padded place is -1, which is never above
    return np.column_stack([counts[:, :-1], lengths, different, counts[:, -1]]).astype(np.float32)
