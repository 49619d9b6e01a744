"""Canaries in a user's one model: the files to train with, and their rows beside the data to ask the model about.

A canary and a row of the data with the same x tell on each other, so they count as copies: the canary is scored, the
other row is not. A row whose membership contradicts the coin of its canary is refused: the epsilon would be wrong.
"""

# n canaries, M models, N samples

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.canaries import (
    Canaries,
    canary_of_rows,
    check_coins,
    draw_canaries,
    read_canaries,
    save_rows,
)
from pruneaudit.data.copies import first_equal
from pruneaudit.data.kinds import not_tokens
from pruneaudit.data.npz import NpzOptions, read_arrays
from pruneaudit.external.output import check_new
from pruneaudit.external.sources import first_of
from pruneaudit.study import Source


@dataclass(frozen=True)
class CanaryFiles:
    """Where to write canaries."""

    canaries: Path
    """Rows and coins; for the audit."""
    train: Path | None = None
    """The rows whose coin is 1; to add to the training set."""
    rest: Path | None = None
    """The data without the rows that became canaries, and without rows with the same x."""

    def check(self, data: str, force: bool) -> None:
        """Checks that the files are different and new.

        Raises:
            UserError: a file exists and must not be replaced, or two are the same.
        """
        given = {"--out": self.canaries, "--train": self.train, "--rest": self.rest}
        named = {option: path.expanduser() for option, path in given.items() if path is not None}
        taken = {Path(data.removeprefix("npz:")).expanduser().resolve(): "DATA"} if data.startswith("npz:") else {}
        for option, path in named.items():
            other = taken.setdefault(path.resolve(), option)
            if other != option:
                raise UserError(f"{option}: got {path}, which is also {other}; name another file")
            if path.suffix != ".npz":
                raise UserError(f"{option}: got {path}, expected a file that ends in .npz, such as {path}.npz")
            check_new(path, force, "canaries.npz", option)


def write_canaries(data: str, whole: AuditData, num_canaries: int, seed: int, files: CanaryFiles) -> Canaries:
    """Draws canaries from data, and writes the files.

    Args:
        data: the source, as the user named it.
        whole: all its samples.
        num_canaries: how many.
        seed: of all draws.
        files: where to write; `CanaryFiles.check` has passed.

    Returns:
        The canaries, in the form of the data.

    Raises:
        UserError: the data are texts, there are too few rows, or a file cannot be written.
    """
    not_tokens(whole.input_shape, "canaries", "for texts, plant canaries in a study: data.num_canaries")
    drawn = draw_canaries(whole.x, whole.y, whole.num_classes, num_canaries, seed)
    x, classes = _as_given(data, whole), whole.classes if whole.classes_known else None
    canaries = dataclasses.replace(drawn, x=x[drawn.ids], classes=classes)
    if files.train is not None:
        save_rows(files.train.expanduser(), canaries.x[canaries.member], canaries.y[canaries.member], classes)
    if files.rest is not None:
        first = first_equal(whole.x)
        left = ~np.isin(first, first[canaries.ids])
        save_rows(files.rest.expanduser(), x[left], whole.y[left], classes)
    canaries.save(files.canaries.expanduser())
    return canaries


def _as_given(data: str, whole: AuditData) -> np.ndarray:
    """The samples in the form of the user's file, so that the rows to add fit the training set; else as the source."""
    source = validated(Source, data, "data")
    if source.name != "npz":
        return whole.x
    return read_arrays(validated(NpzOptions, source.options, "data 'npz'").path.expanduser(), ("x",))["x"]


def with_canaries(
    membership: Mapping[str, np.ndarray], data: AuditData, path: Path
) -> tuple[dict[str, np.ndarray], AuditData]:
    """Puts canaries before the samples of the data. The one victim's membership of them is their coins.

    Args:
        membership: the keys of `Signals` for the samples of the data, from `membership_of`.
        data: all samples of a source.
        path: the file of canaries.

    Returns:
        The membership and the data of n + N samples. A sample keeps its id: by default its row in the data; canaries
        get new ones.

    Raises:
        UserError: the file is unusable, its rows have another form than the data, there are several victims, or the
            membership contradicts the coins.
    """
    canaries = read_canaries(path)
    try:
        canary_of = canary_of_rows(canaries, data.x)
        return _joined_membership(canaries, membership, data, canary_of), _joined_data(canaries, data, canary_of)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _joined_data(canaries: Canaries, data: AuditData, canary_of: np.ndarray) -> AuditData:
    num_classes = max(data.num_classes, int(canaries.y.max()) + 1)
    if data.classes_known and num_classes > data.num_classes:
        raise UserError(
            f"got label {num_classes - 1}, but the data have {data.num_classes} classes; give the same data"
        )
    none = np.zeros(len(canaries.y), dtype=bool)
    parts = {"x": canaries.x, "y": canaries.y, "holdout": none, "public": none, "canary": ~none}
    joined: dict[str, Any] = {key: np.concatenate([part, getattr(data, key)]) for key, part in parts.items()}
    names = data.classes if data.classes_known else tuple(map(str, range(num_classes)))
    num = len(canaries.y)
    first = np.concatenate([np.arange(num), np.where(canary_of >= 0, canary_of, first_of(data) + num)])
    joined |= {"ids": np.arange(len(first)), "copy_of": first}
    return dataclasses.replace(data, **joined, num_classes=num_classes, classes=names)


def _joined_membership(
    canaries: Canaries, membership: Mapping[str, np.ndarray], data: AuditData, canary_of: np.ndarray
) -> dict[str, np.ndarray]:
    """The membership of canaries and samples; rows of the data with the x of a canary follow its coin."""
    num, given = len(canaries.y), membership["member"].astype(bool)
    num_models, num_samples = given.shape
    is_victim = membership.get("is_victim", np.ones(num_models)).astype(bool)
    if is_victim.sum() != 1:
        raise UserError(
            f"got {is_victim.sum()} victims, expected 1: the coins are those of one training; give one file, or mark"
            " the trained network in is_victim and all others, trained without canaries, as not"
        )
    repeats = np.flatnonzero(canary_of >= 0)  # rows of the data
    victim = int(np.flatnonzero(is_victim)[0])
    check_coins(canaries, given[victim], data.y, canary_of)
    member = np.concatenate([np.zeros((num_models, num), dtype=bool), given], axis=1)
    for row in range(num_models):  # a reference that saw the x of a canary under its own label was trained on it, too
        member[row, canary_of[repeats[given[row, repeats]]]] = True
    member[victim, :num] = canaries.member
    member[:, num + repeats] = member[:, canary_of[repeats]]
    eligible = np.concatenate(
        [np.ones((num_models, num), dtype=bool), membership.get("eligible", np.ones(given.shape)).astype(bool)], axis=1
    )
    ids, is_canary = membership.get("ids", np.arange(num_samples)), np.arange(num + num_samples) < num
    joined = {**membership, "member": member, "eligible": eligible, "ids": _new_ids(ids, num), "canary": is_canary}
    for key in ("unknown", "placebo"):
        if key in membership:
            joined[key] = np.concatenate([np.zeros(num, dtype=membership[key].dtype), membership[key]])
    if "canary" in membership:
        raise UserError("the membership has canaries of its own; leave its key 'canary' out")
    for key in ("holdout", "unknown", "placebo"):
        if key in membership:
            joined[key] = np.concatenate([np.zeros(num, dtype=bool), membership[key].astype(bool)])
            if key != "unknown":  # an unknown copy makes its canary unknown, too
                joined[key][num + repeats] = False
    return joined


def _new_ids(ids: np.ndarray, num: int) -> np.ndarray:
    """Ids for canaries, then those of the samples."""
    if ids.dtype.kind in "iu":
        return np.concatenate([int(ids.max()) + 1 + np.arange(num), ids])
    return np.concatenate([[f"canary {number}" for number in range(num)], ids])
