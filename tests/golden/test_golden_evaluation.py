"""Evaluation alone: committed predictions keep their figures, under every attack that trains nothing."""

import pandas as pd
import pytest
from golden_bank import TABLES, evaluated, expected

from pruneaudit.attacks import ATTACKS


@pytest.fixture(scope="module")
def tables():
    return evaluated()


@pytest.mark.parametrize("name", TABLES)
def test_figures_stay_as_they_are(tables, name, tmp_path):
    tables[name].to_csv(tmp_path / "now.csv", index=False)  # so that both have gone through the same form
    now, before = pd.read_csv(tmp_path / "now.csv"), expected(name)
    assert len(before)
    pd.testing.assert_frame_equal(now, before, rtol=0, atol=1e-9)


def test_every_attack_that_trains_nothing_is_there(tables):
    untrained = {name for name in ATTACKS.names() if not ATTACKS.get(name).trains}
    labels = set(tables["findings"]["attack"])
    assert untrained == {label.split(":")[0] for label in labels}
    assert {"lira", "lira:mode=offline", "rmia", "rmia:mode=offline"} <= labels
