"""Your own samples: an `.npz` file with `x`, `y` and, optionally, `classes`; for texts with token ids instead of `x`.

| key | allowed values |
|---|---|
| `x` | uint8 images (N, H, W), (N, C, H, W) or (N, H, W, C); float tables (N, F); float images (N, C, H, W) |
| `input_ids`, ... | in place of `x`: texts as token ids (N, T), and the other arrays of `token_arrays` |
| `y` | (N,) integers in 0..classes-1; with `classes`, a class can be empty |
| `classes` | optional names of the classes; default: the labels as texts, which must include all up to the highest |

The channel axis of 4-dimensional uint8 images is the second if it has length 1 or 3, otherwise the last
if it has length 1 or 3, otherwise the second if it is the shortest of the three. Anything else is
refused. Float data are used unchanged; uint8 images are scaled to [0, 1], then normalised by the fixed
mean 0.5 and std 0.25.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.core.unpacking import array_of, check_zip
from pruneaudit.data.kinds import IDS
from pruneaudit.data.row_numbers import is_row_number
from pruneaudit.data.source import GENERIC_MEAN, GENERIC_STD, RawData, Source
from pruneaudit.data.token_arrays import TOKEN_KEYS, tokens_in

# N samples, C channels, H height, W width, F features, T tokens

KEYS = ("x", "y", "classes", *TOKEN_KEYS)
"""The arrays of the file."""
MAX_CLASSES = 100_000
"""Labels beyond this are probably a mistake, such as ids."""


class NpzOptions(Options):
    """The file, and columns to keep."""

    path: Path
    """The `.npz` file."""
    keep: tuple[int, ...] = ()
    """Columns of a table, counted from 0, to accept as features although they number the rows. Other columns that
    number the rows are refused."""


class Npz(Source[NpzOptions]):
    """Samples from a user's file."""

    def load(self, options: NpzOptions, data_root: Path | None) -> RawData:
        """Loads all samples, in the order of the file."""
        return read_samples(options.path.expanduser(), options.keep)[0]


def read_samples(path: Path, keep: tuple[int, ...] = (), may_lack_labels: bool = False) -> tuple[RawData, bool]:
    """Reads all samples of a file, in its order.

    Args:
        path: the file.
        keep: columns of a table to accept although they number the rows.
        may_lack_labels: whether `y` can be missing.

    Returns:
        The samples, and whether they have labels; without, all labels are 0.

    Raises:
        UserError: the file cannot be read, or its arrays are not those of this module.
    """
    arrays = read_arrays(path, KEYS)
    has_texts = IDS in arrays
    if has_texts and "x" in arrays:
        raise UserError(f"{path}: has x and {IDS}, expected one of them: images or tables in x, or texts in {IDS}")
    inputs = IDS if has_texts else "x"
    for key in (inputs,) if may_lack_labels else (inputs, "y"):
        if key not in arrays:
            expected = "x" if may_lack_labels else f"x (for texts {IDS}), y (and classes)"
            with np.load(path, allow_pickle=False) as file:
                names = ", ".join(file.files[:10]) or "none"
            raise UserError(f"{path}: no array '{key}' among {names}; expected {expected}")
    try:
        given = tokens_in(arrays) if has_texts else _numbers_in(arrays["x"], keep)
        if "y" not in arrays:
            y = np.zeros(len(given["x"]), np.int64)
            return RawData(y=y, classes=("0", "1"), classes_known=False, **given), False
        y, is_named = labels_of(arrays["y"]), "classes" in arrays
        classes = class_names(arrays["classes"]) if is_named else _numbered(y)
        return RawData(y=y, classes=classes, classes_known=is_named, **given), True
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _numbers_in(x: np.ndarray, keep: tuple[int, ...]) -> dict[str, Any]:
    """Returns `x` of images or a table, `mean` and `std` for `RawData`."""
    x = samples_of(x)
    _check_no_row_numbers(x, keep)
    known = (GENERIC_MEAN,) * x.shape[1], (GENERIC_STD,) * x.shape[1]
    mean, std = known if x.dtype == np.uint8 else (None, None)
    return {"x": x, "mean": mean, "std": std}


def read_arrays(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads these arrays, as far as the file has them.

    Raises:
        UserError: there is no such file, or it is no usable `.npz` file.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected an .npz file with arrays x and y")
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path}: not an .npz file; expected the output of numpy.savez(path, x=..., y=...)")
    check_zip(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {key: array_of(arrays, key, f"{path}: ") for key in arrays.files if key in keys}
    except UserError:
        raise
    except Exception as error:  # a damaged zip raises anything from zlib.error to NotImplementedError
        mend = "expected the output of numpy.savez(path, x=..., y=...)"
        raise UserError(f"{path}: cannot be read ({error or type(error).__name__}); {mend}") from None
    foreign = [key for key, value in found.items() if not isinstance(value, np.ndarray)]
    if foreign:
        raise UserError(
            f"{path}: '{foreign[0]}' is not an array; expected the output of numpy.savez(path, x=..., y=...)"
        )
    return found


def samples_of(x: np.ndarray) -> np.ndarray:
    """Converts `x` for RawData: uint8 (N, C, H, W), float32 (N, C, H, W) or float32 (N, F).

    Raises:
        UserError: it has another type or shape.
    """
    if x.dtype == np.uint8:
        return np.ascontiguousarray(_channels_first(x))
    if x.dtype.kind == "f":
        if x.ndim not in (2, 4):
            raise UserError(f"x: got {x.dtype} of shape {x.shape}, expected a table (N, F) or images (N, C, H, W)")
        with np.errstate(over="ignore"):  # values too large become infinite, which RawData refuses
            return np.ascontiguousarray(x, np.float32)
    raise UserError(
        f"x: got {x.dtype}, expected uint8 images or floats: x.astype('float32') for a table; texts as token ids are"
        f" {IDS}=x in place of x"
    )


def _check_no_row_numbers(x: np.ndarray, keep: tuple[int, ...]) -> None:
    """Refuses tables (N, F) with a column of N whole numbers without a gap, except columns in `keep`."""
    if x.ndim != 2:
        return
    for number, column in enumerate(x.T):
        if number not in keep and is_row_number(column):
            raise UserError(
                f"x: column {number} numbers the rows, {column.min():.0f} to {column.max():.0f}, expected a feature: a"
                f" row number identifies every sample; remove it (numpy.delete(x, {number}, axis=1)), or allow it with"
                f" keep = [{number}]"
            )


def _channels_first(x: np.ndarray) -> np.ndarray:
    if x.ndim == 3:
        return x[:, None]  # (N, 1, H, W)
    if x.ndim != 4:
        mend = "; for a table, x.astype('float32')" if x.ndim == 2 else ""
        raise UserError(
            f"x: got uint8 of shape {x.shape}, expected images (N, H, W), (N, C, H, W) or (N, H, W, C){mend}"
        )
    second, third, last = x.shape[1:]
    if second in (1, 3):
        return x
    if last in (1, 3):
        return x.transpose(0, 3, 1, 2)
    if second < min(third, last):
        return x
    raise UserError(f"x: got uint8 of shape {x.shape}, where no axis is clearly the channels; expected (N, C, H, W)")


def labels_of(y: np.ndarray) -> np.ndarray:
    """Converts labels for RawData: int64 (N,).

    Raises:
        UserError: they are no class numbers.
    """
    if y.dtype.kind not in "iu":
        raise UserError(f"y: got {y.dtype}, expected integer labels: y.astype('int64')")
    if y.size and (int(y.min()) < 0 or int(y.max()) >= MAX_CLASSES):
        raise UserError(
            f"y: got labels {y.min()}..{y.max()}, expected 0 up to at most {MAX_CLASSES - 1}: number the classes from 0"
        )
    return y.astype(np.int64)


def class_names(classes: np.ndarray) -> tuple[str, ...]:
    """Converts an array of names.

    Raises:
        UserError: it is no list of texts.
    """
    if classes.dtype.kind != "U" or classes.ndim != 1:
        raise UserError(
            f"classes: got {classes.dtype} of shape {classes.shape}, expected a list of texts, one per class"
        )
    return tuple(classes.tolist())


def _numbered(y: np.ndarray) -> tuple[str, ...]:
    """Returns the labels up to the highest one as names."""
    return tuple(str(label) for label in range(int(y.max(initial=-1)) + 1))


SOURCE = Npz()
