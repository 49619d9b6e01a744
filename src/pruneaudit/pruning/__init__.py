"""Pruning: masks are data, and one file per method."""

from pruneaudit.pruning.pruner import Pruner
from pruneaudit.registry import Registry

PRUNERS: Registry[Pruner] = Registry(
    "pruner",
    "pruneaudit.pruning",
    "PRUNER",
    infrastructure={
        "channel_choice",
        "channel_masks",
        "gamma_penalty",
        "latency",
        "mask",
        "mask_options",
        "moving_mask",
        "pruner",
        "schedules",
        "scores",
        "selection",
        "size",
        "structured",
    },
)
