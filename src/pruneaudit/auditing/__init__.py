"""Joining signals, attacks and metrics into findings."""

from pruneaudit.auditing.audit import Audit, audit
from pruneaudit.auditing.game import Game, bank_games

__all__ = ["Audit", "Game", "audit", "bank_games"]
