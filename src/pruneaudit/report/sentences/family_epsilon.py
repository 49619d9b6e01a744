"""Says what DP-SGD guarantees for several releases together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pruneaudit.evaluation.columns import RELEASE_SEPARATOR
from pruneaudit.evaluation.results import Results
from pruneaudit.report.words import counted, first_few, verb

_UNKNOWN = "unknown: "


def epsilon_records(results: Results) -> tuple[Mapping[str, Any], ...]:
    """The records of families trained with DP-SGD (`engine.family_epsilon`); none in other runs."""
    found = results.about.get("family_epsilon")
    records = found if isinstance(found, list) else []
    return tuple(one for one in records if isinstance(one, Mapping) and one.get("family"))


def epsilon_words(results: Results) -> tuple[str, ...]:
    """For each family, what its trainings guarantee together; then what copies in the data change."""
    records = epsilon_records(results)
    copies = copies_words(results) if any(map(spent_words, records)) else ""
    return (*map(words_of, records), *([copies] if copies else []))


def epsilon_of(results: Results, releases: Sequence[str]) -> str:
    """The sentences for one set of releases; empty if nothing was recorded of it."""
    for record in epsilon_records(results):
        if set(releases_of(record)) == set(releases):
            copies = copies_words(results) if spent_words(record) else ""
            return f"{words_of(record)} {copies}".rstrip()
    return ""


def copies_words(results: Results) -> str:
    """What copies among the samples change about every epsilon; empty without copies."""
    audit_data = results.about.get("audit_data")
    number = audit_data.get("num_copies") if isinstance(audit_data, Mapping) else None
    if not isinstance(number, int) or number < 1:
        return ""
    return (
        f"{counted(number, 'sample')} {verb(number, 'is an exact copy', 'are exact copies')} of another in the same"
        " training sets. Epsilon is for one of them: a sample with copies has less protection."
    )


def releases_of(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The releases of a record."""
    return tuple(str(record["family"]).split(RELEASE_SEPARATOR))


def spent_words(record: Mapping[str, Any]) -> str:
    """`epsilon 4.18 at delta 1e-05`; empty where nothing bounds it."""
    if record.get("epsilon") is None or record.get("delta") is None:
        return ""
    return f"epsilon {record['epsilon']:.2f} at delta {record['delta']:g}"


def why_void(record: Mapping[str, Any]) -> str:
    """Why there is no epsilon."""
    return str(record.get("void_reason") or "").removeprefix(_UNKNOWN)


def words_of(record: Mapping[str, Any]) -> str:
    """What the trainings of one family guarantee together."""
    releases, spent = releases_of(record), spent_words(record)
    together = f"{first_few(releases)} together" if len(releases) > 1 else releases[0]
    if not spent:
        is_unknown = str(record.get("void_reason") or "").startswith(_UNKNOWN)
        verdict = "the epsilon is unknown" if is_unknown else "no epsilon bounds what they reveal"
        return f"{together}: {verdict}, because {why_void(record)}."
    own = [epsilon for epsilon in dict(record.get("own") or {}).values() if epsilon is not None]
    said = f"{together}: {spent}, for the presence of one training sample"
    if len(releases) > 1 and own:
        low, high = min(own), max(own)
        alone = f"{high:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
        said += f" (each alone: {alone})"
    return f"{said}."
