"""Sentences of the one-page summary and of the block for a model card: captions, and notes on omitted parts."""

from __future__ import annotations

from collections.abc import Sequence

from pruneaudit.evaluation.results import Results
from pruneaudit.report.compressed import sizes_are_stated
from pruneaudit.report.conclusions.leakage import PER
from pruneaudit.report.selection import given_baseline, headline_rate, primary_attack, references_shown, release_names
from pruneaudit.report.sentences.changes import ALL_THAT_WAS_DONE
from pruneaudit.report.sentences.networks import paired_on
from pruneaudit.report.words import attack_name, listed

NO_FIGURES = "There is nothing to show here: no attack has a figure."
ONE_RELEASE = "One release was audited, so nothing is compared."
WHOLE_REPORT = "report.html in the run's folder has every figure."
SEAL = "SHA256SUMS lists the checksums of all result files; its own checksum, given here, covers them all."
COMMAND_ELSEWHERE = "about.json has the command, which is too long for a page."
LETTERS_REPLACED = "Letters that the font of this file does not have are shown as ?."


def and_more(number: int, what: str = "") -> str:
    """`and 3 more releases`; empty for 0.

    Args:
        number: how many were left out.
        what: the noun, in the singular.
    """
    noun = f" {what}{'s' if number > 1 else ''}" if what else ""
    return f"and {number:,} more{noun}" if number else ""


def releases_caption(results: Results, with_equal: bool, with_sizes: bool) -> str:
    """What the columns of the table of releases are.

    Args:
        results: of a run.
        with_equal: it has the differences at equal accuracy.
        with_sizes: it has sizes.
    """
    rate, attack = headline_rate(results), attack_name(primary_attack(results)) or "no attack"
    said = [f"Value [95% interval] under {attack}, references {references_shown(results)}."]
    if rate is not None and rate.level is not None:
        others = f"{PER * rate.level:g} of {PER:,} others are taken for members"
        said.append(f"Members of {PER:,}: those recognised, while {others} (guessing recognises as many).")
    if with_sizes:
        rule = "as it was stated" if sizes_are_stated(results) else "by one entropy rule for all compressors"
        said.append(f"Size: of the whole network, {rule}.")
    if len(release_names(results)) > 1:
        said.append(
            f"Change of AUC: from the release that is named, on the same {paired_on(results)}. The words take all "
            "attacks into account."
        )
    if given_baseline(results):
        said.append(f"The change is that of {ALL_THAT_WAS_DONE}.")
    if with_equal:
        said.append(
            "At equal accuracy: AUC minus that of the least leaky undefended dense network that is at least as "
            "accurate."
        )
    return " ".join(said)


def accusations_caption(attack: str, priors: Sequence[str], level: str, is_learned: bool, is_one: bool) -> str:
    """What the table of positive predictive values shows.

    Args:
        attack: the label of the attack.
        priors: shares of members among the samples asked about, such as `10%`.
        level: the false-positive rate.
        is_learned: the thresholds are those that references teach, else the networks' own.
        is_one: there is one network.
    """
    said = f"How many of {attack_name(attack)}'s accusations are right, if {listed(priors, 'or')} of the samples asked"
    if is_learned:
        mean = "value" if is_one else "mean (SD) over networks,"
        how = f"{mean} at the threshold that references teach for {level} false positives"
    else:
        how = (
            f"value [95% interval] at {level} false positives and the network's own threshold, which no attacker knows"
        )
    return f"{said} about are members: {how}."


def not_sanity_checked_words(attacks: tuple[str, ...], reason: str) -> str:
    """Which attacks were not played where the answer is known, and why."""
    return f"Not sanity-checked: {listed([attack_name(attack) for attack in attacks])} ({reason})."


def suppressed_words(reasons: tuple[str, ...], is_one: bool) -> str:
    """Why figures are missing; `is_one`: there is one network."""
    if not reasons:
        return f"No {'figure' if is_one else 'mean over networks'} was suppressed."
    return f"Suppressed {'figures' if is_one else 'means over networks'}: {'; '.join(reasons)}."
