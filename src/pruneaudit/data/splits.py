"""The protocols of membership: which samples are in which training set.

Copies of a sample (equal x) share its coins, so all of them are members or none is. Only one of them is audited.

`pooled`: each sample is in each model's training set with probability 1/2, independently of all other samples
and models, as in the membership attack setting (Yeom et al. 2018, arXiv:1709.01604) and online LiRA (Carlini et al.
2022, arXiv:2112.03570). Every model is a victim, with the others as its references.

`disjoint`: the models come in groups of one victim and its shadows, as in Yuan & Zhang 2022 (arXiv:2202.03335).
For each group, coins divide the samples into the victim's half and the attacker's half. The victim is trained on
a random half of its half and audited only on its half; every shadow is trained on its own random half of the
attacker's half. No shadow has seen a sample on which its victim is audited. Canaries are always in the victim's half.

`target`: model 0 is the user's own, whose members are given; the other models are its references, and only model 0 is a
victim. Coins decide which audited samples are members of a reference. The target's other members are in every
reference's training set, so that these have as many samples as the target's, on average.

Members are never exactly half. If each sample were a member of exactly half of the models, the references' rows would
reveal the victim's row: if M/2 of the M - 1 references contain the sample, the victim does not, so guessing the rarer
side would always win without querying any model. Attacks that compare a sample's members with its non-members would
report this as leakage. Independent coins avoid it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from pruneaudit.core import seeds
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.data.audit_data import AuditData
from pruneaudit.study import Membership

# M models, N samples


@dataclass(frozen=True, eq=False)
class Split:
    """The split of one model; independent of other models and of their number."""

    member: np.ndarray
    """(N,) bool: in its training set."""
    eligible: np.ndarray
    """(N,) bool: can be audited for it."""
    is_victim: bool
    """Whether it is attacked."""
    group: int
    """The group of the victim whose attack setting it belongs to."""


@dataclass(frozen=True, eq=False)
class Splits:
    """The splits of several models, in the layout of `Signals`."""

    member: np.ndarray  # (M, N) bool
    eligible: np.ndarray  # (M, N) bool
    is_victim: np.ndarray  # (M,) bool
    group: np.ndarray  # (M,) int

    def of(self, row: int) -> Split:
        """Returns the split of one model, by its row."""
        return Split(self.member[row], self.eligible[row], bool(self.is_victim[row]), int(self.group[row]))

    def rows(self, rows: Sequence[int]) -> Splits:
        """Returns the splits of some models, in the given order."""
        chosen = list(rows)
        return Splits(self.member[chosen], self.eligible[chosen], self.is_victim[chosen], self.group[chosen])


def split_of(settings: Membership, study_seed: int, model_id: int, audit_data: AuditData) -> Split:
    """Draws the split of one model under the study's protocol."""
    if settings.protocol == "target":
        return _split_around_target(study_seed, model_id, audit_data)
    if settings.protocol == "pooled":
        return coin_split(numpy_generator(study_seed, seeds.MEMBERSHIP, model_id), audit_data)
    group = settings.group_of(model_id)
    victims_half = _victims_half(study_seed, group, audit_data)
    is_victim = settings.is_victim(model_id)
    half = victims_half if is_victim else ~victims_half
    whole = coin_split(numpy_generator(study_seed, seeds.MEMBERSHIP, model_id), audit_data)
    return Split(whole.member & half, whole.eligible & half, is_victim, group)


def coin_split(generator: np.random.Generator, audit_data: AuditData, is_victim: bool = True) -> Split:
    """Draws independent fair coins for all samples except holdout and public; copies get the coin of their original."""
    coins = audit_data.shared(generator.random(len(audit_data.y)) < 0.5)  # (N,)
    return Split(coins & ~audit_data.unseen, audit_data.coined & ~audit_data.is_copy, is_victim, group=0)


def _split_around_target(study_seed: int, model_id: int, audit_data: AuditData) -> Split:
    """Returns the split of the target (model 0), or draws that of a reference."""
    assert audit_data.target_member is not None
    coins = coin_split(numpy_generator(study_seed, seeds.MEMBERSHIP, model_id), audit_data)
    member = coins.member | audit_data.is_kept if model_id else audit_data.target_member
    return Split(member, coins.eligible, is_victim=model_id == 0, group=0)


def splits_of(settings: Membership, study_seed: int, model_ids: Sequence[int], audit_data: AuditData) -> Splits:
    """Draws the splits of several models, in their order."""
    parts = [split_of(settings, study_seed, model_id, audit_data) for model_id in model_ids]
    return Splits(
        member=np.stack([part.member for part in parts]),
        eligible=np.stack([part.eligible for part in parts]),
        is_victim=np.array([part.is_victim for part in parts]),
        group=np.array([part.group for part in parts]),
    )


def _victims_half(study_seed: int, group: int, audit_data: AuditData) -> np.ndarray:
    """Draws (N,) bool: the half from which the victim of a group draws its members."""
    coins = numpy_generator(study_seed, seeds.HALVES, group).random(len(audit_data.y)) < 0.5
    return audit_data.shared(coins | audit_data.canary)


def without_broken_groups(settings: Membership, left_out: Collection[int]) -> set[int]:
    """Returns the models to leave out if some are missing; under `disjoint` also groups without victim or shadows.

    Under `target` all are left out without the target, or if no reference is left of several.
    """
    everywhere = set(left_out)
    if settings.protocol == "disjoint":
        for first in range(0, settings.num_models, settings.group_size):
            shadows = set(range(first + 1, first + settings.group_size))
            if first in everywhere or shadows <= everywhere:
                everywhere |= {first, *shadows}
    if settings.protocol == "target":
        models = set(range(settings.num_models))
        if 0 in everywhere or (settings.num_models > 1 and models - everywhere == {0}):
            return models
    return everywhere
