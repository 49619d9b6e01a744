"""One game: a release is attacked by somebody who knows something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pruneaudit.attacks.view import View
from pruneaudit.signals.signals import Signals
from pruneaudit.study import DENSE
from pruneaudit.study.audit import MATCHED, NO_DEFENSE

NO_TWINS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Game:
    """A release, what the attacker's references went through, and what it therefore sees."""

    release: str
    knowledge: str
    view: View
    seen: tuple[str, ...] = ()
    """The releases whose signals the view has of the victims, the attacked one last; empty where it is no study's."""
    owned: tuple[str, ...] = ()
    """The same of the attacker's references."""
    drawn_as: str = ""
    """What random draws know the release by, if another name than its own: a name that is for readers alone."""


def bank_games(
    releases: Mapping[str, Signals], knowledge: Sequence[str], twins: Mapping[str, str] = NO_TWINS
) -> list[Game]:
    """Every release of a bank against every knowledge, each different game once.

    The attacker of a pruned release sees the dense models too: the view holds both, the attacked one last. Attacks
    on one release look at the last alone. References that are all dense tell nothing of such a pair: there the view
    holds the attacked release alone.

    Args:
        releases: signals by release; every model is a victim and a reference of the others.
        knowledge: `matched`: references are of the same release; `no-defense`: of the same release
            without its defence; or the release that they are of, such as `dense`. Where one comes to the
            same as another, the game is played once: as `matched`, if that is one of them, or else as
            named first. A release that is not there (its tasks failed) serves nobody.
        twins: the release that each defended one would be without its defence.
    """
    games = []
    for name in releases:
        played: dict[str, str] = {}  # what was played, by the release that the references are of
        for what in knowledge:
            references_of = {MATCHED: name, NO_DEFENSE: twins.get(name, name)}.get(what, what)
            if references_of in releases:
                played.setdefault(references_of, MATCHED if references_of == name else what)
        for references_of, label in played.items():
            # With the dense models, which are out too, where the attacker has such pairs of its own.
            is_pair = DENSE not in (name, references_of) and DENSE in releases
            seen, owned = ((DENSE, name), (DENSE, references_of)) if is_pair else ((name,), (references_of,))
            games.append(Game(name, label, view_of(releases, seen, owned), seen, owned))
    return games


def view_of(releases: Mapping[str, Signals], seen: Sequence[str], owned: Sequence[str]) -> View:
    """What the attacker sees of some releases, and has of its own."""
    return View.of([releases[name] for name in seen], [releases[name] for name in owned])


def game_of(games: Sequence[Game], release: str, knowledge: str) -> Game | None:
    """The game of a release under a knowledge, or under `matched` where the two coincide."""
    mine = {game.knowledge: game for game in games if game.release == release}
    return mine.get(knowledge) or mine.get(MATCHED)
