"""pruneaudit: what a network gives away about its training set, and what pruning changes about that."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # typing's own would be imported; Python has these modules already, wherever it is started
__version__ = "0.1.0"

if TYPE_CHECKING:
    from typing import Any

    from pruneaudit.api import PageSettings, Runtime, run
    from pruneaudit.evaluation import Audit
    from pruneaudit.evaluation.audit import audit
    from pruneaudit.evaluation.given import Paired
    from pruneaudit.external.asked import NetworkOptions, Queries
    from pruneaudit.external.collect import collect_signals
    from pruneaudit.external.prune import prune
    from pruneaudit.external.pruned import Pruned, load_pruned
    from pruneaudit.external.tuning import FineTuning
    from pruneaudit.report.paper import figures
    from pruneaudit.runs.export import export
    from pruneaudit.signals.signals import Signals
    from pruneaudit.study import Study

__all__ = [
    "Audit",
    "FineTuning",
    "NetworkOptions",
    "PageSettings",
    "Paired",
    "Pruned",
    "Queries",
    "Runtime",
    "Signals",
    "Study",
    "__version__",
    "audit",
    "collect_signals",
    "export",
    "figures",
    "load_pruned",
    "prune",
    "run",
]

_HOME = {
    "Audit": "pruneaudit.evaluation",
    "FineTuning": "pruneaudit.external.tuning",
    "NetworkOptions": "pruneaudit.external.asked",
    "PageSettings": "pruneaudit.api",
    "Paired": "pruneaudit.evaluation.given",
    "Pruned": "pruneaudit.external.pruned",
    "Queries": "pruneaudit.external.asked",
    "Runtime": "pruneaudit.api",
    "Signals": "pruneaudit.signals.signals",
    "Study": "pruneaudit.study",
    "audit": "pruneaudit.evaluation",
    "collect_signals": "pruneaudit.external.collect",
    "export": "pruneaudit.runs.export",
    "figures": "pruneaudit.report.paper",
    "load_pruned": "pruneaudit.external.pruned",
    "prune": "pruneaudit.external.prune",
    "run": "pruneaudit.api",
}


def __getattr__(name: str) -> Any:
    """Names are imported on first use, so that `pruneaudit --help` stays fast."""
    if name not in _HOME:
        raise AttributeError(f"module 'pruneaudit' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)
