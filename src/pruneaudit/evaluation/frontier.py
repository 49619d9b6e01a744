"""Leakage against accuracy: each release is compared with others of equal accuracy, and with others of equal size.

Each release is a point: test accuracy and leakage under the primary attack, with matched references. The baseline at
equal accuracy consists of the undefended dense releases (trained for fewer epochs, with other weight decay, smaller);
at equal size all undefended releases are candidates (`candidates`). `envelope` compares each release with them.
"""

# R releases, V victims, N samples, B replicates, K = 2 R figures: the accuracies, then the leakages

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pruneaudit.core import seeds
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.evaluation.candidates import at_equal_accuracy, at_equal_size
from pruneaudit.evaluation.comparison_plan import ComparisonPlan
from pruneaudit.evaluation.envelope import Difference, against_envelope, dominated, joint_replicates, weighed
from pruneaudit.evaluation.findings import Row, Writer
from pruneaudit.evaluation.measure import NUM_RESAMPLES
from pruneaudit.metrics import Metric, PerVictim, Quantity, Replicated, two_way
from pruneaudit.metrics.arrays import Bools, Floats
from pruneaudit.metrics.sample_weights import BLOCK_BYTES

LEVELS = (0.01, 0.001)
"""False-positive rates whose TPR counts as a leakage figure here, if the study reports them."""
NUM_JOINT = 5 * NUM_RESAMPLES
"""Number of joint replicates: each draw of the samples is combined with five of the models."""
ENDS = ("", "_low", "_high")
ACCURACY = "test_accuracy"
_NO_VICTIM = "no victim has an accuracy and a leakage in every release"


@dataclass(frozen=True, eq=False)
class _Releases:
    """The releases on the frontier."""

    writers: Mapping[str, Writer]
    """The measured attack setting of each."""
    baseline: Bools
    """(R,) the undefended dense ones."""
    undefended: Bools
    """(R,) those without a defence, compressed or not."""
    sizes: Floats
    """(R,) compressed bytes, NaN where not known."""
    seed: int
    """The study's."""


def frontier_rows(
    writers: Mapping[str, Writer], comparison_plan: ComparisonPlan, sizes: Mapping[str, float], seed: int
) -> Iterator[Row]:
    """The rows of the frontier: every release under the primary attack, for every figure of the ranking of scores.

    Among TPRs, only those at 1% and 0.1% FPR.

    Args:
        writers: the measured attack setting of each release, all of one attack, on the same victims and samples.
        comparison_plan: names the baseline releases, without any of which there are no rows, and the undefended ones.
        sizes: compressed bytes of releases, mean over victims.
        seed: the study's seed.
    """
    if not writers or not comparison_plan.undefended:
        return
    releases = _Releases(
        writers,
        np.array([name in comparison_plan.undefended for name in writers]),
        np.array([name in comparison_plan.without_defense for name in writers]),
        np.array([sizes.get(name, np.nan) for name in writers]),
        seed,
    )
    shown = [
        (metric, quantity)
        for metric, quantity in next(iter(writers.values())).figures
        if not metric.needs_threshold and (quantity.level is None or quantity.level in LEVELS)
    ]
    told = [
        quantity.column
        for metric, quantity in shown
        if any(metric.suppressed(quantity, *writer.fewest) is None for writer in writers.values())
    ]
    replicates = _replicates(list(writers.values()), told, seed)
    for metric, quantity in shown:
        known = replicates if quantity.column in told else []
        figures = [(found[ACCURACY], found[quantity.column]) for found in known]
        yield from _of_metric(metric, quantity, releases, figures)


_Figure = tuple[Floats, Floats]  # values (V,) and replicates (B, V)


def _replicates(writers: Sequence[Writer], columns: Sequence[str], seed: int) -> list[dict[str, _Figure]]:
    """For each release the replicates of its victims' test accuracy and figures, by column.

    All use the weights that `measure` drew for bootstrapped figures.
    """
    found: list[dict[str, _Figure]] = [{} for _ in writers]
    influenced: list[dict[str, tuple[PerVictim, list[Bools]]]] = []  # with the sides over which influence is normalised
    for writer, of_release in zip(writers, found, strict=True):
        attack_input, measured = writer.setting.attack_input, writer.measured
        tested = attack_input.attacked.ordinary[attack_input.victims] & ~measured.member  # (V, N)
        influenced.append({ACCURACY: (writer.accuracies.test, [tested])})
        sides = [measured.ordinary & measured.member, measured.ordinary & ~measured.member]
        for column in columns:
            measurement = measured.by_column[column]
            if isinstance(measurement, Replicated):
                of_release[column] = (measurement.values, measurement.replicates)
            else:
                influenced[-1][column] = (measurement, sides)
    num_samples = writers[0].measured.scores.shape[1]
    generator, step = numpy_generator(seed, seeds.BOOTSTRAP), max(1, BLOCK_BYTES // (8 * max(1, num_samples)))
    parts: list[dict[str, list[Floats]]] = [{column: [] for column in each} for each in influenced]
    for start in range(0, NUM_RESAMPLES, step):
        weights = generator.standard_exponential((min(step, NUM_RESAMPLES - start), num_samples))  # (B, N)
        for part, each in zip(parts, influenced, strict=True):
            for column, (measurement, sides) in each.items():
                part[column].append(weighed(measurement, sides, weights))
    for of_release, part, each in zip(found, parts, influenced, strict=True):
        of_release |= {column: (each[column][0].values, np.concatenate(part[column])) for column in part}
    return found


def _of_metric(
    metric: Metric, quantity: Quantity, releases: _Releases, figures: Sequence[tuple[_Figure, _Figure]]
) -> Iterator[Row]:
    """The rows of one figure; `figures` is empty if it is suppressed in all releases."""
    column, token, writers = quantity.column, metric.token(quantity), releases.writers
    means = [
        next(writer.findings()) for writer in writers.values()
    ]  # the first of an attack setting's findings is the mean
    leakage = np.array([mean[column] for mean in means])  # (R,), NaN where refused
    accuracies = [two_way(*writer.accuracies.test) for writer in writers.values()]
    accuracy = np.array([found.value for found in accuracies])  # (R,)
    usable = np.flatnonzero(~np.isnan(leakage)).tolist()
    differences = _differences([figures[place] for place in usable], releases, usable, token)
    found_at = dict(zip(usable, differences, strict=True))
    beaten, names = dominated(accuracy, leakage), list(writers)
    for place, (name, writer) in enumerate(writers.items()):
        reasons = [part for part in means[place]["suppressed"].split("; ") if part.startswith(f"{quantity.title}:")]
        missing = Difference(np.nan, np.nan, np.nan, -1, "; ".join(reasons))
        found, of_size = found_at.get(place, (missing, missing))
        yield {
            "release": name,
            "references": writer.setting.references,
            "attack": writer.attack,
            "metric": column,
            **{f"leakage{end}": means[place][f"{column}{end}"] for end in ENDS},
            "test_accuracy": accuracy[place],
            "test_accuracy_low": accuracies[place].low,
            "test_accuracy_high": accuracies[place].high,
            "dominated": int(beaten[place]),
            "is_baseline": int(releases.baseline[place]),
            "envelope_release": names[usable[found.envelope]] if found.envelope >= 0 else "",
            "difference": found.value,
            "difference_low": found.low,
            "difference_high": found.high,
            "num_victims": len(writer.measured.scores),
            "suppressed": found.suppressed,
            "compressed_bytes": releases.sizes[place],
            "size_release": names[usable[of_size.envelope]] if of_size.envelope >= 0 else "",
            "size_difference": of_size.value,
            "size_difference_low": of_size.low,
            "size_difference_high": of_size.high,
            "size_suppressed": of_size.suppressed,
        }


def _differences(
    figures: Sequence[tuple[_Figure, _Figure]], releases: _Releases, usable: Sequence[int], token: str
) -> list[tuple[Difference, Difference]]:
    """Leakage at equal accuracy, and at equal size, of the releases with a figure, over the victims with all of them.

    Args:
        figures: accuracy and leakage of these releases.
        releases: all releases.
        usable: the indices of those with a figure.
        token: names the metric's random draws.
    """
    if not figures:
        return []
    ordered = [accuracy for accuracy, _ in figures] + [leakage for _, leakage in figures]
    values = np.stack([own for own, _ in ordered], axis=1)  # (V, K)
    replicates = np.stack([drawn for _, drawn in ordered], axis=2)  # (B, V, K)
    whole = ~(np.isnan(values).any(axis=1) | np.isnan(replicates).any(axis=(0, 2)))  # (V,)
    if not whole.any():
        nothing = Difference(np.nan, np.nan, np.nan, -1, _NO_VICTIM)
        return [(nothing, nothing)] * len(figures)
    joint = joint_replicates(
        values[whole], replicates[:, whole], NUM_JOINT, numpy_generator(releases.seed, seeds.FRONTIER, token)
    )
    rules = (
        at_equal_accuracy(releases.baseline[usable]),
        at_equal_size(releases.sizes[usable], releases.undefended[usable]),
    )
    of_accuracy, of_size = (against_envelope(values[whole].mean(axis=0), joint, rule) for rule in rules)
    return list(zip(of_accuracy, of_size, strict=True))
