"""Figures and tables of `peers.py`: what every attack found, by one function for everybody, and paired differences."""

# V victims, A audited samples

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interleaved import Spread, ratios, shown
from peer_matches import Match, Play

if TYPE_CHECKING:
    import numpy as np

# NumPy is imported in the functions: the process that starts the others stays small, or its memory would count.

LEVEL = 0.01
"""The false-positive rate of the TPR."""
NUM_RESAMPLES = 200
HEADER = (
    *("peer", "attack", "ours", "AUC, theirs / ours", "ours less theirs [95%]", "so ours is"),
    *("TPR at 1% FPR, theirs / ours", "ours less theirs [95%]", "CPU s, theirs", "CPU s, ours", "ratio"),
    *("peak (added) /MB, theirs", "ours", "not the same"),
)


@dataclass(frozen=True)
class Outcome:
    """What one play gave."""

    scores: np.ndarray | None = None
    """(V, A), higher = more likely a member."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """cpu, wall (seconds), peak, added (MB), version, notes."""
    failure: str = ""

    @classmethod
    def read(cls, folder: Path) -> Outcome:
        """What a driver has written."""
        import numpy as np

        return cls(np.load(folder / "scores.npy"), json.loads((folder / "facts.json").read_text()))


@dataclass(frozen=True)
class Compared:
    """Ours beside theirs: mean over the victims, and paired differences, ours less theirs."""

    auc: tuple[float, float]
    auc_less: tuple[float, float, float]
    """Difference and its 95% interval."""
    tpr: tuple[float, float] | None
    """None: too few non-members for the level."""
    tpr_less: tuple[float, float, float] | None

    @property
    def verdict(self) -> str:
        """Whether the interval of the AUC's difference excludes 0."""
        _, low, high = self.auc_less
        if low > 0:
            return "ahead"
        return "behind" if high < 0 else "level"


def compared(theirs: np.ndarray, ours: np.ndarray, member: np.ndarray) -> Compared:
    """Compares scores (V, A) of the same victims and samples; samples that one side does not score are left out."""
    import numpy as np

    from pruneaudit.metrics import auc_influence, bootstrap_tpr, difference_two_way
    from pruneaudit.metrics.measurement import Replicated, difference_of

    assert theirs.shape == ours.shape == member.shape, (theirs.shape, ours.shape, member.shape)
    lacking = np.isnan(theirs) | np.isnan(ours)
    sides = [np.where(lacking, np.nan, scores) for scores in (theirs, ours)]
    areas = [auc_influence(side, member) for side in sides]
    less = difference_two_way(areas[1], areas[0])
    auc = float(areas[0].values.mean()), float(areas[1].values.mean())
    auc_less = less.value, less.low, less.high
    if (~member & ~lacking).sum(axis=1).min() * LEVEL < 10:  # as an audit suppresses it
        return Compared(auc, auc_less, None, None)
    rates = []
    for side in sides:
        values, replicates = bootstrap_tpr(side, member, [LEVEL], NUM_RESAMPLES, np.random.default_rng(0))
        rates.append(Replicated(values[:, 0], replicates[:, :, 0]))
    between = difference_of(rates[1], rates[0])
    tpr = float(rates[0].values.mean()), float(rates[1].values.mean())
    return Compared(auc, auc_less, tpr, (between.value, between.low, between.high))


def rows_of(
    matches: Sequence[Match], found: Mapping[Play, Sequence[Outcome]], bank: Path
) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the table, one row for each match."""
    import numpy as np

    with np.load(bank / "rest.npz") as rest:
        member = rest["member"][rest["victims"]][:, ~rest["holdout"]]  # (V, A)
    return list(HEADER), [row_of(match, found[match.theirs], found[match.ours], member) for match in matches]


def row_of(match: Match, theirs: Sequence[Outcome], ours: Sequence[Outcome], member: np.ndarray) -> list[object]:
    """The row of a match, from the outcomes of all rounds; figures are those of the first."""
    names = [match.theirs.peer, match.theirs.said or match.theirs.attack, f"`{match.ours.said}`"]
    failed = next((outcome.failure for outcome in (*theirs, *ours) if outcome.failure), "")
    if failed:
        return [*names, *["-"] * (len(HEADER) - len(names) - 1), f"failed: {failed}"]
    assert theirs[0].scores is not None and ours[0].scores is not None
    figures = compared(theirs[0].scores, ours[0].scores, member)
    cpu = [[outcome.facts["cpu"] for outcome in side] for side in (theirs, ours)]
    each = [seconds / match.share for seconds in cpu[1]]
    peaks = [
        f"{shown(max(one.facts['peak'] for one in side))} ({shown(max(one.facts['added'] for one in side))})"
        for side in (theirs, ours)
    ]
    tpr, less = ("-", "-")
    if figures.tpr is not None and figures.tpr_less is not None:
        tpr = " / ".join(f"{rate:.1%}" for rate in figures.tpr)
        less = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * value for value in figures.tpr_less))
    return [
        *names,
        *(" / ".join(f"{area:.3f}" for area in figures.auc), "{:+.3f} [{:+.3f}, {:+.3f}]".format(*figures.auc_less)),
        *(figures.verdict, tpr, less, Spread.of(cpu[0]), Spread.of(each), f"**{ratios(cpu[0], each)}**", *peaks),
        match.note,
    ]


def versions_of(found: Mapping[Play, Sequence[Outcome]]) -> list[list[object]]:
    """Each side's version or commit, as its driver tells it."""
    told: dict[str, str] = {}
    for play, outcomes in found.items():
        for outcome in outcomes:
            told.setdefault(play.peer, "")
            told[play.peer] = told[play.peer] or str(outcome.facts.get("version", ""))
    return [[peer, version or "-"] for peer, version in told.items()]
