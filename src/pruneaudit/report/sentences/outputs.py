"""Puts the effect of hiding outputs into words."""

from __future__ import annotations

from collections.abc import Sequence

from pruneaudit.evaluation.results import Results
from pruneaudit.report.conclusions.outputs import Hiding, hiding_outputs
from pruneaudit.report.quantities import AUC
from pruneaudit.report.sentences.networks import networks_of
from pruneaudit.report.words import attack_name, listed, verb


def hiding_words(results: Results) -> tuple[str, ...]:
    """Says which outputs lower the AUC of the primary attack on the base release, and whether it still finds members.

    Empty without such figures.
    """
    found = hiding_outputs(results)
    if found is None:
        return ()
    who = f"{attack_name(found.attack)} on {networks_of(results, found.release)}"
    lower, same, higher = ([one for one in found.steps if one.direction == way] for way in (-1, 0, 1))
    said = [f"With all stored outputs ({found.stored}), {who} reaches an AUC of {AUC.value(found.stored_value)}."]
    if lower:
        said.append(f"The AUC is lower with {_changes(lower)}.")
    if same:
        said.append(f"No difference is shown with {_names(same)}.")
    if higher:
        said.append(
            f"The AUC is higher with {_changes(higher)}: this attack does not make the best use of the outputs."
        )
    lost = [one for one in found.steps if not one.beats_guessing]
    if lost:
        said.append(f"The attack is not shown to do better than guessing with {_names(lost)}.")
    else:
        said.append(f"The attack does better than guessing with {verb(len(found.steps), 'it', 'all of them')}.")
    return tuple(said)


def _names(steps: Sequence[Hiding]) -> str:
    return listed([one.outputs for one in steps])


def _changes(steps: Sequence[Hiding]) -> str:
    """`label (0.665, -0.096 [-0.100, -0.091])`, for each of them."""
    return listed(
        [
            f"{one.outputs} ({AUC.value(one.value)}, {AUC.difference(one.difference)}"
            f" {AUC.signed_interval(one.difference_low, one.difference_high)})"
            for one in steps
        ]
    )
