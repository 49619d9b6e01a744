"""Prepares a choice: a study that can be searched, its attacks, and its identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pruneaudit.attacks.groups import expand
from pruneaudit.attacks.primary import attack_by_rule
from pruneaudit.choosing.halves import Halves
from pruneaudit.core.errors import UserError
from pruneaudit.core.identity import sha256_of
from pruneaudit.core.options import validated
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.membership import draw_membership
from pruneaudit.engine.attack_needs import attacks_of
from pruneaudit.engine.plan import check_plugins
from pruneaudit.evaluation.how_many import Half, check_certifiable
from pruneaudit.evaluation.limits import Limits
from pruneaudit.evaluation.sanity_check import BLIND, REVERSED, play
from pruneaudit.study import DENSE, Plugin, Release, Study
from pruneaudit.study.choose import Choose
from pruneaudit.study.recipes import load_recipe_or_file

RMIA = "rmia"
_BESIDE: Any = {"description": True, "keep_weights": True, "choose": {"budget"}}
"""Settings of a study that do not affect its candidates. (The budget is an option of the command.)"""
SEMANTICS = 1
"""Raise it where a search or a confirmation would decide differently."""


def choose_of(study: Study) -> Choose:
    """Returns the settings of the search.

    Raises:
        UserError: the study has none.
    """
    if study.choose is None:
        raise UserError(
            f"study '{study.name}' has no section [choose], expected one with at least one [[choose.space]], such as:"
            " compress = 'rtn', bits = [8, 4]"
        )
    return study.choose


def candidates_by_name(choose: Choose) -> dict[str, Release | None]:
    """Returns all candidates; None stands for the uncompressed network."""
    found: dict[str, Release | None] = {DENSE: None} if choose.dense else {}
    return found | {candidate.name: candidate.release for candidate in choose.candidates}


def searched_study(study: Study, choose: Choose, halves: Halves) -> Study:
    """Returns the study with the attacks of the search as its attacks, after checking all candidates.

    Its releases are those of the study that candidates can start from.

    Raises:
        UserError: a candidate or an attack cannot be used.
    """
    attacks = choose.attacks or _usual_attacks(study, halves)
    audit = study.audit.model_copy(update={"attacks": attacks, "families": (), "outputs": ()})
    searched = study.model_copy(update={"audit": audit, "choose": None})
    releases = [release for release in study.releases if not release.weights]
    known = {release.name: release for release in releases}
    more = [c.release for c in choose.candidates if known.get(c.name) != c.release]
    whole = searched.model_copy(update={"releases": (*releases, *more)})
    validated(Study, whole.model_dump(mode="json"), "choose.space")
    check_plugins(whole)
    return searched.model_copy(update={"releases": tuple(releases)})


def _usual_attacks(study: Study, halves: Halves) -> tuple[Plugin, ...]:
    """Returns the primary attack by rule, for the references of the half that confirms, and RMIA."""
    try:
        labels = [attack.label for attack in expand(study.audit.attacks)]
    except UserError as error:
        raise UserError(f"audit.attacks: {error}") from None
    primary = attack_by_rule(labels, halves.num_references)
    rmia = RMIA if study.membership.protocol != "disjoint" else f"{RMIA}:mode=offline"
    return tuple(Plugin.model_validate(label) for label in dict.fromkeys([primary, rmia]))


def check_attacks_work(study: Study) -> None:
    """Refuses attacks that find no planted members: a certificate that relies on them would say nothing.

    Attacks that train a classifier are not tried, because that takes minutes.

    Args:
        study: the study, with the attacks of the search.

    Raises:
        UserError: an attack finds nothing where there is a leak.
    """
    quick = {label: attack for label, attack in attacks_of(study).items() if not attack.trains}
    for trial in play(quick, study.seed).trials if quick else ():
        for verdict in trial.verdicts:
            if verdict.problem in (BLIND, REVERSED):
                raise UserError(
                    f"choose.attacks: attack '{verdict.attack}' does not work ({verdict.reason}), so no certificate can"
                    " rely on it; leave it out"
                )


def check_limits(study: Study, halves: Halves, audit_data: AuditData, limits: Limits) -> None:
    """Refuses limits that no half of this size could certify, before anything is trained.

    Args:
        study: the study, with the attacks of the search.
        halves: its halves.
        audit_data: its samples.
        limits: the limits.

    Raises:
        UserError: a limit takes more models or samples; says how many.
    """
    splits = draw_membership(study, audit_data).rows(halves.confirm)
    counted = splits.eligible & ~audit_data.canary
    counted = counted[:1] if halves.has_target else counted[splits.is_victim]
    member = splits.member[:1] if halves.has_target else splits.member[splits.is_victim]
    # Attacks that compare IN with OUT references score the samples that have both.
    compare = any(attack.compares_in for attack in attacks_of(study).values())
    share = 1 - 2.0 ** (1 - halves.num_references) if compare else 1.0
    members, others = (int(share * (counted & side).sum(axis=1).min()) for side in (member, ~member))
    check_certifiable(limits, Half(halves.num_victims, members, others, halves.has_target))


def study_hash(study: Study) -> str:
    """Returns the hash of a study for certificates: without its description and the budget of its search."""
    exclude = _BESIDE if study.choose else {"description": True, "keep_weights": True}
    return sha256_of(study.model_dump(mode="json", exclude=exclude))


def hash_of_file(file: str) -> str:
    """Returns the hash of the study in a file, or of the recipe of that name.

    Raises:
        UserError: there is none.
    """
    return study_hash(load_recipe_or_file(file))


def identity_of(study: Study, limits: Limits, audit_data: AuditData, sources: Mapping[str, str]) -> str:
    """Returns the hash of all that determines a choice.

    Args:
        study: the study.
        limits: the limits.
        audit_data: its samples.
        sources: hashes of user functions and files.
    """
    return sha256_of(
        {
            "semantics_version": SEMANTICS,
            "study": study_hash(study),
            "budget": choose_of(study).budget,
            "limits": limits.model_dump(mode="json"),
            "audit_data": audit_data.sha256,
            "sources": dict(sources),
        }
    )
