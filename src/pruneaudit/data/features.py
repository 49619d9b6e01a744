"""Numbers computed from the inputs alone: their principal components, fitted on half A of the holdout.

They use no network's answers and no membership. Attacks that predict how hard a sample is (`quantile`) learn from them.
"""

# n fitting samples, N samples, F components, D numbers of an input

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import svds

from pruneaudit.core.threads import one_blas_thread

NUM_COMPONENTS = 30
MAX_FITTED_ON = 4000
"""More samples hardly move 30 components."""
SMALL = 200
"""With fewer samples or numbers, all components are computed rather than the first."""
ROWS_AT_ONCE = 4096


def input_features(x: np.ndarray, fitted_on: np.ndarray) -> np.ndarray:
    """Computes the first principal components of the inputs, in units of their standard deviation.

    Args:
        x: (N, ...) images or tables, or texts by `numbers_of`; the columns of a table are scaled to unit variance.
        fitted_on: (N,) bool, the samples from which the components are found: half A of the holdout.

    Returns:
        (N, F) float32 with F = 30, or less if there are fewer samples or numbers.
    """

    def flat(rows: np.ndarray) -> np.ndarray:
        return np.asarray(x[rows]).reshape(len(rows), -1).astype(np.float64)

    known = flat(np.flatnonzero(fitted_on)[:MAX_FITTED_ON])  # (n, D)
    centre = known.mean(axis=0)
    scale = known.std(axis=0) if x.ndim == 2 else np.ones(known.shape[1])
    scale[scale == 0] = 1
    with one_blas_thread():  # the same numbers, whatever the number of cores
        components = _components((known - centre) / scale)  # (D, F)
        deviation = (((known - centre) / scale) @ components).std(axis=0)
        blocks = np.array_split(np.arange(len(x)), max(1, len(x) // ROWS_AT_ONCE))
        found = [((flat(rows) - centre) / scale) @ (components / deviation) for rows in blocks]
    return np.concatenate(found).astype(np.float32)


def _components(centred: np.ndarray) -> np.ndarray:
    """The right singular vectors (D, F) of centred data (n, D) with the largest singular values, largest first."""
    if min(centred.shape) <= SMALL:
        _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    else:
        start = np.random.default_rng(0).normal(size=min(centred.shape))
        _, values, vectors = svds(centred, NUM_COMPONENTS, v0=start)
        values, vectors = values[::-1], vectors[::-1]
    kept = (values > 1e-6 * values[0])[:NUM_COMPONENTS]
    return np.asarray(vectors[:NUM_COMPONENTS][kept].T)
