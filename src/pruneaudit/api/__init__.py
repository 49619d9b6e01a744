"""What the command line and programs call: each function does one whole job."""

from pruneaudit.api.again import attack_again, report_again
from pruneaudit.api.page import PageSettings
from pruneaudit.api.running import run
from pruneaudit.api.runtime import Runtime
from pruneaudit.api.saved import PredictionFiles, audit_files
from pruneaudit.api.upkeep import clean_run, selftest_run, verify_run
from pruneaudit.api.writing import Run

__all__ = [
    "PageSettings",
    "PredictionFiles",
    "Run",
    "Runtime",
    "attack_again",
    "audit_files",
    "clean_run",
    "report_again",
    "run",
    "selftest_run",
    "verify_run",
]
