"""Attacks: pure functions from signals to one score per (victim, sample). Higher = more likely a member."""

from pruneaudit.attacks.attack import Attack
from pruneaudit.core.registry import Registry

ATTACKS: Registry[type[Attack]] = Registry(
    "attack",
    "pruneaudit.attacks",
    "ATTACK",
    infrastructure={
        *("attack", "classifier", "folds", "groups", "moments", "primary", "reference_free", "ties", "tuning", "view"),
    },
)
