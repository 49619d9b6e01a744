"""Where no undefended network is about as accurate as a release, the page says so."""

import numpy as np
import pandas as pd
import pytest

from pruneaudit.evaluation.columns import FRONTIER_COLUMNS
from pruneaudit.report.selection import far_from_baselines
from pruneaudit.report.sentences.counts import counted_changes

PRUNED = "l1unstructured-0.9"


@pytest.fixture
def results(make_results):
    """Dense networks at 80%, and a pruned release at a given accuracy below them."""

    def build(accuracy, shorter=None):
        rows = [("dense", 0.80, 1, np.nan, 0.0), (PRUNED, accuracy, 0, "dense", -0.1)]
        rows += [("dense-short", shorter, 1, np.nan, 0.0)] if shorter else []

        def edit(parts):
            named = ("release", "test_accuracy", "is_baseline", "envelope_release", "difference")
            table = pd.DataFrame([dict(zip(named, row, strict=True)) for row in rows])
            table = table.assign(
                metric="auc", attack="lira", references="matched", leakage=0.6, suppressed="", num_victims=16
            )
            table["difference_low"], table["difference_high"] = table["difference"] - 0.01, table["difference"] + 0.01
            parts["frontier"] = table.reindex(columns=FRONTIER_COLUMNS)

        return make_results(edit)

    return build


@pytest.mark.parametrize(
    ("accuracy", "shorter", "is_far"),
    [
        (0.79, None, False),
        (0.781, None, False),
        (0.779, None, True),
        (0.72, None, True),
        (0.72, 0.73, False),
        (0.72, 0.71, True),
    ],
)
def test_near_is_two_points_above_at_most(results, accuracy, shorter, is_far):
    found = results(accuracy, shorter)
    assert far_from_baselines(found) == ((PRUNED,) if is_far else ())
    assert ("lost accuracy" in counted_changes(found, "dense")) is is_far
