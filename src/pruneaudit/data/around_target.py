"""Draws the audit data of a study with a target, whose members are fixed: coins fall on the audited samples only.

As many members as non-members are audited. The target's other members are kept: they are in the training set of every
reference, so that a reference has as many samples as the target, on average. Samples of unknown membership are not
used.

A non-member with the same x as a member, or as a sample of unknown status, is left out: the target may have been
trained on it.
"""

# N samples, R rows of the source, G different usable ones

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.copies import originals
from pruneaudit.data.source import RawData, RawSamples
from pruneaudit.data.target_members import MEMBER, NON_MEMBER
from pruneaudit.study import Data, Target

HOLDOUT_SHARE = 3
"""One in this many non-members is held out, unless the study says how many."""
MIN_PER_SIDE = 2


@dataclass(frozen=True)
class _Sizes:
    """The numbers of distinct samples in the parts."""

    per_side: int
    """Audited members, and audited non-members."""
    holdout: int
    public: int


def draw_around(
    raw: RawSamples,
    data: Data,
    target: Target | None,
    status: np.ndarray,
    seed: int,
    more: RawSamples | None = None,
) -> AuditData:
    """Draws audited samples, holdout and public from the rows of a source, around the members of a target.

    Args:
        raw: all samples of the source.
        data: the sizes of the parts.
        target: the constants for normalising images, if they differ from the source's; None: they do not.
        status: (R,) int8, from `read_members`.
        seed: the study's seed.
        more: further samples, all of which come last: no members, and in no part; their ids begin at R.

    Raises:
        UserError: there are too few members or non-members.
    """
    first = raw.first_equal()
    usable = _usable(status, first)
    num_left_out = int(((status == NON_MEMBER) & ~usable).sum())
    order = numpy_generator(seed, seeds.POPULATION).permutation(len(raw.y))
    order = order[usable[order]]
    different, original = originals(order, first)  # (G,), and the group of each usable row
    is_member = status[different] == MEMBER  # (G,)
    inside, outside = np.flatnonzero(is_member), np.flatnonzero(~is_member)
    sizes = _sizes_of(data, len(inside), len(outside))
    n, is_public_first = sizes.per_side, data.draws_public_first or (sizes.public and not sizes.holdout)
    # In the drawn order, so that the place of a sample does not show whether it is a member.
    audited = np.sort(np.concatenate([inside[:n], outside[:n]]))
    early, late = (sizes.holdout, sizes.public)[:: -1 if is_public_first else 1]
    first_part, last_part = outside[n : n + early], outside[n + early : n + early + late]
    place_of = np.full(len(different), -1)
    place_of[audited] = np.arange(len(audited))
    is_copy = (place_of[original] >= 0) & (different[original] != order)
    is_kept = is_member[original] & (place_of[original] < 0)
    parts = [different[audited], different[first_part], order[is_copy], order[is_kept], different[last_part]]
    if more is not None:
        raw, status = raw.followed_by(more), np.append(status, np.full(len(more.y), NON_MEMBER, status.dtype))
        parts.append(np.arange(len(first), len(raw.y)))
    ids = np.concatenate(parts)
    part = np.repeat(np.arange(len(parts)), [len(one) for one in parts])  # (N,)
    holdout, public = (part == 1, part == 4)[:: -1 if is_public_first else 1]
    copy_of = np.arange(len(ids))
    copy_of[part == 2] = place_of[original[is_copy]]
    taken = raw.taken(ids, public)
    mean, std = _normalisation(taken, target)
    return AuditData(
        name=data.source.name,
        x=taken.x,
        y=taken.y,
        ids=ids.astype(np.int64),
        holdout=holdout,
        public=public,
        canary=np.zeros(len(ids), dtype=bool),
        num_classes=len(raw.classes),
        classes=raw.classes,
        mean=mean,
        std=std,
        lengths=taken.lengths,
        vocabulary=taken.vocabulary,
        tokenizer=taken.tokenizer,
        notes=taken.notes,
        copy_of=copy_of if is_copy.any() else None,
        target_member=status[ids] == MEMBER,
        kept=part == 3,
        num_left_out=num_left_out,
    )


def _usable(status: np.ndarray, first: np.ndarray) -> np.ndarray:
    """(R,) bool: members, and non-members whose x no member and no sample of unknown status has."""
    blocked = np.zeros(len(status), dtype=bool)
    blocked[first[status != NON_MEMBER]] = True
    return (status == MEMBER) | ((status == NON_MEMBER) & ~blocked[first])


def _sizes_of(data: Data, num_inside: int, num_outside: int) -> _Sizes:
    """Returns the sizes of the parts: as requested, and otherwise the largest equal number of members and others."""
    is_open = "num_holdout" not in data.model_fields_set
    holdout = num_outside // HOLDOUT_SHARE if is_open else data.num_holdout
    most = min(num_inside, num_outside - holdout - data.num_public)
    per_side = most if data.num_samples is None else data.num_samples // 2
    if most < MIN_PER_SIDE or per_side > most:
        asked = f"num_samples = {data.num_samples}, " if data.num_samples is not None else ""
        third = " (a third of the non-members)" if is_open else ""
        raise UserError(
            f"data: got {asked}num_holdout = {holdout}{third} and num_public = {data.num_public}, but the target has"
            f" {num_inside:,} distinct members and {num_outside:,} distinct non-members, and as many of each are"
            " audited; lower one, or give more non-members"
        )
    return _Sizes(per_side, holdout, data.num_public)


def _normalisation(raw: RawData, target: Target | None) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Returns mean and std per channel: the target's, or those of the source."""
    if target is None or target.mean is None or target.std is None:
        return raw.mean, raw.std
    width = raw.x.shape[1]
    if raw.x.dtype != np.uint8:
        raise UserError(
            "target: got mean and std, but these data are floats or token ids, which are used unchanged; leave them out"
        )
    wrong = next((values for values in (target.mean, target.std) if len(values) not in (1, width)), None)
    if wrong is not None:
        raise UserError(f"target: got {len(wrong)} values of mean or std, expected 1 or {width}, one per channel")
    mean, std = (values * (width if len(values) == 1 else 1) for values in (target.mean, target.std))
    return mean, std
