"""Builds an attack input from a user's predictions, and ensures that no victim is its own reference."""

# V victims, K references, M models

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.core.errors import UserError
from pruneaudit.signals.copies import equal_labels, first_copy
from pruneaudit.signals.signals import Signals


@dataclass(frozen=True, eq=False)
class Paired:
    """The same models in another public release, for example before pruning.

    Example:
        >>> dense, compressed = (pruneaudit.Signals.load(f"{name}.npz") for name in ("signals", "compressed"))
        >>> found = pruneaudit.audit(compressed, paired=pruneaudit.Paired(dense), attacks="back_front")
    """

    signals: Signals
    """The victims' predictions in that release."""
    references: Signals | None = None
    """The references' predictions in that release, if separate references are given."""


def given_input(
    signals: Signals, references: Signals | None = None, paired: Signals | Paired | None = None
) -> AttackInput:
    """The attack input of these victims; see `audit` for the arguments.

    Raises:
        UserError: a part is not `Signals`, is missing or describes other samples, or a victim would be its own
            reference.
    """
    other = paired if isinstance(paired, Paired) or paired is None else Paired(paired)
    paired, paired_references = (other.signals, other.references) if other else (None, None)
    parts = {"signals": signals, "references": references, "paired": paired, "paired_references": paired_references}
    for name, part in parts.items():
        if not isinstance(part, Signals) and (part is not None or name == "signals"):
            raise UserError(f"{name}: got {type(part).__name__}, expected Signals; use Signals.load(path)")
    if references is None and paired_references is not None:
        raise UserError("paired_references needs references, which are not given; give both, or neither")
    if references is not None and (paired is None) != (paired_references is None):
        raise UserError(
            "with paired, references need their other release too: give paired=Paired(signals, references), the other"
            " release of the victims and of the references; on the command line --paired and --paired-references"
        )
    earlier_first = ("paired", "signals", "paired_references", "references")
    named = _one_resolution({name: part for name in earlier_first if (part := parts[name]) is not None})
    own = {name: part for name, part in named.items() if name.endswith("references")}
    releases = {name: part for name, part in named.items() if name not in own}
    _refuse_swapped(releases)
    _refuse_swapped(own)
    if references is None:
        return AttackInput.of([*releases.values()], [*releases.values()] if signals.num_models > 1 else ())
    allowed = None
    if signals.model_ids is None or references.model_ids is None:
        # Without ids on both sides, models cannot be matched; copies are refused below.
        allowed = signals.groups[signals.victims][:, None] == references.groups[None, :]
    attack_input = AttackInput.of([*releases.values()], [*own.values()], allowed)
    _refuse_copies(releases, own, attack_input)
    return attack_input


def parts_of(attack_input: AttackInput) -> Iterator[Signals]:
    """The signals in an attack input, each once."""
    yield from {id(part): part for part in (*attack_input.releases, *attack_input.references)}.values()


def equal_class_notes(attack_input: AttackInput) -> list[str]:
    """One note for each part of the input in which two models predict the same classes: they may be one model."""
    notes = []
    for part in parts_of(attack_input):
        if pair := equal_labels(part):
            first, second = (part.model_names[row] for row in pair)
            notes.append(
                f"models {first} and {second} predict the same class for every sample; if one is a copy of the other,"
                " leave it out"
            )
    return notes


def _one_resolution(parts: dict[str, Signals]) -> dict[str, Signals]:
    """The parts with the finest resolution of any: all of them must treat a 0 in the same way."""
    shown = [part.resolution for part in parts.values() if part.resolution is not None]
    if not shown:
        return parts
    finest = np.min(shown, axis=0)
    if all((resolution == finest).all() for resolution in shown):
        return parts
    changed = {id(part): part.with_resolution(finest) for part in parts.values() if part.resolution is not None}
    return {name: changed.get(id(part), part) for name, part in parts.items()}


def _refuse_swapped(releases: dict[str, Signals]) -> None:
    """Refuses a model whose answers in one release equal another model's in the other release.

    The same model may give equal answers in both, because a release can be lossless. Then it is not its own reference;
    the second release just adds nothing.
    """
    if len(releases) < 2:
        return
    (earlier, one), (later, other) = releases.items()
    if one.member.shape != other.member.shape or (one.labels != other.labels).any():
        return  # the attack input reports it
    if pair := first_copy(one, other, ~np.eye(one.num_models, dtype=bool)):
        raise UserError(
            f"{earlier}: model {one.model_names[pair[0]]} answers exactly as model {other.model_names[pair[1]]} of"
            f" {later}, expected the same models in the same order; sort the rows the same way, or leave the copy out"
        )


def _refuse_copies(releases: dict[str, Signals], own: dict[str, Signals], attack_input: AttackInput) -> None:
    """Refuses a reference that answers, in any release, exactly as a victim for which it may be used."""
    for name, reference in own.items():
        for of_victims, release in releases.items():
            compared = np.zeros((release.num_models, reference.num_models), dtype=bool)
            compared[attack_input.victims] = attack_input.allowed
            if pair := first_copy(release, reference, compared):
                raise UserError(
                    f"{name}: model {reference.model_names[pair[1]]} answers exactly as victim"
                    f" {release.model_names[pair[0]]} of {of_victims}, expected other models (a victim must not be its"
                    " own reference); leave it out, or give both files model_ids"
                )
