"""Finds the releases that a release is compared with, at equal accuracy and at equal size.

| comparison | candidates, if they are at least as accurate |
|---|---|
| at equal accuracy | the undefended dense releases |
| at equal size | all other undefended releases, compressed or not, of at most its compressed bytes |

Defended releases are compared with candidates, but are not candidates themselves: both comparisons ask whether a
release without a defence leaks less. A size is a fixed number, the mean over victims of the entropy bound
(`compression.storage_size`): networks of one release differ in it by little, and the size of a release is known before
any attack, so it is not resampled.
"""

# R releases

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pruneaudit.metrics.arrays import Bools, Floats

ROUNDING = 1e-9
"""Accuracies that differ by less are equal: rounding of sums must not distinguish two equal releases."""
SIZE_TOLERANCE = 0.01
"""A release is as small as another if it has at most this fraction more bytes: entropies of codes differ a little
between releases of equal bits."""
_NO_BASELINE = "no undefended dense release has a figure here"
_NO_SIZE = "its compressed size is not known"


@dataclass(frozen=True, eq=False)
class Candidates:
    """With which releases each release is compared, provided that they are at least as accurate."""

    allowed: Bools
    """(R, R): by row, the candidates of a release. A release that is its own candidate has no interval."""
    called: str
    """Words for a candidate, in the singular."""
    nobody: Sequence[str]
    """(R,) why a release has no candidates, if it has none."""

    def unreached(self, release: int, accuracy: float, of_candidates: Floats) -> str:
        """Why no candidate is as accurate as a release.

        Args:
            release: its index.
            accuracy: its accuracy.
            of_candidates: the accuracies of its candidates, of which there can be none.
        """
        if not of_candidates.size:
            return self.nobody[release]
        return (
            f"its test accuracy of {100 * accuracy:.3f}% is above that of every {self.called} (at most "
            f"{100 * of_candidates.max():.3f}%), and nothing is extrapolated"
        )


def at_equal_accuracy(baseline: Bools) -> Candidates:
    """The undefended dense releases.

    Args:
        baseline: (R,) which releases these are.
    """
    return Candidates(np.tile(baseline, (len(baseline), 1)), "undefended dense release", [_NO_BASELINE] * len(baseline))


def at_equal_size(sizes: Floats, undefended: Bools) -> Candidates:
    """The other undefended releases that are as small.

    Args:
        sizes: (R,) compressed bytes; NaN: not known.
        undefended: (R,) which releases have no defence.

    Example:
        >>> at_equal_size(np.array([4000.0, 1000.0, 1005.0]), np.ones(3, dtype=bool)).allowed.astype(int).tolist()
        [[0, 1, 1], [0, 0, 1], [0, 1, 0]]
    """
    as_small = sizes[None] <= sizes[:, None] * (1 + SIZE_TOLERANCE)  # (R, R), False without a size
    allowed = as_small & undefended & ~np.eye(len(sizes), dtype=bool)
    other = "other release" if undefended.all() else "other undefended release"
    nobody = [
        _NO_SIZE if np.isnan(size) else f"no {other} with a figure here has at most its {size:,.0f} bytes"
        for size in sizes
    ]
    return Candidates(allowed, f"{other} of at most its size", nobody)
