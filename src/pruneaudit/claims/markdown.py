"""The verdicts and figures as Markdown: the overview, and the tables of one page."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from pruneaudit.claims.catalogue import CLAIMS, SEVERAL, Claim, num_intervals
from pruneaudit.claims.judge import BESIDE, DECIDING, OTHER, SECOND
from pruneaudit.claims.rule import NOT_TESTED, level_of
from pruneaudit.claims.verdicts import Found, Line, interval, lines, records, runs_in
from pruneaudit.evaluation.families import ATTACK as JOINT_ATTACK
from pruneaudit.report.words import attack_name

RULE = (
    "A claim of change holds where the interval lies beyond .01 AUC in its direction, and does not hold where it lies"
    " short of .01. A claim of little change holds where the interval lies within .01, and does not hold where it"
    " lies wholly outside. Distillation protects little where the student keeps at least half of its baseline's"
    " AUC - .5. Everything else is not shown."
)
SECOND_HEAD = "At equal accuracy (2: against uncompressed)"
"""Heading of the second verdict: of claims 2a and 2b it is against a second release that was not compressed."""
_PARTS = {DECIDING: "**deciding**", OTHER: "other attack", BESIDE: "beside"}


def overview(table: pd.DataFrame, linked: bool = False) -> str:
    """The table of verdicts: a row per claim.

    Args:
        table: the rows of `judge`, of one or several runs.
        linked: claims link to their pages.
    """
    runs = runs_in(table)
    heads = ["Claim", "Published in", *runs, "Overall", SECOND_HEAD, "Other attacks"]
    rows = []
    for line in lines(table):
        says = f"{line.claim.name}. {line.claim.says}"
        says = f"[{says}]({line.claim.page}.md)" if linked else says
        papers = "; ".join(paper.cited for paper in line.claim.papers)
        cells = [_verdict_cell(found) for found in line.deciding]
        rows.append([says, papers, *cells, f"**{line.overall}**", _second_cell(line), _otherwise_cell(line)])
    return _table(heads, rows)


def short_overview(table: pd.DataFrame, folder: str) -> str:
    """Verdicts with their intervals, in few columns; a star where another attack judges otherwise.

    Args:
        table: the rows of `judge`, of one or several runs.
        folder: where the pages of the claims are, for links.
    """
    rows = []
    for line in lines(table):
        claim = f"[{line.claim.name}. {line.claim.says.rstrip('.')}]({folder}/{line.claim.page}.md)"
        star = r" \*" if line.otherwise else ""
        second = line.second_overall if line.second else ""
        rows.append([claim, *(_verdict_cell(found) for found in line.deciding), f"**{line.overall}**{star}", second])
    return _table(["Claim", *(f"`{run}`" for run in runs_in(table)), "Overall", SECOND_HEAD], rows)


def about(table: pd.DataFrame) -> str:
    """How many intervals stand behind the verdicts, and their level."""
    number = num_intervals(len(runs_in(table)))
    return (
        f"Each interval has the level {100 * level_of(number):.2f}%, so that all {number} that can give"
        " verdicts hold together with 95% (Bonferroni)."
    )


def judged_on(table: pd.DataFrame) -> list[str]:
    """A line for every run: which releases and which attack decide each claim."""
    said = []
    for run in runs_in(table):
        alike: dict[str, list[str]] = {}
        for row in records(
            table[(table["run"] == run) & (table["part"] == DECIDING) & (table["verdict"] != NOT_TESTED)]
        ):
            compared = _compared(row["way"], row["release"], row["against"], row["share"])
            alike.setdefault(f"{compared} ({_attack(row['attack'])})", []).append(row["claim"])
        said += [f"{run}, judged on: " + "; ".join(f"{', '.join(names)}: {what}" for what, names in alike.items())]
    return said


def disagreements(table: pd.DataFrame, claims: Sequence[str]) -> str:
    """A sentence for every claim that another attack judges otherwise; empty if all agree."""
    said = []
    for line in lines(table):
        if line.claim.name in claims and line.otherwise:
            found = "; ".join(
                f"{_attack(each.attack)} on `{each.run}`: {each.verdict} ({each.interval})" for each in line.otherwise
            )
            said.append(f"- **Other attacks judge {line.claim.name} otherwise.** {found}.")
    return "\n".join(said)


def of_page(table: pd.DataFrame, claims: Sequence[Claim]) -> str:
    """What a page shows: disagreements first, then verdicts, then all figures.

    Args:
        table: the rows of `judge`.
        claims: those of the page.
    """
    names = [claim.name for claim in claims]
    parts = [disagreements(table, names)]
    parts.append("\n".join(_sentence(line) for line in lines(table) if line.claim.name in names))
    questions: dict[str, list[Claim]] = {}
    for claim in claims:
        questions.setdefault(claim.question, []).append(claim)
    for asked in questions.values():
        called = ", ".join(claim.name for claim in asked)
        parts.append(f"Figures for {called}:\n\n{figures(table, asked[0].name)}")
    return "\n\n".join(part for part in parts if part)


def document(table: pd.DataFrame) -> str:
    """A whole document: the overview, the rule, and the figures of every page."""
    parts = ["# Published claims", overview(table), f"{RULE} {about(table)}"]
    for page in dict.fromkeys(claim.page for claim in CLAIMS):
        claims = [claim for claim in CLAIMS if claim.page == page]
        parts += [f"## {page.replace('-', ' ').capitalize()}", of_page(table, claims)]
    return "\n\n".join(parts) + "\n"


def figures(table: pd.DataFrame, claim: str) -> str:
    """All comparisons of a claim's question, by run."""
    rows = []
    for row in records(table[table["claim"] == claim]):
        if row["verdict"] == NOT_TESTED:
            rows.append([row["run"], _part(row["part"], row["way"]), f"not tested: {row['note']}", "", "", "", ""])
            continue
        note = f" ({row['note']})" if row["note"] else ""
        difference = interval(row["value"], row["low"], row["high"])
        rows.append(
            [
                row["run"],
                _part(row["part"], row["way"]),
                _compared(row["way"], row["release"], row["against"], row["share"]),
                _attack(row["attack"]),
                f"{difference}{note}",
                _percent(row["accuracy"]),
                _percent(row["accuracy_against"]),
            ]
        )
    heads = ["Run", "Part", "Compared", "Attack", "Difference of AUC", "Accuracy", "Accuracy of the other"]
    return _table(heads, rows)


_ATTACKS = {JOINT_ATTACK: "joint attack"}


def _part(part: str, way: str) -> str:
    if part == SECOND:
        return "**against uncompressed**" if way == "together" else "**at equal accuracy**"
    return _PARTS[part]


def _compared(way: str, release: str, against: str, share: float) -> str:
    mine, other = f"`{release}`", f"`{against}`" if against else "nothing as accurate"
    if way == "together":
        return f"{mine} seen, minus {other} seen"
    half = "" if share == 1 else f"{share:g} of "
    at = " at equal accuracy" if way == "equal accuracy" else ""
    return f"{mine} minus {half}{other}{at}"


def _sentence(line: Line) -> str:
    by_run = "; ".join(f"`{found.run}`: {found.verdict}{_in_brackets(found)}" for found in line.deciding)
    called = "Against a second release without compression" if line.claim.page == SEVERAL else "At equal accuracy"
    second = f" {called}: {_second_cell(line)}." if line.second else ""
    return f"- **{line.claim.name}. {line.claim.says} {line.overall[0].upper()}{line.overall[1:]}.** {by_run}.{second}"


def _in_brackets(found: Found) -> str:
    said = ", ".join(part for part in (found.interval, found.note) if part)
    return f" ({said})" if said else ""


def _verdict_cell(found: Found) -> str:
    return f"{found.verdict}{_in_brackets(found)}"


def _second_cell(line: Line) -> str:
    if not line.second:
        return ""
    verdicts = [found.verdict for found in line.second]
    if len(set(verdicts)) == 1:
        return verdicts[0]
    return f"{line.second_overall} ({', '.join(f'{found.run}: {found.verdict}' for found in line.second)})"


def _otherwise_cell(line: Line) -> str:
    return "; ".join(f"{_attack(found.attack)} on {found.run}: {found.verdict}" for found in line.otherwise)


def _attack(label: str) -> str:
    return _ATTACKS.get(label, attack_name(label))


def _percent(rate: float) -> str:
    return "" if math.isnan(rate) else f"{100 * rate:.1f}%"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(heads), "|" + "---|" * len(heads), *map(line, rows)])
