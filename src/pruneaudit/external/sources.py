"""Samples for users' networks: a whole source, in its order, on a device."""

# N samples

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.data import SOURCES
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.source import RawSamples
from pruneaudit.external.asked import NetworkOptions
from pruneaudit.external.transformers_folders import with_tokenizer_of
from pruneaudit.study import Source

if TYPE_CHECKING:
    from pruneaudit.training.samples import Samples


def whole_source(
    data: str | RawSamples, options: NetworkOptions, data_root: Path | None, folder: Path | None = None
) -> AuditData:
    """All samples of a source in its order, with the requested normalisation.

    Args:
        data: a source such as "cifar10" or "npz:FILE", or `RawSamples`.
        options: the user's `mean` and `std`.
        data_root: folder of data sets.
        folder: the network's folder of Transformers, with the tokenizer of texts for which the user named none.

    Raises:
        UserError: the source is unknown, its data are missing or malformed, or the constants do not fit.
    """
    name, read = read_source(data, data_root)
    return whole(with_tokenizer_of(read, folder), options, name)


def whole(read: RawSamples, options: NetworkOptions, name: str) -> AuditData:
    """All samples, in their order, with the requested normalisation.

    Args:
        read: the samples.
        options: the user's `mean` and `std`.
        name: the name of their source.

    Raises:
        UserError: the constants do not fit, or texts need a tokenizer.
    """
    rows = np.arange(len(read.y))
    none = np.zeros(len(rows), dtype=bool)
    raw = read.taken(rows, none)
    if options.is_normalised_by_user and raw.lengths is None:
        width, given = raw.x.shape[1], (options.mean, options.std)
        centre, spread = (tuple(v) * (width if len(v) == 1 else 1) if v is not None else None for v in given)
        raw = dataclasses.replace(raw, mean=centre, std=spread)
    first = read.first_equal()
    return AuditData(
        name=name,
        x=raw.x,
        y=raw.y,
        ids=rows,
        holdout=none,
        public=none,
        canary=none,
        num_classes=len(raw.classes),
        classes=raw.classes,
        mean=raw.mean,
        std=raw.std,
        copy_of=first if (first != rows).any() else None,
        classes_known=raw.classes_known,
        lengths=raw.lengths,
        vocabulary=raw.vocabulary,
        tokenizer=raw.tokenizer,
        notes=raw.notes,
    )


def read_source(data: str | RawSamples, data_root: Path | None) -> tuple[str, RawSamples]:
    """The name of a source, and all its samples.

    Args:
        data: as for `whole_source`.
        data_root: folder of data sets.

    Raises:
        UserError: the source is unknown, or its data are missing or malformed.
    """
    if not isinstance(data, str):
        return "data", data
    source = validated(Source, data, "data")
    plugin = SOURCES.get(source.name)
    return source.name, plugin.load(validated(plugin.Options, source.options, f"data '{source.name}'"), data_root)


def first_of(audit_data: AuditData) -> np.ndarray:
    """For each sample the index (N,) of the first one that is equal, or its own.

    Args:
        audit_data: from `whole_source`.
    """
    return np.arange(len(audit_data.y)) if audit_data.copy_of is None else audit_data.copy_of


def fed_as(audit_data: AuditData, options: NetworkOptions) -> str:
    """Describes how the samples of a source are fed to networks: source, mean and std.

    Args:
        audit_data: from `whole_source`.
        options: the user's options.
    """
    if audit_data.kind == "tokens":
        return f"token ids of {audit_data.name}, {audit_data.x.shape[1]} of each text, with a mask from their lengths"
    if audit_data.mean is None or audit_data.std is None:
        return f"floats of {audit_data.name}, unchanged"
    mean, std = (", ".join(f"{value:.6g}" for value in part) for part in (audit_data.mean, audit_data.std))
    why = "as given" if options.is_normalised_by_user else f"assumed for {audit_data.name}; others: --mean, --std"
    return f"(x / 255 - mean) / std with mean {mean} and std {std} ({why})"


def device_samples(audit_data: AuditData, device: str) -> Samples:
    """All samples of audit data on a device.

    Raises:
        UserError: the device cannot be used.
    """
    from pruneaudit.training.samples import Samples

    try:
        return Samples.of(audit_data, np.ones(len(audit_data.y), dtype=bool), device)
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"device: '{device}' cannot be used ({reason}); use cpu, or cuda if there is a GPU") from None
