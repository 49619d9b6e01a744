"""Joining signals, attacks and metrics into findings."""

from pruneaudit.evaluation.audit import audit
from pruneaudit.evaluation.game import Game, bank_games
from pruneaudit.evaluation.outcome import Audit

__all__ = ["Audit", "Game", "audit", "bank_games"]
