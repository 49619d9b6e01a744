"""Families: sets of releases of the same models that are published, or will be.

The releases of a family are in the order of the study, so that a set has the same name in every table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from pruneaudit.core.errors import UserError
from pruneaudit.core.registry import nearest

ALL = "all"
"""One family of all releases."""
FEWEST = 2
"""Smallest number of releases in a family."""
FEWEST_MODELS = 4
"""Smallest number of models in a bank with families: the attacked network, and three references to learn the joint
attack on."""
_MARK = ";"
"""Separates the releases of a set in tables, so no name in a family may contain it."""


def as_families(given: Any, where: str = "") -> Any:
    """Refuses what is neither `all` nor a list of lists of names.

    Args:
        given: a value from a study file or a caller.
        where: the argument, for messages; empty if the caller adds it.

    Raises:
        UserError: it is something else; the message has an example.
    """
    if given == ALL or (_is_list(given) and all(map(_is_names, given))):
        return given
    if _is_names(given):
        raise _refused(where, f"got the names {[*given]}, expected a list of families; write {[[*given]]}")
    raise _refused(where, f"got {given!r}, expected a list of families, such as [['dense', 'int8']], or '{ALL}'")


def checked_families(
    given: str | Iterable[Sequence[str]], names: Sequence[str], where: str, unfit: Collection[str] = ()
) -> tuple[tuple[str, ...], ...]:
    """Returns the families, each once, with their releases in the order of `names`.

    Args:
        given: families, or `all`: one family of all `names`.
        names: the releases that exist.
        where: the setting or argument, for messages.
        unfit: releases that no reference went through; `all` leaves them out.

    Raises:
        UserError: a release does not exist, is unfit, or is twice in a family; or a family has one release.
    """
    if isinstance(given, str):
        families = [tuple(name for name in names if name not in unfit)]
    else:
        families = [checked_releases(family, names, where, unfit) for family in given]
    for family in families:
        if len(family) < FEWEST:
            told = f"one release ({family[0]})" if family else "no release"
            more = "name some of" if len(names) >= FEWEST else "add another release of the same networks to"
            raise _refused(where, f"got a family of {told}, expected {FEWEST} or more; {more}: {', '.join(names)}")
    return tuple(dict.fromkeys(families))


def checked_releases(
    given: Iterable[str], names: Sequence[str], where: str, unfit: Collection[str] = ()
) -> tuple[str, ...]:
    """Returns a set of releases in the order of `names`; arguments and errors as for `checked_families`."""
    found = Counter(given)
    for name, count in found.items():
        if name not in names:
            raise _refused(where, f"got '{name}'{nearest(name, names)}, expected releases: {', '.join(names)}")
        if name in unfit:
            raise _refused(
                where,
                f"got '{name}', but no reference is made like that release; give the release its recipe (compress, "
                f"finetune), or leave it out",
            )
        if count > 1:
            raise _refused(where, f"got '{name}' {count} times in one set, expected each release once; leave one out")
        if _MARK in name:
            raise _refused(
                where,
                f"got '{name}', expected a name without '{_MARK}', because that separates the releases of a set in "
                f"tables; give the release another name",
            )
    return tuple(name for name in names if name in found)


def _is_list(given: Any) -> bool:
    return isinstance(given, Sequence) and not isinstance(given, str)


def _is_names(given: Any) -> bool:
    return _is_list(given) and bool(given) and all(isinstance(name, str) for name in given)


def _refused(where: str, problem: str) -> UserError:
    return UserError(f"{where}: {problem}" if where else problem)
