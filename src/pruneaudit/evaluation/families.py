"""Measures the leakage of several releases of the same models together, and the addition by one more release.

L(S) is the AUC, or the TPR at a false-positive rate, of the attack `family` on the releases in S, mean over victims;
L of the empty set is that of guessing. The marginal leakage of a release r is L(S + r) - L(S): a paired difference on
the same victims and samples. It depends on S, so every figure names S. The sum of the parts does not bound the whole:
two releases can each reveal nothing, and together everything.

**Consistency.** An optimal attacker may ignore a release, so the truth is never below 0. If the measured attack loses,
it is weak, and its marginal leakage says nothing about the releases. So a marginal AUC is shown only where the
hypothesis L(S + r) - L(S) <= -.005 is rejected: one-sided t tests with a family error of 5% over all pairs (S, r) that
were measured (Holm). A marginal TPR is shown where the AUC's is.

Samples: those that are scored in every release of the family, canaries aside. Victims and references are those of the
attack settings that summaries show, each reference in the same releases as the victim.
"""

# V victims, N samples, L levels

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.family import Deal, Evidence
from pruneaudit.core.errors import UserError
from pruneaudit.core.threads import one_blas_thread
from pruneaudit.evaluation.attack_setting import AttackSetting, primary_kind, setting_of
from pruneaudit.evaluation.columns import RELEASE_SEPARATOR
from pruneaudit.evaluation.family_sets import ReleaseSet, edges_of, greedy_order, ordered, sets_of
from pruneaudit.evaluation.findings import Row
from pruneaudit.evaluation.measure import play, scored_for
from pruneaudit.metrics import Estimate, Measurement, PerVictim, Quantity, Replicated, difference_of, mean_of
from pruneaudit.metrics.multiple import holm_adjusted
from pruneaudit.metrics.standard import Auc, TprAtFpr, tpr_levels
from pruneaudit.study.post_processing import source_in

ATTACK = "family"
MARGIN = 0.005
"""The largest loss of AUC, from one more release, that counts as no loss."""
FAMILY_ERROR = 0.05
"""Of the consistency tests of one family."""
FEWEST_RELEASES = 2
_AUC, _TPR = Auc(), TprAtFpr()

Figures = Mapping[Quantity, Measurement]
"""The figures of one attack on one set of releases; those that are suppressed are missing."""
Begin = Callable[[str], None]
"""Called with a text before each step that takes seconds."""


@dataclass(frozen=True)
class FamilyPlan:
    """Which sets of releases are attacked together."""

    families: tuple[tuple[str, ...], ...]
    """Each of at least two releases of the settings."""
    released: tuple[str, ...] = ()
    """The releases that are public already: the marginal leakage of every other release is measured in addition to
    these."""
    rivals: Mapping[str, Attack] = field(default_factory=dict)
    """Other attacks, by label, that are played on whole families."""
    repeats: Mapping[str, str] = field(default_factory=dict)
    """Releases that repeat another with a different seed, with that one: the noise floor."""
    post_processing: Mapping[str, str] = field(default_factory=dict)
    """Releases that were made without any data, with the release that they were made from."""


def family_tables(
    settings: Sequence[AttackSetting],
    asked: FamilyPlan,
    levels: Sequence[float],
    seed: int,
    begin: Begin = lambda what: None,
) -> dict[str, pd.DataFrame]:
    """The tables `families` and `marginal_leakage`.

    Args:
        settings: the attack settings of all releases.
        asked: the families.
        levels: (L,) false-positive rates.
        seed: the study's.
        begin: called before each step.

    Raises:
        UserError: a family cannot be attacked; the message says what it lacks.
    """
    rows: list[Row] = []
    marginal: list[Row] = []
    with one_blas_thread():
        for family in asked.families:
            begin(f"family {RELEASE_SEPARATOR.join(family)}")
            joint = JointAttack.of(settings, family, levels, seed)
            steps = greedy_order(family, joint.auc)
            released = ordered(family, asked.released)
            sets = sets_of(family, steps, released)
            rows += joint.set_rows(sets)
            for label, rival in asked.rivals.items():
                begin(f"{label} on the whole family")
                rows += joint.rival_rows(label, rival)
            marginal += joint.edge_rows(edges_of(sets, family), steps, asked)
    return {"families": pd.DataFrame(rows), "marginal_leakage": pd.DataFrame(marginal)}


@dataclass(frozen=True, eq=False)
class JointAttack:
    """The attack `family` on any set of releases of a family; what one release says is computed once."""

    family: tuple[str, ...]
    settings: tuple[AttackSetting, ...]
    """One per release."""
    levels: Sequence[float]
    seed: int
    _found: dict[ReleaseSet, Figures] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, settings: Sequence[AttackSetting], family: Sequence[str], levels: Sequence[float], seed: int
    ) -> JointAttack:
        """The attack on a family, with the references that summaries show.

        Raises:
            UserError: a release is missing, or cannot be attacked together with the others.
        """
        kind = primary_kind(setting.references for setting in settings)
        chosen = []
        for name in family:
            setting = setting_of(settings, name, kind)
            if setting is None:
                names = ", ".join(dict.fromkeys(each.release for each in settings))
                raise UserError(f"family: got '{name}', expected releases with signals: {names}")
            chosen.append(setting)
        joint = cls(tuple(family), tuple(chosen), levels, seed)
        lacking = ATTACKS.get(ATTACK)().lacks(joint.attack_input)
        if lacking:
            raise UserError(f"family {RELEASE_SEPARATOR.join(family)}: it needs {lacking}")
        return joint

    @cached_property
    def attack_input(self) -> AttackInput:
        """All releases of the family, the first one first."""
        inputs = [setting.attack_input for setting in self.settings]
        references = [each.reference for each in inputs if each.references]
        if len(references) not in (0, len(inputs)):
            raise UserError("family: some releases have references and others none, expected references for each")
        whole = AttackInput.of([each.attacked for each in inputs], references, inputs[0].allowed)
        for name, each in zip(self.family, inputs, strict=True):
            if not (np.array_equal(each.allowed, whole.allowed) and np.array_equal(each.victims, whole.victims)):
                raise UserError(f"family: release '{name}' has other victims or references than '{self.family[0]}'")
        return whole

    @property
    def references(self) -> str:
        """The kind of references."""
        return self.settings[-1].references

    @property
    def setting(self) -> AttackSetting:
        """The attack setting of all releases together."""
        return AttackSetting(RELEASE_SEPARATOR.join(self.family), self.references, self.attack_input)

    @cached_property
    def _deal(self) -> Deal:
        return Deal(self.attack_input, self.seed)

    @cached_property
    def _evidence(self) -> dict[str, Evidence]:
        pairs = zip(self.family, self.attack_input.releases, self.attack_input.references, strict=True)
        return {name: self._deal.evidence(release, references) for name, release, references in pairs}

    @cached_property
    def _counted(self) -> np.ndarray:
        """(V, N) bool: samples that are scored in every release."""
        rows = self.attack_input.victims
        every = [release.ordinary[rows] for release in self.attack_input.releases]
        said = [np.isfinite(each.victims).all(axis=0) for each in self._evidence.values()]
        return np.asarray(np.logical_and.reduce([*every, *said]))

    @cached_property
    def _member(self) -> np.ndarray:
        return self.attack_input.attacked.member[self.attack_input.victims]

    @cached_property
    def _fewest(self) -> tuple[int, int]:
        """The smallest numbers of counted members and non-members of any victim."""
        sides = (self._counted & self._member, self._counted & ~self._member)
        return int(sides[0].sum(axis=1).min()), int(sides[1].sum(axis=1).min())

    @cached_property
    def quantities(self) -> tuple[Quantity, ...]:
        """The AUC, and the TPR at each level."""
        return (_AUC.quantity, *_TPR.quantities(self.levels))

    def why_not(self, quantity: Quantity) -> str:
        """Why a figure is suppressed; empty if it is shown."""
        reason = (_AUC if quantity is _AUC.quantity else _TPR).suppressed(quantity, *self._fewest)
        return f"{quantity.title}: {reason}" if reason else ""

    def auc(self, chosen: ReleaseSet) -> float:
        """The mean AUC of a set."""
        return float(np.nanmean(self.measured(chosen)[_AUC.quantity].values))

    def measured(self, chosen: ReleaseSet) -> Figures:
        """The figures of a set, measured once."""
        if chosen not in self._found:
            self._found[chosen] = self._figures(self.scores(chosen))
        return self._found[chosen]

    def scores(self, chosen: ReleaseSet) -> np.ndarray:
        """The scores (V, N) float64 of the attack on a set, canaries included; NaN where it has none."""
        return self._deal.scores([self._evidence[name] for name in chosen])

    def _figures(self, scores: np.ndarray) -> Figures:
        scored = scored_for(np.where(self._counted, scores, np.nan), self._member, self.levels, self.seed)
        told = [each for each in self.quantities[1:] if not self.why_not(each)]
        wanted = replace(scored, levels=list(tpr_levels(each.column for each in told).values()))
        rates = _TPR.measure(wanted) if told else ()
        return dict(zip((_AUC.quantity, *told), (*_AUC.measure(scored), *rates), strict=True))

    def _mean(self, found: Measurement, quantity: Quantity) -> Estimate:
        metric = _AUC if quantity is _AUC.quantity else _TPR
        return mean_of(found, metric.bounds, metric.num_trials(*self._fewest))

    def _which(self, **more: object) -> Row:
        named = {"family": RELEASE_SEPARATOR.join(self.family), "references": self.references}
        return {**named, "num_victims": len(self._member), **more}

    def _best_part(self, chosen: ReleaseSet) -> str:
        return max(chosen, key=lambda name: self.auc((name,)))

    def set_rows(self, sets: Sequence[ReleaseSet]) -> list[Row]:
        """The rows of the attack `family` in the table `families`."""
        rows: list[Row] = []
        for chosen in sets:
            best_part = self.measured((self._best_part(chosen),)) if len(chosen) > 1 else None
            rows += self._rows_of(chosen, ATTACK, self.measured(chosen), best_part)
        return rows

    def rival_rows(self, label: str, rival: Attack) -> list[Row]:
        """The rows of another attack on the whole family, with its paired difference from the attack `family`.

        Raises:
            UserError: it lacks an input.
        """
        if lacking := rival.lacks(self.attack_input):
            raise UserError(f"attack '{label}' needs {lacking}; leave it out")
        scores = play(rival, label, self.setting, self.seed).victims
        return self._rows_of(self.family, label, self._figures(scores), self.measured(self.family))

    def _rows_of(self, chosen: ReleaseSet, attack: str, found: Figures, against: Figures | None) -> list[Row]:
        """A row of the table `families` for each figure, with its paired difference from another attack or set."""
        rows, best = [], self._best_part(chosen)
        for quantity in self.quantities:
            row = self._which(releases=RELEASE_SEPARATOR.join(chosen), num_releases=len(chosen), attack=attack)
            row |= {"metric": quantity.column, "best_part": best, "suppressed": self.why_not(quantity)}
            own = found.get(quantity)
            row |= _value(None if own is None else self._mean(own, quantity))
            difference = None if own is None or against is None else difference_of(own, against[quantity])
            rows.append(row | _difference(difference, "difference_"))
        return rows

    def marginal(self, given: ReleaseSet, added: str, quantity: Quantity) -> Estimate:
        """The marginal leakage of a release."""
        after = self.measured(ordered(self.family, [*given, added]))[quantity]
        before = self.measured(given)[quantity] if given else _guessing(after, quantity)
        return difference_of(after, before)

    def edge_rows(self, edges: Sequence[tuple[ReleaseSet, str]], steps: Sequence[str], asked: FamilyPlan) -> list[Row]:
        """The rows of the table `marginal_leakage`."""
        on_way = {(ordered(self.family, steps[:place]), name): place + 1 for place, name in enumerate(steps)}
        areas = [self.marginal(given, added, _AUC.quantity) for given, added in edges]
        p_values = [area.p_at_most(-MARGIN) for area in areas]
        adjusted = holm_adjusted(p_values)
        rows = []
        for (given, added), area, p_value, p_adjusted in zip(edges, areas, p_values, adjusted, strict=True):
            repeated = [name for name in given if _same_but_seed(name, added, asked.repeats)]
            about: Row = {"p_value": p_value, "p_adjusted": float(p_adjusted)}
            about |= {"step": on_way.get((given, added), np.nan), "repeats": next(iter(repeated), "")}
            about |= {"post_processing_of": source_in(given, added, asked.post_processing)}
            for quantity in self.quantities:
                reason = self.why_not(quantity) or _weak(area, float(p_adjusted))
                row = self._which(given=RELEASE_SEPARATOR.join(given), added=added, attack=ATTACK)
                row |= {"metric": quantity.column, "suppressed": reason, **about}
                found = area if quantity is _AUC.quantity else None
                if not reason and found is None:
                    found = self.marginal(given, added, quantity)
                rows.append(row | _difference(None if reason else found, ""))
        return rows


def _same_but_seed(one: str, other: str, repeats: Mapping[str, str]) -> bool:
    return one != other and repeats.get(one, one) == repeats.get(other, other)


def _guessing(like: Measurement, quantity: Quantity) -> Measurement:
    """The figure of an attacker who guesses, on the same victims."""
    values = np.full(like.values.shape, quantity.guessing)
    if isinstance(like, Replicated):
        return Replicated(values, np.full(like.replicates.shape, quantity.guessing))
    return PerVictim(values, np.zeros(like.influence.shape))


def _weak(area: Estimate, p_adjusted: float) -> str:
    """Why a marginal leakage is not shown; empty if it is."""
    if p_adjusted <= FAMILY_ERROR:
        return ""
    return (
        f"the joint attack is weak here: a loss of AUC of {MARGIN:g} or more is not ruled out (measured"
        f" {area.value:+.4f}, adjusted p = {p_adjusted:.2g})"
    )


def _value(found: Estimate | None) -> Row:
    value, low, high = (np.nan,) * 3 if found is None else (found.value, found.low, found.high)
    return {"value": value, "low": low, "high": high}


def _difference(found: Estimate | None, prefix: str) -> Row:
    value, low, high = (np.nan,) * 3 if found is None else (found.value, found.low, found.high)
    return {"difference": value, f"{prefix}low": low, f"{prefix}high": high}
