"""The entry points for the command line and for programs: each function does one whole job."""

from pruneaudit.api.again import attack, report_again
from pruneaudit.api.checking import check
from pruneaudit.api.choice import Choice, choose
from pruneaudit.api.family_leakage import Families, FamilySettings, families
from pruneaudit.api.fewer_references import Curves, Power, power
from pruneaudit.api.page import PageSettings
from pruneaudit.api.published_claims import Claims, judge_claims
from pruneaudit.api.record_lists import RecordLists, Records, records
from pruneaudit.api.running import run
from pruneaudit.api.runtime import Runtime
from pruneaudit.api.saved import PredictionFiles, audit_files
from pruneaudit.api.upkeep import clean_run, sanity_check, verify
from pruneaudit.api.writing import Run

__all__ = [
    "Choice",
    "Claims",
    "Curves",
    "Families",
    "FamilySettings",
    "PageSettings",
    "Power",
    "PredictionFiles",
    "RecordLists",
    "Records",
    "Run",
    "Runtime",
    "attack",
    "audit_files",
    "check",
    "choose",
    "clean_run",
    "families",
    "judge_claims",
    "power",
    "records",
    "report_again",
    "run",
    "sanity_check",
    "verify",
]
