"""Describes in words how candidates are made."""

from __future__ import annotations

from pruneaudit.report.words import counted
from pruneaudit.study import DENSE, INIT, Release
from pruneaudit.study.degrees import degree_words
from pruneaudit.study.lineage import origin_of

UNCOMPRESSED = "the uncompressed network"


def described(release: Release | None) -> str:
    """Describes how a candidate is made, such as `l1unstructured 70%, fine-tuned for 6 epochs`.

    Args:
        release: the candidate; None: the uncompressed network.
    """
    if release is None:
        return UNCOMPRESSED
    parts = [degree_words(plugin) for plugin in release.compress]
    parts += [f"network {release.model.label}"] if release.model else []
    parts += [f"defence {release.defense.label}"] if release.defense else []
    if release.finetune is not None:
        is_new = origin_of(release) == INIT and not release.compress
        parts.append(f"{'trained' if is_new else 'fine-tuned'} for {counted(release.finetune.epochs, 'epoch')}")
    if release.parent not in (DENSE, INIT):
        parts.append(f"from {release.parent}")
    return ", ".join(parts) or "trained from new weights"
