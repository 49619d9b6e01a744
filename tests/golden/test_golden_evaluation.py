"""Evaluation alone: committed predictions keep their figures, under every attack that trains nothing."""

import pandas as pd
import pytest
from golden_bank import LEVELS, TABLES, evaluated, expected

from pruneaudit.attacks import ATTACKS
from pruneaudit.evaluation.columns import EQUAL_SIZE_COLUMNS, LATER_FINDING_COLUMNS
from pruneaudit.metrics import all_metrics


@pytest.fixture(scope="module")
def tables():
    return evaluated()


def without_later_metrics(table):
    """A table without the columns, rows and reasons of metrics that were added since the files were written."""
    known = expected("findings").columns
    quantities = [quantity for metric in all_metrics() for quantity in metric.quantities(LEVELS)]
    later = [quantity for quantity in quantities if quantity.column not in known]
    columns = [f"{quantity.column}{end}" for quantity in later for end in ("", "_low", "_high")]
    table = table.drop(columns=[*columns, *LATER_FINDING_COLUMNS, *EQUAL_SIZE_COLUMNS], errors="ignore")
    if "metric" in table:
        table = table[~table["metric"].isin(columns)].reset_index(drop=True)
    titles = tuple(f"{quantity.title}:" for quantity in later)
    if titles and "suppressed" in table:
        reasons = [[part for part in text.split("; ") if not part.startswith(titles)] for text in table["suppressed"]]
        table = table.assign(refused=["; ".join(parts) for parts in reasons])
    return table


@pytest.mark.parametrize("name", TABLES)
def test_figures_stay_as_they_are(tables, name, tmp_path):
    known = without_later_metrics(tables[name])
    known.to_csv(tmp_path / "now.csv", index=False)  # so that both have gone through the same form
    now, before = pd.read_csv(tmp_path / "now.csv"), expected(name)
    assert len(before)
    pd.testing.assert_frame_equal(now, before, rtol=0, atol=1e-9)


def test_every_attack_that_trains_nothing_is_there(tables):
    lacking = {"holdout", "structure"}  # the bank's holdout is small, and predictions have no masks
    possible = [name for name in ATTACKS.names() if not lacking & ATTACKS.get(name).needs]
    untrained = {name for name in possible if not ATTACKS.get(name).trains}
    labels = set(tables["findings"]["attack"])
    assert untrained == {label.split(":")[0] for label in labels}
    assert {"lira", "lira:mode=offline", "rmia", "rmia:mode=offline"} <= labels
