"""Leakage against accuracy: what the undefended dense releases already reach, and leakage at equal accuracy.

Each release is a point: test accuracy and leakage under the declared attack, matched knowledge. The baseline are the
undefended dense releases (trained for fewer epochs, with other weight decay, smaller); `equal_accuracy` holds each
release against them.
"""

# R releases, V victims, N samples, B replicates, K = 2 R figures: the accuracies, then the leakages

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np

from pruneaudit.core import seeds
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.evaluation.columns import tpr_column, tpr_title
from pruneaudit.evaluation.equal_accuracy import Difference, at_equal_accuracy, dominated, joint_replicates, weighed
from pruneaudit.evaluation.findings import Row, Writer
from pruneaudit.evaluation.measure import NUM_RESAMPLES
from pruneaudit.metrics import two_way
from pruneaudit.metrics.arrays import Bools, Floats
from pruneaudit.metrics.bootstrap import BLOCK_BYTES

LEVELS = (0.01, 0.001)
"""False-positive rates whose TPR counts as leakage beside the AUC, where the study reports them."""
NUM_JOINT = 5 * NUM_RESAMPLES
"""Joint replicates: each draw of the samples meets five of the models."""
ENDS = ("", "_low", "_high")
_NO_VICTIM = "no victim has an accuracy and a leakage in every release"


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
    yield from _of_metric("auc", "AUC", seeds.AUC, writers, replicates, undefended, seed)
    for index, level in enumerate(levels):
        if level in LEVELS:
            found = [writer.measured for writer in writers.values()]
            rates = [(measured.tpr[:, index], measured.tpr_replicates[..., index]) for measured in found]
            figures = [(accuracy, rate) for (accuracy, _), rate in zip(replicates, rates, strict=True)]
            yield from _of_metric(
                tpr_column(level), tpr_title(level), seeds.TPR.format(100 * level), writers, figures, undefended, seed
            )


_Figure = tuple[Floats, Floats]  # values (V,) and replicates (B, V)


def _replicates(writers: Iterable[Writer], seed: int) -> list[tuple[_Figure, _Figure]]:
    """Test accuracy and AUC of every release's victims with the weights that `measure` drew for the TPRs."""
    writers = list(writers)
    num_samples = writers[0].measured.scores.shape[1]
    generator, step = numpy_generator(seed, seeds.BOOTSTRAP), max(1, BLOCK_BYTES // (8 * max(1, num_samples)))
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
    token: str,
    writers: Mapping[str, Writer],
    figures: Sequence[tuple[_Figure, _Figure]],
    undefended: Collection[str],
    seed: int,
) -> Iterator[Row]:
    """The rows of one metric, whose reasons in findings begin with its title; draws know it by its token."""
    means = [next(writer.findings()) for writer in writers.values()]  # the first of a game's findings is the mean
    leakage = np.array([mean[metric] for mean in means])  # (R,), NaN where refused
    accuracies = [two_way(*writer.accuracies.test) for writer in writers.values()]
    accuracy = np.array([found.value for found in accuracies])  # (R,)
    usable = np.flatnonzero(~np.isnan(leakage)).tolist()
    baseline = np.array([name in undefended for name in writers])  # (R,)
    differences = _differences([figures[place] for place in usable], baseline[usable], token, seed)
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
    figures: Sequence[tuple[_Figure, _Figure]], baseline: Bools, token: str, seed: int
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
    joint = joint_replicates(
        values[whole], replicates[:, whole], NUM_JOINT, numpy_generator(seed, seeds.FRONTIER, token)
    )
    return at_equal_accuracy(values[whole].mean(axis=0), joint, baseline)
