"""The table of samples that releases used in addition to the members, and whether an attacker recognises them."""

from __future__ import annotations

from dataclasses import dataclass

from pruneaudit.evaluation.results import Results
from pruneaudit.evaluation.shaping_samples import SHAPING
from pruneaudit.report.quantities import AUC


@dataclass(frozen=True)
class ShapingLine:
    """One release that used samples beside the members."""

    release: str
    used: str
    """How many samples of which part, and by what."""
    auc: str
    """Empty where there is no figure."""
    interval: str
    finding: str
    """What the interval allows to say, or why there is no figure."""


def shaping_lines(results: Results) -> tuple[ShapingLine, ...]:
    """Returns a line for each release that used samples beside the members; none if no release did."""
    lines = []
    for row in results.about.get(SHAPING) or []:
        used = f"{row['num_used']:,} {row['part']} samples, for {', '.join(row['by'])}"
        if "reason" in row:
            lines.append(ShapingLine(str(row["release"]), used, "", "", str(row["reason"])))
            continue
        interval, finding = AUC.interval(row["low"], row["high"], tells_from=0.5), _finding(row["low"], row["high"])
        lines.append(ShapingLine(str(row["release"]), used, AUC.value(row["auc"]), interval, finding))
    return tuple(lines)


def _finding(low: float, high: float) -> str:
    if low > 0.5:
        return "recognised: these samples leak too"
    return "told from unused ones, but with the opposite sign" if high < 0.5 else "not shown to be recognised"
