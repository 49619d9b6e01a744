"""Leakage against the lower envelope of other releases, with joint intervals: at equal accuracy and at equal size.

`candidates.py` says with which releases each one is compared. The envelope at an accuracy is the least leakage of the
candidates that are at least as accurate. It is a step function without interpolation, and has no value above the most
accurate candidate.

Every replicate draws samples and models once, for all releases and for both axes. It recomputes accuracies, leakages,
the envelope with its choice of a release, and the difference. Samples get the weights of `metrics.bootstrap`.
Models get no weights: a weight per model times a weight per sample counts the noise of one (model, sample) pair three
times (Owen 2007), and this noise is most of the difference between releases of one bank. Instead, the means over
samples move along the directions in which models vary beyond their samples, as in `metrics.intervals`.

A minimum over candidates is biased downwards, so the difference is biased upwards, and replicates add the same bias
again. The percentile interval is therefore moved down by twice the shift that the choice causes in replicates. Where
candidates tie, replicates understate the shift (they start from leakages that differ already). So the lower end is also
limited by a bound that holds simultaneously for all that may leak least.
`tests/evaluation/test_frontier_coverage.py` and `test_equal_size_coverage.py` simulate the interval with and without
this.
"""

# R releases, V victims, N samples, B replicates, K = 2 R figures: the accuracies, then the leakages

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pruneaudit.evaluation.candidates import ROUNDING, Candidates
from pruneaudit.metrics import PerVictim
from pruneaudit.metrics.arrays import Bools, Floats

ALPHA = 0.05
CLEARLY = 2.0
"""A candidate that leaks more than the least leaking one by this many deviations leaks clearly more."""
OF_BASELINE = "a baseline: it is part of the envelope that it is compared with, so there is no interval"


class Difference(NamedTuple):
    """Leakage of one release minus the envelope's."""

    value: float
    """Below 0 it leaks less than every candidate that is as accurate. NaN: refused."""
    low: float
    """Lower end of the interval; NaN if there is none, or if it is open."""
    high: float
    envelope: int
    """Index of the release that is the envelope there; -1: there is none."""
    suppressed: str
    """Why the value or its interval is missing; empty if both are there."""


def dominated(accuracy: Floats, leakage: Floats) -> Bools:
    """Which points another one beats: it is at least as accurate, leaks no more, and is better in one of the two.

    Args:
        accuracy: (R,) in [0, 1], higher = better.
        leakage: (R,) lower = better; NaN neither beats nor is beaten.
    """
    no_worse = (accuracy[None] >= accuracy[:, None]) & (leakage[None] <= leakage[:, None])  # (R, R): by the column
    better = (accuracy[None] > accuracy[:, None]) | (leakage[None] < leakage[:, None])
    return np.asarray((no_worse & better).any(axis=1))


def lower_envelope(accuracy: Floats, leakage: Floats, at: Floats) -> tuple[Floats, np.ndarray]:
    """The least leakage among the points that are at least as accurate.

    Args:
        accuracy: (..., R) accuracies of the candidates, of which there can be none.
        leakage: (..., R) leakages of the candidates.
        at: (...) accuracies.

    Returns:
        The envelope (...), infinite where no point is as accurate: nothing is extrapolated. And the index of its
        point, the first of equals, or -1.
    """
    if not accuracy.shape[-1]:
        return np.full(np.shape(at), np.inf), np.full(np.shape(at), -1)
    as_accurate = accuracy >= np.asarray(at)[..., None] - ROUNDING
    eligible = np.where(as_accurate & ~np.isnan(leakage), leakage, np.inf)
    place = eligible.argmin(axis=-1)
    value = np.take_along_axis(eligible, place[..., None], axis=-1)[..., 0]
    return value, np.where(np.isinf(value), -1, place)


def weighed(found: PerVictim, sides: Sequence[Bools], weights: Floats) -> Floats:
    """A metric of every victim with weighted samples, (B, V).

    Exact for a mean such as an accuracy. An AUC, a mean over pairs, is computed to first order: the neglected part is
    smaller by the square root of the number of members.

    Args:
        found: the metric with the influence of each sample.
        sides: the (V, N) bool masks over which influence values are normalised: non-members for a test accuracy,
            members and non-members for an AUC.
        weights: (B, N), positive.
    """
    replicates = np.repeat(found.values[None], len(weights), axis=0)  # (B, V)
    for side in sides:
        chosen, counts = side.astype(np.float64), np.count_nonzero(side, axis=1)  # (V, N), (V,)
        totals = weights @ chosen.T  # (B, V)
        with np.errstate(invalid="ignore"):  # a victim without samples on this side has no value
            replicates += (weights @ (found.influence * chosen).T) * np.sqrt(counts * (counts - 1.0)) / totals
    return replicates


def joint_replicates(values: Floats, replicates: Floats, num: int, rng: np.random.Generator) -> Floats:
    """Replicates of means over victims, over the draw of samples and of models, for all figures at once.

    With S, M and B the covariances by sample, by model and by both, as in `metrics.intervals`, their covariance is
    S + (shared / (V - 1) + M - B), shared = S - B, where no difference may be negative in any direction. The samples'
    replicates provide S; the rest is drawn from a t distribution with V - 1 degrees of freedom.

    Args:
        values: (V, K) figures of each victim.
        replicates: (B, V, K) with weighted samples, the same weights for all figures.
        num: number of replicates.
        rng: source of the models' variation.

    Returns:
        (num, K). With one victim, only over the draw of samples.
    """
    num_victims, num_figures = values.shape
    deviations = replicates - replicates.mean(axis=0)  # (B, V, K)
    of_samples = deviations.mean(axis=1)  # (B, K)
    joint = values.mean(axis=0) + np.resize(of_samples, (num, num_figures))
    if num_victims < 2:
        return joint
    num_draws = len(replicates) - 1
    by_sample = of_samples.T @ of_samples / num_draws
    flat = deviations.reshape(-1, num_figures)
    return joint + draws_of_models(values, by_sample, flat.T @ flat / num_draws / num_victims**2, num, rng)


def draws_of_models(values: Floats, by_sample: Floats, by_both: Floats, num: int, rng: np.random.Generator) -> Floats:
    """What the draw of models adds to means over victims, beyond that of the samples (num, K); see `joint_replicates`.

    Args:
        values: (V, K) figures of each victim, of at least two.
        by_sample: (K, K) covariance of the means by sample.
        by_both: (K, K) likewise, by sample and model.
        num: number of draws.
        rng: source of the draws.
    """
    num_victims, num_figures = values.shape
    freedom = num_victims - 1
    about = values - values.mean(axis=0)
    by_model = about.T @ about / freedom / num_victims
    shared = root(by_sample - by_both)
    further = root(shared @ shared.T / freedom + by_model - by_both)  # (K, K)
    drawn = rng.standard_normal((num, num_figures)) * np.sqrt(freedom / rng.chisquare(freedom, (num, 1)))
    return np.asarray(drawn @ further.T)


def root(symmetric: Floats) -> Floats:
    """A matrix A with A A' equal to the given one, except in directions where that is negative: there it is 0."""
    found, directions = np.linalg.eigh((symmetric + symmetric.T) / 2)
    # Rounding errors in a direction without variance (two equal releases) are set to 0: their root would not be small.
    kept = np.where(found > 1e-12 * np.abs(found).max(), found, 0.0)
    return np.asarray(directions * np.sqrt(kept))


def against_envelope(values: Floats, joint: Floats, candidates: Candidates, alpha: float = ALPHA) -> list[Difference]:
    """Every release's leakage minus the envelope's at its accuracy.

    Args:
        values: (K,) accuracies and leakages.
        joint: (B, K) their joint replicates.
        candidates: with which releases each is compared.
        alpha: error probability of each interval.
    """
    num_releases = len(candidates.allowed)
    accuracy, leakage = values[:num_releases], values[num_releases:]
    found = []
    for release in range(num_releases):
        places = np.flatnonzero(candidates.allowed[release])
        envelope, chosen = lower_envelope(accuracy[places], leakage[places], accuracy[release])
        value = float(leakage[release] - envelope)
        if not np.isfinite(value):
            why = candidates.unreached(release, accuracy[release], accuracy[places])
            found.append(Difference(np.nan, np.nan, np.nan, -1, why))
        elif candidates.allowed[release, release]:
            found.append(Difference(value, np.nan, np.nan, int(places[chosen]), OF_BASELINE))
        else:
            low, high, share = _limits(values, joint, places, release, value, alpha)
            why = f"lower end: in {share} of the resamples no {candidates.called} is as accurate" if share else ""
            found.append(Difference(value, low, high, int(places[chosen]), why))
    return found


def _limits(
    values: Floats, joint: Floats, places: np.ndarray, release: int, value: float, alpha: float
) -> tuple[float, float, str]:
    """Ends of one difference's interval; where the lower one is open, the share of replicates without an envelope."""
    num_releases = values.size // 2
    accuracies, leakages = joint[:, :num_releases], joint[:, num_releases:]
    envelope, _ = lower_envelope(accuracies[:, places], leakages[:, places], accuracies[:, release])  # (B,)
    differences = leakages[:, release] - envelope  # -inf where no candidate is as accurate, whatever it leaks
    # Only the choice of the least counts as a shift. A choice that changes with the accuracies goes either way, and
    # rightly widens the interval.
    as_accurate = places[values[places] >= values[release] - ROUNDING]
    each = leakages[:, [release]] - leakages[:, as_accurate]  # (B, those): minus each of them
    shift = 2 * (each.max(axis=1).mean() - value)
    low = float(np.quantile(differences, alpha / 2, method="lower")) - shift
    high = float(np.quantile(differences, 1 - alpha / 2, method="higher")) - shift
    own = values[num_releases + release] - values[num_releases + as_accurate]
    ends = max(min(low, _simultaneous(own, each, alpha), value), -1.0), min(max(high, value), 1.0)
    if low > -np.inf:
        return *ends, ""
    return np.nan, ends[1], f"{100 * np.isinf(envelope).mean():.0f}%"


def _simultaneous(own: Floats, each: Floats, alpha: float) -> float:
    """A lower limit of the greatest of several differences, any of which may be the true greatest.

    The greatest estimate exceeds the true greatest by at most the largest error. Differences that are
    clearly less (by two deviations) cannot be the greatest, so their errors do not count.

    Args:
        own: (n,) the differences.
        each: (B, n) their joint replicates.
        alpha: two-sided error probability, half of which is spent here.
    """
    greatest = int(own.argmax())
    behind = (each[:, [greatest]] - each).std(axis=0)  # (n,)
    near = own >= own[greatest] - CLEARLY * behind
    errors = (each - own)[:, near].max(axis=1)
    return float(own[greatest] - np.quantile(errors, 1 - alpha / 2, method="higher"))
