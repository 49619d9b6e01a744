"""The weights of a bootstrap: one per sample and replicate, drawn once for all scores of the same samples."""

# V victims, N samples, B replicates

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from pruneaudit.core.set_aside import let_go, set_aside
from pruneaudit.metrics.arrays import Bools, Floats

BLOCK_BYTES = 40_000_000  # of weights; a block's work in progress is at most about four times that
KEPT_BYTES = 200_000_000
"""More weights than these are drawn again for every use; fewer are kept, in a temporary file if they are many."""
SAMPLES_AT_ONCE = 512  # of a transposition: its reads and writes then stay in the processor's cache
VICTIMS_AT_ONCE = 32


class SampleWeights:
    """Exponential weights, `standard_exponential((B, N))` of one generator, in blocks of replicates."""

    def __init__(self, draws: Callable[[], np.random.Generator], num_resamples: int) -> None:
        """Takes a function that returns the generator, always in the same state, and B."""
        self._draws, self.num_resamples = draws, num_resamples
        self._num_samples = -1
        self._kept: list[tuple[slice, Floats]] = []
        self._totals: dict[object, tuple[Bools, Floats]] = {}

    def blocks(self, num_samples: int) -> Iterator[tuple[slice, Floats]]:
        """Yields some replicates at a time, and their weights (N, B'), those of one sample contiguous."""
        if num_samples != self._num_samples:
            self._num_samples, self._kept = num_samples, []
            self._totals.clear()
        if self._kept:
            for part, weights in self._kept:
                yield part, weights
                let_go(weights)
            return
        found: list[tuple[slice, Floats]] = []
        keeps = 8 * num_samples * self.num_resamples <= KEPT_BYTES
        for block in self._drawn(num_samples):
            yield block
            if keeps:
                found.append((block[0], set_aside(block[1])))
        self._kept = found

    def _drawn(self, num_samples: int) -> Iterator[tuple[slice, Floats]]:
        generator, step = self._draws(), max(1, BLOCK_BYTES // (8 * max(1, num_samples)))
        for start in range(0, self.num_resamples, step):
            part = slice(start, min(start + step, self.num_resamples))
            drawn = generator.standard_exponential((part.stop - part.start, num_samples))  # (B', N)
            weights = np.empty(drawn.T.shape)
            for first in range(0, num_samples, SAMPLES_AT_ONCE):
                weights[first : first + SAMPLES_AT_ONCE] = drawn[:, first : first + SAMPLES_AT_ONCE].T
            yield part, weights

    def totals(self, place: object, chosen: Bools, weights: Floats) -> Floats:
        """Total weight of the chosen samples (V, N) in each replicate of a block, (V, B').

        Attacks on the same victims mostly score the same samples, so the last answer at a place is kept.

        Args:
            place: names the victims and the block.
            chosen: (V, N), not changed afterwards.
            weights: (N, B') of the block.
        """
        known = self._totals.get(place)
        if known is None or not np.array_equal(known[0], chosen):
            known = self._totals[place] = chosen, weighed(chosen.astype(np.float64), weights)
        return known[1]


def weighed(chosen: Floats, weights: Floats) -> Floats:
    """Total weight of the samples marked with 1 in (V, N), in each replicate, (V, B)."""
    return np.asarray(chosen @ weights)


class PairWeights:
    """Weights of models and of samples, whose product weighs a pair (Owen 2007); drawn once for all scores of them."""

    def __init__(self, draws: Callable[[], np.random.Generator], num_resamples: int) -> None:
        """Takes a function that returns the generator, always in the same state, and B."""
        self._draws, self.num_resamples = draws, num_resamples
        self._known: tuple[tuple[int, ...], Floats, Floats] = ((), np.empty(0), np.empty(0))
        self._totals: dict[bool, tuple[Bools, Floats]] = {}

    def of(self, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
        """The weights (B, V) and (B, N) for scores (V, N); a single model has weight 1."""
        if self._known[0] != shape:
            generator, num_victims = self._draws(), shape[0]
            by_model, by_sample = (np.ones((self.num_resamples, num)) for num in shape)
            for of_models, of_samples in zip(by_model, by_sample, strict=True):
                if num_victims > 1:
                    generator.standard_exponential(out=of_models)
                generator.standard_exponential(out=of_samples)
            self._known, self._totals = (shape, by_model, set_aside(by_sample)), {}
        return self._known[1:]

    def let_go(self) -> None:
        """Gives back the memory of many weights, until they are used again."""
        let_go(self._known[2])

    def totals(self, chosen: Bools, is_member: bool) -> Floats:
        """Total weight in each replicate (B,) of the members, or of the non-members, marked in (V, N)."""
        known = self._totals.get(is_member)
        if known is None or not np.array_equal(known[0], chosen):
            by_model, by_sample = self.of(chosen.shape)
            found = np.zeros(self.num_resamples)
            for victims in range(0, len(chosen), VICTIMS_AT_ONCE):
                part = slice(victims, victims + VICTIMS_AT_ONCE)
                found += (by_model[:, part] * (by_sample @ chosen[part].T.astype(np.float64))).sum(axis=1)
            known = self._totals[is_member] = chosen, found
        return known[1]
