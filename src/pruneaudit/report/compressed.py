"""Describes how a release was compressed, and how much storage it needs."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd

from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.results import Results
from pruneaudit.report.quantities import sparsity_text
from pruneaudit.report.selection import (
    given_baseline,
    once,
    release_names,
    release_row,
    study_of,
    target_file,
)
from pruneaudit.study import INIT, lineage
from pruneaudit.study.lineage import CHAINS, compression_words, own_file, release_of

TAUGHT_ON = {
    "members": "members",
    "members-soft": "members without their labels",
    "public": "public samples",
    "mixed": "members and public samples, without labels",
}
"""The samples that a student learns from, in words."""
FLOAT_BITS = 32
"""Bits of an uncompressed weight; `compression.macs` has the same, and needs torch."""
NOT_COMPRESSED, OTHER = "not compressed", "other"
WAYS = {
    NOT_COMPRESSED: "Not compressed",
    "pruning": "Pruned weights",
    "structure": "Removed channels or heads",
    "quantisation": "Quantisation",
    "clustering": "Clustering",
    "low rank": "Low rank",
    "distillation": "Distillation",
    CHAINS: "Chains of methods",
    OTHER: "Others",
}
"""Ways of compressing with their titles, in the order of reports."""


@once
def compressed_by(results: Results, release: str) -> str:
    """The compressors of a release with their degrees, its parents' first: `l1unstructured 70%, rtn 4 bits`.

    Without a study, as the table of releases names them.
    """
    study, row = study_of(results), release_row(results, release)
    found = release_of(study, release) if study else None
    try:
        if study and found:
            return compression_words(study, found) or own_file(found)
    except UserError:  # a plug-in that is not here
        pass
    if row is None or not row["compress"]:
        return ""
    return f"{row['compress']} {sparsity_text(row['sparsity'])}" if row["sparsity"] > 0 else str(row["compress"])


@once
def taught_by(results: Results, release: str) -> tuple[str, str]:
    """The teacher's release of a student and the samples that it learned from, in words; empty for other releases."""
    study = study_of(results)
    found = release_of(study, release) if study else None
    if found is None or not found.has_teacher:
        return "", ""
    data = next(str(plugin.options["data"]) for plugin in found.compress if "data" in plugin.options)
    return found.parent, TAUGHT_ON.get(data, data)


@once
def way_of(results: Results, release: str) -> str:
    """The way in which a release was compressed, one of `WAYS`."""
    study, row = study_of(results), release_row(results, release)
    found = release_of(study, release) if study else None
    try:
        way = lineage.way_of(study, found) if study and found else ""
    except UserError:  # a plug-in that is not here
        way = ""
    return way or (OTHER if row is not None and row["compress"] else NOT_COMPRESSED)


def made_by(results: Results, release: str) -> str:
    """What the references of a release that is a file of the target went through; empty if they are dense."""
    study = study_of(results)
    found = release_of(study, release) if study else None
    if study is None or found is None or found.is_file_alone:
        return ""
    try:
        compressed = compression_words(study, found)
    except UserError:  # a plug-in that is not here
        compressed = found.method
    trained = "fine-tuning" if found.finetune and found.parent != INIT else ""
    defended = found.defense.label if found.defense else ""
    new = "training from new weights" if found.parent == INIT else ""
    return ", ".join(filter(None, (new, compressed, trained, defended)))


@once
def is_pruned_only(results: Results, release: str) -> bool:
    """Whether its weights were only pruned, so that the sparsity describes the compression completely."""
    row = release_row(results, release)
    if row is None or not row["sparsity"] > 0:
        return False
    if target_file(results, release):  # more may have been done to a file than its zeros show
        return False
    parts = compressed_by(results, release).split(", ")
    return all(part.endswith("%") for part in parts)


def of_all_parameters(row: pd.Series) -> str:
    """The sparsity over all parameters, in words; where nothing was removed but compressed, the bits per weight.

    Empty where neither was recorded.
    """
    if row["sparsity_all"] > 0:
        return f"{sparsity_text(row['sparsity_all'])} of all parameters"
    return f"{row['effective_bits']:.2f} bits per weight" if row["compress"] and row["effective_bits"] > 0 else ""


def changed_words(results: Results) -> str:
    """What was done to the releases: `pruned`, `compressed`, `defended`, or two of these with `or` between."""
    if given_baseline(results):  # nobody says which of them are compressed
        return "other"
    compressed = [name for name in release_names(results) if compressed_by(results, name)]
    all_pruned = all(is_pruned_only(results, name) for name in compressed)
    is_defended = any(row["defense"] for _, row in results.releases.iterrows() if isinstance(row["defense"], str))
    kinds = [
        *(["pruned" if all_pruned else "compressed"] if compressed else []),
        *(["defended"] if is_defended else []),
    ]
    return " or ".join(kinds) or "compressed or defended"


def effective_bits(results: Results, release: str) -> float:
    """Bits per weight of the dense network's matrices, the entropy bound; NaN where it was not recorded."""
    row = release_row(results, release)
    return math.nan if row is None else float(row["effective_bits"])


@once
def shows_sizes(results: Results) -> bool:
    """Whether some release needs fewer bits per weight than float32 has, or fewer bytes than the dense one."""
    is_smaller = bool((results.releases["compression_ratio"] > 1).any())
    return is_smaller or any(effective_bits(results, name) < FLOAT_BITS for name in release_names(results))


@once
def sizes_are_stated(results: Results) -> bool:
    """Whether somebody states the sizes of releases of which only predictions are known."""
    return bool(given_baseline(results)) and bool(results.releases["compressed_bytes"].notna().any())


def most_compressed(results: Results, releases: Iterable[str]) -> str:
    """The sparsest release, or the one of fewest bits per weight if none is pruned; the first of equals.

    It reads no result. Empty without a release.
    """

    def sparsity(release: str) -> float:
        row = release_row(results, release)
        return -1.0 if row is None or math.isnan(row["sparsity"]) else float(row["sparsity"])

    def bits(release: str) -> float:
        found = effective_bits(results, release)
        return math.inf if math.isnan(found) else found

    candidates = list(releases)
    if any(sparsity(release) > 0 for release in candidates):
        return max(candidates, key=sparsity)
    return min(candidates, key=bits, default="")
