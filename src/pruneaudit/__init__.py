"""pruneaudit: measures how much a network reveals about its training data, and how compression changes that."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # importing it from typing costs time at every start
__version__ = "1.0.0"

if TYPE_CHECKING:
    from typing import Any

    from pruneaudit.api import (
        Choice,
        Claims,
        Curves,
        Families,
        FamilySettings,
        PageSettings,
        Power,
        PredictionFiles,
        RecordLists,
        Records,
        Run,
        Runtime,
        attack,
        check,
        choose,
        families,
        judge_claims,
        power,
        records,
        run,
        sanity_check,
        verify,
    )
    from pruneaudit.attacks import ATTACKS
    from pruneaudit.attacks.attack import Attack
    from pruneaudit.choosing.chosen import export_chosen
    from pruneaudit.compression import COMPRESSORS
    from pruneaudit.compression.compressor import Compressor
    from pruneaudit.core.errors import UserError
    from pruneaudit.core.options import Options
    from pruneaudit.data import SOURCES
    from pruneaudit.data.own_references import draw_references
    from pruneaudit.data.source import Source
    from pruneaudit.defenses import DEFENSES
    from pruneaudit.defenses.defense import Defense
    from pruneaudit.evaluation import Audit, audit
    from pruneaudit.evaluation.limits import Limits
    from pruneaudit.external.asked import NetworkOptions, Queries
    from pruneaudit.external.collect import collect_signals
    from pruneaudit.external.compress import compress
    from pruneaudit.external.compressed_model import CompressedModel, load_compressed
    from pruneaudit.external.tuning import FineTuning
    from pruneaudit.metrics import METRICS
    from pruneaudit.metrics.metric import Metric
    from pruneaudit.models import MODELS
    from pruneaudit.models.model import Model
    from pruneaudit.report.paper import figures
    from pruneaudit.report.summary import model_card, summary
    from pruneaudit.runs import RunFolder
    from pruneaudit.runs.export import export
    from pruneaudit.signals.signals import Signals
    from pruneaudit.study import Release, Study

__all__ = [
    "ATTACKS",
    "COMPRESSORS",
    "DEFENSES",
    "METRICS",
    "MODELS",
    "SOURCES",
    "Attack",
    "Audit",
    "Choice",
    "Claims",
    "CompressedModel",
    "Compressor",
    "Curves",
    "Defense",
    "Families",
    "FamilySettings",
    "FineTuning",
    "Limits",
    "Metric",
    "Model",
    "NetworkOptions",
    "Options",
    "PageSettings",
    "Power",
    "PredictionFiles",
    "Queries",
    "RecordLists",
    "Records",
    "Release",
    "Run",
    "RunFolder",
    "Runtime",
    "Signals",
    "Source",
    "Study",
    "UserError",
    "__version__",
    "attack",
    "audit",
    "check",
    "choose",
    "collect_signals",
    "compress",
    "draw_references",
    "export",
    "export_chosen",
    "families",
    "figures",
    "judge_claims",
    "load_compressed",
    "model_card",
    "power",
    "records",
    "run",
    "sanity_check",
    "summary",
    "verify",
]

_HOME = {
    "ATTACKS": "pruneaudit.attacks",
    "Attack": "pruneaudit.attacks.attack",
    "Audit": "pruneaudit.evaluation",
    "COMPRESSORS": "pruneaudit.compression",
    "Choice": "pruneaudit.api",
    "Claims": "pruneaudit.api",
    "Compressor": "pruneaudit.compression.compressor",
    "Curves": "pruneaudit.api",
    "DEFENSES": "pruneaudit.defenses",
    "Defense": "pruneaudit.defenses.defense",
    "Families": "pruneaudit.api",
    "FamilySettings": "pruneaudit.api",
    "FineTuning": "pruneaudit.external.tuning",
    "Limits": "pruneaudit.evaluation.limits",
    "METRICS": "pruneaudit.metrics",
    "MODELS": "pruneaudit.models",
    "Metric": "pruneaudit.metrics.metric",
    "Model": "pruneaudit.models.model",
    "NetworkOptions": "pruneaudit.external.asked",
    "Options": "pruneaudit.core.options",
    "PageSettings": "pruneaudit.api",
    "Power": "pruneaudit.api",
    "PredictionFiles": "pruneaudit.api",
    "CompressedModel": "pruneaudit.external.compressed_model",
    "Queries": "pruneaudit.external.asked",
    "RecordLists": "pruneaudit.api",
    "Records": "pruneaudit.api",
    "Release": "pruneaudit.study",
    "Run": "pruneaudit.api",
    "RunFolder": "pruneaudit.runs",
    "Runtime": "pruneaudit.api",
    "SOURCES": "pruneaudit.data",
    "Signals": "pruneaudit.signals.signals",
    "Source": "pruneaudit.data.source",
    "Study": "pruneaudit.study",
    "UserError": "pruneaudit.core.errors",
    "attack": "pruneaudit.api",
    "audit": "pruneaudit.evaluation",
    "check": "pruneaudit.api",
    "choose": "pruneaudit.api",
    "collect_signals": "pruneaudit.external.collect",
    "draw_references": "pruneaudit.data.own_references",
    "export": "pruneaudit.runs.export",
    "export_chosen": "pruneaudit.choosing.chosen",
    "families": "pruneaudit.api",
    "figures": "pruneaudit.report.paper",
    "judge_claims": "pruneaudit.api",
    "load_compressed": "pruneaudit.external.compressed_model",
    "compress": "pruneaudit.external.compress",
    "model_card": "pruneaudit.report.summary",
    "power": "pruneaudit.api",
    "records": "pruneaudit.api",
    "run": "pruneaudit.api",
    "sanity_check": "pruneaudit.api",
    "summary": "pruneaudit.report.summary",
    "verify": "pruneaudit.api",
}

_GONE = {
    "Paired": "pruneaudit.audit({'dense': dense, 'pruned': pruned}, references={'dense': ..., 'pruned': ...},"
    " baseline='dense'), without `references` if the other models of each release serve as references",
    "Pruned": "pruneaudit.CompressedModel",
    "load_pruned": "pruneaudit.load_compressed(FOLDER)",
    "prune": "pruneaudit.compress(...)",
}
"""Former public names, and what to write now."""


def __getattr__(name: str) -> Any:
    """Imports a public name on first use, so that `pruneaudit --help` stays fast."""
    if name in _GONE:
        from pruneaudit.core.errors import UserError

        raise UserError(f"pruneaudit.{name} is gone; use: {_GONE[name]}")
    if name not in _HOME:
        raise AttributeError(f"module 'pruneaudit' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """RecordLists all public names, imported or not."""
    return sorted({*globals(), *__all__})
