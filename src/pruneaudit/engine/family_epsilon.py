"""The epsilon of families of releases that were trained with DP-SGD, from the accounts of the finished trainings."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from pruneaudit.core.files import SUMMARY_FILE
from pruneaudit.defenses.dp import statement, void_statement
from pruneaudit.engine.plan import Plan, Task
from pruneaudit.engine.store import Store
from pruneaudit.evaluation.columns import RELEASE_SEPARATOR
from pruneaudit.study.protection import private_trainings, protected_releases, unprotected

FAMILY_EPSILON = "family_epsilon"
"""The key of the records in the provenance of results."""
UNKNOWN = "unknown: "
"""Begins the reasons for an unknown epsilon."""
NEEDS_OPACUS = f"{UNKNOWN}Opacus is not installed; pip install 'pruneaudit[dp]'"
_COUNTS = ("noise_multiplier", "sample_rate", "steps", "delta", "accountant")
"""The facts that the report of a training with DP-SGD must have, so that its steps can be counted."""


@dataclass(frozen=True)
class FamilyEpsilon:
    """What the DP-SGD trainings behind a family of releases guarantee together.

    Every training on members among the releases and their ancestors counts once. A release that is made of others
    without private data adds nothing.
    """

    family: tuple[str, ...]
    """The releases, in the order in which they were given."""
    epsilon: float | None
    """A bound on what all of them together reveal about the presence of one training sample; the largest over victims.
    None: there is no bound."""
    delta: float | None
    """The probability with which the bound may fail: the largest that a training was given."""
    accountant: str
    """`rdp` or `prv`; `prv` if every training asked for it and epsilon is small enough."""
    own: Mapping[str, float | None]
    """By release, epsilon of the release with its ancestors alone, at the same delta."""
    trainings: tuple[str, ...]
    """The releases whose trainings count."""
    void_reason: str
    """Why there is no epsilon, by the names of the releases that are the cause; empty if there is one."""

    def record(self) -> dict[str, Any]:
        """Returns it as JSON data."""
        return {
            "family": RELEASE_SEPARATOR.join(self.family),
            "epsilon": self.epsilon,
            "delta": self.delta,
            "accountant": self.accountant,
            "own": dict(self.own),
            "trainings": list(self.trainings),
            "void_reason": self.void_reason,
        }


def family_epsilons(
    plan: Plan, store: Store, families: Iterable[Sequence[str]] = (), left_out: Collection[int] = ()
) -> list[dict[str, Any]]:
    """Returns a record for each family, and one for all protected releases that the study asks for.

    Args:
        plan: of a study.
        store: with the trained networks.
        families: sets of releases, by name.
        left_out: models with a missing part.

    Returns:
        Records as `FamilyEpsilon.record` describes. None without a release that was trained with DP-SGD.
    """
    together = tuple(name for name in protected_releases(plan.study) if name not in plan.added)
    given = dict.fromkeys(tuple(family) for family in families)
    asked = [family for family in given if private_trainings(plan.study, family)]
    if len(together) > 1 and not any(set(family) == set(together) for family in asked):
        asked.append(together)
    return [family_epsilon(plan, store, family, left_out).record() for family in asked]


def of_release(
    report: Mapping[str, Any] | None, plan: Plan, store: Store, release: str, left_out: Collection[int] = ()
) -> Mapping[str, Any] | None:
    """Returns the report of a release's own training, with what its epsilon says about the released network.

    The trainings of its ancestors count in the epsilon.

    Args:
        report: of the defence of its own training; None: it has none.
        plan: of the study.
        store: with the trained networks.
        release: its name.
        left_out: models with a missing part.
    """
    if not report or report.get("epsilon") is None:
        return report
    trained = private_trainings(plan.study, (release,))
    if trained == (release,) and not unprotected(plan.study, (release,)):
        return {**report, "statement": statement(release, trained)}
    found = family_epsilon(plan, store, (release,), left_out)
    if found.epsilon is None:
        return {**report, "statement": void_statement(found.void_reason.removeprefix(UNKNOWN))}
    counted = {"epsilon": found.epsilon, "delta": found.delta, "accountant": found.accountant}
    return {**report, **counted, "trainings": [*trained], "statement": statement(release, trained)}


def family_epsilon(plan: Plan, store: Store, family: Sequence[str], left_out: Collection[int] = ()) -> FamilyEpsilon:
    """Returns what the DP-SGD trainings behind one family guarantee together; arguments as for `family_epsilons`."""
    accounts = _Accounts(plan, store, left_out)
    whole = accounts.of(family)
    own = {name: accounts.of((name,), whole.delta).epsilon for name in family}
    return FamilyEpsilon(
        tuple(family),
        whole.epsilon,
        whole.delta,
        whole.accountant,
        own,
        private_trainings(plan.study, family),
        whole.void_reason,
    )


@dataclass(frozen=True)
class _Joint:
    """The accounts of a set of releases, joined."""

    epsilon: float | None = None
    delta: float | None = None
    accountant: str = ""
    void_reason: str = ""


class _Accounts:
    """The accounts of a study's finished trainings."""

    def __init__(self, plan: Plan, store: Store, left_out: Collection[int]) -> None:
        self._study, self._store = plan.study, store
        membership = plan.study.membership
        self._tasks: dict[str, dict[int, Task]] = {
            name: {
                task.model_id: task
                for task in plan.models(name)
                if membership.is_victim(task.model_id) and task.model_id not in left_out
            }
            for name in plan.releases
        }

    def of(self, names: Sequence[str], delta: float | None = None) -> _Joint:
        """Returns the joint account of a set of releases.

        Args:
            names: the releases.
            delta: converts at this delta; None: at the largest of the trainings'.
        """
        if missing := [name for name in names if name not in self._tasks]:
            return _Joint(void_reason=f"{UNKNOWN}this run has no release '{missing[0]}'")
        if reasons := unprotected(self._study, names):
            return _Joint(void_reason="; ".join(reasons))
        trained = private_trainings(self._study, names)
        if not trained:
            return _Joint(0.0, delta)  # made without members at all
        # Releases with the same settings under two names are the same networks.
        trained = tuple({sha: name for name in reversed(trained) if (sha := self._identity(name))}.values())[::-1]
        reports = {name: self._reports(name) for name in trained}
        if reason := next((why for name, found in reports.items() if (why := _uncounted(name, found))), ""):
            return _Joint(void_reason=reason)
        if find_spec("opacus") is None:
            return _Joint(void_reason=NEEDS_OPACUS)
        return _joined(reports, delta)

    def _identity(self, name: str) -> str:
        return next(iter(self._tasks[name].values())).artifact.identity

    def _reports(self, name: str) -> dict[int, dict[str, Any]]:
        """Returns the defence's report of each victim's training."""
        files = {m: self._store.path(task.artifact) / SUMMARY_FILE for m, task in self._tasks[name].items()}
        return {m: json.loads(file.read_text()).get("defense") or {} for m, file in files.items()}


def _uncounted(name: str, reports: Mapping[int, Mapping[str, Any]]) -> str:
    """Says why the steps of a training cannot be counted; empty if they can."""
    for report in reports.values():
        if not report.keys() >= set(_COUNTS):
            return f"{UNKNOWN}the steps of the training of '{name}' were not recorded"
        if report["noise_multiplier"] == 0:
            return f"'{name}' is trained with noise_multiplier = 0, which adds no noise"
    return "" if reports else f"{UNKNOWN}'{name}' has no victim"


def _joined(reports: Mapping[str, Mapping[int, Mapping[str, Any]]], delta: float | None) -> _Joint:
    """Returns the joint account of trainings: the largest epsilon over the victims.

    Args:
        reports: by release and victim, the reports of their trainings.
        delta: as for `_Accounts.of`.
    """
    from pruneaudit.defenses._dp_family import joint_epsilon, joint_history  # imports Opacus

    everything = [report for of_models in reports.values() for report in of_models.values()]
    at = max(report["delta"] for report in everything) if delta is None else delta
    accountant = "prv" if all(report["accountant"] == "prv" for report in everything) else "rdp"
    victims = set.union(*(set(of_models) for of_models in reports.values()))
    histories = [
        joint_history(
            (of_models[m]["noise_multiplier"], of_models[m]["sample_rate"], of_models[m]["steps"])
            for of_models in reports.values()
            if m in of_models
        )
        for m in sorted(victims)
    ]
    epsilon, used = joint_epsilon(histories, at, accountant)
    return _Joint(epsilon if math.isfinite(epsilon) else None, at, used)
