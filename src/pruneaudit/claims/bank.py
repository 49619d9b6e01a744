"""The figures of one finished run that comparisons need, each measured once: AUCs, accuracies and their differences."""

# V victims, N samples

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

import numpy as np

from pruneaudit.attacks import ATTACKS
from pruneaudit.claims.comparisons import Comparison, NotTestedError
from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.evaluation.attack_setting import AttackSetting, setting_of
from pruneaudit.evaluation.candidates import at_equal_accuracy
from pruneaudit.evaluation.envelope import against_envelope
from pruneaudit.evaluation.families import FAMILY_ERROR, MARGIN, JointAttack
from pruneaudit.evaluation.family_sets import ordered
from pruneaudit.evaluation.joint_draws import joint_draws
from pruneaudit.evaluation.measure import accuracies, play, scored_for
from pruneaudit.metrics import PerVictim, two_way
from pruneaudit.metrics.standard import Auc
from pruneaudit.study.audit import MATCHED

FEWEST_IN_TAIL = 50
"""Expected number of joint draws beyond each end of an interval."""


@dataclass(frozen=True)
class Difference:
    """The estimate of a comparison."""

    value: float
    low: float
    """NaN: open, or there is none."""
    high: float
    num_victims: int
    against: str = ""
    """At equal accuracy: the release that leaks least among those as accurate."""
    note: str = ""
    """Why a part is missing, or why no verdict is given; empty if all is there."""
    is_weak: bool = False
    """Whether the joint attack may lose by seeing more, so that no verdict can be given."""


@dataclass(frozen=True, eq=False)
class Bank:
    """The attacked releases of one run, with matched references."""

    settings: Sequence[AttackSetting]
    seed: int
    """The study's."""
    _areas: dict[tuple[str, str], PerVictim] = field(default_factory=dict, repr=False)
    _accuracies: dict[str, PerVictim] = field(default_factory=dict, repr=False)

    def difference(self, comparison: Comparison, attack: str, alpha: float) -> Difference:
        """The estimate of a comparison, with an interval of error probability `alpha`.

        Raises:
            NotTestedError: a release lacks what the attack needs.
        """
        if comparison.way == "equal accuracy":
            return self._at_equal_accuracy(comparison, attack, alpha)
        if comparison.way == "together":
            return self._more_seen(comparison, alpha)
        after, before = (self.area(names[0], attack) for names in (comparison.after, comparison.before))
        share = comparison.share
        values = after.values - 0.5 - share * (before.values - 0.5)
        found = two_way(values, after.influence - share * before.influence, (-1.0, 1.0), alpha)
        return Difference(found.value, found.low, found.high, len(values))

    def setting(self, release: str) -> AttackSetting:
        """The attack setting of a release with matched references.

        Raises:
            NotTestedError: there is none.
        """
        found = setting_of(self.settings, release, MATCHED)
        if found is None:
            raise NotTestedError(f"'{release}' was not attacked with matched references")
        return found

    def area(self, release: str, attack: str) -> PerVictim:
        """The AUC of every victim under an attack with its usual options.

        Raises:
            NotTestedError: the release lacks what the attack needs.
        """
        if (release, attack) not in self._areas:
            setting, player = self.setting(release), ATTACKS.get(attack)()
            if lacking := player.lacks(setting.attack_input):
                raise NotTestedError(f"attack '{attack}' on '{release}' needs {lacking}")
            scores = play(player, attack, setting, self.seed).victims  # (V, N)
            rows = setting.attack_input.victims
            signals = setting.attack_input.attacked
            counted = np.where(signals.ordinary[rows], scores, np.nan)
            (found,) = Auc().measure(scored_for(counted, signals.member[rows], (), self.seed))
            assert isinstance(found, PerVictim)
            if np.isnan(found.values).all():
                raise NotTestedError(f"attack '{attack}' scored no member, or no other, of '{release}'")
            self._areas[release, attack] = found
        return self._areas[release, attack]

    def accuracy(self, release: str) -> PerVictim:
        """The test accuracy of every victim."""
        if release not in self._accuracies:
            self._accuracies[release] = accuracies(self.setting(release).attack_input.attacked).test
        return self._accuracies[release]

    def mean_accuracy(self, names: Sequence[str]) -> float:
        """The mean test accuracy of a release; NaN for several."""
        return float(np.nanmean(self.accuracy(names[0]).values)) if len(names) == 1 else np.nan

    def _more_seen(self, comparison: Comparison, alpha: float) -> Difference:
        """The AUC of the attack `family` on several releases minus that on others, over the samples scored in all.

        Where the second are a part of the first, the truth is not below 0: a loss shows a weak attack.
        """
        names = tuple(dict.fromkeys((*comparison.before, *comparison.after)))
        try:
            joint = JointAttack.of(self.settings, names, (), self.seed)
            after, before = (
                joint.measured(ordered(names, seen))[joint.quantities[0]]
                for seen in (comparison.after, comparison.before)
            )
        except UserError as error:
            raise NotTestedError(str(error)) from None
        assert isinstance(after, PerVictim) and isinstance(before, PerVictim)
        found = two_way(after.values - before.values, after.influence - before.influence, (-1.0, 1.0), alpha)
        is_weak = set(comparison.before) < set(comparison.after) and found.p_at_most(-MARGIN) > FAMILY_ERROR
        note = f"the joint attack is weak here: a loss of {MARGIN:g} or more is not ruled out" if is_weak else ""
        return Difference(found.value, found.low, found.high, len(after.values), note=note, is_weak=is_weak)

    def _at_equal_accuracy(self, comparison: Comparison, attack: str, alpha: float) -> Difference:
        """A release's leakage minus the least one of undefended dense releases that are at least as accurate.

        With a share, the release's own leakage beyond guessing is divided by it first, and the difference multiplied.
        """
        names = [*comparison.before, *comparison.after]
        share = comparison.share
        areas = [self.area(name, attack) for name in names]
        areas[-1] = PerVictim((areas[-1].values - 0.5) / share + 0.5, areas[-1].influence / share)
        figures = [*(self.accuracy(name) for name in names), *areas]
        whole = ~np.any([np.isnan(each.values) | np.isnan(each.influence).any(axis=1) for each in figures], axis=0)
        if not whole.any():
            raise NotTestedError("no victim has an accuracy and a leakage in every release")
        figures = [PerVictim(each.values[whole], each.influence[whole]) for each in figures]
        rng = numpy_generator(self.seed, seeds.CLAIMS, names[-1], attack)
        draws = joint_draws(figures, ceil(FEWEST_IN_TAIL / (alpha / 2)), rng)
        is_candidate = np.array([True] * len(comparison.before) + [False])
        means = np.array([each.values.mean() for each in figures])
        found = against_envelope(means, draws, at_equal_accuracy(is_candidate), alpha)[-1]
        against = names[found.envelope] if found.envelope >= 0 else ""
        value, low, high = (share * end for end in (found.value, found.low, found.high))
        return Difference(value, low, high, int(whole.sum()), against, found.suppressed)
