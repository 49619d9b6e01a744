"""Combines signals, attacks and metrics into findings."""

from pruneaudit.evaluation.attack_setting import AttackSetting, bank_settings
from pruneaudit.evaluation.audit import audit
from pruneaudit.evaluation.outcome import Audit

__all__ = ["AttackSetting", "Audit", "audit", "bank_settings"]
