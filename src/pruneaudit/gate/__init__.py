"""The gate: checks whether the leakage of a run is within budgets that were set beforehand."""

from pruneaudit.core.amounts import parse_rate
from pruneaudit.gate.budgets import Budget, budget_options, budgets_of
from pruneaudit.gate.certified import (
    CertificateGate,
    certificate_markdown,
    certificate_record,
    check_certificate,
    read_certificate,
)
from pruneaudit.gate.checking import ANY, check
from pruneaudit.gate.summary import as_markdown, as_record
from pruneaudit.gate.verdicts import Gate, Verdict

__all__ = [
    "ANY",
    "Budget",
    "CertificateGate",
    "Gate",
    "Verdict",
    "as_markdown",
    "as_record",
    "budget_options",
    "budgets_of",
    "certificate_markdown",
    "certificate_record",
    "check",
    "check_certificate",
    "parse_rate",
    "read_certificate",
]
