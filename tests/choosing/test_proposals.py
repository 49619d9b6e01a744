"""Which candidates are tried: grids, parts of grids, and Optuna in fixed batches."""

import sys

import pytest

from pruneaudit.choosing.proposals import Grid, Optuna, proposals_of
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.certificate import Candidate
from pruneaudit.evaluation.limit_test import LimitTest
from pruneaudit.evaluation.limits import Limits
from pruneaudit.study import Choose

LIMITS = Limits(min_accuracy=0.5, max_auc=0.6)
SPACE = [
    {"compress": "l1unstructured", "sparsity": {"low": 0.1, "high": 0.9, "steps": 9}, "finetune": {"epochs": [1, 4]}},
    {"compress": "kmeans", "clusters": {"low": 2, "high": 32}},
    {"compress": "l1unstructured", "sparsity": [0.5], "finetune": {"epochs": 4}},
]


def settings(**changes):
    return Choose(space=SPACE, **{"search": "optuna", "batch": 4, "budget": 20} | changes)


def measured(name, seed=0):
    """A candidate that is the better the fewer clusters it has."""
    clusters = int(name.partition("kmeans-")[2] or 99)
    test = LimitTest(figure="auc", limit=0.6, value=0.5, error=0.1, p_value=min(0.9, clusters / 120 + seed / 100))
    return Candidate(name=name, bytes=float(clusters), leakage=0.5, tests=(test,))


def proposed(choose, seed=0, lost=(), backwards=False):
    """All batches of a search that measures what is proposed; figures can come in another order."""
    proposals, batches = Optuna(choose, seed, LIMITS), []
    while batch := proposals.next():
        batches.append(batch)
        found = {name: measured(name) for name in batch if name not in lost}
        proposals.tell(dict(reversed(found.items())) if backwards else found)
    return batches


def test_a_grid_is_tried_in_its_order():
    choose = settings(search="grid", budget=100)
    grid = proposals_of(choose, 0, LIMITS)
    assert grid.next() == [candidate.name for candidate in choose.candidates]
    grid.tell({})
    assert grid.next() == []


def test_a_budget_draws_a_part_of_the_grid():
    choose = settings(search="grid", budget=7)
    found = [Grid(choose, seed).next() for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    names = [candidate.name for candidate in choose.candidates]
    assert all(len(part) == 7 and part == [name for name in names if name in part] for part in found)


def test_the_order_of_figures_changes_no_proposal():
    assert proposed(settings()) == proposed(settings(), backwards=True)
    assert proposed(settings()) != proposed(settings(), seed=1)


def test_each_candidate_is_proposed_once_and_the_budget_is_kept():
    batches = proposed(settings())
    names = [name for batch in batches for name in batch]
    assert len(names) == len(set(names)) == 20
    assert all(len(batch) <= 4 for batch in batches)
    assert set(names) <= {candidate.name for candidate in settings().candidates}


def test_it_learns_from_the_figures():
    """After the random start it proposes few clusters more often than chance does."""
    batches = proposed(settings(batch=10, budget=40))
    names = [name for batch in batches[1:] for name in batch]
    good = [name for name in names if name.startswith("kmeans") and measured(name).bytes <= 12]
    assert len(good) >= 8


def test_a_candidate_that_failed_does_not_end_the_search():
    lost = {candidate.name for candidate in settings().candidates[:6]}
    names = [name for batch in proposed(settings(), lost=lost) for name in batch]
    assert len(names) == 20


def test_a_small_space_ends_when_all_of_it_was_proposed():
    choose = Choose(space=SPACE[2:], search="optuna", batch=4, budget=20)
    assert proposed(choose) == [["l1unstructured-0.5"]]


def test_without_optuna_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pruneaudit\[choose\]"):
        proposals_of(settings(), 0, LIMITS)
