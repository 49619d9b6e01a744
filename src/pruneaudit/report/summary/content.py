"""The contents of the one-page summary, in order: sentences, facts and cells of the report, shortened.

A shortened list says how many entries it leaves out; numbers are never cut. The selection does not depend on any
result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pruneaudit.evaluation.columns import MEAN
from pruneaudit.evaluation.results import Results
from pruneaudit.report.conclusions.leakage import PER
from pruneaudit.report.escaping import one_line
from pruneaudit.report.page.first_screen import FirstScreen, ReleaseLine, first_screen
from pruneaudit.report.selection import (
    attack_order,
    given_baseline,
    is_one_network,
    primary_attack,
    release_names,
    target_file,
    target_of,
)
from pruneaudit.report.sentences.answer import Answer
from pruneaudit.report.sentences.attacker import not_tested_words, reference_words
from pruneaudit.report.sentences.canaries import canary_words
from pruneaudit.report.sentences.families import families_in_short
from pruneaudit.report.sentences.family_epsilon import epsilon_words
from pruneaudit.report.sentences.sanity_checks import checks_words, data_check_words, unchecked_data_words
from pruneaudit.report.sentences.summary import (
    COMMAND_ELSEWHERE,
    NO_FIGURES,
    ONE_RELEASE,
    SEAL,
    WHOLE_REPORT,
    accusations_caption,
    and_more,
    not_sanity_checked_words,
    releases_caption,
    suppressed_words,
)
from pruneaudit.report.tables.accusations import AccusationLine, Accusations, accusations
from pruneaudit.report.tables.cells import Cell
from pruneaudit.report.tables.facts import FILES, file_checksums, listed_data, run_facts
from pruneaudit.report.tables.findings import refusals
from pruneaudit.report.tables.sanity_checks import sanity_checks
from pruneaudit.report.words import attack_name

_LONGEST_WORD = 100
"""Letters of a word, such as the name of a release: longer ones are cut."""
_LONGEST_COMMAND = 1500
"""Letters of a command: of longer ones the summary says where they are."""
BLANK = "_" * 28
"""To write on."""
_SIGNATURE = ("Name", "Date", "Signature")
_TOLD_BEFORE = ("Created", "Study", "Networks", "Target", "Data")
"""Facts of the run that an earlier part of the summary shows, so the last part leaves them out."""


@dataclass(frozen=True)
class Limits:
    """How many things the lists of a summary name."""

    releases: int = 8
    items: int = 6


@dataclass(frozen=True)
class Fact:
    """A label with what belongs to it."""

    label: str
    text: str
    is_code: bool = False
    """To be typed as it stands."""


@dataclass(frozen=True)
class Table:
    """Cells of one of the report's tables. The first column has names."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    """What was left out, and why cells are empty."""


@dataclass(frozen=True)
class Part:
    """A heading with what stands below it."""

    heading: str
    said: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Summary:
    """All of it, without a format."""

    title: str
    alarms: tuple[str, ...]
    """Said before anything else."""
    parts: tuple[Part, ...]
    signature: tuple[str, ...]
    """What is filled in by hand."""


def summary_of(results: Results, seal: str, limits: Limits, public: bool = False) -> Summary:
    """What stands on the summary of a run.

    Args:
        results: of the run.
        seal: the SHA-256 of its SHA256SUMS.
        limits: how many things lists name.
        public: leave out what is about the machine: the command, the device and the files' names.
    """
    first = first_screen(results)
    told = first.answer
    told_by_canaries, families = canary_words(results), (*families_in_short(results), *epsilon_words(results))
    alarms = (*told.alarms, *([told.disagreement] if told.disagreement else []), *told.unlearned)
    parts = (
        Part("Does it leak?", _shortened((told.leakage.whole,), limits)),
        _audited(results, limits),
        _changes(results, first, limits),
        Part("What does one more release cost?", _shortened(families, limits)) if families else None,
        _accusations(results, limits),
        Part("Do the attacks agree?", _shortened(told.agreement or (NO_FIGURES,), limits)),
        Part("Canaries: the worst case", _shortened(told_by_canaries, limits)) if told_by_canaries else None,
        _not_tested(results, limits),
        Part("How sure is this?", _shortened(_caveats(results, told), limits)),
        _provenance(results, seal, limits, public),
    )
    shown = tuple(part for part in parts if part is not None)
    return Summary(_title(results, limits), _shortened(alarms, limits), shown, () if public else _SIGNATURE)


def _title(results: Results, limits: Limits) -> str:
    several = _names(release_names(results), limits.items) if given_baseline(results) else ""
    return _clean(f"Membership-inference audit: {several or results.about.get('name') or 'Results'}")


def _audited(results: Results, limits: Limits) -> Part:
    """Networks, data, releases, attacks and references."""
    told = dict(run_facts(results.about))
    primary, networks = primary_attack(results), (told.get("Networks"), results.about.get("protocol"))
    others = [attack_name(label) for label in attack_order(results) if label != primary]
    kinds = [(f"References {kind}", words) for kind, words in reference_words(results)] or [("References", "none")]
    facts = (
        ("Networks", "" if target_of(results) else ", protocol ".join(filter(None, networks))),
        ("Target", told.get("Target", "")),
        ("Data", told.get("Data", "")),
        ("Releases", _names([_with_file(results, name) for name in release_names(results)], limits.releases)),
        ("Primary attack", attack_name(primary)),
        ("Other attacks", _names(others, limits.items)),
        *kinds[: limits.items],
        ("More references", and_more(len(kinds) - limits.items, "kind") if len(kinds) > limits.items else ""),
        ("Date of the run", told.get("Created", "")),
    )
    return Part("What was audited", facts=tuple(Fact(label, _clean(text)) for label, text in facts if text))


def _with_file(results: Results, release: str) -> str:
    """A release; of a target with its file: `dense (prod.pt)`."""
    file = target_file(results, release, with_dense=True)
    return f"{release} ({file})" if file else release


def _changes(results: Results, first: FirstScreen, limits: Limits) -> Part:
    """What is shown of each release: in groups, then one by one."""
    groups = [
        f"{group.words}: "
        + _names([f"{name} ({facts})" if facts else name for name, facts in group.releases], limits.items)
        for group in first.groups
    ]
    told = first.answer
    said = (*filter(None, (told.counts, told.at_equal_size)), *groups) if told.counts else ()
    alone = () if len(first.lines) > 1 else (ONE_RELEASE,)
    return Part(
        "What does each release change?",
        tuple(_clean(sentence) for sentence in (*said, *alone)),
        tables=(_releases_table(results, first, limits),),
    )


def _releases_table(results: Results, first: FirstScreen, limits: Limits) -> Table:
    columns: list[tuple[str, Callable[[ReleaseLine], str]]] = [
        ("Release", lambda line: line.release),
        ("Test accuracy", lambda line: _cell(line.accuracy)),
        *([("Size", lambda line: _cell(line.size))] if first.with_sizes else []),
        *([(f"Members of {PER:,}", lambda line: _cell(line.members))] if first.with_members else []),
        ("AUC", lambda line: _cell(line.leakage)),
        *([("Change of AUC", _change)] if len(first.lines) > 1 else []),
        *([("At equal accuracy", _equal)] if first.with_equal else []),
    ]
    rows = [tuple(_clean(text(line)) for _, text in columns) for line in first.lines[: limits.releases]]
    return Table(
        releases_caption(results, first.with_equal, first.with_sizes),
        tuple(title for title, _ in columns),
        tuple(rows),
        _notes(first.notes, len(first.lines) - len(rows), limits),
    )


def _change(line: ReleaseLine) -> str:
    said = f"{line.change_words} {line.against}" if line.change_words else ""
    return ", ".join(filter(None, (_cell(line.change), said)))


def _equal(line: ReleaseLine) -> str:
    return ", ".join(filter(None, (_cell(line.equal), line.equal_words)))


def _accusations(results: Results, limits: Limits) -> Part | None:
    """The positive predictive values: where references teach a threshold at that one, else at the networks' own."""
    found = accusations(results)
    if found is None:
        return None
    is_learned = any(line.learned.value for line in found.lines)
    table = _accusations_table(found, is_learned, is_one_network(results), limits)
    return Part("What is an accusation worth?", tables=(table,))


def _accusations_table(found: Accusations, is_learned: bool, is_one: bool, limits: Limits) -> Table:
    priors = tuple(dict.fromkeys(line.prior for line in found.lines))
    by_release: dict[str, dict[str, AccusationLine]] = {}
    for line in found.lines:
        by_release.setdefault(line.release, {})[line.prior] = line
    rows = []
    for release, lines in list(by_release.items())[: limits.releases]:
        cells = [
            (lines[prior].learned if is_learned else lines[prior].own) if prior in lines else None for prior in priors
        ]
        rows.append((_clean(release), *(_cell(cell) for cell in cells)))
    return Table(
        accusations_caption(found.attack, priors, found.level, is_learned, is_one),
        ("Release", *(f"{prior} members" for prior in priors)),
        tuple(rows),
        _notes(found.notes if is_learned else (), len(by_release) - len(rows), limits),
    )


def _not_tested(results: Results, limits: Limits) -> Part:
    checks = sanity_checks(results)
    unchecked = [not_sanity_checked_words(attacks, reason) for reason, attacks in (checks.missing if checks else ())]
    first: dict[str, str] = {}  # one reason for each figure: the others differ in their counts
    for reason, _ in refusals(results, MEAN):
        first.setdefault(reason.partition(":")[0], reason)
    reasons = _cut(list(first.values()), max(1, limits.items // 2), "reason")
    skipped = (*unchecked_data_words(results), *unchecked)
    others = not_tested_words(results)
    said = (
        f"{others[0].upper()}{others[1:]}",
        *skipped,
        suppressed_words(tuple(reasons), is_one_network(results)),
    )
    return Part("What was not tested?", _shortened(said, limits))


def _caveats(results: Results, told: Answer) -> tuple[str, ...]:
    warnings = [f"Warning: {warning}." for warning in results.about.get("warnings") or []]
    return (checks_words(results), *data_check_words(results), *told.caveats, *warnings)


def _provenance(results: Results, seal: str, limits: Limits, public: bool) -> Part:
    about = results.about
    left_out = (*_TOLD_BEFORE, FILES, "Versions", *(("Device",) if public else ()))
    recorded = [fact for fact in run_facts(about) if fact[0] not in left_out]
    facts = [
        *(Fact(label, _clean(text)) for label, text in recorded),
        Fact(FILES, "" if public else _clean(_names(file_checksums(about), limits.items))),
        Fact("Versions", _clean(_names(listed_data(about.get("versions")).split(", "), limits.items + 2))),
        Fact("SHA256SUMS, SHA-256", seal),
        *([] if public else [_command(str(about.get("command") or ""))]),
    ]
    return Part("Versions and checksums", (SEAL, WHOLE_REPORT), tuple(fact for fact in facts if fact.text))


def _command(command: str) -> Fact:
    """The command, whole or not at all."""
    is_short = len(command) <= _LONGEST_COMMAND
    return Fact("Command", one_line(command) if is_short else COMMAND_ELSEWHERE, is_code=is_short)


def _cell(cell: Cell | None) -> str:
    """`0.761 [0.753, 0.768]`, or a dash with the number of the reason."""
    if cell is None:
        return ""
    if not cell.value:
        return f"- ({cell.note})" if cell.note else "-"
    between = " " if cell.interval.startswith(("[", "(")) else ", "
    return f"{cell.value}{between}{cell.interval}" if cell.interval else cell.value


def _notes(reasons: Sequence[str], more: int, limits: Limits) -> tuple[str, ...]:
    numbered = [f"({number}) {reason}" for number, reason in enumerate(reasons, start=1)]
    return tuple(
        _clean(note)
        for note in (*([and_more(more, "release")] if more > 0 else []), *_cut(numbered, limits.items, "reason"))
    )


def _names(names: Sequence[str], most: int) -> str:
    return ", ".join(names[:most]) + (f" {and_more(len(names) - most)}" if len(names) > most else "")


def _cut(items: Sequence[str], most: int, what: str) -> list[str]:
    """The first ones, then how many more there are."""
    more = len(items) - most
    return [*items[:most], and_more(more, what)] if more > 0 else list(items)


def _shortened(sentences: Sequence[str], limits: Limits) -> tuple[str, ...]:
    return tuple(_clean(said) for said in _cut(sentences, limits.items, "sentence"))


def _clean(text: str) -> str:
    """One line of letters that print, no word of it long enough to fill lines."""
    return re.sub(rf"\S{{{_LONGEST_WORD},}}", lambda found: f"{found[0][: _LONGEST_WORD - 3]}...", one_line(text))
