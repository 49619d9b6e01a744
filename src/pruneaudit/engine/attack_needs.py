"""Makes the attacks of a study, and checks before anything is trained that the study can meet their needs."""

from __future__ import annotations

from functools import partial

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.groups import expand
from pruneaudit.core.errors import UserError
from pruneaudit.data.audit_data import AuditData, holdout_halves
from pruneaudit.study import Study
from pruneaudit.study.kept import kept_by
from pruneaudit.study.lineage import plugin_options
from pruneaudit.study.parts import lacking_holdout
from pruneaudit.study.starts import has_new_heads, starts_are_own
from pruneaudit.study.training import OWN, SHARED

HALVES = {"fitting": 0, "holdout": 1}
"""By an attack's need: the half of the holdout that it means."""


def attacks_of(study: Study) -> dict[str, Attack]:
    """Makes the attacks of a study, with groups expanded, by label.

    Raises:
        UserError: a name or an option is unknown or wrong.
    """
    made = {}
    try:
        attacks = expand(study.audit.attacks)
    except UserError as error:
        raise UserError(f"audit.attacks: {error}") from None
    for attack in attacks:
        options = plugin_options(ATTACKS, attack, "audit.attacks")
        made[attack.label] = ATTACKS.get(attack.name)(options)
    return made


def check_attacks(study: Study) -> None:
    """Refuses attacks whose needs the study cannot meet, before anything is trained."""
    for label, attack in attacks_of(study).items():
        lacking = ""
        if attack.compares_in and study.membership.protocol == "disjoint":
            lacking = (
                "references that were trained on the victims' samples, but protocol 'disjoint' has none;"
                " use mode=offline if the attack has it"
            )
        elif HALVES.keys() & attack.needs:
            lacking = lacking_holdout(study)
        elif "references" in attack.needs and study.membership.num_models == 1:
            lacking = "references, but target.num_references = 0; set it to 1 or more"
        elif "two releases" in attack.needs and not study.releases:
            lacking = "a release in addition to dense; add one"
        elif "structure" in attack.needs and not any(
            release.weights or kept_by(study, release)
            for release in study.releases  # a user's file may have zeros
        ):
            lacking = "a release with masks or with fewer channels; add one, such as compress = 'l1unstructured'"
        elif "start_saliency" in attack.needs:
            lacking = _lacking_start(study)
        if lacking:
            raise UserError(f"attack '{label}' needs {lacking}, or leave it out")


def _lacking_start(study: Study) -> str:
    """Says what a study lacks for an attack that reads gradients at the public start; empty if nothing."""
    if starts_are_own(study):
        return (
            f"public initial weights, but training.init = '{OWN}'; set it to '{SHARED}' or to the file of weights that"
            " all models start from, or give the study a base"
        )
    if has_new_heads(study):
        setting, mend = ("base.head = 'new'", "'kept'") if study.base else ("the model's new_head = true", "false")
        return f"public initial weights, but {setting} gives each model a head of its own; set it to {mend}"
    return ""


def check_halves(study: Study, audit_data: AuditData) -> None:
    """Refuses attacks whose half of the holdout is too small, now that the samples are known."""
    for label, attack in attacks_of(study).items():
        for need in HALVES.keys() & attack.needs:
            if lacking := lacking_holdout(study, partial(_num_in_half, audit_data, HALVES[need])):
                raise UserError(f"attack '{label}' needs {lacking}, or leave it out")


def _num_in_half(audit_data: AuditData, half: int, num_taken: int) -> int:
    return int(holdout_halves(audit_data.untouched_holdout(num_taken), audit_data.ids)[half].sum())


def queried_for(study: Study, audit_data: AuditData) -> frozenset[str]:
    """Returns what attacks need beyond plain queries, as far as the study can make it."""
    needs = frozenset(need for attack in attacks_of(study).values() for need in attack.needs)
    has_copies = "forgetting" in needs and not lacking_holdout(study, partial(_num_in_half, audit_data, 0))
    return needs if has_copies else needs - {"forgetting"}
