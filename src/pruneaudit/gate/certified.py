"""The gate for certificates: checks whether a certificate of `pruneaudit choose` covers given budgets.

A certificate guarantees only its own limits. It covers a budget if it has a limit of the same figure that is not
higher. Bounds below the limits are not used: each is valid alone, but the network was chosen among several.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruneaudit.core.amounts import parse_rate
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import SEALED_FILES, check_sealed
from pruneaudit.core.registry import nearest
from pruneaudit.evaluation.certificate import Candidate, Certificate
from pruneaudit.evaluation.limits import ACCURACY, AUC
from pruneaudit.gate.budgets import budget_options
from pruneaudit.gate.verdicts import EXIT_CODES, Outcome
from pruneaudit.metrics.standard import tpr_column
from pruneaudit.report.escaping import markdown_code, markdown_text
from pruneaudit.report.sentences.certificate import earlier_words, limits_words, outcome_words, quantity_of

MIN_ACCURACY = "min_accuracy"
_TITLES: dict[Outcome, str] = {
    "within": "certified",
    "over": "not certified",
    "suppressed": "not answered",
}


@dataclass(frozen=True)
class Demand:
    """A budget, and the certificate's limit of the same figure."""

    flag: str
    figure: str
    budget: float
    """The highest value; of the accuracy the lowest."""
    limit: float | None
    """None: the certificate has none."""

    @property
    def outcome(self) -> Outcome:
        """`suppressed` without a limit; `over` if the certificate allows more than the budget."""
        if self.limit is None:
            return "suppressed"
        is_covered = self.limit >= self.budget if self.figure == ACCURACY else self.limit <= self.budget
        return "within" if is_covered else "over"

    @property
    def said(self) -> str:
        """The outcome in words."""
        quantity, side = quantity_of(self.figure), "at least" if self.figure == ACCURACY else "at most"
        asked = f"{quantity.title} {side} {self.budget:g}"
        if self.limit is None:
            return f"{asked}: the certificate has no limit of this figure"
        verdict = "covered" if self.outcome == "within" else "not covered"
        return f"{asked}: {verdict}, the certificate says {side} {self.limit:g}"


@dataclass(frozen=True)
class CertificateGate:
    """The answer of the gate about a certificate."""

    certificate: Certificate
    demands: tuple[Demand, ...]
    notes: tuple[str, ...] = ()

    @property
    def chosen(self) -> Candidate | None:
        """The certified network that the certificate names."""
        return self.certificate.chosen

    @property
    def outcome(self) -> Outcome:
        """`suppressed` if a figure has no limit; `over` if nothing is certified or a budget is tighter."""
        found = {demand.outcome for demand in self.demands}
        if "suppressed" in found:
            return "suppressed"
        return "over" if "over" in found or self.chosen is None else "within"

    @property
    def exit_code(self) -> int:
        """0: certified within all budgets; 1: not; 2: not answered."""
        return EXIT_CODES[self.outcome]


def check_certificate(
    certificate: Certificate, study_hash: str = "", notes: Sequence[str] = (), **texts: str | Iterable[str] | None
) -> CertificateGate:
    """Compares a certificate with budgets.

    Args:
        certificate: the certificate.
        study_hash: the hash of the study that it must be about; empty: any.
        notes: what is to be said besides.
        texts: budgets as for `budgets_of`, and `min_accuracy="0.75"`. Without any, the certificate's own limits decide.

    Raises:
        UserError: a budget is wrong, or no certificate limits such a figure; or the certificate is about another study.
    """
    if study_hash and study_hash != certificate.scope.study_hash:
        raise UserError(
            f"the certificate is about another study: {certificate.scope.study_hash[:8]} ('{certificate.scope.study}'),"
            f" expected {study_hash[:8]}; choose again with this study"
        )
    limits = certificate.limits.leakage | {ACCURACY: certificate.limits.min_accuracy}
    demands = [
        Demand(flag, figure, budget, limits.get(figure))
        for key, given in texts.items()
        for text in ((given,) if isinstance(given, str) else given or ())
        for flag, figure, budget in [_parsed(key, text)]
    ]
    return CertificateGate(certificate, tuple(demands), tuple(notes))


def _parsed(key: str, text: str) -> tuple[str, str, float]:
    """Returns flag, figure and value of a budget."""
    if key == MIN_ACCURACY:
        return "--min-accuracy", ACCURACY, parse_rate(text, "--min-accuracy")
    known = {"max_auc": "--max-auc", "max_tpr": "--max-tpr"}
    if key not in known:
        options = {key: option.flag for key, (_, option) in budget_options().items()}
        if key not in options:
            raise UserError(f"unknown budget '{key}'{nearest(key, [*known, MIN_ACCURACY])}")
        raise UserError(
            f"{options[key]}: a certificate says nothing about this figure, expected any of: --min-accuracy,"
            f" {', '.join(known.values())}"
        )
    flag = known[key]
    if key == "max_auc":
        return flag, AUC, parse_rate(text, flag)
    level, colon, limit = text.partition(":")
    if not colon:
        raise UserError(f"{flag}: got '{text}', expected FPR:BUDGET, such as 1%:0.05")
    return flag, tpr_column(parse_rate(level, flag)), parse_rate(limit, flag)


def read_certificate(file: Path) -> tuple[Certificate, tuple[str, ...]]:
    """Reads a certificate, and checks it against the seal beside it.

    Returns:
        The certificate, and a note if there is no seal.

    Raises:
        UserError: the file is no certificate, does not follow from its own figures, or has changed since it was sealed.
    """
    found = Certificate.read(file)
    problems = check_sealed(file.parent, [file.name])
    if problems[SEALED_FILES]:
        return found, (f"there is no {SEALED_FILES} in its folder, so it is unknown whether it was changed",)
    if problem := problems.get(file.name):
        raise UserError(f"{file}: {problem}; choose again: pruneaudit choose STUDY.toml")
    return found, ()


def certificate_markdown(gate: CertificateGate, file: str) -> str:
    """Returns the summary: what is certified, and each budget.

    Args:
        gate: the answer.
        file: the name of the certificate.
    """
    certificate = gate.certificate
    words = [*outcome_words(certificate), *earlier_words(certificate)]
    said = [text.replace("\N{NO-BREAK SPACE}", " ") for text in words]
    lines = [f"## pruneaudit check: {_TITLES[gate.outcome]}", "", *(f"- {markdown_text(text)}" for text in said)]
    lines += ["", f"Certificate: {markdown_code(file)}", ""]
    own = [text.replace("\N{NO-BREAK SPACE}", " ") for text in limits_words(certificate.limits)]
    lines += [f"- its limit: {markdown_text(text)}" for text in own]
    lines += [f"- asked: {markdown_text(demand.said)}" for demand in gate.demands]
    return "\n".join([*lines, *(f"- {markdown_text(note)}" for note in gate.notes)]) + "\n"


def certificate_record(gate: CertificateGate, file: str) -> dict[str, Any]:
    """Returns the same as JSON data."""
    chosen = gate.chosen
    demands: list[Mapping[str, Any]] = [
        {"flag": d.flag, "figure": d.figure, "budget": d.budget, "limit": d.limit, "outcome": d.outcome}
        for d in gate.demands
    ]
    return {
        "certificate": file,
        "outcome": gate.outcome,
        "title": _TITLES[gate.outcome],
        "exit_code": gate.exit_code,
        "chosen": None if chosen is None else chosen.name,
        "limits": gate.certificate.limits.model_dump(mode="json"),
        "demands": demands,
        "num_earlier": gate.certificate.scope.num_earlier,
        "notes": list(gate.notes),
    }
