"""Says whether the attacks agree."""

from __future__ import annotations

from pruneaudit.evaluation.results import Results
from pruneaudit.report.compressed import changed_words
from pruneaudit.report.conclusions.agreement import Agreement, agreement
from pruneaudit.report.conclusions.stronger import Stronger
from pruneaudit.report.quantities import AUC
from pruneaudit.report.selection import base_release, primary_attack
from pruneaudit.report.sentences.networks import networks_of
from pruneaudit.report.words import attack_name, counted, first_few, verb


def disagreement(results: Results) -> str:
    """Returns a sentence if attacks contradict each other, to be read before anything else; empty if none do."""
    found = agreement(results)
    parts = []
    if found.against_primary:
        names = [attack_name(attack) for attack in found.against_primary]
        do = verb(len(names), "does", "do")
        parts.append(f"{first_few(names)} {do} better than guessing, but the primary attack is not shown to do so")
    if found.num_disputed:
        releases = counted(found.num_releases, f"{changed_words(results)} release")
        parts.append(f"they show different changes for {found.num_disputed} of {releases}")
    return f"Attacks disagree: {'; '.join(parts)}." if parts else ""


def agreement_words(results: Results) -> tuple[str, ...]:
    """Says how many attacks succeed, whether they agree on the releases, and which find more than the primary one."""
    found = agreement(results)
    if not found.num_attacks:
        return ()
    is_shown = found.num_attacks > 1 and found.num_releases and not found.num_disputed
    name = attack_name(primary_attack(results))
    agreed = f" {name} shows every change in AUC from a baseline that another attack shows." if is_shown else ""
    return (f"{_better(results, found)}{agreed}", *_stronger(results, found))


def _better(results: Results, found: Agreement) -> str:
    networks = networks_of(results, base_release(results))
    if found.num_attacks == 1:
        return f"Only one attack has a figure on {networks}, so no other confirms it."
    if not found.num_better:
        return f"None of the {found.num_attacks} attacks is shown to do better than guessing on {networks}."
    if found.num_better < found.num_attacks:
        some = f"{found.num_better} of {found.num_attacks} attacks"
        return f"{some} {verb(found.num_better, 'does', 'do')} better than guessing on {networks}, in AUC."
    every = "Both attacks" if found.num_attacks == 2 else f"All {found.num_attacks} attacks"
    return f"{every} do better than guessing on {networks}, in AUC."


def _stronger(results: Results, found: Agreement) -> tuple[str, ...]:
    """Which attacks find more than the primary one, and why its figures are shown all the same."""
    if not found.stronger and not found.stronger_elsewhere:
        return ()
    said = [_finds_more(one, networks_of(results, base_release(results))) for one in found.stronger[:1]]
    if len(found.stronger) > 1:
        others = len(found.stronger) - 1
        said.append(f"{counted(others, 'other attack')} {verb(others, 'does', 'do')} too.")
    if not found.stronger:
        one = found.stronger_elsewhere[0]
        said.append(_finds_more(one, f"the release {one.release}"))
    if (number := len(found.stronger_elsewhere)) > 1:
        said.append(f"On {number} releases, another attack finds more.")
    said.append("The page still shows the primary attack, because the rule that chooses it reads no results.")
    return (" ".join(said),)


def _finds_more(found: Stronger, where: str) -> str:
    what = "AUC" if found.quantity == AUC else f"members at {100 * (found.quantity.level or 0.0):g}% false positives"
    who, primary = attack_name(found.attack), attack_name(found.primary)
    return f"{who} finds more than {primary} on {where}: {what} {found.figure}."
