"""The base class of data sources, and the checked samples that they return."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Configured, Options, OptionsT
from pruneaudit.data.copies import first_equal
from pruneaudit.data.kinds import Vocabulary

# N samples, C classes, K channels, H height, W width, F features, T tokens

DATA_ROOT_VARIABLE = "PRUNEAUDIT_DATA"

# For images without published statistics. Computing them from the samples would let every model see
# its non-members.
GENERIC_MEAN = 0.5
GENERIC_STD = 0.25


class RawSamples(ABC):
    """All samples of a source, in its order; texts become numbers when a study takes its samples."""

    y: np.ndarray
    """(R,) int64 labels in 0..C-1."""
    classes: tuple[str, ...]
    """The C class names, by label."""
    classes_known: bool
    """Whether the source states its classes; if not, C is the highest label + 1, which can be too low."""

    @abstractmethod
    def first_equal(self) -> np.ndarray:
        """Returns for each sample the index (R,) of the first sample equal to it, or its own index."""

    @abstractmethod
    def taken(self, rows: np.ndarray, public: np.ndarray) -> RawData:
        """Returns some samples, in the given order.

        Args:
            rows: (N,) int, the samples.
            public: (N,) bool, those that may shape what becomes of the others: a tokenizer is built on them.

        Raises:
            UserError: there are no public samples, and the source needs some.
        """

    @abstractmethod
    def followed_by(self, more: RawSamples) -> RawSamples:
        """Returns these samples, then others of the same form, whose labels number the same classes."""


@dataclass(frozen=True, eq=False)
class RawData(RawSamples):
    """All samples of a source, checked at construction.

    A class can be empty: 300 samples of CIFAR-100 seldom cover every class.

    Raises:
        UserError: a shape or type is not as below, a value is not finite, there are fewer than two
            classes, or a label is outside 0..C-1.
    """

    x: np.ndarray
    """uint8 images (N, K, H, W) in 0..255; float32 images (N, K, H, W) or tables (N, F), used unchanged; or int32 token
    ids (N, T), with lengths and a vocabulary."""
    y: np.ndarray
    """(N,) int64 labels in 0..C-1."""
    classes: tuple[str, ...]
    """The C class names, by label."""
    mean: tuple[float, ...] | None = None
    """Per channel, the mean for normalising uint8 images, in units of [0, 1]; None for float data."""
    std: tuple[float, ...] | None = None
    """Per channel, the standard deviation for normalising uint8 images, in units of [0, 1]; None for float data."""
    classes_known: bool = True
    """Whether the source states its classes; if not, C is the highest label + 1, which can be too low."""
    lengths: np.ndarray | None = None
    """(N,) int32 in 1..T: the number of real tokens of each text; None for images and tables."""
    vocabulary: Vocabulary | None = None
    """The ids of the texts; None for images and tables."""
    tokenizer: str = ""
    """The JSON text of the tokenizer that made the ids, if it is known."""
    notes: tuple[str, ...] = ()
    """What readers of results should know of how texts became ids."""

    def __post_init__(self) -> None:
        if self.lengths is not None and self.vocabulary is not None:
            _check_tokens(self.x, self.lengths, self.vocabulary)
        else:
            _check_x(self.x)
        check_classes(self.y, len(self.x), self.classes)
        _check_normalisation(self.x, self.mean, self.std)

    def first_equal(self) -> np.ndarray:
        """Returns for each sample the index (N,) of the first one with equal x, or its own index."""
        return first_equal(self.x)

    def taken(self, rows: np.ndarray, public: np.ndarray) -> RawData:
        """Returns some samples, in the given order; `public` changes nothing."""
        lengths = None if self.lengths is None else self.lengths[rows]
        return replace(self, x=self.x[rows], y=self.y[rows], lengths=lengths)

    def followed_by(self, more: RawSamples) -> RawData:
        """Returns these samples, then others of the same form, whose labels number the same classes."""
        assert isinstance(more, RawData)
        x, y = (np.concatenate(parts) for parts in ((self.x, more.x), (self.y, more.y)))
        lengths = None
        if self.lengths is not None and more.lengths is not None:
            lengths = np.concatenate([self.lengths, more.lengths])
        return replace(self, x=x, y=y, classes=max(self.classes, more.classes, key=len), lengths=lengths)

    @classmethod
    def from_file(
        cls,
        path: Path,
        x: np.ndarray,
        y: np.ndarray,
        classes: tuple[str, ...],
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
    ) -> RawData:
        """Makes raw data whose error messages name the file at `path`."""
        try:
            return cls(x, y, classes, mean, std)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None


class NoOptions(Options):
    """Empty options."""


class PathOptions(Options):
    """The options of a source with default places for its files."""

    path: Path | None = None
    """The path of the data; default: the source's default places."""


class SplitOptions(PathOptions):
    """The options of a source with an official training and test part."""

    split: Literal["all", "train", "test"] = "all"
    """The official part to use; all: the training part, then the test part (membership is drawn independently)."""


class Source(Configured[OptionsT], ABC):
    """A data source: a data set or file format that samples come from.

    A subclass sets `Options` (which must not import torch); its module sets `SOURCE`.

    Example:
        >>> digits = pruneaudit.SOURCES.get("digits")
        >>> digits.load(digits.Options(), None).x.shape
        (1797, 1, 8, 8)
    """

    semantics_version = 1
    """Increased when the same options would return other samples."""
    is_public: bool = False
    """Whether these samples are publicly available; others are treated as personal data, private to their owner."""

    @abstractmethod
    def load(self, options: OptionsT, data_root: Path | None) -> RawSamples:
        """Loads all samples; downloads them if possible and no copy is found.

        Args:
            options: the options of this source.
            data_root: the folder of data sets; None: `default_data_root()`.

        Raises:
            UserError: the data are missing or malformed, or their checksum does not match.
        """

    def whereabouts(self, data_root: Path | None) -> str:
        """Returns origin and size of the samples, and whether they are on this machine; reads and downloads nothing."""
        return "your own files"


def default_data_root() -> Path:
    """Returns the folder of data sets: PRUNEAUDIT_DATA if set, otherwise `~/.cache/pruneaudit`."""
    return Path(os.environ.get(DATA_ROOT_VARIABLE) or "~/.cache/pruneaudit").expanduser()


def _check_x(x: np.ndarray) -> None:
    if x.dtype not in (np.uint8, np.float32):
        raise UserError(f"x: got {x.dtype}, expected uint8 images or float32 images or tables")
    wanted = "(N, channels, height, width)" if x.dtype == np.uint8 else "(N, features) or (N, channels, height, width)"
    if x.ndim != 4 and (x.dtype == np.uint8 or x.ndim != 2):
        raise UserError(f"x: got {x.dtype} of shape {x.shape}, expected {wanted}")
    if not x.size:
        raise UserError(f"x: got shape {x.shape}, which is empty; expected {wanted}, without zero lengths")
    if x.dtype == np.float32 and not np.isfinite(x).all():
        wrong = int(np.argmin(np.isfinite(x).reshape(len(x), -1).all(axis=1)))
        raise UserError(f"x: got NaN or an infinity (first in row {wrong}), expected finite numbers: drop or fill them")


def _check_tokens(x: np.ndarray, lengths: np.ndarray, vocabulary: Vocabulary) -> None:
    if x.dtype != np.int32 or x.ndim != 2 or not x.size:
        raise UserError(f"x: got {x.dtype} of shape {x.shape}, expected int32 token ids (N, tokens)")
    if lengths.dtype != np.int32 or lengths.shape != (len(x),):
        raise UserError(f"lengths: got {lengths.dtype} of shape {lengths.shape}, expected int32 of shape ({len(x)},)")
    if not all(0 <= number < vocabulary.size for number in (vocabulary.padding, vocabulary.unknown)):
        raise UserError(f"vocabulary: got ids {vocabulary.numbers[1:]}, expected 0..{vocabulary.size - 1}")
    outside = np.flatnonzero(((x < 0) | (x >= vocabulary.size)).any(axis=1))
    if outside.size:
        row = outside[0]
        raise UserError(
            f"x: got token ids {x[row].min()}..{x[row].max()} in row {row}, expected 0..{vocabulary.size - 1}: encode"
            " the texts with the tokenizer of the network, or state the size of its vocabulary"
        )
    wrong = np.flatnonzero((lengths < 1) | (lengths > x.shape[1]))
    if wrong.size:
        raise UserError(
            f"lengths: got {lengths[wrong[0]]} in row {wrong[0]}, expected 1..{x.shape[1]} tokens: drop empty texts"
        )


def check_classes(y: np.ndarray, num_samples: int, classes: tuple[str, ...]) -> None:
    """Checks labels and class names.

    Args:
        y: (N,) labels.
        num_samples: N.
        classes: the C class names.

    Raises:
        UserError: a label has no class, there are fewer than two, or two have one name.
    """
    if y.dtype != np.int64 or y.shape != (num_samples,):
        raise UserError(
            f"y: got {y.dtype} of shape {y.shape}, expected int64 of shape ({num_samples},), one label per x"
        )
    if len(classes) == 1:
        raise UserError(f"classes: all samples have the label '{classes[0]}', expected 2 or more classes")
    if not classes or len(set(classes)) < len(classes):
        raise UserError(
            f"classes: got {len(set(classes))} different of {len(classes)} names, expected 2 or more, all different"
        )
    if y.min() < 0 or y.max() >= len(classes):
        raise UserError(
            f"y: got labels {y.min()}..{y.max()}, expected 0..{len(classes) - 1}: number the classes from 0"
        )


def _check_normalisation(x: np.ndarray, mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> None:
    if x.dtype != np.uint8:
        if mean is not None or std is not None:
            raise UserError("mean, std: got values for float data, expected none: float data are used unchanged")
        return
    if mean is None or std is None or {len(mean), len(std)} != {x.shape[1]}:
        raise UserError(f"mean, std: got {mean} and {std}, expected one value for each of {x.shape[1]} channels")
    if not all(0 <= value <= 1 for value in mean) or not all(0 < value <= 1 for value in std):
        raise UserError(f"mean, std: got {mean} and {std}, expected units of [0, 1], and std above 0")
