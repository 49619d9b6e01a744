"""The pages of docs/claims/ show what its results.csv says, and each verdict there follows from its interval."""

import importlib.util
import math
from pathlib import Path

import pytest

from pruneaudit.claims.catalogue import CLAIMS, num_intervals
from pruneaudit.claims.rule import NOT_TESTED, level_of, verdict
from pruneaudit.claims.verdicts import lines, runs_in

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("claims_pages", ROOT / "scripts" / "claims_pages.py")
claims_pages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(claims_pages)
TABLE = claims_pages.read(claims_pages.RESULTS)
measured = pytest.mark.skipif(TABLE is None, reason="no results.csv yet: the pages say so")
KINDS = {claim.name: claim.kind for claim in CLAIMS}


@measured
def test_both_data_sets_stand_there_with_every_claim():
    deciding = TABLE[TABLE["part"] == "deciding"]
    assert sorted(runs_in(TABLE)) == ["claims-fashion", "claims-location"]
    assert set(deciding["source"]) == {"location", "fashion_mnist_5k"}
    for _, rows in deciding.groupby("run"):
        assert list(rows["claim"]) == [claim.name for claim in CLAIMS]
        assert not (rows["verdict"] == NOT_TESTED).any()
    assert TABLE["level"].to_numpy() == pytest.approx(level_of(num_intervals(2)))


@measured
def test_every_verdict_follows_from_its_interval():
    given = TABLE[(TABLE["part"] != "beside") & (TABLE["verdict"] != NOT_TESTED)]
    assert len(given) > 40
    for row in given.to_dict("records"):
        expected = verdict(KINDS[row["claim"]], row["low"], row["high"])
        is_weak = "joint attack is weak" in row["note"]
        assert row["verdict"] == ("not shown" if is_weak else expected), row
        ends = [end for end in (row["low"], row["high"]) if not math.isnan(end)]
        assert min([*ends, row["value"]]) >= -1 and (math.isnan(row["low"]) or row["low"] <= row["value"])
    assert (TABLE[TABLE["part"] == "beside"]["verdict"] == "").all()


@pytest.mark.parametrize("name", claims_pages.parts(TABLE))
def test_the_page_shows_these_results(name):
    text = claims_pages.file_of(name).read_text()
    assert text == claims_pages.filled(text, name, claims_pages.parts(TABLE)[name])


@measured
def test_attacks_that_disagree_come_first():
    others = [line.claim.name for line in lines(TABLE) if line.otherwise]
    text = (claims_pages.FOLDER / "index.md").read_text()
    for name in others:
        said = f"Other attacks judge {name} otherwise"
        assert text.index(said) < text.index("| Claim |")
