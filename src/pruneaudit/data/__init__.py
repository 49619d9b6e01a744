"""Data: the sources of samples, the training sets that samples are in, and image augmentation.

A data source is one file of this package, found by its name. Only `augment.py` and `inputs.py` import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pruneaudit.core.registry import Registry

if TYPE_CHECKING:
    from pruneaudit.data.source import Source

_SHARED = {"archives", "array_pickle", "cifar", "download", "frames", "idx", "pictures", "source", "texts"}
"""Modules that several sources share."""
_NO_SOURCES = {
    "around_target",
    "augment",
    "canaries",
    "copies",
    "drawing",
    "features",
    "inputs",
    "kinds",
    "membership",
    "own_references",
    "audit_data",
    "row_numbers",
    "same_tokens",
    "splits",
    "target_canaries",
    "target_members",
    "text_files",
    "token_arrays",
    "token_counts",
    "tokenizing",
    "unknown_members",
    *_SHARED,
}

SOURCES: Registry[Source[Any]] = Registry(
    "data source",
    "pruneaudit.data",
    "SOURCE",
    infrastructure=_NO_SOURCES,
    shared={"binary_table": ("location", "purchase100", "texas100"), "idx_images": ("mnist", "fashion_mnist")},
)
