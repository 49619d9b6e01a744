"""Paired differences: between releases under one attack, and between attacks on one release.

Both are taken victim by victim and sample by sample, so that what the two have in common cancels. Two
overlapping intervals would say nothing.
"""

# V victims, N samples, L levels, B replicates

from __future__ import annotations

from collections.abc import Iterator

from pruneaudit.evaluation.columns import tpr_column
from pruneaudit.evaluation.findings import Row, Writer
from pruneaudit.evaluation.measure import Accuracies
from pruneaudit.metrics import Estimate, difference_two_way, refusal, two_way_replicates


def compare_releases(writer: Writer, baseline: Writer) -> Iterator[Row]:
    """One attack on a release less the same attack on another."""
    which = {
        "release": writer.game.release,
        "baseline": baseline.game.release,
        "knowledge": writer.game.knowledge,
        "attack": writer.attack,
    }
    return _rows(which, writer, baseline)


def compare_attacks(writer: Writer, baseline: Writer) -> Iterator[Row]:
    """One attack less another in the same game."""
    which = {
        "release": writer.game.release,
        "knowledge": writer.game.knowledge,
        "attack": writer.attack,
        "against": baseline.attack,
    }
    return _rows(which, writer, baseline)


def compare_accuracy(release: str, mine: Accuracies, baseline: str, other: Accuracies) -> Row:
    """Test accuracy of a release less that of another."""
    which = {"release": release, "baseline": baseline, "knowledge": "", "attack": "", "metric": "test_accuracy"}
    return {**which, **_figures(difference_two_way(mine.test, other.test)), "num_victims": len(mine.test.values)}


def _rows(which: Row, writer: Writer, baseline: Writer) -> Iterator[Row]:
    for metric, found in _differences(writer, baseline):
        yield {**which, "metric": metric, **_figures(found), "num_victims": len(writer.measured.scores)}


def _differences(writer: Writer, baseline: Writer) -> Iterator[tuple[str, Estimate]]:
    """Every metric that both report, first less second."""
    mine, other = writer.measured, baseline.measured
    yield "auc", difference_two_way(mine.auc, other.auc)
    yield "balanced_accuracy", difference_two_way(mine.balanced_accuracy, other.balanced_accuracy)
    fewest = int(min(mine.num_nonmembers.min(), other.num_nonmembers.min()))
    for index, level in enumerate(writer.levels):
        if refusal(fewest, level) is None:
            estimate = two_way_replicates(
                mine.tpr[:, index] - other.tpr[:, index],
                mine.tpr_replicates[..., index] - other.tpr_replicates[..., index],
                bounds=(-1.0, 1.0),
            )
            yield tpr_column(level), estimate


def _figures(found: Estimate) -> Row:
    return {"difference": found.value, "low": found.low, "high": found.high}
