"""`audit.families`: sets of releases by name or "all", checked before anything is trained."""

import pytest

from pruneaudit.attacks.family import FEWEST_REFERENCES
from pruneaudit.core.errors import UserError
from pruneaudit.engine.plan import make_plan
from pruneaudit.evaluation.columns import RELEASE_SEPARATOR
from pruneaudit.runs.beginning import plan_study
from pruneaudit.study import Study
from pruneaudit.study.families import ALL, FEWEST_MODELS, checked_families, checked_releases

RELEASES = [
    {"compress": "l1unstructured", "sparsity": 0.5, "finetune": {"epochs": 1}},
    {"compress": "rtn:bits=8"},
]
NAMES = ("dense", "l1unstructured-0.5", "rtn-8")


def study_with(tiny_study, families, **changes):
    return tiny_study(audit={"attacks": ["loss"], "families": families}, **({"releases": RELEASES} | changes))


def test_families_have_the_order_of_the_study(tiny_study):
    study = study_with(tiny_study, [["rtn-8", "dense"], ["dense", "rtn-8"], list(NAMES)])
    assert study.named_families == (("dense", "rtn-8"), NAMES)
    assert Study.model_validate(study.model_dump(mode="json")).named_families == study.named_families
    assert tiny_study().named_families == ()
    assert study_with(tiny_study, []).named_families == ()


def test_all_means_the_releases_that_the_study_lists(tiny_study):
    study = study_with(tiny_study, "all")
    assert study.named_families == (NAMES,)
    plan, _ = plan_study(study)
    assert "dense+finetune" in plan.releases  # added, to compare the pruned release with
    assert plan.study.named_families == (NAMES,)


def test_no_artifact_depends_on_families(tiny_study):
    plain, audit_data = plan_study(study_with(tiny_study, []))
    asked = make_plan(study_with(tiny_study, "all"), audit_data)
    assert [task.artifact.identity for task in asked.tasks] == [task.artifact.identity for task in plain.tasks]


@pytest.mark.parametrize(
    ("families", "words"),
    [
        ([["dense", "rtn-9"]], ["audit.families", "'rtn-9'", "did you mean 'rtn-8'", "l1unstructured-0.5"]),
        ([["dense"]], ["audit.families", "one release (dense)", "2 or more"]),
        ([["dense", "dense", "rtn-8"]], ["audit.families", "'dense' 2 times"]),
        (["dense", "rtn-8"], ["audit.families", "['dense', 'rtn-8']", "[['dense', 'rtn-8']]"]),
        ("dense", ["audit.families", "'dense'", "'all'"]),
        ([[]], ["audit.families", "[[]]", "'all'"]),
        (3, ["audit.families", "3", "'all'"]),
    ],
)
def test_a_mistake_is_one_line_before_any_training(tiny_study, families, words):
    with pytest.raises(UserError) as refused:
        study_with(lambda **changes: Study(**({"name": "x"} | changes)), families)
    assert all(word in str(refused.value) for word in words)
    assert str(refused.value).count("audit.families") == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"membership": {"num_models": 6, "protocol": "disjoint", "num_shadows": 2}}, ["disjoint", "'pooled'"]),
        ({"membership": {"num_models": 3}}, ["membership.num_models = 3", "4 or more"]),
    ],
)
def test_without_references_to_learn_from_they_are_refused(tiny_study, changes, words):
    with pytest.raises(ValueError) as refused:
        study_with(tiny_study, "all", **changes)
    assert all(word in str(refused.value) for word in words)
    assert FEWEST_MODELS == FEWEST_REFERENCES + 1


def test_a_release_that_no_reference_went_through_is_left_out_of_all_and_refused_by_name():
    names = ("dense", "own", "rtn-8")
    assert checked_families(ALL, names, "families", ["own"]) == (("dense", "rtn-8"),)
    with pytest.raises(UserError, match="'own', but no reference"):
        checked_families([["dense", "own"]], names, "families", ["own"])
    with pytest.raises(UserError, match="one release"):
        checked_families(ALL, ["dense", "own"], "families", ["own"])


def test_a_name_that_would_split_a_cell_is_refused():
    name = f"a{RELEASE_SEPARATOR}b"
    with pytest.raises(UserError, match="without ';'"):
        checked_releases([name], [name, "c"], "families")
