"""Who is in whose training set: the protocols.

Copies of a sample (equal x) share its coins, so that none is a member while another is not, and are not audited beside
it.

`pooled`: each sample is in each model's training set with probability 1/2, independently of all other samples
and models, as in the membership attack setting (Yeom et al. 2018, arXiv:1709.01604) and online LiRA (Carlini et al.
2022, arXiv:2112.03570). Every model is a victim, the others are its references.

`disjoint`: the models come in groups of one victim and its shadows, as in Yuan & Zhang 2022 (arXiv:2202.03335).
For each group, coins divide the samples into the victim's half and the attacker's half. The victim is trained on
a random half of its half and audited on that half alone; every shadow is trained on its own random half of the
attacker's half. No shadow has seen a sample that its victim is audited on. Canaries are always in the victim's half.

Never exact halves. If each sample were a member of exactly half of the models, the others' rows would
tell a victim's row: whoever counts that M/2 of the M - 1 references hold the sample knows that the
victim does not, and "guess the rarer side" wins every time without a look at any model. Attacks that
compare a sample's members with its non-members pick that count up as if it were leakage. Independent
coins leave nothing to count.
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
    """The part of one model; it depends on no other model, nor on how many there are."""

    member: np.ndarray
    """(N,) bool: in its training set."""
    eligible: np.ndarray
    """(N,) bool: may be scored for it."""
    is_victim: bool
    """Whether it is attacked."""
    group: int
    """Which victim's attack setting it takes part in."""


@dataclass(frozen=True, eq=False)
class Splits:
    """The splits of several models, as `Signals` has them."""

    member: np.ndarray  # (M, N) bool
    eligible: np.ndarray  # (M, N) bool
    is_victim: np.ndarray  # (M,) bool
    group: np.ndarray  # (M,) int

    def of(self, row: int) -> Split:
        """The split of one model, by its row."""
        return Split(self.member[row], self.eligible[row], bool(self.is_victim[row]), int(self.group[row]))

    def rows(self, rows: Sequence[int]) -> Splits:
        """The splits of some models, in the order that is given."""
        chosen = list(rows)
        return Splits(self.member[chosen], self.eligible[chosen], self.is_victim[chosen], self.group[chosen])


def split_of(settings: Membership, study_seed: int, model_id: int, audit_data: AuditData) -> Split:
    """The split of one model under the study's protocol."""
    if settings.protocol == "pooled":
        return coin_split(numpy_generator(study_seed, seeds.MEMBERSHIP, model_id), audit_data)
    group = settings.group_of(model_id)
    victims_half = _victims_half(study_seed, group, audit_data)
    is_victim = settings.is_victim(model_id)
    half = victims_half if is_victim else ~victims_half
    whole = coin_split(numpy_generator(study_seed, seeds.MEMBERSHIP, model_id), audit_data)
    return Split(whole.member & half, whole.eligible & half, is_victim, group)


def coin_split(generator: np.random.Generator, audit_data: AuditData, is_victim: bool = True) -> Split:
    """Independent fair coins for all samples but holdout and public; copies have the coin of their original."""
    coins = audit_data.shared(generator.random(len(audit_data.y)) < 0.5)  # (N,)
    return Split(coins & ~audit_data.unseen, ~audit_data.unseen & ~audit_data.is_copy, is_victim, group=0)


def splits_of(settings: Membership, study_seed: int, model_ids: Sequence[int], audit_data: AuditData) -> Splits:
    """The splits of several models, in their order."""
    parts = [split_of(settings, study_seed, model_id, audit_data) for model_id in model_ids]
    return Splits(
        member=np.stack([part.member for part in parts]),
        eligible=np.stack([part.eligible for part in parts]),
        is_victim=np.array([part.is_victim for part in parts]),
        group=np.array([part.group for part in parts]),
    )


def _victims_half(study_seed: int, group: int, audit_data: AuditData) -> np.ndarray:
    """(N,) bool: what the victim of a group draws its members from."""
    coins = numpy_generator(study_seed, seeds.HALVES, group).random(len(audit_data.y)) < 0.5
    return audit_data.shared(coins | audit_data.canary)


def without_broken_groups(settings: Membership, left_out: Collection[int]) -> set[int]:
    """Models to leave out when some are missing: under `disjoint` also those whose victim, or last shadow, is gone."""
    everywhere = set(left_out)
    if settings.protocol == "disjoint":
        for first in range(0, settings.num_models, settings.group_size):
            shadows = set(range(first + 1, first + settings.group_size))
            if first in everywhere or shadows <= everywhere:
                everywhere |= {first, *shadows}
    return everywhere
