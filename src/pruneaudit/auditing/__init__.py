"""Joining signals, attacks and metrics into findings."""

from pruneaudit.auditing.audit import audit
from pruneaudit.auditing.game import Game, bank_games
from pruneaudit.auditing.outcome import Audit

__all__ = ["Audit", "Game", "audit", "bank_games"]
