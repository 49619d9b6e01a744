"""One game: a release is attacked by somebody who knows something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pruneaudit.attacks.view import View
from pruneaudit.signals.signals import Signals

DENSE = "dense"
MATCHED = "matched"


@dataclass(frozen=True, eq=False)
class Game:
    """A release, what the attacker's references went through, and what it therefore sees."""

    release: str
    knowledge: str
    view: View


def bank_games(releases: Mapping[str, Signals], knowledge: Sequence[str]) -> list[Game]:
    """Every release of a bank against every knowledge, each different game once.

    Args:
        releases: signals by release; every model is a victim and a reference of the others.
        knowledge: `matched`: references are of the same release; `dense`: they are unpruned. Where
            the two are the same thing (the dense release), only one game is played, as `matched`.
    """
    games = []
    for name, signals in releases.items():
        played = set()
        for what in knowledge:
            references_of = name if what == MATCHED else what
            if references_of in played:
                continue
            played.add(references_of)
            label = MATCHED if references_of == name else what
            games.append(Game(name, label, View.of([signals], [releases[references_of]])))
    return games


def game_of(games: Sequence[Game], release: str, knowledge: str) -> Game | None:
    """The game of a release under a knowledge, or under `matched` where the two coincide."""
    mine = {game.knowledge: game for game in games if game.release == release}
    return mine.get(knowledge) or mine.get(MATCHED)
