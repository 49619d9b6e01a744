"""Turns signals into findings in one call."""

# V victims, N samples

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pruneaudit.attacks.groups import skips
from pruneaudit.core.errors import UserError
from pruneaudit.core.machine import HERE, Machine
from pruneaudit.evaluation.asked_families import check_families
from pruneaudit.evaluation.canaries import BONFERRONI, Bounds
from pruneaudit.evaluation.comparison_plan import ComparisonPlan, named, offline_where_needed, ready
from pruneaudit.evaluation.data_checks import record_data_checks
from pruneaudit.evaluation.evaluating import NO_COMPARISONS, Known, Measuring, evaluate, with_ratios
from pruneaudit.evaluation.families import FamilyPlan, family_tables
from pruneaudit.evaluation.family_canaries import with_family_canaries
from pruneaudit.evaluation.floors import tell_floors
from pruneaudit.evaluation.given import (
    BASELINE,
    check_names,
    checked_sizes,
    chosen_baseline,
    given_settings,
    notes_on_copies,
)
from pruneaudit.evaluation.left_out import unknown_words
from pruneaudit.evaluation.outcome import Audit
from pruneaudit.evaluation.outputs import check_outputs, parsed_outputs
from pruneaudit.signals.signals import Signals
from pruneaudit.study import Plugin
from pruneaudit.study.audit import DEFAULT_ATTACKS, DEFAULT_LEVELS
from pruneaudit.study.families import as_families, checked_families

GIVEN = "signals"
"""Default name of the release."""


def audit(
    signals: Signals | Mapping[str, Signals],
    references: Signals | Mapping[str, Signals] | None = None,
    *,
    attacks: Sequence[str | Plugin] | str = DEFAULT_ATTACKS,
    seed: int = 0,
    fpr_levels: Sequence[float] = DEFAULT_LEVELS,
    name: str | None = None,
    baseline: str | None = None,
    sizes: Mapping[str, float] | None = None,
    outputs: Sequence[str] = (),
    families: Sequence[Sequence[str]] | str = (),
    epsilon_thresholds: str = BONFERRONI,
    runtime: Machine = HERE,
) -> Audit:
    """Attacks models through their saved predictions, and returns findings with intervals.

    Args:
        signals: predictions of the victims; the references of each victim are the other models in it. Or several
            releases of the same models, by name: each is attacked as if it were alone, and compared with the baseline.
        references: predictions of other models on the same samples, to use as references instead: one set for all
            releases, or a set for each release by name.
        attacks: names such as "loss", "lira:mode=offline"; or the groups "scores" and "all",
            which skip attacks that the signals do not allow.
        seed: seed of folds and bootstrap.
        fpr_levels: false-positive rates at which the true-positive rate is reported.
        name: name of a single release in findings and reports; no figure depends on it. Default: "signals".
        baseline: with several releases, the name of the undefended dense one. The others are compared with it, and
            attacks on two releases use it as the first release. Default: "dense".
        sizes: compressed bytes of releases, by name. Releases with a size are also compared at equal size. Measure all
            sizes by the same rule; `pruneaudit.compress` reports the entropy bound as `compressed_bytes`.
        outputs: reduced outputs, such as "round:2", "top:1" or "label". The attacks are repeated on each, for victims
            and references alike, and compared in the table `results.outputs`.
        families: sets of releases to attack together, or "all": one family of all releases. The tables
            `results.families` and `results.marginal_leakage` have the leakage of the sets, and the addition by each
            release. Every release needs references.
        epsilon_thresholds: how one-run bounds on epsilon choose the number of guesses about canaries: "bonferroni", or
            "split" (half of the canaries choose).
        runtime: its `progress` shows every attack before it is played.

    Returns:
        The audit; `.findings` is a table, `.scores` maps attack names to (V, N) arrays.

    Raises:
        UserError: an attack is unknown, or lacks what it needs; a rate is out of range; a name is empty; releases are
            of different models or samples; a size is not a number of bytes; outputs are unknown, or the signals do not
            determine them; a family has an unknown release, or cannot be attacked.

    Example:
        >>> found = pruneaudit.audit(pruneaudit.Signals.load("signals.npz"), attacks="rmia,loss")
        >>> sorted(set(found.findings["attack"]))
        ['loss', 'rmia']
    """
    if isinstance(signals, Mapping) and name is not None:
        raise UserError(f"name: got '{name}' together with releases that have names; leave it out")
    releases = dict(signals) if isinstance(signals, Mapping) else {GIVEN if name is None else name: signals}
    check_names(list(releases))
    base = chosen_baseline(list(releases), baseline)
    facts = with_ratios(checked_sizes(list(releases), sizes or {}), base)
    fpr_levels = tuple(dict.fromkeys(fpr_levels))
    if not fpr_levels or not all(0 < level < 1 for level in fpr_levels):
        raise UserError(f"fpr_levels: got {list(fpr_levels)}, expected rates above 0 and below 1 (0.01 is 1%)")
    if isinstance(attacks, str):
        attacks = attacks.split(",")
    ladder = parsed_outputs(outputs)

    def begin(label: str, number: int, count: int) -> None:
        runtime.progress.say(f"attack {label} ({number} of {count})")

    settings, playable = given_settings(releases, references, base), ready(attacks)
    together = FamilyPlan(checked_families(as_families(families, "families"), list(releases), "families"), (base,))
    check_families(settings, together.families)
    for setting in settings:
        check_outputs(ladder, setting.attack_input)
    is_compared = len(releases) > 1
    left_out = unknown_words(settings[0].attack_input.attacked)
    # Nobody says which releases are defended: at equal size all are candidates.
    compared = ComparisonPlan((base,), undefended=(base,), without_defense=tuple(releases))
    plan = compared if is_compared else NO_COMPARISONS
    notes = [*([left_out] if left_out else []), *notes_on_copies(releases, settings, base)]
    about = {"warnings": notes} | ({BASELINE: base} if is_compared else {})
    known = Known(plan, facts, about)
    measuring = Measuring(seed, fpr_levels, Bounds(thresholds=epsilon_thresholds), ladder)
    skip = skips(named(attacks))
    if skip:
        playable = offline_where_needed(playable, settings)
    found = evaluate(settings, playable, measuring, known, skip, begin=begin)
    if together.families:
        tables = family_tables(settings, together, fpr_levels, seed, runtime.progress.say)
        planted = with_family_canaries(found.results.canaries, settings, together.families, measuring.bounds, seed)
        found = replace(found, results=found.results.with_tables(tables | {"canaries": planted}))
    tell_floors(found, playable, seed)
    if any(setting.attack_input.attacked.placebos.any() for setting in settings):
        runtime.progress.say("the same attacks on placebo rows")
    alarms = record_data_checks(found, playable, base, seed)
    for note in (*alarms, *found.results.about["warnings"]):
        warnings.warn(note, stacklevel=2)
    return found
