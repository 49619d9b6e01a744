"""The labelled samples that a study draws on.

Which samples they are, and which labels are noise, is drawn once for the study: every model of the
bank, and every release, sees the same population.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import check_file, read_json
from pruneaudit.core.identity import sha256_of_arrays
from pruneaudit.core.options import validated
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.data import SOURCES
from pruneaudit.data.copies import first_equal
from pruneaudit.data.source import RawData
from pruneaudit.study import Data

# N samples (audited, then canaries, then reserve, then copies), C classes, K channels, H height, W width, F features
# R rows of the source, G different ones

MIN_SAMPLES = 4
_ARRAYS = ("x", "y", "ids", "reserve", "canary")
_FACTS = "population.json"
_COPY_OF = "copy_of"
SAVED_FILES = (*(f"{key}.npy" for key in _ARRAYS), _FACTS)
"""What every saved population has."""


@dataclass(frozen=True, eq=False)
class Population:
    """N samples: the audited ones, then canaries, the reserve, and copies of audited ones. Nothing changes them."""

    name: str
    """The source that they come from."""
    x: np.ndarray
    """uint8 images (N, K, H, W) in 0..255; or float32 images (N, K, H, W) or tables (N, F)."""
    y: np.ndarray
    """(N,) int64 labels in 0..C-1, label noise and the wrong labels of canaries included."""
    ids: np.ndarray
    """(N,) int64: the row of each sample in the source."""
    reserve: np.ndarray
    """(N,) bool: in no model's training set, and never audited."""
    canary: np.ndarray
    """(N,) bool: planted to be memorised, and kept out of ordinary findings."""
    num_classes: int
    """C."""
    classes: tuple[str, ...]
    """The C class names."""
    mean: tuple[float, ...] | None
    """Per channel, what uint8 images are centred on, in units of [0, 1]; None for float data."""
    std: tuple[float, ...] | None
    """Per channel, what centred uint8 images are divided by, in units of [0, 1]; None for float data."""
    copy_of: np.ndarray | None = None
    """(N,) int64: the place of the audited sample that has the same x, and of every other sample its own; None where
    there are no copies. A copy is in exactly the training sets that its original is in, and is never audited."""
    classes_known: bool = True
    """Whether the source says which classes there are; if not, C is the highest label + 1, and may be too low."""

    def __post_init__(self) -> None:
        wrong = [key for key, array in self._arrays().items() if len(array) != len(self.x)]
        if wrong or len(self.classes) != self.num_classes:
            raise ValueError(
                f"population: {wrong or 'classes'} of another length than {'x' if wrong else 'num_classes'}"
            )

    @cached_property
    def sha256(self) -> str:
        """64 hex digits for all that a model can see of the population: arrays, normalisation, classes."""
        scale = {key: np.asarray(getattr(self, key) or (), np.float64) for key in ("mean", "std")}
        return sha256_of_arrays(self._arrays() | scale | {"num_classes": np.asarray(self.num_classes, np.int64)})

    @cached_property
    def is_copy(self) -> np.ndarray:
        """(N,) bool: the samples that are copies of another."""
        if self.copy_of is None:
            return np.zeros(len(self.x), dtype=bool)
        return self.copy_of != np.arange(len(self.x))

    def shared(self, coins: np.ndarray) -> np.ndarray:
        """The coins (N,), with that of its original for every copy."""
        return coins if self.copy_of is None else coins[self.copy_of]

    @property
    def files(self) -> tuple[str, ...]:
        """The names of what `save` writes."""
        return (*(f"{key}.npy" for key in self._arrays()), _FACTS)

    def save(self, folder: Path) -> None:
        """Writes one `.npy` per array and `population.json` into `folder`, which is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        for key, array in self._arrays().items():
            np.save(folder / f"{key}.npy", array, allow_pickle=False)
        facts = {"name": self.name, "classes": self.classes, "mean": self.mean, "std": self.std}
        (folder / _FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, mmap: bool = False, sha256: str = "") -> Population:
        """What `save` wrote.

        Args:
            folder: where it was saved.
            mmap: maps the arrays instead of reading them, so that workers share their memory. The
                mapping is copy-on-write: nothing can change the files, and torch, which has no
                read-only tensors, takes the arrays without a warning.
            sha256: what it is known by, where its files have been checked otherwise; default: computed when asked for.

        Raises:
            UserError: the folder holds no whole population.
        """
        try:
            facts = read_json(folder / _FACTS)
            mode: Literal["c"] | None = "c" if mmap else None
            for key in _ARRAYS:
                check_file(folder / f"{key}.npy")
            arrays = {key: np.load(folder / f"{key}.npy", mmap_mode=mode, allow_pickle=False) for key in _ARRAYS}
            if (folder / f"{_COPY_OF}.npy").exists():
                arrays[_COPY_OF] = np.load(folder / f"{_COPY_OF}.npy", allow_pickle=False)
            mean, std = (None if facts[key] is None else tuple(facts[key]) for key in ("mean", "std"))
            classes = tuple(facts["classes"])
            found = cls(**arrays, name=facts["name"], num_classes=len(classes), classes=classes, mean=mean, std=std)
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            raise UserError(
                f"{folder}: no whole population ({error}); expected {_FACTS} and an .npy per array"
            ) from None
        if sha256:
            vars(found)["sha256"] = sha256  # in place of the cached property's own
        return found

    def _arrays(self) -> dict[str, np.ndarray]:
        copies = {} if self.copy_of is None else {_COPY_OF: self.copy_of}
        return {key: getattr(self, key) for key in _ARRAYS} | copies


def copies_note(population: Population) -> list[str]:
    """What is said of the copies in a population; nothing where there are none."""
    if population.copy_of is None:
        return []
    num_copies, num_samples = int(population.is_copy.sum()), len(population.y)
    num_audited = int((~population.reserve & ~population.canary).sum()) - num_copies
    return [
        f"{num_copies:,} of {num_samples:,} samples repeat{'s' if num_copies == 1 else ''} an audited sample (equal x,"
        " whatever the label): equal samples are in the same training sets, and one of each is audited"
        f" ({num_audited:,} in all)"
    ]


def load_population(data: Data, seed: int, data_root: Path | None = None) -> Population:
    """The population of a study: its source is read, then samples are drawn.

    Args:
        data: which source, how many samples.
        seed: the study's seed.
        data_root: folder of data sets; None: `data.source.default_data_root()`.

    Raises:
        UserError: the source is unknown, its data are missing or malformed, or they do not suffice.
    """
    source = SOURCES.get(data.source.name)
    options = validated(source.Options, data.source.options, f"data.source '{data.source.name}'")
    raw = source.load(options, data_root)
    _check_no_gap(raw, data.source.label)
    return draw(raw, data, seed)


def _check_no_gap(raw: RawData, name: str) -> None:
    """Refuses labels with a gap where nothing says which classes there are: it is more likely a mistake than meant."""
    absent = np.flatnonzero(np.bincount(raw.y, minlength=len(raw.classes)) == 0)
    if absent.size and not raw.classes_known:
        raise UserError(
            f"data: no sample of {name} has label {absent[0]}, expected every label of 0..{len(raw.classes) - 1};"
            " number the classes without a gap, or name all of them: numpy.savez(path, x=x, y=y, classes=[...])"
        )


def draw(raw: RawData, data: Data, seed: int) -> Population:
    """A random subset of the source, without replacement, with the asked label noise and canaries.

    Of rows with equal x one is drawn. The copies of an audited sample come along, as its training sets hold them too;
    those of canaries and of the reserve are left out. Label noise changes no copy.

    Args:
        raw: all samples of the source.
        data: how many samples to audit, to plant as canaries and to hold in reserve, how many labels to replace.
        seed: the study's seed.

    Raises:
        UserError: the source has too few samples, or an audited class would be empty.
    """
    order = numpy_generator(seed, seeds.POPULATION).permutation(len(raw.y))  # (R,)
    different, original = _originals(order, first_equal(raw.x))
    num_audited = _num_audited(len(raw.y), len(different), data)
    num_drawn = num_audited + data.num_canaries + data.num_reserve
    copies = np.flatnonzero((original < num_audited) & (different[original] != order))
    ids = np.concatenate([different[:num_drawn], order[copies]])  # (N,)
    place = np.arange(len(ids))
    canary = (place >= num_audited) & (place < num_audited + data.num_canaries)
    y = raw.y[ids]
    y[:num_audited] = _with_label_noise(y[:num_audited], data.label_noise, len(raw.classes), seed)
    y[canary] = _mislabelled(y[canary], len(raw.classes), numpy_generator(seed, seeds.CANARIES))
    _check_every_class(y[:num_audited], raw)
    return Population(
        name=data.source.name,
        x=raw.x[ids],
        y=y,
        ids=ids.astype(np.int64),
        reserve=(place >= num_audited + data.num_canaries) & (place < num_drawn),
        canary=canary,
        num_classes=len(raw.classes),
        classes=raw.classes,
        mean=raw.mean,
        std=raw.std,
        copy_of=np.concatenate([place[:num_drawn], original[copies]]) if len(copies) else None,
    )


def _originals(order: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different rows of a source, in the order in which they are drawn.

    Args:
        order: (R,) int, all rows in a random order.
        first: (R,) int, from `first_equal`.

    Returns:
        (G,) int, the first row in that order of each group of equal ones; and (R,) int, for each row in that order the
        place of its group among those.
    """
    _, begins, group = np.unique(first[order], return_index=True, return_inverse=True)
    rank = np.empty(len(begins), np.int64)
    rank[np.argsort(begins)] = np.arange(len(begins))
    return order[np.sort(begins)], rank[group]


def _num_audited(num_available: int, num_different: int, data: Data) -> int:
    """How many samples are audited: as many as asked, or as there are different ones beside canaries and reserve."""
    beside = data.num_reserve + data.num_canaries
    wanted = MIN_SAMPLES if data.num_samples is None else data.num_samples
    left = num_different - beside
    if wanted + beside > num_available or left < MIN_SAMPLES:
        canaries = f" and num_canaries = {data.num_canaries}" if data.num_canaries else ""
        different = f", of which {num_different} are different" if num_different < num_available else ""
        raise UserError(
            f"data: got num_samples = {data.num_samples or f'at least {MIN_SAMPLES}'} and "
            f"num_reserve = {data.num_reserve}{canaries}, but source '{data.source.name}' has "
            f"{num_available} samples{different}; lower one"
        )
    return left if data.num_samples is None else min(left, data.num_samples)


def _with_label_noise(y: np.ndarray, fraction: float, num_classes: int, seed: int) -> np.ndarray:
    """`y` with exactly round(fraction * len(y)) labels replaced by a uniformly chosen other class."""
    generator = numpy_generator(seed, seeds.LABEL_NOISE)
    rows = generator.permutation(len(y))[: round(fraction * len(y))]
    noisy = y.copy()
    noisy[rows] = _mislabelled(y[rows], num_classes, generator)
    return noisy


def _mislabelled(y: np.ndarray, num_classes: int, generator: np.random.Generator) -> np.ndarray:
    """Labels (n,) of which every one is a uniformly chosen other class."""
    shift = generator.integers(1, num_classes, size=len(y))  # never 0, so never the same class
    return (y + shift) % num_classes


def _check_every_class(y: np.ndarray, raw: RawData) -> None:
    """Refuses a draw (N,) that misses a class which the source has samples of."""
    drawn, there = (np.bincount(labels, minlength=len(raw.classes)) for labels in (y, raw.y))
    absent = np.flatnonzero((drawn == 0) & (there > 0))
    if absent.size:
        raise UserError(
            f"data: no audited sample is of class {absent[0]} ('{raw.classes[absent[0]]}') among the {len(y)} drawn; "
            "raise num_samples"
        )
