"""The search: rungs of ever more models for ever fewer candidates, then the list and its order.

It uses the first half of the models only. Its result is a pure function of the study, the limits and the models, so a
search that is repeated, or continued after a kill, ends with the same list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pruneaudit.choosing.bench import Bench, Tried
from pruneaudit.choosing.proposals import Proposals
from pruneaudit.choosing.rungs import Race, front
from pruneaudit.evaluation.certificate import Candidate, PassedOver
from pruneaudit.evaluation.limits import Limits
from pruneaudit.evaluation.search_path import Rung, SearchPath
from pruneaudit.evaluation.shortlist import HOPELESS, shortlist
from pruneaudit.study import DENSE
from pruneaudit.study.choose import Choose

SHOWN = 6
"""Largest number of candidates of a front that a line names."""
Tell = Callable[[Rung], None]
"""Called after each rung."""


@dataclass(frozen=True)
class Facts:
    """Facts about a search, for its record."""

    identity: str
    study: str
    num_candidates: int
    earlier: tuple[str, ...]


def search(bench: Bench, choose: Choose, proposals: Proposals, facts: Facts, tell: Tell) -> SearchPath:
    """Searches the space, and fixes the list of candidates to confirm.

    Args:
        bench: tries candidates.
        choose: the settings of the search.
        proposals: proposes candidates for the first rung.
        facts: what the search is about.
        tell: called after each rung.

    Raises:
        UserError: a candidate asks for something impossible, or an attack lacks an input.
        TasksFailedError: too few models are left.
    """
    models = bench.halves.rungs(choose.rungs)
    num_first = min(choose.budget, len(choose.candidates)) + choose.dense
    race = Race(bench.limits, num_first, len(models), choose.keep)
    rungs: list[Rung] = []
    names: list[str] = []
    for number, ids in enumerate(models):
        tried = (
            _first(bench, choose.dense, proposals, ids, race)
            if not number
            else bench.tried(names, ids, race.is_attacked)
        )
        rung, names = _decided(tried, number, race, number == len(models) - 1)
        rungs.append(rung)
        tell(rung)
    last = {candidate.name: candidate for candidate in rungs[-1].candidates}
    chosen = shortlist([last[name] for name in names], bench.limits, choose.confirm)
    return SearchPath(
        identity=facts.identity,
        study=facts.study,
        limits=bench.limits,
        attacks=tuple(attack.label for attack in bench.study.audit.attacks),
        references=bench.study.audit.references,
        method=choose.search,
        num_candidates=facts.num_candidates,
        rungs=tuple(rungs),
        confirm_model_ids=bench.halves.confirm,
        listed=tuple(candidate.name for candidate in chosen.candidates),
        passed_over=chosen.passed_over,
        naive=naive_choice(rungs[-1].candidates, bench.limits),
        earlier=facts.earlier,
    )


def _first(bench: Bench, with_dense: bool, proposals: Proposals, models: tuple[int, ...], race: Race) -> Tried:
    """Tries the proposed candidates on the first rung, batch by batch."""
    together: Tried | None = None
    while batch := proposals.next():
        names = [DENSE, *batch] if with_dense and together is None else batch
        tried = bench.tried(names, models, race.is_attacked)
        proposals.tell({name: trial.candidate for name, trial in tried.trials.items()})
        if together is None:
            together = tried
        else:
            trials, failed = together.trials | tried.trials, together.failed | tried.failed
            together = replace(together, trials=trials, failed=failed)
            best = front([trial.candidate for trial in trials.values() if trial.measured], race.limits)
            named = ", ".join(candidate.name for candidate in best[:SHOWN])
            bench.machine.progress.say(f"{len(trials)} candidates tried; the front: {named or 'none'}")
    assert together is not None  # a space has candidates
    return together


def _decided(tried: Tried, number: int, race: Race, is_last: bool) -> tuple[Rung, list[str]]:
    """Returns a rung, and the candidates that go on."""
    stopped = race.decide(tried.trials, is_last)
    failed = [PassedOver(name=name, why="failed", detail=reason) for name, reason in tried.failed.items()]
    passed = [one.model_copy(update={"rung": number}) for one in (*stopped.values(), *failed)]
    rung = Rung(
        number=number,
        model_ids=tried.models,
        num_references=tried.num_references,
        candidates=tuple(trial.candidate for trial in tried.trials.values()),
        passed_over=tuple(passed),
    )
    return rung, [name for name in tried.trials if name not in stopped]


def naive_choice(candidates: tuple[Candidate, ...], limits: Limits) -> str:
    """Returns the best candidate by estimates alone, as a search without confirmation would; empty if none keeps all.

    Args:
        candidates: with figures of one rung.
        limits: the limits.
    """
    within = [each for each in candidates if each.p_value <= HOPELESS and not each.exceeded(limits)]
    best = min(within, key=lambda each: (each.cost(limits), each.p_value), default=None)
    return "" if best is None else best.name
