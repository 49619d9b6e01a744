"""Draws the samples of a study from its source: audited samples, other parts, and label noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.data import SOURCES
from pruneaudit.data.around_target import draw_around
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.canaries import mislabelled
from pruneaudit.data.copies import originals
from pruneaudit.data.source import RawSamples
from pruneaudit.data.target_canaries import planted, settled_canaries
from pruneaudit.data.target_members import read_members
from pruneaudit.study import Data, Target

# N samples, R rows of the source, G different ones

MIN_SAMPLES = 4


def load_audit_data(data: Data, seed: int, data_root: Path | None = None, target: Target | None = None) -> AuditData:
    """Loads the source of a study, and draws its audit data.

    Args:
        data: the source, and the numbers of samples.
        seed: the study's seed.
        data_root: the folder of data sets; None: `data.source.default_data_root()`.
        target: the target, whose members decide which samples are audited.

    Raises:
        UserError: the source is unknown, or its data are missing, malformed or too few.
    """
    raw = _read(data, data_root)
    _check_no_gap(raw, data.source.label)
    if target is not None:
        return _drawn_around(raw, data, target, seed)
    return draw(raw, data, seed)


def _drawn_around(raw: RawSamples, data: Data, target: Target, seed: int) -> AuditData:
    status = read_members(Path(target.member).expanduser(), len(raw.y))
    if not target.canaries:
        return draw_around(raw, data, target, status, seed)
    canaries, rows, status = settled_canaries(target.canaries, raw, status)
    return planted(draw_around(raw, data, target, status, seed, rows), canaries.member)


def _read(data: Data, data_root: Path | None) -> RawSamples:
    source = SOURCES.get(data.source.name)
    options = validated(source.Options, data.source.options, f"data.source '{data.source.name}'")
    return source.load(options, data_root)


def rows_left_over(data: Data, data_root: Path | None = None) -> int:
    """Returns the number of distinct rows of the source that a study does not use.

    Raises:
        UserError: the source is unknown, or its data are missing or malformed.
    """
    raw = _read(data, data_root)
    num_different = len(np.unique(raw.first_equal()))
    used = data.num_holdout + data.num_public + data.num_canaries + (data.num_samples or num_different)
    return max(0, num_different - used)


def _check_no_gap(raw: RawSamples, name: str) -> None:
    """Refuses labels with a gap if the source does not state its classes: the gap is probably a mistake."""
    absent = np.flatnonzero(np.bincount(raw.y, minlength=len(raw.classes)) == 0)
    if absent.size and not raw.classes_known:
        raise UserError(
            f"data: no sample of {name} has label {absent[0]}, expected every label of 0..{len(raw.classes) - 1};"
            " number the classes without gaps, or name them all: numpy.savez(path, x=x, y=y, classes=[...])"
        )


def draw(raw: RawSamples, data: Data, seed: int) -> AuditData:
    """Draws a random subset of the source, without replacement, with label noise and canaries.

    Draws one of the rows with equal x. Copies of audited samples are included, because they are in the same training
    sets; copies of other samples are left out. Label noise changes no copy. The part that is drawn last comes last, so
    that it moves no other sample.

    Args:
        raw: all samples of the source.
        data: the sizes of the parts, the part to draw first, and the fraction of labels to replace.
        seed: the study's seed.

    Raises:
        UserError: the source has too few samples, or an audited class would be empty.
    """
    order = numpy_generator(seed, seeds.POPULATION).permutation(len(raw.y))  # (R,)
    different, original = originals(order, raw.first_equal())
    num_audited = _num_audited(len(raw.y), len(different), data)
    is_public_first = data.draws_public_first or (bool(data.num_public) and not data.num_holdout)
    first, second = (data.num_holdout, data.num_public)[:: -1 if is_public_first else 1]
    num_seen = num_audited + data.num_canaries
    num_early, num_drawn = num_seen + first, num_seen + first + second
    copies = np.flatnonzero((original < num_audited) & (different[original] != order))
    ids = np.concatenate([different[:num_early], order[copies], different[num_early:num_drawn]])  # (N,)
    place = np.arange(len(ids))
    canary = (place >= num_audited) & (place < num_seen)
    parts = [(place >= num_seen) & (place < num_early), place >= num_early + len(copies)]
    holdout, public = parts[::-1] if is_public_first else parts
    taken = raw.taken(ids, public)
    y = taken.y
    y[:num_audited] = _with_label_noise(y[:num_audited], data.label_noise, len(raw.classes), seed)
    y[canary] = mislabelled(y[canary], len(raw.classes), numpy_generator(seed, seeds.CANARIES))
    _check_every_class(y[:num_audited], raw)
    return AuditData(
        name=data.source.name,
        x=taken.x,
        y=y,
        ids=ids.astype(np.int64),
        holdout=holdout,
        public=public,
        canary=canary,
        num_classes=len(raw.classes),
        classes=raw.classes,
        mean=taken.mean,
        std=taken.std,
        lengths=taken.lengths,
        vocabulary=taken.vocabulary,
        tokenizer=taken.tokenizer,
        notes=taken.notes,
        copy_of=np.concatenate([place[:num_early], original[copies], place[num_early + len(copies) :]])
        if len(copies)
        else None,
    )


def _num_audited(num_available: int, num_different: int, data: Data) -> int:
    """Returns the number of audited samples: as requested, or all distinct rows that the other parts leave."""
    beside = data.num_holdout + data.num_public + data.num_canaries
    wanted = MIN_SAMPLES if data.num_samples is None else data.num_samples
    left = num_different - beside
    if wanted + beside > num_available or left < MIN_SAMPLES:
        named = {key: getattr(data, key) for key in ("num_holdout", "num_public", "num_canaries")}
        others = "".join(f" and {key} = {number}" for key, number in named.items() if number)
        different = f", of which {num_different} are distinct" if num_different < num_available else ""
        raise UserError(
            f"data: got num_samples = {data.num_samples or f'at least {MIN_SAMPLES}'}{others}, but source"
            f" '{data.source.name}' has {num_available} samples{different}; lower one"
        )
    return left if data.num_samples is None else min(left, data.num_samples)


def _with_label_noise(y: np.ndarray, fraction: float, num_classes: int, seed: int) -> np.ndarray:
    """Returns `y` with exactly round(fraction * len(y)) labels replaced by a uniformly chosen other class."""
    generator = numpy_generator(seed, seeds.LABEL_NOISE)
    rows = generator.permutation(len(y))[: round(fraction * len(y))]
    noisy = y.copy()
    noisy[rows] = mislabelled(y[rows], num_classes, generator)
    return noisy


def _check_every_class(y: np.ndarray, raw: RawSamples) -> None:
    """Refuses a draw (N,) without any sample of a class that the source has."""
    drawn, there = (np.bincount(labels, minlength=len(raw.classes)) for labels in (y, raw.y))
    absent = np.flatnonzero((drawn == 0) & (there > 0))
    if absent.size:
        raise UserError(
            f"data: none of the {len(y)} audited samples has class {absent[0]} ('{raw.classes[absent[0]]}'); "
            "raise num_samples"
        )
