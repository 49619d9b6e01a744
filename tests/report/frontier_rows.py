"""Made-up rows of the frontier for tests of the report."""

import math

import pandas as pd

from pruneaudit.evaluation.columns import FRONTIER_COLUMNS

PRUNED, BASELINE = "l1unstructured-0.9", "dense+finetune"


def frontier_row(release, difference, low, high, is_baseline=0):
    found = dict.fromkeys(FRONTIER_COLUMNS, math.nan) | {"release": release, "references": "matched", "attack": "lira"}
    found |= {"metric": "auc", "leakage": 0.6, "test_accuracy": 0.8, "dominated": 0, "is_baseline": is_baseline}
    found |= {"difference": difference, "difference_low": low, "difference_high": high, "suppressed": ""}
    return found | {"envelope_release": "dense", "num_victims": 16}


def with_frontier(*rows):
    """An edit: these rows beside the two dense releases, which are the baseline; pruned ones are added as needed."""

    def edit(parts):
        base = [frontier_row(name, 0.0, math.nan, math.nan, is_baseline=1) for name in ("dense", BASELINE)]
        parts["frontier"] = pd.DataFrame([*base, *rows])
        known = set(parts["releases"]["release"])
        more = [row["release"] for row in rows if row["release"] not in known]
        pruned = parts["releases"][parts["releases"]["release"] == PRUNED]
        copies = [pruned.assign(release=name, sparsity=0.5) for name in more]
        parts["releases"] = pd.concat([parts["releases"], *copies], ignore_index=True)

    return edit
