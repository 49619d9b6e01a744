"""From signals to findings in one call."""

# V victims, N samples

from __future__ import annotations

import warnings
from collections.abc import Sequence

from pruneaudit.attacks.groups import skips
from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.machine import HERE, Machine
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.comparison_plan import named, ready
from pruneaudit.evaluation.evaluating import Known, Measuring, evaluate
from pruneaudit.evaluation.floors import tell_floors
from pruneaudit.evaluation.given import Paired, equal_class_notes, given_input
from pruneaudit.evaluation.outcome import Audit
from pruneaudit.signals.signals import Signals
from pruneaudit.study import Plugin
from pruneaudit.study.audit import DEFAULT_ATTACKS, DEFAULT_LEVELS, MATCHED

GIVEN = "signals"
"""Default name of the release."""


def audit(
    signals: Signals,
    references: Signals | None = None,
    paired: Signals | Paired | None = None,
    attacks: Sequence[str | Plugin] | str = DEFAULT_ATTACKS,
    seed: int = 0,
    fpr_levels: Sequence[float] = DEFAULT_LEVELS,
    name: str = GIVEN,
    runtime: Machine = HERE,
) -> Audit:
    """Attacks models by their predictions.

    Args:
        signals: the victims' predictions; each victim's references are the other models in it.
        references: predictions of other models on the same samples, to use as references instead.
        paired: predictions of the same models in another public release (for example, before pruning); with
            `references`, pass a `Paired` with the references' predictions as well.
        attacks: names such as "loss", "lira:mode=offline"; or the groups "scores" and "all",
            which skip attacks that the signals do not allow.
        seed: seed of folds and bootstrap.
        fpr_levels: false-positive rates at which the true-positive rate is reported.
        name: name of the release in findings and reports; no figure depends on it.
        runtime: its `progress` shows every attack before it is played.

    Returns:
        The audit; `.findings` is a table, `.scores` maps attack names to (V, N) arrays.

    Raises:
        UserError: an attack is unknown, or lacks what it needs; a rate is out of range; the name is empty.

    Example:
        >>> found = pruneaudit.audit(pruneaudit.Signals.load("signals.npz"), attacks="rmia,loss")
        >>> sorted(set(found.findings["attack"]))
        ['loss', 'rmia']
    """
    if not name.strip():
        raise UserError(f"name: got '{name}', expected a name for the release, such as dense")
    fpr_levels = tuple(dict.fromkeys(fpr_levels))
    if not fpr_levels or not all(0 < level < 1 for level in fpr_levels):
        raise UserError(f"fpr_levels: got {list(fpr_levels)}, expected rates above 0 and below 1 (0.01 is 1%)")
    if isinstance(attacks, str):
        attacks = attacks.split(",")

    def begin(label: str, number: int, count: int) -> None:
        runtime.progress.say(f"attack {label} ({number} of {count})")

    attack_input, playable = given_input(signals, references, paired), ready(attacks)
    setting = AttackSetting(name, MATCHED, attack_input, drawn_as=seeds.GIVEN)
    known = Known(about={"warnings": equal_class_notes(attack_input)})
    found = evaluate([setting], playable, Measuring(seed, fpr_levels), known, skips(named(attacks)), begin=begin)
    tell_floors(found, playable, seed)
    for note in found.results.about["warnings"]:
        warnings.warn(note, stacklevel=2)
    return found
