"""Canaries for a network that its owner trains: mislabelled rows, and a coin for each, drawn before the training.

The rows come from data that are otherwise not in the training set. If a row were also trained on under its own label,
the answers would show that, whatever the coin says. The owner adds the canaries whose coin is 1 to the training set,
once. The file keeps rows and coins, so that the trained network can be asked about all of them.

| key | shape | |
|---|---|---|
| `x` | (n, ...) | the rows, in the form of the data that they come from; token ids as in `token_arrays` instead |
| `texts` | (n,) texts | texts, in place of `x` |
| `y` | (n,) int | wrong labels, each a uniformly chosen other class |
| `classes` | (C,) texts | optional, as in a file of data |
| `member` | (n,) bool | the coins: true for rows in the training set |
| `ids` | (n,) int | the number of each row in the data that it comes from |
| `seed`, `format` | () int | the seed of the draws, and 1 |
"""

# n canaries, N rows of the data, C classes

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import write_atomically, writing
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.data.kinds import IDS, Vocabulary
from pruneaudit.data.npz import class_names, labels_of, read_arrays, samples_of
from pruneaudit.data.source import RawData, RawSamples
from pruneaudit.data.texts import RawTexts
from pruneaudit.data.token_arrays import TOKEN_KEYS, token_arrays, tokens_in

FORMAT = 1
MIN_CANARIES = 10
"""With fewer canaries, even all right guesses give no useful bound on epsilon."""
TEXTS = "texts"
"""The key of texts in a file."""
_ARRAYS = ("y", "member", "ids", "seed", "format")


@dataclass(frozen=True, eq=False)
class Canaries:
    """n mislabelled rows with their coins."""

    x: np.ndarray
    """(n, ...), in the form of the data that they come from: images, rows, int32 token ids (n, T), or texts (n,)."""
    y: np.ndarray
    """(n,) int64: wrong labels."""
    member: np.ndarray
    """(n,) bool: the coins; true for rows in the training set."""
    ids: np.ndarray
    """(n,) int64: the numbers of the rows in those data."""
    seed: int
    """The seed of rows, labels and coins."""
    classes: tuple[str, ...] | None = None
    """The class names, if the data have any."""
    lengths: np.ndarray | None = None
    """(n,) int32: the number of real tokens, of token ids."""
    vocabulary: Vocabulary | None = None
    """The ids of tokens."""

    @property
    def are_texts(self) -> bool:
        """Whether they are texts, which are no token ids yet."""
        return self.x.dtype.kind == "U"

    def save(self, path: Path) -> None:
        """Writes the file, completely or not at all.

        Raises:
            UserError: the place cannot be written to.
            StorageError: the disk is full.
        """
        rows: Mapping[str, Any] = {TEXTS if self.are_texts else "x": self.x}
        if self.lengths is not None and self.vocabulary is not None:
            rows = token_arrays(self.x, self.lengths, self.vocabulary)
        self.save_as(path, rows)

    def save_as(self, path: Path, rows: Mapping[str, Any]) -> None:
        """Writes the file with the rows in the form of a user's file."""
        facts: dict[str, Any] = {"member": self.member, "ids": self.ids, "seed": self.seed, "format": FORMAT}
        save_rows(path, rows, self.y, self.classes, **facts)

    def rows_like(self, raw: RawSamples) -> RawSamples:
        """Returns them as samples of a source, with the numbers that it gives to the classes.

        Args:
            raw: the samples of the source.

        Raises:
            UserError: they have another form than the samples, or a class that the source does not have.
        """
        if isinstance(raw, RawTexts):
            if not self.are_texts:
                raise _of_another_form(self, "texts")
            return replace(raw, texts=tuple(self.x.tolist()), y=self._renumbered(raw.classes))
        assert isinstance(raw, RawData)
        of_data = f"{raw.x.dtype} {raw.x.shape[1:]}"
        if self.x.dtype != raw.x.dtype or self.x.shape[1:] != raw.x.shape[1:]:
            raise _of_another_form(self, of_data)
        if self.vocabulary != raw.vocabulary:
            raise UserError(
                f"got token ids with {self.vocabulary}, those of the data have {raw.vocabulary}; encode both alike"
            )
        num_classes = max(len(raw.classes), int(self.y.max()) + 1)
        if raw.classes_known and num_classes > len(raw.classes):
            raise UserError(
                f"got label {num_classes - 1}, but the data have {len(raw.classes)} classes; give the data that the "
                f"canaries were made from"
            )
        names = raw.classes if raw.classes_known else tuple(map(str, range(num_classes)))
        return replace(raw, x=self.x, y=self.y, classes=names, lengths=self.lengths)

    def _renumbered(self, classes: Sequence[str]) -> np.ndarray:
        """Returns the labels (n,) by the names of the classes."""
        names = self.classes or ()
        unknown = sorted({names[label] for label in self.y} - set(classes))
        if unknown:
            raise UserError(
                f"got label '{unknown[0]}', but the data have no such label; give the data that the "
                f"canaries were made from"
            )
        return np.array([classes.index(names[label]) for label in self.y], np.int64)


def _of_another_form(canaries: Canaries, of_data: str) -> UserError:
    form = "texts" if canaries.are_texts else f"{canaries.x.dtype} {canaries.x.shape[1:]}"
    return UserError(
        f"got rows of {form}, expected those of the data, {of_data}; give the data in the form that the canaries were"
        " made from"
    )


def draw_canaries(raw: RawSamples, num_canaries: int, seed: int) -> Canaries:
    """Draws different rows, a wrong label for each, and a fair coin for each.

    Args:
        raw: N rows that are otherwise in no training set.
        num_canaries: n.
        seed: of all draws.

    Raises:
        UserError: fewer than `MIN_CANARIES` canaries, or too few different rows.
    """
    if num_canaries < MIN_CANARIES:
        raise UserError(f"canaries: got {num_canaries}, expected {MIN_CANARIES} or more: fewer can show no leak")
    different = np.unique(raw.first_equal())
    if num_canaries > len(different):
        raise UserError(
            f"canaries: got {num_canaries:,}, but the data have {len(different):,} rows with different x; ask for"
            " fewer, or give more rows"
        )
    ids = np.sort(numpy_generator(seed, seeds.CANARY_ROWS).choice(different, num_canaries, replace=False))
    wrong = mislabelled(raw.y[ids], len(raw.classes), numpy_generator(seed, seeds.CANARIES))
    coins = numpy_generator(seed, seeds.CANARY_COINS).random(num_canaries) < 0.5
    classes = raw.classes if raw.classes_known else None
    if isinstance(raw, RawTexts):
        return Canaries(np.array([raw.texts[row] for row in ids]), wrong, coins, ids, seed, classes)
    assert isinstance(raw, RawData)
    lengths = None if raw.lengths is None else raw.lengths[ids]
    return Canaries(raw.x[ids], wrong, coins, ids, seed, classes, lengths, raw.vocabulary)


def mislabelled(y: np.ndarray, num_classes: int, generator: np.random.Generator) -> np.ndarray:
    """Returns labels (n,), each a uniformly chosen other class of the 2 or more."""
    shift = generator.integers(1, num_classes, size=len(y))  # never 0, so never the same class
    return (y + shift) % num_classes


def read_canaries(path: Path) -> Canaries:
    """Reads a file of canaries; `x` and `y` as for `RawData`.

    Raises:
        UserError: there is no such file, or `save` did not write it.
    """
    path = path.expanduser()
    arrays = read_arrays(path, (*_ARRAYS, "x", TEXTS, *TOKEN_KEYS, "classes"))
    rows = next((key for key in ("x", TEXTS, IDS) if key in arrays), "")
    lacking = [key for key in _ARRAYS if key not in arrays]
    if lacking or not rows:
        raise UserError(
            f"{path}: no array '{lacking[0] if lacking else 'x'}', expected a file that pruneaudit canaries make wrote"
        )
    if arrays["format"].tolist() != FORMAT:
        raise UserError(f"{path}: got format {arrays['format']}, expected {FORMAT}; another version wrote this file")
    try:
        found, y = _rows_in(arrays, rows), labels_of(arrays["y"])
        num = len(found["x"])
        for key, kinds in (("member", "b"), ("ids", "iu")):
            if arrays[key].shape != (num,) or arrays[key].dtype.kind not in kinds:
                raise UserError(f"{key}: got {arrays[key].dtype} of shape {arrays[key].shape}, expected one per row")
        if y.shape != (num,) or arrays["seed"].shape != ():
            raise UserError(f"y: got shape {y.shape} for {num:,} rows and one seed, expected one label per row")
        classes = class_names(arrays["classes"]) if "classes" in arrays else None
        if rows == TEXTS and (classes is None or y.max() >= len(classes)):
            raise UserError("classes: expected the name of each label")
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return Canaries(
        y=y,
        member=arrays["member"],
        ids=arrays["ids"].astype(np.int64),
        seed=int(arrays["seed"]),
        classes=classes,
        **found,
    )


def _rows_in(arrays: Mapping[str, np.ndarray], key: str) -> dict[str, Any]:
    """Returns `x`, and for token ids `lengths` and `vocabulary`."""
    if key == IDS:
        return tokens_in(arrays)
    if key != TEXTS:
        return {"x": samples_of(arrays[key])}
    if arrays[key].dtype.kind != "U" or arrays[key].ndim != 1:
        raise UserError(f"{TEXTS}: got {arrays[key].dtype} of shape {arrays[key].shape}, expected texts (n,)")
    return {"x": arrays[key]}


def canary_of_rows(rows: RawSamples, raw: RawSamples) -> np.ndarray:
    """Returns for each sample of a source the number of the canary that is equal, or -1: (N,) int64.

    Args:
        rows: n canaries, from `Canaries.rows_like`.
        raw: the N samples.
    """
    num = len(rows.y)
    original = rows.followed_by(raw).first_equal()[num:]
    return np.where(original < num, original, -1)


def check_coins(
    wrong_labels: np.ndarray, coins: np.ndarray, member: np.ndarray, y: np.ndarray, canary_of: np.ndarray
) -> None:
    """Refuses a training set with a canary's x although its coin is 0, or with that x under another label.

    Args:
        wrong_labels: (n,) int, of the canaries.
        coins: (n,) bool, of the canaries.
        member: (N,) bool: the rows of the data that were trained on.
        y: (N,) int, the labels of the rows.
        canary_of: (N,) from `canary_of_rows`.

    Raises:
        UserError: the epsilon would be wrong.
    """
    planted = coins[canary_of] & (y == wrong_labels[canary_of])
    wrong = np.flatnonzero(member & (canary_of >= 0) & ~planted)
    if wrong.size:
        raise UserError(
            f"{len(np.unique(canary_of[wrong])):,} of {len(coins):,} canaries have the same x as members, the"
            f" first row {wrong[0]} of the data; expected no other row with a canary's x in the training set; train"
            " again without these rows, or correct the membership"
        )


def save_rows(
    path: Path, rows: Mapping[str, Any], y: np.ndarray, classes: tuple[str, ...] | None, **more: np.ndarray | int
) -> None:
    """Writes rows as a file of data (`npz:FILE`), with further arrays, completely or not at all.

    Raises:
        UserError: the place cannot be written to.
        StorageError: the disk is full.
    """
    arrays: dict[str, Any] = {**rows, "y": y, **({} if classes is None else {"classes": np.array(classes)}), **more}
    held = io.BytesIO()
    np.savez_compressed(held, **arrays)
    with writing(path):
        write_atomically(path, held.getvalue())
