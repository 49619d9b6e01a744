"""Canaries for a network that its owner trains: mislabelled rows, and a coin for each, drawn before the training.

The rows come from data that are otherwise not in the training set: under their own label they would tell whether x was
trained on, whatever the coin says. The owner adds the canaries whose coin is 1 to the training set, once. The file
keeps rows and coins, so that the trained network can be asked about all of them.

| key | shape | |
|---|---|---|
| `x` | (n, ...) | the rows, in the form of the data that they come from |
| `y` | (n,) int | wrong labels, each a uniformly chosen other class |
| `classes` | (C,) texts | optional, as in a file of data |
| `member` | (n,) bool | the coins: true for rows in the training set |
| `ids` | (n,) int | the number of each row in the data that it comes from |
| `seed`, `format` | () int | the seed of the draws, and 1 |
"""

# n canaries, N rows of the data, C classes

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import write_atomically, writing
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.data.copies import first_equal
from pruneaudit.data.npz import labels_of, read_arrays, samples_of

FORMAT = 1
MIN_CANARIES = 10
"""With fewer, even guesses that are all right refute no epsilon worth knowing."""
_ARRAYS = ("x", "y", "member", "ids", "seed", "format")


@dataclass(frozen=True, eq=False)
class Canaries:
    """n mislabelled rows with their coins."""

    x: np.ndarray
    """(n, ...), in the form of the data that they come from."""
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

    def save(self, path: Path) -> None:
        """Writes the file, completely or not at all.

        Raises:
            UserError: the place cannot be written to.
            StorageError: the disk is full.
        """
        facts: dict[str, Any] = {"member": self.member, "ids": self.ids, "seed": self.seed, "format": FORMAT}
        save_rows(path, self.x, self.y, self.classes, **facts)


def draw_canaries(x: np.ndarray, y: np.ndarray, num_classes: int, num_canaries: int, seed: int) -> Canaries:
    """Draws rows with different x, a wrong label for each, and a fair coin for each.

    Args:
        x: (N, ...) rows that are otherwise in no training set.
        y: (N,) int64 their labels, in 0..C-1.
        num_classes: C, 2 or more.
        num_canaries: n.
        seed: of all draws.

    Raises:
        UserError: fewer than `MIN_CANARIES` canaries, or too few different rows.
    """
    if num_canaries < MIN_CANARIES:
        raise UserError(f"canaries: got {num_canaries}, expected {MIN_CANARIES} or more: fewer can show no leak")
    different = np.unique(first_equal(x))
    if num_canaries > len(different):
        raise UserError(
            f"canaries: got {num_canaries:,}, but the data have {len(different):,} rows with different x; ask for"
            " fewer, or give more rows"
        )
    ids = np.sort(numpy_generator(seed, seeds.CANARY_ROWS).choice(different, num_canaries, replace=False))
    wrong = mislabelled(y[ids], num_classes, numpy_generator(seed, seeds.CANARIES))
    coins = numpy_generator(seed, seeds.CANARY_COINS).random(num_canaries) < 0.5
    return Canaries(x[ids], wrong, coins, ids, seed)


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
    arrays = read_arrays(path, (*_ARRAYS, "classes"))
    lacking = [key for key in _ARRAYS if key not in arrays]
    if lacking:
        raise UserError(f"{path}: no array '{lacking[0]}', expected a file that pruneaudit canaries make wrote")
    if arrays["format"].tolist() != FORMAT:
        raise UserError(f"{path}: got format {arrays['format']}, expected {FORMAT}; another version wrote this file")
    try:
        x, y = samples_of(arrays["x"]), labels_of(arrays["y"])
        for key, kinds in (("member", "b"), ("ids", "iu")):
            if arrays[key].shape != (len(x),) or arrays[key].dtype.kind not in kinds:
                raise UserError(f"{key}: got {arrays[key].dtype} of shape {arrays[key].shape}, expected one per row")
        if y.shape != (len(x),) or arrays["seed"].shape != ():
            raise UserError(f"y: got shape {y.shape} for {len(x):,} rows and one seed, expected one label per row")
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return Canaries(x, y, arrays["member"], arrays["ids"].astype(np.int64), int(arrays["seed"]))


def canary_of_rows(canaries: Canaries, x: np.ndarray) -> np.ndarray:
    """Returns for each row of some data the number of the canary with the same x, or -1: (N,) int64.

    Args:
        canaries: n canaries.
        x: (N, ...) the rows.

    Raises:
        UserError: the canaries have another form than the rows.
    """
    if canaries.x.dtype != x.dtype or canaries.x.shape[1:] != x.shape[1:]:
        raise UserError(
            f"got rows of {canaries.x.dtype} {canaries.x.shape[1:]}, expected those of the data, {x.dtype}"
            f" {x.shape[1:]}; give the data in the form that the canaries were made from"
        )
    num = len(canaries.y)
    original = first_equal(np.concatenate([canaries.x, x]))[num:]
    return np.where(original < num, original, -1)


def check_coins(canaries: Canaries, member: np.ndarray, y: np.ndarray, canary_of: np.ndarray) -> None:
    """Refuses a training set with a canary's x although its coin is 0, or with that x under another label.

    Args:
        canaries: n canaries.
        member: (N,) bool: the rows of the data that were trained on.
        y: (N,) int, the labels of the rows.
        canary_of: (N,) from `canary_of_rows`.

    Raises:
        UserError: the epsilon would be wrong.
    """
    planted = canaries.member[canary_of] & (y == canaries.y[canary_of])
    wrong = np.flatnonzero(member & (canary_of >= 0) & ~planted)
    if wrong.size:
        raise UserError(
            f"{len(np.unique(canary_of[wrong])):,} of {len(canaries.y):,} canaries have the same x as members, the"
            f" first row {wrong[0]} of the data; expected no other row with a canary's x in the training set; train"
            " again without these rows, or correct the membership"
        )


def save_rows(
    path: Path, x: np.ndarray, y: np.ndarray, classes: tuple[str, ...] | None, **more: np.ndarray | int
) -> None:
    """Writes rows as a file of data (`npz:FILE`), with further arrays, completely or not at all.

    Raises:
        UserError: the place cannot be written to.
        StorageError: the disk is full.
    """
    arrays: dict[str, Any] = {"x": x, "y": y, **({} if classes is None else {"classes": np.array(classes)}), **more}
    held = io.BytesIO()
    np.savez_compressed(held, **arrays)
    with writing(path):
        write_atomically(path, held.getvalue())
