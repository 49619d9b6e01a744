"""Scores for figures of one sample over victims: victims that are compared are not references of each other.

Findings rank the samples of one victim, and there every other model of the bank may serve as a reference. A figure of
one sample, such as its detection rate, compares victims. If these are each other's references, such figures of a
likelihood ratio are biased even where nothing leaks (`attacks/disjoint.py`). So the attack is played once more, with
each half of the bank as the references of the other.

Scores are kept unchanged if there are no references, or if no reference is a victim. Attacks that learn have no such
scores: training them once more takes minutes, and their classifiers also learn from the other victims (per-sample AUC
of `shokri_nn` over 12 victims where nothing leaks: 0.49; docs/statistics.md).
"""

# V victims, N samples

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.disjoint import disjoint, too_few
from pruneaudit.evaluation.findings import Writer
from pruneaudit.evaluation.measure import play
from pruneaudit.signals.signals import Signals


@dataclass(frozen=True, eq=False)
class Apart:
    """The scores of one attack on one release."""

    scores: np.ndarray
    """(V, N) float64, NaN for samples that are not counted; all NaN if suppressed."""
    member: np.ndarray
    """(V, N) bool."""
    signals: Signals
    """The attacked release."""
    num_references: float = np.nan
    """The smallest number of disjoint references of any victim; NaN if the references of findings are used."""
    suppressed: str = ""
    """Why there are no such scores."""

    @property
    def fewest_nonmembers(self) -> int:
        """The smallest number of scored non-members of any victim."""
        return int((~np.isnan(self.scores) & ~self.member).sum(axis=1).min())


def scores_apart(attack: Attack, writer: Writer) -> Apart:
    """The scores of an attack with disjoint references.

    Args:
        attack: the attack that the writer measured.
        writer: its measurement in one attack setting.
    """
    setting, signals, member = writer.setting, writer.setting.attack_input.attacked, writer.measured.member
    uses = "references" in attack.needs
    attack_input = disjoint(setting.attack_input, writer.seed) if uses else setting.attack_input
    if attack_input is setting.attack_input:
        return Apart(writer.measured.counted_scores, member, signals)
    num_references = float(attack_input.allowed.sum(axis=1).min())
    if attack.trains:
        reason = (
            f"{writer.attack} learns on models that are victims themselves; to see which samples become exposed, also "
            f"play an attack that trains nothing, such as rmia"
        )
    else:
        reason = too_few(attack_input, attack.compares_in) or attack.lacks(attack_input)
    if reason:
        return Apart(np.full(member.shape, np.nan), member, signals, num_references, reason)
    scores = play(attack, writer.attack, replace(setting, attack_input=attack_input), writer.seed).victims
    counted = signals.ordinary[attack_input.victims]
    return Apart(np.where(counted, scores, np.nan), member, signals, num_references)
