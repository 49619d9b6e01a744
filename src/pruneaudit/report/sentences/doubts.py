"""Says what is doubtful about the files of an audit of one network."""

from __future__ import annotations

from typing import Any

from pruneaudit.evaluation.doubts import DOUBTS, MEMBERS
from pruneaudit.evaluation.results import Results
from pruneaudit.report.quantities import TEST_ACCURACY


def doubt_words(results: Results) -> tuple[str, ...]:
    """A sentence for each doubt; shown before any statement about leakage."""
    return tuple(_said(found) for found in results.about.get(DOUBTS) or [])


def _said(found: dict[str, Any]) -> str:
    own, other = (TEST_ACCURACY.value(found[key]) for key in ("own", "other"))
    if found["kind"] == MEMBERS:
        return (
            f"Check the list of members: the network classifies members no better than others ({own} and {other}). "
            "Either it does not overfit, or the list does not fit the data (row numbers begin at 0)."
        )
    return (
        f"Check the references of {found['release']}: their test accuracy is {other}, but that of the attacked "
        f"network is {own}. They were probably trained or compressed in another way, so its leakage may be understated."
    )
