"""The report of a run: one HTML file that makes no network requests."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from pruneaudit.attacks.primary import MANY_REFERENCES, Primary
from pruneaudit.core.files import write_atomically
from pruneaudit.evaluation.canaries import SPLIT
from pruneaudit.evaluation.columns import POOLED
from pruneaudit.evaluation.results import Results
from pruneaudit.metrics.rates import MIN_FALSE_POSITIVES
from pruneaudit.report.compressed import sizes_are_stated
from pruneaudit.report.figures.against_accuracy import leakage_against_accuracy
from pruneaudit.report.figures.by_degree import leakage_by_bits, leakage_by_sparsity
from pruneaudit.report.figures.by_method import leakage_by_method
from pruneaudit.report.figures.by_num_releases import leakage_by_num_releases
from pruneaudit.report.figures.by_outputs import leakage_by_outputs
from pruneaudit.report.figures.by_references import leakage_by_references
from pruneaudit.report.figures.by_release import leakage_by_release
from pruneaudit.report.figures.detected import detected_figures
from pruneaudit.report.figures.figure import Figure
from pruneaudit.report.figures.roc import roc_by_attack, roc_by_release
from pruneaudit.report.page.document import filled
from pruneaudit.report.page.first_screen import first_screen
from pruneaudit.report.quantities import meanings
from pruneaudit.report.samples import Samples, read_named, read_samples
from pruneaudit.report.selection import (
    base_release,
    baseline_of,
    chosen_later,
    given_baseline,
    is_one_network,
    num_references,
    references_shown,
    release_names,
    why_not_alone,
)
from pruneaudit.report.sentences.attacker import not_tested_words, reference_words
from pruneaudit.report.sentences.certainty import DEMONSTRATION, of_target
from pruneaudit.report.sentences.changes import ALL_THAT_WAS_DONE
from pruneaudit.report.sentences.networks import mean_of, networks_of, paired_on
from pruneaudit.report.sentences.next_steps import trains_by_function
from pruneaudit.report.sentences.outputs import hiding_words
from pruneaudit.report.sentences.power import power_words
from pruneaudit.report.sentences.sanity_checks import data_check_words, unchecked_data_words
from pruneaudit.report.sentences.structure import structure_words
from pruneaudit.report.tables.accusations import accusations
from pruneaudit.report.tables.detected import NO_SAMPLES, are_public, detected, shown_samples
from pruneaudit.report.tables.equal_accuracy import frontier_table
from pruneaudit.report.tables.facts import listed_data, run_facts
from pruneaudit.report.tables.families import family_tables
from pruneaudit.report.tables.family_epsilon import epsilon_table
from pruneaudit.report.tables.findings import canaries_table, differences_table, findings_table, refusals
from pruneaudit.report.tables.outputs import outputs_table
from pruneaudit.report.tables.power import power_table
from pruneaudit.report.tables.records import record_tables
from pruneaudit.report.tables.released import released
from pruneaudit.report.tables.releases import releases_table
from pruneaudit.report.tables.sanity_checks import sanity_checks
from pruneaudit.report.tables.shaping_samples import shaping_lines
from pruneaudit.report.tables.structure import structure_table
from pruneaudit.report.tables.ways import by_way, ways_table
from pruneaudit.report.words import counted

_TEMPLATE = "report.html"
_SECTIONS = (
    ("frontier-heading", "Leakage at equal accuracy", "frontier"),
    ("ways-heading", "Ways of compressing", "ways"),
    ("leakage", "Leakage", ""),
    ("changes", "What each release changes", ""),
    ("families-heading", "Families of releases", "families"),
    ("structure-heading", "What structure gives away", "structure"),
    ("outputs-heading", "What hiding outputs buys", "outputs"),
    ("power-heading", "Power against the number of references", "power"),
    ("canaries", "Canaries", "canaries"),
    ("exposed-heading", "Who becomes exposed", "detected"),
    ("records-heading", "Records that can be named", "records"),
    ("released", "What was released", ""),
    ("measured", "How it was measured", ""),
)
"""Heading, words, and the part of the context that the section needs (empty: it is always there)."""


def write_report(
    results: Results, path: Path, show_records: bool | None = None, run_folder: Path | None = None
) -> Path:
    """Writes the report to `path` (atomically) and returns it.

    Args:
        results: of the run.
        path: the file.
        show_records: show ids and pictures of exposed samples, default: only for public data; and ids of records that
            lists name, default: never.
        run_folder: the folder with class names and pictures; default: the folder of `path`.
    """
    shown = are_public(results) if show_records is None else show_records
    folder = run_folder or Path(path).parent
    samples = read_samples(results, folder, shown_samples(results) if shown else ())
    if show_records:  # names of records are never shown by default, not even of public data
        samples = replace(samples, named=read_named(results, folder))
    return write_atomically(Path(path), render(results, samples, shown))


def render(results: Results, samples: Samples = NO_SAMPLES, show_records: bool | None = None) -> str:
    """The report as the text of one HTML file.

    Args:
        results: of the run.
        samples: class names, and pictures of the samples that become exposed.
        show_records: as for `write_report`.
    """
    shown = are_public(results) if show_records is None else show_records
    figures = _figures(results)
    picture = first_picture(results)
    moved = detected_figures(results, samples)
    in_sections = {
        "families_figure": leakage_by_num_releases(results),
        "outputs_figure": leakage_by_outputs(results),
        "power_figure": leakage_by_references(results),
        "methods_figure": leakage_by_method(results),
    }
    has_figures = bool(figures or picture or moved or any(in_sections.values()))
    drawn = {"figures": figures, "picture": picture, "detected_figures": moved, **in_sections}
    return filled(_TEMPLATE, _context(results, samples, shown) | drawn, has_figures)


def _figures(results: Results) -> list[tuple[Figure, str]]:
    """The figures that have something to draw, each with the table of its numbers."""
    drawn = [(leakage_by_sparsity(results), "glance")]
    # Several ways of compressing have a figure of their own, in their own section.
    drawn += [] if by_way(results) else [(leakage_by_bits(results), "glance")]
    drawn += [(leakage_by_release(results), "findings")] if len(release_names(results)) > 1 else []
    drawn += [(roc_by_release(results), ""), (roc_by_attack(results), "")]
    return [(figure, table) for figure, table in drawn if figure is not None]


def first_picture(results: Results) -> Figure | None:
    """What the first screen shows: leakage against accuracy, with the envelope where there is one.

    A single release has no place among others, so its attacks are shown instead.
    """
    return leakage_against_accuracy(results) if len(release_names(results)) > 1 else leakage_by_release(results)


def _context(results: Results, samples: Samples, show_records: bool) -> dict[str, Any]:
    about, first, measured = results.about, first_screen(results), released(results)
    releases, release_notes = releases_table(results, with_nonzero=measured is None)
    shown = {
        "frontier": frontier_table(results),
        "ways": ways_table(results),
        "families": family_tables(results),
        "structure": structure_table(results),
        "outputs": outputs_table(results),
        "power": power_table(results.power),
        "canaries": canaries_table(results),
        "detected": detected(results, samples, show_records),
        "records": record_tables(results.verdicts, samples),
    }
    return {
        "name": str(about.get("name") or "Results"),
        "description": str(about.get("description") or ""),
        "first": first,
        "demonstration": DEMONSTRATION,
        "had_references": num_references(results) != 0,
        "has_counterparts": any(line.counterpart_of for line in first.lines),
        "hiding": hiding_words(results),
        "structure_words": structure_words(results),
        "power_words": power_words(results),
        "contents": [(target, words) for target, words, needs in _SECTIONS if not needs or shown[needs]],
        **shown,
        "references_shown": references_shown(results),
        "findings": findings_table(results),
        "meanings": meanings(results.findings.columns),
        "pooled": findings_table(results, POOLED),
        "accusations": accusations(results),
        "delta": _delta(results),
        "is_split": bool((results.canaries["thresholds"] == SPLIT).any()),
        "differences": differences_table(results),
        "releases": releases,
        "release_notes": release_notes,
        "released": measured,
        "epsilons": epsilon_table(results),
        "shaping": shaping_lines(results),
        "refusals": refusals(results),
        "min_deciding": MIN_FALSE_POSITIVES,
        "kinds_of_references": reference_words(results),
        "not_tested": not_tested_words(results),
        "with_baseline": _with_baseline(results),
        "given_baseline": given_baseline(results),
        "sizes_are_stated": sizes_are_stated(results),
        "all_that_was_done": ALL_THAT_WAS_DONE,
        "chosen_later": chosen_later(results),
        "rule": _rule(results),
        "sanity_checks": sanity_checks(results),
        "data_checks": (*data_check_words(results), *unchecked_data_words(results)),
        "protocol": str(about.get("protocol") or ""),
        "is_one_network": is_one_network(results),
        "mean_of": mean_of(results),
        "by_function": trains_by_function(results),
        "paired_on": paired_on(results),
        "base_networks": networks_of(results, base_release(results)),
        "of_target": of_target(results),
        "facts": run_facts(about),
        "command": str(about.get("command") or ""),
        "settings": json.dumps(about["study"], indent=2, ensure_ascii=False) if about.get("study") else "",
        "warnings": [str(warning) for warning in about.get("warnings") or []],
        "failures": [listed_data(failure) for failure in about.get("failures") or []],
    }


def _rule(results: Results) -> str:
    """The rule that chose the primary attack, and the number of references that it knew."""
    recorded, number = Primary.recorded(results.about), num_references(results)
    is_one = is_one_network(results)
    each, has = ("the network", "it has") if is_one else ("each network", "each network has at least")
    if recorded is not None and recorded.floored:
        first = "more than 1% of the references' confidences are too close to 0 or 1, so it is"
    else:
        first = f"LiRA if {each} has {MANY_REFERENCES} references or more, else"
    known = "" if number is None else f". Here {has} {counted(number, 'reference')}"
    order = "RMIA, BASE, BaVarIA, LiRA, calibration, forgetting, quantile, modified entropy, loss"
    return f"{first} the first one played of {order}{known}"


def _delta(results: Results) -> str:
    """The delta of the bounds on epsilon."""
    given = results.canaries["delta"].dropna()
    return f"{given.iloc[0]:g}" if len(given) else ""


def _with_baseline(results: Results) -> list[tuple[str, str, str]]:
    """Each release whose baseline is not the dense networks, that baseline, and what else differs."""
    pairs = [(release, baseline_of(results, release)) for release in release_names(results)]
    base = base_release(results)
    return [(name, other, why_not_alone(results, name)) for name, other in pairs if other != base]
