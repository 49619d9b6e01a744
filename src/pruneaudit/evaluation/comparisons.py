"""Paired differences: between releases under one attack, and between attacks on one release.

Differences are taken per victim and per sample, so that common errors cancel. Two overlapping
intervals would not show whether there is a difference.
"""

from __future__ import annotations

from collections.abc import Iterator

from pruneaudit.evaluation.findings import Row, Writer
from pruneaudit.evaluation.measure import Accuracies
from pruneaudit.metrics import Estimate, difference_of, difference_two_way


def compare_releases(writer: Writer, baseline: Writer) -> Iterator[Row]:
    """One attack on a release minus the same attack on another."""
    which = {
        "release": writer.setting.release,
        "baseline": baseline.setting.release,
        "references": writer.setting.references,
        "attack": writer.attack,
    }
    return _rows(which, writer, baseline)


def compare_attacks(writer: Writer, baseline: Writer) -> Iterator[Row]:
    """One attack minus another in the same attack setting."""
    which = {
        "release": writer.setting.release,
        "references": writer.setting.references,
        "attack": writer.attack,
        "against": baseline.attack,
    }
    return _rows(which, writer, baseline)


def compare_accuracy(release: str, mine: Accuracies, baseline: str, other: Accuracies) -> Row:
    """Test accuracy of a release minus that of another."""
    which = {"release": release, "baseline": baseline, "references": "", "attack": "", "metric": "test_accuracy"}
    return {**which, **_figures(difference_two_way(mine.test, other.test)), "num_victims": len(mine.test.values)}


def _rows(which: Row, writer: Writer, baseline: Writer) -> Iterator[Row]:
    for metric, found in _differences(writer, baseline):
        yield {**which, "metric": metric, **_figures(found), "num_victims": len(writer.measured.scores)}


def _differences(writer: Writer, baseline: Writer) -> Iterator[tuple[str, Estimate]]:
    """Every metric that both report, first minus second."""
    fewest = tuple(min(counts) for counts in zip(writer.fewest, baseline.fewest, strict=True))
    for metric, quantity in writer.figures:
        if not metric.restates and metric.suppressed(quantity, *fewest) is None:
            mine, other = (side.measured.by_column[quantity.column] for side in (writer, baseline))
            yield quantity.column, difference_of(mine, other, metric.bounds)


def _figures(found: Estimate) -> Row:
    return {"difference": found.value, "low": found.low, "high": found.high}
