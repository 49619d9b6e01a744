"""Halves of a bank: which models search, which confirm, and rungs among the first."""

import pytest

from pruneaudit.choosing.halves import halves_of
from pruneaudit.core.errors import UserError
from pruneaudit.study import Study

SPACE = {"space": [{"compress": "rtn", "bits": 4}]}


def of(**settings):
    return halves_of(Study(name="s", choose=SPACE, **settings))


@pytest.mark.parametrize("num_models", [8, 9, 16, 25])
def test_no_model_is_in_both_halves(num_models):
    found = of(membership={"num_models": num_models})
    assert sorted([*found.search, *found.confirm]) == list(range(num_models))
    assert max(found.search) < min(found.confirm)
    assert abs(len(found.search) - len(found.confirm)) <= 1
    assert found.num_references == len(found.confirm) - 1


def test_groups_stay_together():
    found = of(membership={"protocol": "disjoint", "num_models": 20, "num_shadows": 3})
    assert found.search == tuple(range(8)) and found.confirm == tuple(range(8, 20))
    assert (found.num_victims, found.num_references) == (3, 3)
    assert found.rungs([4, 8]) == (tuple(range(8)),)  # two victims at least


def test_around_a_target_its_references_are_halved():
    found = of(target={"weights": "a.pt", "member": "m.txt", "num_references": 9})
    assert found.search == (1, 2, 3, 4)
    assert found.confirm == (0, 5, 6, 7, 8, 9)
    assert (found.num_victims, found.num_references, found.has_target) == (1, 5, True)


def test_rungs_end_with_the_whole_half():
    found = of(membership={"num_models": 24})
    assert [len(rung) for rung in found.rungs([4, 8])] == [4, 8, 12]
    assert [len(rung) for rung in found.rungs([])] == [12]
    assert [len(rung) for rung in found.rungs([6, 12, 50])] == [6, 12]
    assert all(rung == found.search[: len(rung)] for rung in found.rungs([4, 8]))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"membership": {"num_models": 7}}, ["7", "8"]),
        ({"membership": {"protocol": "disjoint", "num_models": 12, "num_shadows": 3}}, ["12", "16"]),
        ({"target": {"weights": "a.pt", "member": "m.txt", "num_references": 6}}, ["num_references", "6", "8"]),
    ],
)
def test_too_few_models_are_refused(settings, words):
    with pytest.raises(UserError) as error:
        of(**settings)
    assert all(word in str(error.value) for word in words)
