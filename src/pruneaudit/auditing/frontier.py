"""Leakage against accuracy: what the undefended dense releases already reach, and leakage at equal accuracy.

Each release is a point: test accuracy and leakage under the declared attack, matched knowledge. The baseline are the
undefended dense releases (trained for fewer epochs, with other weight decay, smaller). Their lower envelope at an
accuracy is the least leakage of those that are at least as accurate: a step function, nothing interpolated, and refused
above the most accurate baseline. A release's leakage at equal accuracy is its own less the envelope at its accuracy.

Intervals are joint: in every replicate samples and models weigh the same for all releases and for both axes, and
accuracies, leakages, the envelope with its choice of a release, and the difference are made anew. Samples weigh as in
`metrics.bootstrap`. Models do not get weights of their own: a weight per model times a weight per sample counts what
is of one (model, sample) pair three times (Owen 2007), and releases of one bank differ in little else. The means over
samples move instead along the directions in which models vary beyond their samples, as `metrics.intervals` counts it.

Choosing a minimum errs downwards, the difference therefore upwards, and replicates err once more: the percentile
interval is moved down by twice what the choice shifts replicates. Where baselines tie, replicates understate the shift
(they start from leakages that differ already), so the lower end is also at most a limit that holds for all that may be
the least at once. `tests/auditing/test_frontier_coverage.py` simulates it, and what happens without.
"""

# R releases, V victims, N samples, B replicates, K = 2 R figures: the accuracies, then the leakages

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pruneaudit.auditing.findings import Row, Writer
from pruneaudit.auditing.measure import NUM_RESAMPLES
from pruneaudit.metrics import PerVictim, two_way
from pruneaudit.metrics.arrays import Bools, Floats
from pruneaudit.metrics.bootstrap import BLOCK_BYTES
from pruneaudit.randomness import numpy_generator
from pruneaudit.results import tpr_column

LEVELS = (0.01, 0.001)
"""False-positive rates whose TPR counts as leakage beside the AUC, where the study reports them."""
ROUNDING = 1e-9
"""Accuracies that differ by less are the same: those of two equal releases must not be told apart by their sums."""
NUM_JOINT = 5 * NUM_RESAMPLES
"""Joint replicates: each draw of the samples meets five of the models."""
ALPHA = 0.05
CLEARLY = 2.0
"""Deviations by which a baseline leaks clearly more than the least leaking."""
OF_BASELINE = "a baseline: held against an envelope that it is a part of, so there is no interval"
ENDS = ("", "_low", "_high")
_NO_VICTIM = "no victim has an accuracy and a leakage in every release"
_NO_BASELINE = "no undefended dense release has a figure here"


class Difference(NamedTuple):
    """Leakage of one release at equal accuracy."""

    value: float
    """Its leakage less the envelope's; below 0 it leaks less than any baseline that is as accurate. NaN: refused."""
    low: float
    """Lower end of the interval; NaN where there is none, or where it is open."""
    high: float
    envelope: int
    """Place of the release that is the envelope there; -1: there is none."""
    refused: str
    """Why the value or its interval is missing; empty where both are there."""


def dominated(accuracy: Floats, leakage: Floats) -> Bools:
    """Which points another one beats: at least as accurate, leaking no more, and better in one of the two.

    Args:
        accuracy: (R,) in [0, 1], higher = better.
        leakage: (R,) lower = better; NaN neither beats nor is beaten.
    """
    no_worse = (accuracy[None] >= accuracy[:, None]) & (leakage[None] <= leakage[:, None])  # (R, R): by the column
    better = (accuracy[None] > accuracy[:, None]) | (leakage[None] < leakage[:, None])
    return np.asarray((no_worse & better).any(axis=1))


def lower_envelope(accuracy: Floats, leakage: Floats, at: Floats) -> tuple[Floats, np.ndarray]:
    """The least leakage among the baseline points that are at least as accurate.

    Args:
        accuracy: (..., R) of the baseline, which may be of no release at all.
        leakage: (..., R) of the baseline.
        at: (...) accuracies.

    Returns:
        The envelope (...), infinite where no point is as accurate: nothing is extrapolated. And the place of the
        point that it is, the first of equals, or -1.
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

    Exact for a mean such as an accuracy. An AUC, a mean over pairs, is taken to first order: what is left out is
    smaller by the square root of the number of members.

    Args:
        found: the metric with the influence of each sample.
        sides: the (V, N) bool masks that influence values are normalised over: non-members for a test accuracy, members
            and non-members for an AUC.
        weights: (B, N), positive.
    """
    replicates = np.repeat(found.values[None], len(weights), axis=0)  # (B, V)
    for side in sides:
        chosen, counts = side.astype(np.float64), np.count_nonzero(side, axis=1)  # (V, N), (V,)
        totals = weights @ chosen.T  # (B, V)
        with np.errstate(invalid="ignore"):  # a victim with nobody on this side has no value
            replicates += (weights @ (found.influence * chosen).T) * np.sqrt(counts * (counts - 1.0)) / totals
    return replicates


def joint_replicates(values: Floats, replicates: Floats, num: int, rng: np.random.Generator) -> Floats:
    """Replicates of means over victims, over the draw of samples and of models, for all figures at once.

    With S, M and B the covariances by sample, by model and by both, as in `metrics.intervals`, their covariance is
    S + (shared / (V - 1) + M - B), shared = S - B, each difference kept from being negative in any direction. S is
    what the samples' replicates have; the rest is drawn from a t distribution with V - 1 degrees of freedom.

    Args:
        values: (V, K) figures of each victim.
        replicates: (B, V, K) with weighted samples, the same weights for all figures.
        num: how many.
        rng: source of what models vary by.

    Returns:
        (num, K). With one victim, over the draw of samples alone.
    """
    num_victims, num_figures = values.shape
    deviations = replicates - replicates.mean(axis=0)  # (B, V, K)
    of_samples = deviations.mean(axis=1)  # (B, K)
    joint = values.mean(axis=0) + np.resize(of_samples, (num, num_figures))
    if num_victims < 2:
        return joint
    freedom, num_draws = num_victims - 1, len(replicates) - 1
    by_sample = of_samples.T @ of_samples / num_draws
    flat = deviations.reshape(-1, num_figures)
    by_both = flat.T @ flat / num_draws / num_victims**2
    about = values - values.mean(axis=0)
    by_model = about.T @ about / freedom / num_victims
    shared = _root(by_sample - by_both)
    further = _root(shared @ shared.T / freedom + by_model - by_both)  # (K, K)
    drawn = rng.standard_normal((num, num_figures)) * np.sqrt(freedom / rng.chisquare(freedom, (num, 1)))
    return joint + drawn @ further.T


def _root(symmetric: Floats) -> Floats:
    """A matrix A with A A' the given one, but for directions in which that is negative, where it is 0."""
    found, directions = np.linalg.eigh((symmetric + symmetric.T) / 2)
    # What rounding leaves of a direction without variance (two equal releases) is none: its root would not be small.
    kept = np.where(found > 1e-12 * np.abs(found).max(), found, 0.0)
    return np.asarray(directions * np.sqrt(kept))


def at_equal_accuracy(values: Floats, joint: Floats, baseline: Bools, alpha: float = ALPHA) -> list[Difference]:
    """Every release's leakage less the envelope's at its accuracy.

    Args:
        values: (K,) accuracies and leakages.
        joint: (B, K) their joint replicates.
        baseline: (R,) bool.
        alpha: error probability of each interval.
    """
    num_releases = len(baseline)
    places = np.flatnonzero(baseline)
    accuracy, leakage = values[:num_releases], values[num_releases:]
    found = []
    for release in range(num_releases):
        envelope, chosen = lower_envelope(accuracy[places], leakage[places], accuracy[release])
        value = float(leakage[release] - envelope)
        if not np.isfinite(value):
            found.append(Difference(np.nan, np.nan, np.nan, -1, _unreached(accuracy[release], accuracy[places])))
        elif baseline[release]:
            found.append(Difference(value, np.nan, np.nan, int(places[chosen]), OF_BASELINE))
        else:
            limits = _limits(values, joint, places, release, value, alpha)
            found.append(Difference(value, *limits[:2], int(places[chosen]), limits[2]))
    return found


def _limits(
    values: Floats, joint: Floats, places: np.ndarray, release: int, value: float, alpha: float
) -> tuple[float, float, str]:
    """Ends of one difference's interval, and why the lower one is open, if it is."""
    num_releases = values.size // 2
    accuracies, leakages = joint[:, :num_releases], joint[:, num_releases:]
    envelope, _ = lower_envelope(accuracies[:, places], leakages[:, places], accuracies[:, release])  # (B,)
    missed = np.isinf(envelope)
    differences = leakages[:, release] - envelope  # -inf where no baseline is as accurate, whatever it leaks
    # Only the choice of the least counts as a shift. A choice that changes because accuracies do goes either way, and
    # widens the interval as it should.
    as_accurate = places[values[places] >= values[release] - ROUNDING]
    each = leakages[:, [release]] - leakages[:, as_accurate]  # (B, those): less each of them
    shift = 2 * (each.max(axis=1).mean() - value)
    low = float(np.quantile(differences, alpha / 2, method="lower")) - shift
    high = float(np.quantile(differences, 1 - alpha / 2, method="higher")) - shift
    own = values[num_releases + release] - values[num_releases + as_accurate]
    ends = max(min(low, _simultaneous(own, each, alpha), value), -1.0), min(max(high, value), 1.0)
    if low > -np.inf:
        return *ends, ""
    share = f"{100 * missed.mean():.0f}% of the resamples"
    return np.nan, ends[1], f"lower end: in {share} no undefended dense release is as accurate"


def _simultaneous(own: Floats, each: Floats, alpha: float) -> float:
    """A lower limit of the greatest of several differences, any of which may be the greatest in truth.

    The greatest estimate exceeds the greatest truth by no more than the largest of the errors does. Those that are
    clearly less (by two deviations) cannot be the greatest, and their errors do not count.

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


def _unreached(accuracy: float, baseline: Floats) -> str:
    if not baseline.size:
        return _NO_BASELINE
    return (
        f"its test accuracy of {100 * accuracy:.3f}% is above that of every undefended dense release (at most "
        f"{100 * baseline.max():.3f}%), and nothing is extrapolated"
    )


def frontier_rows(writers: Mapping[str, Writer], undefended: Collection[str], seed: int) -> Iterator[Row]:
    """The rows of the frontier: every release under the declared attack, for the AUC and the TPR at 1% and 0.1% FPR.

    Args:
        writers: the measured game of each release, all of one attack, on the same victims and samples.
        undefended: the releases that are the baseline; without any there are no rows.
        seed: the study's.
    """
    if not writers or not undefended:
        return
    replicates = _replicates(writers.values(), seed)
    levels = next(iter(writers.values())).levels
    yield from _of_metric("auc", "AUC", writers, replicates, undefended, seed)
    for index, level in enumerate(levels):
        if level in LEVELS:
            found = [writer.measured for writer in writers.values()]
            rates = [(measured.tpr[:, index], measured.tpr_replicates[..., index]) for measured in found]
            figures = [(accuracy, rate) for (accuracy, _), rate in zip(replicates, rates, strict=True)]
            title = f"TPR at {100 * level:g}% FPR"
            yield from _of_metric(tpr_column(level), title, writers, figures, undefended, seed)


_Figure = tuple[Floats, Floats]  # values (V,) and replicates (B, V)


def _replicates(writers: Iterable[Writer], seed: int) -> list[tuple[_Figure, _Figure]]:
    """Test accuracy and AUC of every release's victims with the weights that `measure` drew for the TPRs."""
    writers = list(writers)
    num_samples = writers[0].measured.scores.shape[1]
    generator, step = numpy_generator(seed, "bootstrap"), max(1, BLOCK_BYTES // (8 * max(1, num_samples)))
    parts: list[list[tuple[Floats, Floats]]] = [[] for _ in writers]
    for start in range(0, NUM_RESAMPLES, step):
        weights = generator.standard_exponential((min(step, NUM_RESAMPLES - start), num_samples))  # (B, N)
        for part, writer in zip(parts, writers, strict=True):
            view, measured = writer.game.view, writer.measured
            tested = view.attacked.ordinary[view.victims] & ~measured.member  # (V, N)
            accuracy = weighed(writer.accuracies.test, [tested], weights)
            sides = [measured.ordinary & measured.member, measured.ordinary & ~measured.member]
            part.append((accuracy, weighed(measured.auc, sides, weights)))
    return [
        (
            (writer.accuracies.test.values, np.concatenate([accuracy for accuracy, _ in part])),
            (writer.measured.auc.values, np.concatenate([area for _, area in part])),
        )
        for writer, part in zip(writers, parts, strict=True)
    ]


def _of_metric(
    metric: str,
    title: str,
    writers: Mapping[str, Writer],
    figures: Sequence[tuple[_Figure, _Figure]],
    undefended: Collection[str],
    seed: int,
) -> Iterator[Row]:
    """The rows of one metric, whose reasons in findings begin with its title."""
    means = [next(writer.findings()) for writer in writers.values()]  # the first of a game's findings is the mean
    leakage = np.array([mean[metric] for mean in means])  # (R,), NaN where refused
    accuracies = [two_way(*writer.accuracies.test) for writer in writers.values()]
    accuracy = np.array([found.value for found in accuracies])  # (R,)
    usable = np.flatnonzero(~np.isnan(leakage)).tolist()
    baseline = np.array([name in undefended for name in writers])  # (R,)
    differences = _differences([figures[place] for place in usable], baseline[usable], metric, seed)
    found_at = dict(zip(usable, differences, strict=True))
    beaten, names = dominated(accuracy, leakage), list(writers)
    for place, (name, writer) in enumerate(writers.items()):
        reasons = [part for part in means[place]["refused"].split("; ") if part.startswith(f"{title}:")]
        found = found_at.get(place, Difference(np.nan, np.nan, np.nan, -1, "; ".join(reasons)))
        yield {
            "release": name,
            "knowledge": writer.game.knowledge,
            "attack": writer.attack,
            "metric": metric,
            **{f"leakage{end}": means[place][f"{metric}{end}"] for end in ENDS},
            "test_accuracy": accuracy[place],
            "test_accuracy_low": accuracies[place].low,
            "test_accuracy_high": accuracies[place].high,
            "dominated": int(beaten[place]),
            "is_baseline": int(baseline[place]),
            "envelope_release": names[usable[found.envelope]] if found.envelope >= 0 else "",
            "difference": found.value,
            "difference_low": found.low,
            "difference_high": found.high,
            "num_victims": len(writer.measured.scores),
            "refused": found.refused,
        }


def _differences(
    figures: Sequence[tuple[_Figure, _Figure]], baseline: Bools, metric: str, seed: int
) -> list[Difference]:
    """Leakage at equal accuracy of the releases that have a figure, over the victims that have all of them."""
    if not figures:
        return []
    ordered = [accuracy for accuracy, _ in figures] + [leakage for _, leakage in figures]
    values = np.stack([own for own, _ in ordered], axis=1)  # (V, K)
    replicates = np.stack([drawn for _, drawn in ordered], axis=2)  # (B, V, K)
    whole = ~(np.isnan(values).any(axis=1) | np.isnan(replicates).any(axis=(0, 2)))  # (V,)
    if not whole.any():
        return [Difference(np.nan, np.nan, np.nan, -1, _NO_VICTIM)] * len(figures)
    joint = joint_replicates(values[whole], replicates[:, whole], NUM_JOINT, numpy_generator(seed, "frontier", metric))
    return at_equal_accuracy(values[whole].mean(axis=0), joint, baseline)
