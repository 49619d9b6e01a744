"""Samples that become exposed from one release to another: the table, the classes, and the samples that change most."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from pruneaudit.evaluation.results import Results
from pruneaudit.report.samples import Samples
from pruneaudit.report.selection import baseline_of
from pruneaudit.report.words import attack_name

ALL = "all"
NO_SAMPLES = Samples()
NUM_SHOWN = 10
"""Number of samples listed for each release."""


@dataclass(frozen=True)
class MovedLine:
    """One release against one baseline."""

    release: str
    baseline: str
    newly: str
    """Samples that are exposed in the release and not in the baseline."""
    no_longer: str
    newly_by_chance: str
    """The same between two fine-tuning seeds of one release; empty where there is none."""
    no_longer_by_chance: str
    detected: str
    """How many before and after, of how many."""
    p_value: str


@dataclass(frozen=True)
class RisingSample:
    """One sample whose detection rate rises."""

    sample_id: str
    class_name: str
    """Its number where the classes have no names."""
    picture: str
    """A data URI; empty where there is none."""
    text: str
    """Empty where there is none."""
    before: str
    """Share of the victims that find it, in percent."""
    after: str
    change: str
    """In percentage points."""
    num_victims: int


@dataclass(frozen=True)
class Rising:
    """The samples of one release whose detection rate rises most."""

    release: str
    baseline: str
    num_rising: int
    with_pictures: bool
    with_texts: bool
    lines: tuple[RisingSample, ...]
    """Empty if samples are private and the user did not ask to show them."""


@dataclass(frozen=True)
class Detected:
    """The section of the report."""

    attack: str
    level: str
    """The false-positive rate at which samples count as found; empty if there are no lines."""
    num_references: int | None
    """The smallest number of references of any network, if each half of them is the references of the other."""
    suppressed: tuple[str, ...]
    """Why some pairs of releases have no line, each reason once."""
    lines: tuple[MovedLine, ...]
    with_floor: bool
    """Some release was fine-tuned with another seed."""
    rising: tuple[Rising, ...]


def are_public(results: Results) -> bool:
    """Whether the samples are public; where a run does not say so, they count as private."""
    audit_data = results.about.get("audit_data")
    return isinstance(audit_data, Mapping) and audit_data.get("public") is True


def detected(results: Results, samples: Samples = NO_SAMPLES, show_records: bool = True) -> Detected | None:
    """The section, or None where nothing was compared.

    Args:
        results: what it is about.
        samples: class names and pictures, where there are any.
        show_records: list single samples, with ids and pictures; otherwise they are counted only.
    """
    table = results.detection_changes
    if table.empty:
        return None
    is_told = table["suppressed"] == ""
    of_all = table[(table["class"] == ALL) & is_told]
    numbers = of_all["disjoint_references"].dropna()
    return Detected(
        attack=attack_name(str(table["attack"].iloc[0])),
        level=f"{100 * of_all['fpr'].iloc[0]:g}%" if len(of_all) else "",
        num_references=int(numbers.min()) if len(numbers) else None,
        suppressed=tuple(dict.fromkeys(table.loc[~is_told, "suppressed"])),
        lines=tuple(_line(row) for _, row in of_all.iterrows()),
        with_floor=bool(of_all["noise_newly"].notna().any()),
        rising=tuple(
            _rising(results, *pair, samples, NUM_SHOWN if show_records else 0) for pair in shown_pairs(results)
        ),
    )


def shown_samples(results: Results) -> set[str]:
    """The ids of the samples that the section lists."""
    return {
        line.sample_id for pair in shown_pairs(results) for line in _rising(results, *pair, NO_SAMPLES, NUM_SHOWN).lines
    }


def shown_pairs(results: Results) -> list[tuple[str, str]]:
    """Each release with the one baseline that sentences compare it with."""
    table = results.detection_changes
    pairs = table.loc[table["suppressed"] == "", ["release", "baseline"]].drop_duplicates()
    return [
        (release, baseline)
        for release, baseline in pairs.itertuples(index=False)
        if baseline == baseline_of(results, release)
    ]


def _line(row: pd.Series) -> MovedLine:
    before = int(row["detected_before"])
    after = before + int(row["newly_detected"]) - int(row["no_longer_detected"])
    return MovedLine(
        release=str(row["release"]),
        baseline=str(row["baseline"]),
        newly=count_text(row["newly_detected"]),
        no_longer=count_text(row["no_longer_detected"]),
        newly_by_chance=count_text(row["noise_newly"]),
        no_longer_by_chance=count_text(row["noise_no_longer"]),
        detected=f"{before:,} to {after:,} of {int(row['num_samples']):,}",
        p_value="below 0.001" if row["p_value"] < 0.001 else f"{row['p_value']:.3f}",
    )


def _rising(results: Results, release: str, baseline: str, samples: Samples, num_listed: int) -> Rising:
    table = results.sample_detection
    rows = table[(table["release"] == release) & (table["baseline"] == baseline) & (table["change"] > 0)]
    # Among equal changes, the one that rests on more victims comes first; then the order of the data.
    top = rows.sort_values(["change", "num_victims"], ascending=False, kind="stable").head(num_listed)
    lines = tuple(
        RisingSample(
            sample_id=str(row["sample_id"]),
            class_name=samples.class_name(row["class_id"]),
            picture=samples.pictures.get(str(row["sample_id"]), ""),
            text=samples.texts.get(str(row["sample_id"]), ""),
            before=f"{100 * row['detection_rate_before']:.0f}%",
            after=f"{100 * row['detection_rate_after']:.0f}%",
            change=f"{100 * row['change']:+.0f}",
            num_victims=int(row["num_victims"]),
        )
        for _, row in top.iterrows()
    )
    shown = any(line.picture for line in lines), any(line.text for line in lines)
    return Rising(release, baseline, len(rows), *shown, lines)


def class_named(samples: Samples, number: str) -> str:
    """The name of a class, with its number: names that are cut can look the same."""
    name = samples.class_name(float(number)) if number.isdecimal() else number
    return name if name == number else f"{number} {name}"


def count_text(value: float) -> str:
    """A count, or a mean of counts; empty where there is none."""
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
