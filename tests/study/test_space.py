"""The space of a search: how many candidates it has, their names, and what is refused."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.core.errors import UserError
from pruneaudit.study import Choose, Release, Study
from pruneaudit.study.space import Entry, candidates_of

PRUNED = {"compress": "l1unstructured", "sparsity": [0.5, 0.9], "finetune": {"epochs": [1, 4], "learning_rate": 0.02}}
STUDENT = {
    "compress": "distil",
    "data": "members",
    "model": {"name": "mlp", "options": {"hidden": [[8], [16, 8]]}},
    "finetune": {"epochs": 4},
}


def names(*space):
    return [candidate.name for candidate in Choose(space=space).candidates]


def refused(space, **more):
    with pytest.raises(UserError) as error:
        Choose(space=space, **more)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_all_combinations_are_candidates():
    found = Choose(space=[PRUNED]).candidates
    assert len(found) == 4
    settings = {(c.release.asked("sparsity"), c.release.finetune.epochs) for c in found}
    assert settings == {(0.5, 1), (0.5, 4), (0.9, 1), (0.9, 4)}
    assert {c.release.finetune.learning_rate for c in found} == {0.02}


def test_names_tell_candidates_apart():
    assert names(PRUNED)[:2] == ["l1unstructured-0.5+epochs=1", "l1unstructured-0.5+epochs=4"]
    assert names(STUDENT) == ["distil-members+hidden=8", "distil-members+hidden=16x8"]
    assert names({"compress": "rtn", "bits": [4, 8], "name": "mine"}) == ["mine+bits=4", "mine+bits=8"]
    assert names({"compress": "rtn", "bits": 4}) == ["rtn-4"]
    assert names({"compress": "nm", "pattern": ["2:4", "1:4"]}) == ["nm-2x4", "nm-1x4"]


def test_a_long_name_is_cut_and_stays_its_own():
    found = names({"compress": "rtn", "bits": [4, 8], "name": "a" * 80})
    assert all(len(name) == 80 for name in found)
    assert len(set(found)) == 2


def test_a_name_does_not_depend_on_the_other_values():
    more = PRUNED | {"sparsity": [0.5, 0.7, 0.9]}
    assert set(names(PRUNED)) < set(names(more))


@given(low=st.floats(0.05, 0.4), by=st.floats(0.01, 0.5), steps=st.integers(2, 9), log=st.booleans())
def test_a_range_goes_from_end_to_end(low, by, steps, log):
    template = {"compress": "l1unstructured", "sparsity": {"low": low, "high": low + by, "steps": steps, "log": log}}
    (dimension,) = Entry(0, template).dimensions
    values = dimension.values
    assert len(values) == steps
    assert dimension.is_ordered
    assert values[0] == pytest.approx(low) and values[-1] == pytest.approx(low + by)
    between = [math.log(b / a) if log else b - a for a, b in itertools.pairwise(values)]
    assert between == pytest.approx([between[0]] * len(between), rel=1e-5)


def test_whole_ends_make_whole_numbers():
    assert Entry(0, {"compress": "rtn", "bits": {"low": 2, "high": 5}}).dimensions[0].values == (2, 3, 4, 5)
    power = {"low": 4, "high": 64, "steps": 5, "log": True}
    assert Entry(0, {"compress": "kmeans", "clusters": power}).dimensions[0].values == (4, 8, 16, 32, 64)


def test_a_list_that_an_option_is_itself_is_one_value():
    layers = {"name": "rtn", "options": {"bits": [4, 8], "exclude": ["fc1", "fc2"]}}
    found = Choose(space=[{"compress": [layers]}]).candidates
    assert [c.release.compress[0].options["exclude"] for c in found] == [["fc1", "fc2"]] * 2
    assert [c.release.compress[0].options["bits"] for c in found] == [4, 8]


def test_equal_candidates_count_once():
    assert names(PRUNED, PRUNED | {"sparsity": 0.5}) == names(PRUNED)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ([], ["space", "none"]),
        ([{"compress": "rtn", "bits": []}], ["entry 1", "bits", "empty"]),
        ([{"compress": "rtn", "bits": {"low": 8, "high": 2}}], ["bits", "low = 8", "high = 2"]),
        ([{"compress": "rtn", "bits": {"low": 2, "high": 8, "step": 2}}], ["'step'"]),
        ([{"compress": "rtn", "bits": {"low": 2}}], ["only low"]),
        ([{"compress": "rtn", "bits": {"low": "2", "high": 8}}], ["bits.low", "'2'"]),
        ([{"compress": "l1unstructured", "sparsity": {"low": 0.5, "high": 0.9}}], ["steps"]),
        ([{"compress": "l1unstructured", "sparsity": {"low": 0.0, "high": 0.9, "steps": 3, "log": True}}], ["log"]),
        ([{"compress": "l1unstructured", "sparsity": [0.5, 1.5]}], ["entry 1", "1.5", "less than 1"]),
        ([PRUNED, {"compress": "nope", "bits": [4]}], ["entry 2", "'nope'"]),
        ([{"compress": "l1unstructured", "bits": [4]}], ["'bits'", "sparsity"]),
        ([PRUNED | {"finetune": {"epochs": [1, -1]}}], ["epochs", "-1"]),
        ([PRUNED | {"weights": "mine.pt"}], ["weights", "mine.pt"]),
        ([{"compress": "rtn", "bits": [{"low": 2}]}], ["table"]),
        ([{"compress": "rtn", "bits": 4}, {"compress": "rtn", "bits": 4, "finetune": {"epochs": 1}}], ["'rtn-4'"]),
        ([PRUNED | {"sparsity": {"low": 0.1, "high": 0.9, "steps": 4000}}], ["8,000", "5,000"]),
    ],
)
def test_an_empty_or_contradictory_space_is_refused(space, words):
    line = refused(space)
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"rungs": [8, 4]}, "[8, 4]"), ({"rungs": [2]}, "4"), ({"keep": 0}, "0"), ({"budget": 0}, "1")],
)
def test_wrong_settings_of_the_search_are_refused(settings, word):
    assert word in refused([PRUNED], **settings)


def test_a_study_keeps_its_space_and_one_without_says_nothing():
    study = Study(name="s", choose={"space": [PRUNED, STUDENT]})
    assert Study.model_validate_json(study.model_dump_json()) == study
    assert study.changed(["choose.budget=7"], "it").choose.budget == 7
    assert "choose" not in Study(name="s").model_dump()


def test_a_candidate_is_the_release_that_one_would_write():
    (candidate,) = candidates_of([{"compress": "rtn", "bits": 4}])
    assert candidate.release == Release(compress="rtn:bits=4")
