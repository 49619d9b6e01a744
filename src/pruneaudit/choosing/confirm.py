"""The confirmation: the list, tried once on models that the search never touched."""

from __future__ import annotations

from collections.abc import Sequence

from pruneaudit import __version__
from pruneaudit.choosing.bench import Bench, Tried
from pruneaudit.evaluation.certificate import Certificate, PassedOver, Scope, certify
from pruneaudit.evaluation.limit_test import LimitTest, Question, unanswered
from pruneaudit.evaluation.limits import ACCURACY, Limits
from pruneaudit.evaluation.search_path import SearchPath


def confirm(bench: Bench, path: SearchPath, study_hash: str) -> Certificate:
    """Tries the list on the second half of the models, and decides.

    Args:
        bench: tries candidates.
        path: the search, with the list in its order.
        study_hash: the hash of the study.

    Raises:
        TasksFailedError: too few models are left.
    """
    models = bench.halves.confirm
    tried = bench.tried(path.listed, models, lambda candidate: True) if path.listed else Tried(models, {}, {}, 0)
    searched = path.searched
    candidates = []
    for name in path.listed:
        leakage = searched[name].leakage
        trial = tried.trials.get(name)
        found = searched[name].model_copy(update={"tests": _unknown(bench.limits, tried.failed.get(name, ""))})
        candidates.append((trial.candidate if trial else found).model_copy(update={"leakage": leakage}))
    return certify(candidates, bench.limits, _scope(bench, path, tried, study_hash), passed_over=_others(path))


def _unknown(limits: Limits, why: str) -> tuple[LimitTest, ...]:
    figures = ({} if limits.min_accuracy is None else {ACCURACY: limits.min_accuracy}) | limits.leakage
    return tuple(unanswered(Question(figure, limit), why) for figure, limit in figures.items())


def _others(path: SearchPath) -> Sequence[PassedOver]:
    return [one for one in path.left if one.name not in path.listed]


def _scope(bench: Bench, path: SearchPath, tried: Tried, study_hash: str) -> Scope:
    halves, data = bench.halves, bench.audit_data
    audited = data.coined & ~data.canary & ~data.is_copy
    left = [model for model in halves.confirm if model in tried.models]
    return Scope(
        study=bench.study.name,
        study_hash=study_hash,
        version=__version__,
        attacks=path.attacks,
        references=path.references,
        num_search_models=len(halves.search),
        num_confirm_models=1 if halves.has_target else len(left) // halves.group_size,
        num_references=tried.num_references or halves.num_references,
        num_samples=int(audited.sum()),
        num_candidates=path.num_tried,
        is_target=halves.has_target,
        num_earlier=len(path.earlier),
    )
