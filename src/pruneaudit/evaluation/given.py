"""Builds attack settings from a user's predictions, and ensures that no victim is its own reference.

Several releases of the same models are attacked side by side. Each is attacked as it would be alone: with its own
references, and with the resolution of its own probabilities. The baseline is part of the other releases' attack inputs,
for attacks on two releases; attacks on one release ignore it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.registry import nearest
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.left_out import with_shared_left_out
from pruneaudit.signals.copies import equal_labels, first_copy
from pruneaudit.signals.signals import Signals
from pruneaudit.study import DENSE
from pruneaudit.study.audit import MATCHED, UNDEFENDED

BASELINE = "baseline"
"""The key in an audit's `about` of the release with which all others were compared, in an audit of several."""
ONE_SET = "given"
"""The kind of references if one set without a name serves several releases; it is unknown how these were made."""
MAX_NAME = 80
"""Longest name of a release: as in a study, so that it fits into tables and file names."""
_DRAWN_AS = (seeds.GIVEN, MATCHED)
"""Draws depend neither on names nor on other releases, so that every release has the figures that it has alone."""


def given_settings(
    releases: Mapping[str, Signals], references: Signals | Mapping[str, Signals] | None, baseline: str
) -> list[AttackSetting]:
    """One attack setting for each release; see `audit` for the arguments.

    Args:
        releases: the victims' predictions by release.
        references: predictions of other models: by release, or one set for all; None: the other models of a release.
        baseline: the release with which the others are compared.

    Raises:
        UserError: a part is not `Signals`, is missing or describes other samples or models, or a victim would be its
            own reference.
    """
    for name, part in releases.items():
        _check_is_signals("signals", name, part, len(releases) > 1)
    kind, own = _references_of(releases, references)
    releases, own = with_shared_left_out(releases, own)
    for name in releases:
        if name != baseline:
            _check_comparable(releases, baseline, name)
    settings = []
    for name in releases:
        # One set of references for all releases does not come in pairs of releases.
        is_pair = name != baseline and kind == MATCHED and (not own or _are_paired(own[baseline], own[name]))
        seen = (baseline, name) if is_pair else (name,)
        attack_input = _attack_input(releases, own, seen, len(releases) > 1)
        settings.append(AttackSetting(name, kind, attack_input, seen, seen if own else (), _DRAWN_AS))
    return settings


def chosen_baseline(names: Sequence[str], baseline: str | None) -> str:
    """The release with which the others are compared: the named one, or else `dense`, or the only one.

    Raises:
        UserError: no release has this name, or none was named among several without `dense`.
    """
    if baseline is not None and baseline not in names:
        raise UserError(f"baseline: got '{baseline}'{nearest(baseline, names)}, expected one of: {', '.join(names)}")
    if baseline is None and len(names) > 1 and DENSE not in names:
        raise UserError(
            f"baseline: none given, expected one of {', '.join(names)}: the undefended dense release, with which the"
            f" others are compared; add --baseline {names[0]} (in Python: baseline='{names[0]}')"
        )
    return baseline or (DENSE if DENSE in names else names[0])


def checked_sizes(names: Sequence[str], sizes: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """The stated sizes as facts about releases.

    Args:
        names: the releases.
        sizes: compressed bytes by release; a release without one is not compared at equal size.

    Raises:
        UserError: no release has this name, there is one release alone, or a size is no number of bytes.
    """
    for name, size in sizes.items():
        if name not in names:
            raise UserError(f"size: got '{name}'{nearest(name, names)}, expected a release: {', '.join(names)}")
        if len(names) == 1:
            raise UserError(f"size: got one for '{name}' alone, expected several releases to compare; leave it out")
        if isinstance(size, bool) or not isinstance(size, int | float) or not 0 < size < math.inf:
            raise UserError(f"size of '{name}': got {size!r}, expected bytes above 0, such as 241000")
    return {name: {"compressed_bytes": float(size)} for name, size in sizes.items()}


def parts_of(attack_input: AttackInput) -> Iterator[Signals]:
    """The signals in an attack input, each once."""
    yield from {id(part): part for part in (*attack_input.releases, *attack_input.references)}.values()


def notes_on_copies(releases: Mapping[str, Signals], settings: Sequence[AttackSetting], baseline: str) -> list[str]:
    """Notes on what may be a copy: a release with the baseline's answers, or two models that predict equal classes."""
    base = _answers(releases[baseline])
    notes = [
        f"{name} answers every query exactly as {baseline}; if its file is a copy of {baseline}'s, leave it out"
        for name, signals in releases.items()
        if name != baseline and np.array_equal(_answers(signals), base)
    ]
    for setting in settings:
        for part in parts_of(setting.attack_input):
            if pair := equal_labels(part):
                first, second = (part.model_names[row] for row in pair)
                notes.append(
                    f"models {first} and {second} predict the same class for every sample; if one is a copy of the"
                    " other, leave it out"
                )
    return list(dict.fromkeys(notes))


def _answers(signals: Signals) -> np.ndarray:
    """The answers as they were given."""
    found = (signals.logits, signals.probabilities, signals.predicted)
    return next(answers for answers in found if answers is not None)


def _check_is_signals(argument: str, name: str, part: object, is_one_of_several: bool) -> None:
    if not isinstance(part, Signals):
        place = f"{argument}['{name}']" if is_one_of_several else argument
        raise UserError(f"{place}: got {type(part).__name__}, expected Signals; use Signals.load(path)")


def _references_of(
    releases: Mapping[str, Signals], references: Signals | Mapping[str, Signals] | None
) -> tuple[str, Mapping[str, Signals]]:
    """The kind of references, and each release's; empty without references."""
    names = ", ".join(releases)
    if references is None:
        return MATCHED, {}
    if not isinstance(references, Mapping):
        _check_is_signals("references", "", references, False)
        return MATCHED if len(releases) == 1 else ONE_SET, dict.fromkeys(releases, references)
    for name, part in references.items():
        _check_is_signals("references", name, part, True)
        if name not in releases:
            raise UserError(
                f"references: got some for '{name}'{nearest(name, list(releases))}, expected a release: {names}"
            )
    first = {id(part): name for name, part in reversed(list(references.items()))}
    for name, part in references.items():
        if first[id(part)] != name:
            raise UserError(
                f"references: got the same references for {first[id(part)]} and {name}, expected a set for each "
                f"release; if one set serves all of them, give it once"
            )
    missing = [name for name in releases if name not in references]
    if not missing:
        return MATCHED, references
    if len(references) == 1:  # what they went through is what that release did: a kind that has its name
        ((name, part),) = references.items()
        return name, dict.fromkeys(releases, part)
    raise UserError(
        f"references: got some for {', '.join(references) or 'no release'} but none for {', '.join(missing)}; give"
        " each release its own, or one set for all"
    )


def check_names(names: Sequence[str]) -> None:
    """Refuses names of releases that mean something else in reports.

    Raises:
        UserError: there is no release, or a name is empty, taken or too long.
    """
    if not names:
        raise UserError("signals: got no release, expected predictions of at least one")
    for name in names:
        if not name.strip():
            raise UserError(f"name: got '{name}', expected a name for the release, such as dense")
        if len(name) > MAX_NAME:
            raise UserError(f"name: got {len(name)} characters ('{name[:20]}...'), expected at most {MAX_NAME}")
        if len(names) > 1 and name in (MATCHED, UNDEFENDED):
            raise UserError(
                f"name: got '{name}' for a release, but that names a kind of references; choose another name"
            )


def _check_comparable(releases: Mapping[str, Signals], baseline: str, name: str) -> None:
    """Refuses a release of other models or on other samples than the baseline."""
    base, other = releases[baseline], releases[name]
    both = f"releases {baseline} and {name}"
    if base is other:
        raise UserError(f"{both}: got the same predictions twice, expected predictions of two releases; leave one out")
    if (base.predicted is None) != (other.predicted is None):
        raise UserError(f"{both}: one has only predicted classes, expected the same kind of answers in all releases")
    with _named(both):
        AttackInput.of([other, base], ())
    for key, mine, its in (
        ("is_victim", base.victims, other.victims),
        ("canary", base.canaries, other.canaries),
        ("eligible", base.scored, other.scored),
    ):
        if not np.array_equal(mine, its):
            raise UserError(f"{both}: disagree about `{key}`, expected the same victims and samples; give both alike")


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Begins the message of an error with the releases that it is about, if there are several."""
    try:
        yield
    except UserError as error:
        if not what:
            raise
        raise UserError(f"{what}: {error}") from None


def _are_paired(one: Signals, other: Signals) -> bool:
    """Whether two sets of references are two releases of the same models."""
    return np.array_equal(one.model_names, other.model_names) and np.array_equal(one.member, other.member)


def _attack_input(
    releases: Mapping[str, Signals], own: Mapping[str, Signals], seen: Sequence[str], is_one_of_several: bool
) -> AttackInput:
    """The attack input of the last of these releases; no victim is its own reference in it."""

    def called(name: str, what: str) -> str:
        return f"{what} of {name}" if is_one_of_several else what

    name = seen[-1]
    resolution = _finest(releases[name], *([own[name]] if own else []))
    victims = {called(each, "signals"): _resolved(releases[each], resolution) for each in seen}
    others = {called(each, "references"): _resolved(own[each], resolution) for each in seen} if own else {}
    _refuse_swapped(victims)
    _refuse_swapped(others)
    attacked = [*victims.values()]
    with _named(name if is_one_of_several else ""):
        if not own:
            return AttackInput.of(attacked, attacked if releases[name].num_models > 1 else ())
        allowed = None
        if releases[name].model_ids is None or own[name].model_ids is None:
            # Without ids on both sides, models cannot be matched; copies are refused below.
            groups = releases[name].groups[releases[name].victims]
            allowed = groups[:, None] == own[name].groups[None, :]
        attack_input = AttackInput.of(attacked, [*others.values()], allowed)
    _refuse_copies(victims, others, attack_input)
    return attack_input


def _finest(*parts: Signals) -> np.ndarray | None:
    """The finest resolution of any of these probabilities: victims and references must treat a 0 in the same way."""
    shown = [part.resolution for part in parts if part.resolution is not None]
    return np.min(shown, axis=0) if shown else None


def _resolved(part: Signals, resolution: np.ndarray | None) -> Signals:
    """The part with this resolution, if it has one at all."""
    if part.resolution is None or resolution is None or (part.resolution == resolution).all():
        return part
    return part.with_resolution(resolution)


def _refuse_swapped(releases: Mapping[str, Signals]) -> None:
    """Refuses a model whose answers in one release equal another model's in the other release.

    The same model may give equal answers in both, because a release can be lossless. Then it is not its own reference;
    the second release just adds nothing.
    """
    if len(releases) < 2:
        return
    (earlier, one), (later, other) = releases.items()
    if pair := first_copy(one, other, ~np.eye(one.num_models, dtype=bool)):
        raise UserError(
            f"{earlier}: model {one.model_names[pair[0]]} answers exactly as model {other.model_names[pair[1]]} of"
            f" {later}, expected the same models in the same order; sort the rows the same way, or leave the copy out"
        )


def _refuse_copies(victims: Mapping[str, Signals], others: Mapping[str, Signals], attack_input: AttackInput) -> None:
    """Refuses a reference that answers, in any release, exactly as a victim for which it may be used."""
    for name, reference in others.items():
        for of_victims, release in victims.items():
            compared = np.zeros((release.num_models, reference.num_models), dtype=bool)
            compared[attack_input.victims] = attack_input.allowed
            if pair := first_copy(release, reference, compared):
                raise UserError(
                    f"{name}: model {reference.model_names[pair[1]]} answers exactly as victim"
                    f" {release.model_names[pair[0]]} of {of_victims}, expected other models (a victim must not be its"
                    " own reference); leave it out, or give both files model_ids"
                )
