"""Plans an evaluation: the attacks to play, and the releases and attacks to compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.groups import expand
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.study import Plugin


@dataclass(frozen=True)
class ComparisonPlan:
    """Which releases of a study are compared."""

    baselines: tuple[str, ...] = ()
    """Releases with which all others are compared."""
    own_baselines: Mapping[str, str] = field(default_factory=dict)
    """For each compressed release, the same release without the compression, with which it is compared."""
    counterparts: Mapping[str, str] = field(default_factory=dict)
    """For each defended release, the same release without the defence, with which it is compared."""
    undefended: tuple[str, ...] = ()
    """The dense releases without any defence: the others are compared with their leakage at equal accuracy. Without any
    there is no frontier."""
    without_defense: tuple[str, ...] = ()
    """The releases without any defence, compressed or not: at equal size the others are compared with them."""
    repeats: Mapping[str, str] = field(default_factory=dict)
    """For each release that repeats another with a different `finetune_seed`, the repeated one: the noise floor."""

    def pairs(self, releases: Iterable[str]) -> list[tuple[str, str]]:
        """The pairs to compare, among the given releases."""
        releases = list(releases)
        pairs = [(release, baseline) for baseline in self.baselines for release in releases]
        named = (*self.own_baselines.items(), *self.counterparts.items())
        pairs += [(release, other) for release, other in named if {release, other} <= set(releases)]
        return [pair for pair in dict.fromkeys(pairs) if pair[0] != pair[1]]


def named(attacks: Sequence[str | Plugin]) -> list[Plugin]:
    """Parses attacks and groups given as texts.

    Raises:
        UserError: there are none, or a text is malformed.
    """
    if not attacks:
        raise UserError(f"attacks: got none, expected some of: {', '.join(ATTACKS.names())}")
    return [validated(Plugin, given, "attacks") if isinstance(given, str) else given for given in attacks]


def ready(attacks: Sequence[str | Plugin]) -> dict[str, Attack]:
    """Instances of the attacks, with groups expanded, by label.

    Raises:
        UserError: a name or option is unknown.
    """
    made = {}
    for plugin in expand(named(attacks)):
        found = ATTACKS.get(plugin.name)
        made[plugin.label] = found(validated(found.Options, plugin.options, f"options of attack '{plugin.name}'"))
    return made


def offline_where_needed(attacks: Mapping[str, Attack], settings: Sequence[AttackSetting]) -> dict[str, Attack]:
    """The attacks; those that compare with IN references are offline where no reference saw the victims' samples."""
    found: dict[str, Attack] = {}
    for label, attack in attacks.items():
        offline = attack.offline
        if offline is not None and _lacks(attack, settings) and not _lacks(offline, settings):
            plugin = Plugin.model_validate(label)
            label, attack = plugin.model_copy(update={"options": {**plugin.options, "mode": "offline"}}).label, offline
        found.setdefault(label, attack)
    return found


def _lacks(attack: Attack, settings: Sequence[AttackSetting]) -> str:
    return next((lack for setting in settings if (lack := attack.lacks(setting.attack_input))), "")


def fewest_references(settings: Sequence[AttackSetting]) -> int:
    """The smallest number of references that any victim has in any attack setting."""
    return min((int(count) for setting in settings for count in setting.attack_input.allowed.sum(axis=1)), default=0)


def rivals_of(attacks: Mapping[str, Attack], primary: str) -> dict[str, list[str]]:
    """For each attack, the played attacks to compare it with: its standard, the common one, and the primary.

    A pair of attacks is compared once: the primary attack's own rivals are not compared with it again.

    Args:
        attacks: the played attacks by label.
        primary: the label of the primary attack.
    """
    first_of: dict[str, str] = {}
    for label in attacks:
        first_of.setdefault(label.partition(":")[0], label)
    rivals: dict[str, list[str]] = {}
    for label, attack in attacks.items():
        named = dict.fromkeys([Attack.standard, attack.standard])
        rivals[label] = [first_of[name] for name in named if first_of.get(name, label) != label]
    for label, others in rivals.items():
        if label not in (primary, *rivals[primary]) and primary not in others:
            others.append(primary)
    return rivals


def rivals_first(rivals: Mapping[str, Sequence[str]]) -> list[str]:
    """The attacks, ordered so that each comes after those that it is compared with."""
    return list(TopologicalSorter(rivals).static_order())


def why_left_out(label: str, attack: Attack, settings: Sequence[AttackSetting], skip: bool) -> str:
    """Why an attack is left out, if it may be; empty if it can be played.

    An attack on several releases, or on structure, is played in the attack settings that have them.
    """
    lacking = _lacks(attack, [setting for setting in settings if attack.fits(setting.attack_input)] or settings)
    if lacking and not skip:
        raise UserError(f"attack '{label}' needs {lacking}, which these signals lack; leave it out or add them")
    return lacking and f"attack '{label}' left out: it needs {lacking}"
