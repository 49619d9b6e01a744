"""One attack setting: a release is attacked by somebody who knows something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.signals.signals import Signals
from pruneaudit.study import DENSE
from pruneaudit.study.audit import MATCHED, UNDEFENDED

NO_COUNTERPARTS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class AttackSetting:
    """A release, what the attacker's references went through, and what it therefore sees."""

    release: str
    references: str
    attack_input: AttackInput
    seen: tuple[str, ...] = ()
    """The releases whose signals the attack input has of the victims, the attacked one last; empty where it is no
    study's."""
    owned: tuple[str, ...] = ()
    """The same of the attacker's references."""
    drawn_as: str = ""
    """What random draws know the release by, if another name than its own: a name that is for readers alone."""


def bank_settings(
    releases: Mapping[str, Signals], references: Sequence[str], counterparts: Mapping[str, str] = NO_COUNTERPARTS
) -> list[AttackSetting]:
    """Every release of a bank against all references, each different attack setting once.

    The attacker of a pruned release sees the dense models too: the attack input holds both, the attacked one last.
    Attacks on one release look at the last alone. References that are all dense tell nothing of such a pair: there the
    attack input holds the attacked release alone.

    Args:
        releases: signals by release; every model is a victim and a reference of the others.
        references: `matched`: references are of the same release; `undefended`: of the same release
            without its defence; or the release that they are of, such as `dense`. Where one comes to the
            same as another, the attack setting is played once: as `matched`, if that is one of them, or else as
            named first. A release that is not there (its tasks failed) serves nobody.
        counterparts: the release that each defended one would be without its defence.
    """
    settings = []
    for name in releases:
        played: dict[str, str] = {}  # what was played, by the release that the references are of
        for what in references:
            references_of = {MATCHED: name, UNDEFENDED: counterparts.get(name, name)}.get(what, what)
            if references_of in releases:
                played.setdefault(references_of, MATCHED if references_of == name else what)
        for references_of, label in played.items():
            # With the dense models, which are out too, where the attacker has such pairs of its own.
            is_pair = DENSE not in (name, references_of) and DENSE in releases
            seen, owned = ((DENSE, name), (DENSE, references_of)) if is_pair else ((name,), (references_of,))
            settings.append(AttackSetting(name, label, attack_input_of(releases, seen, owned), seen, owned))
    return settings


def attack_input_of(releases: Mapping[str, Signals], seen: Sequence[str], owned: Sequence[str]) -> AttackInput:
    """What the attacker sees of some releases, and has of its own."""
    return AttackInput.of([releases[name] for name in seen], [releases[name] for name in owned])


def setting_of(settings: Sequence[AttackSetting], release: str, references: str) -> AttackSetting | None:
    """The attack setting of a release under a kind of references, or under `matched` where both are the same."""
    mine = {setting.references: setting for setting in settings if setting.release == release}
    return mine.get(references) or mine.get(MATCHED)
