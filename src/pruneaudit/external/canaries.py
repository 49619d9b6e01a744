"""Canaries in one model of a user: files to train with, and rows to query the model with, in addition to the data.

A canary and a row of the data with the same x reveal each other's membership, so they count as copies: the canary is
scored, the other row is not. A row whose membership contradicts the coin of its canary is refused: the epsilon would be
wrong.
"""

# n canaries, M models, N samples

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import write_atomically, writing
from pruneaudit.core.options import validated
from pruneaudit.data.canaries import (
    Canaries,
    canary_of_rows,
    check_coins,
    draw_canaries,
    read_canaries,
    save_rows,
)
from pruneaudit.data.npz import NpzOptions, read_arrays
from pruneaudit.data.source import RawData, RawSamples
from pruneaudit.data.texts import RawTexts
from pruneaudit.data.token_arrays import TOKEN_KEYS, token_arrays
from pruneaudit.external.output import check_new
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

    def check(self, data: str, force: bool, are_texts: bool) -> None:
        """Checks that the files are different and new.

        Args:
            data: the source, as the user named it.
            force: replace existing files.
            are_texts: whether the rows to train on are texts, which are written as CSV.

        Raises:
            UserError: a file exists and must not be replaced, or two are the same.
        """
        given = {"--out": self.canaries, "--train": self.train, "--rest": self.rest}
        named = {option: path.expanduser() for option, path in given.items() if path is not None}
        place = validated(Source, data, "data").options.get("path")
        taken = {} if place is None else {Path(str(place)).expanduser().resolve(): "DATA"}
        for option, path in named.items():
            other = taken.setdefault(path.resolve(), option)
            if other != option:
                raise UserError(f"{option}: got {path} for {other} too; name another file")
            end = ".csv" if are_texts and option != "--out" else ".npz"
            if path.suffix != end:
                raise UserError(f"{option}: got {path}, expected a file that ends in {end}, such as {path}{end}")
            check_new(path, force, "canaries.npz", option)


def write_canaries(data: str, raw: RawSamples, num_canaries: int, seed: int, files: CanaryFiles) -> Canaries:
    """Draws canaries from data, and writes the files.

    Args:
        data: the source, as the user named it.
        raw: all its samples.
        num_canaries: how many.
        seed: of all draws.
        files: where to write; `CanaryFiles.check` has passed.

    Returns:
        The canaries.

    Raises:
        UserError: there are too few rows, or a file cannot be written.
    """
    canaries = draw_canaries(raw, num_canaries, seed)
    source = validated(Source, data, "data")
    rows = _TextRows(raw, source) if isinstance(raw, RawTexts) else _NumberRows(raw, source)
    if files.train is not None:
        rows.save(files.train.expanduser(), canaries.ids[canaries.member], canaries.y[canaries.member])
    if files.rest is not None:
        first = raw.first_equal()
        left = np.flatnonzero(~np.isin(first, first[canaries.ids]))
        rows.save(files.rest.expanduser(), left, raw.y[left])
    if canaries.are_texts:
        canaries.save(files.canaries.expanduser())
    else:
        assert isinstance(rows, _NumberRows)
        canaries.save_as(files.canaries.expanduser(), rows.of(canaries.ids))
    return canaries


class _NumberRows:
    """Rows of data in the form of the user's file, so that they fit the training set; else as the source has them."""

    def __init__(self, raw: RawSamples, source: Source) -> None:
        assert isinstance(raw, RawData)
        self._classes, self._num = raw.classes if raw.classes_known else None, len(raw.y)
        if source.name == "npz":
            path = validated(NpzOptions, source.options, "data 'npz'").path.expanduser()
            self._arrays: Mapping[str, Any] = read_arrays(path, ("x", *TOKEN_KEYS))
        elif raw.lengths is not None and raw.vocabulary is not None:
            self._arrays = token_arrays(raw.x, raw.lengths, raw.vocabulary)
        else:
            self._arrays = {"x": raw.x}

    def of(self, rows: np.ndarray) -> dict[str, Any]:
        """The arrays of some rows; numbers such as the size of a vocabulary stay as they are."""
        return {key: array[rows] if np.ndim(array) else array for key, array in self._arrays.items()}

    def save(self, path: Path, rows: np.ndarray, y: np.ndarray) -> None:
        """Writes some rows with labels as an `.npz`."""
        save_rows(path, self.of(rows), y, self._classes)


class _TextRows:
    """Texts with the names of their labels, under the names of the user's columns."""

    def __init__(self, raw: RawTexts, source: Source) -> None:
        self._raw = raw
        named = [source.options.get(key, key) for key in ("text", "label")]
        self._columns = named if all(isinstance(name, str) for name in named) else ["text", "label"]

    def save(self, path: Path, rows: np.ndarray, y: np.ndarray) -> None:
        """Writes some texts with labels as a CSV."""
        held = io.StringIO(newline="")
        lines = zip((self._raw.texts[row] for row in rows), (self._raw.classes[label] for label in y), strict=True)
        csv.writer(held).writerows([self._columns, *lines])
        with writing(path):
            write_atomically(path, held.getvalue().encode("utf-8"))


def with_canaries(
    membership: Mapping[str, np.ndarray], raw: RawSamples, path: Path
) -> tuple[dict[str, np.ndarray], RawSamples]:
    """Puts canaries before the samples of the data. The one victim's membership of them is their coins.

    Args:
        membership: the keys of `Signals` for the samples of the data, from `membership_of`.
        raw: all samples of a source.
        path: the file of canaries.

    Returns:
        The membership and the n + N samples. A sample keeps its id: by default its row in the data; canaries get new
        ones.

    Raises:
        UserError: the file is unusable, its rows have another form than the data, there are several victims, or the
            membership contradicts the coins.
    """
    canaries = read_canaries(path)
    try:
        rows = canaries.rows_like(raw)
        joined = _joined_membership(rows.y, canaries.member, membership, raw.y, canary_of_rows(rows, raw))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return joined, rows.followed_by(raw)


def _joined_membership(
    wrong_labels: np.ndarray,
    coins: np.ndarray,
    membership: Mapping[str, np.ndarray],
    y: np.ndarray,
    canary_of: np.ndarray,
) -> dict[str, np.ndarray]:
    """The membership of canaries and samples; rows of the data with the x of a canary follow its coin."""
    num, given = len(coins), membership["member"].astype(bool)
    num_models, num_samples = given.shape
    is_victim = membership.get("is_victim", np.ones(num_models)).astype(bool)
    if is_victim.sum() != 1:
        raise UserError(
            f"got {is_victim.sum()} victims, expected 1, because the coins belong to one training; give only that "
            f"network's file, or set is_victim to true for it and to false for all networks that were trained without "
            f"the canaries"
        )
    repeats = np.flatnonzero(canary_of >= 0)  # rows of the data
    victim = int(np.flatnonzero(is_victim)[0])
    check_coins(wrong_labels, coins, given[victim], y, canary_of)
    member = np.concatenate([np.zeros((num_models, num), dtype=bool), given], axis=1)
    for row in range(num_models):  # a reference that saw the x of a canary under its own label was trained on it, too
        member[row, canary_of[repeats[given[row, repeats]]]] = True
    member[victim, :num] = coins
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
        raise UserError("the membership already has canaries; leave its key 'canary' out")
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
