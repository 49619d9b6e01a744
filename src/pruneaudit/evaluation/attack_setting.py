"""Attack settings: the attacked release, and the references that the attacker has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.signals.signals import Signals
from pruneaudit.study import DENSE
from pruneaudit.study.audit import MATCHED, UNDEFENDED

NO_COUNTERPARTS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class AttackSetting:
    """A release, the kind of references, and the resulting attack input."""

    release: str
    references: str
    attack_input: AttackInput
    seen: tuple[str, ...] = ()
    """The victims' releases in the attack input, the attacked one last; empty outside a study."""
    owned: tuple[str, ...] = ()
    """The references' releases in the attack input, likewise."""
    drawn_as: tuple[str, str] | None = None
    """Release and references for random draws, if `release` and `references` are names for readers only."""


def bank_settings(
    releases: Mapping[str, Signals], references: Sequence[str], counterparts: Mapping[str, str] = NO_COUNTERPARTS
) -> list[AttackSetting]:
    """Every release of a bank with each kind of references; equal attack settings appear once.

    The attacker of a pruned release also sees the dense models: the attack input holds both, the attacked one last.
    Attacks on one release use only the last. If all references are dense, they have no such pairs; then the attack
    input holds only the attacked release.

    Args:
        releases: signals by release; every model is a victim and a reference of the others.
        references: `matched`: references are of the same release; `undefended`: of the same release
            without its defence; or the name of their release, such as `dense`. If two of them are equal for a
            release, the attack setting is played once: as `matched` if that is one of them, or else under the
            first name. References of a missing release (its tasks failed) are left out. No reference went through a
            release of which only the victim's own file exists; its matched references are the dense ones, and are
            called so.
        counterparts: for each defended release, the same release without the defence.
    """
    settings = []
    for name in releases:
        played: dict[str, str] = {}  # the name played, by the references' release
        matched = DENSE if _is_file_alone(releases, name) else name
        for what in references:
            references_of = {MATCHED: matched, UNDEFENDED: counterparts.get(name, matched)}.get(what, what)
            if references_of in releases:
                is_other = matched != name and references_of == matched
                played.setdefault(references_of, DENSE if is_other else MATCHED if references_of == name else what)
        for references_of, label in played.items():
            # Add the dense models, which are public too, if the attacker's references come in such pairs.
            is_pair = DENSE not in (name, references_of) and DENSE in releases
            seen, owned = ((DENSE, name), (DENSE, references_of)) if is_pair else ((name,), (references_of,))
            settings.append(AttackSetting(name, label, attack_input_of(releases, seen, owned), seen, owned))
    return settings


def _is_file_alone(releases: Mapping[str, Signals], name: str) -> bool:
    """Whether a release has fewer models than the dense one: only the victim's, which a user gave."""
    return DENSE in releases and releases[name].num_models < releases[DENSE].num_models


def attack_input_of(releases: Mapping[str, Signals], seen: Sequence[str], owned: Sequence[str]) -> AttackInput:
    """The attack input from the victims' and the references' releases; without references if there is one model."""
    references = [releases[name] for name in owned]
    alone = references[-1].num_models == 1 and np.array_equal(
        references[-1].model_names, releases[seen[-1]].model_names
    )
    return AttackInput.of([releases[name] for name in seen], [] if alone else references)


def setting_of(settings: Sequence[AttackSetting], release: str, references: str) -> AttackSetting | None:
    """The attack setting of a release with a kind of references, or with `matched` ones if these are the same."""
    mine = {setting.references: setting for setting in settings if setting.release == release}
    return mine.get(references) or mine.get(MATCHED)


def shown_kinds(played: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The kind of references that summaries show of each release: the primary one, else the first that it has.

    Args:
        played: releases, each with a kind of references that it was attacked with.
    """
    pairs = list(dict.fromkeys(played))
    first = primary_kind(kind for _, kind in pairs)
    found: dict[str, str] = {}
    for release, kind in pairs:
        found[release] = first if kind == first else found.get(release, kind)
    return found


def primary_kind(kinds: Iterable[str]) -> str:
    """The kind of references that summaries show: `matched` if it was played, else the first; empty without any."""
    found = list(dict.fromkeys(kinds))
    return MATCHED if MATCHED in found else next(iter(found), "")
