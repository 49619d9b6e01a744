"""The rule of baselines: what each compressed release would be without its compression."""

import pytest

from pruneaudit.study import DENSE, Study
from pruneaudit.study.baselines import added_baselines, baselines, with_baselines

TUNED = {"epochs": 3, "learning_rate": 0.02}


def study(*releases, **settings):
    return Study.model_validate({"name": "s", "releases": list(releases), "data": {"num_holdout": 100}, **settings})


def named(*releases, **settings):
    return {name: found.name for name, found in baselines(study(*releases, **settings)).items()}


def added(*releases, **settings):
    asked = study(*releases, **settings)
    return added_baselines(asked, with_baselines(asked))


def test_a_release_that_is_not_trained_is_compared_with_its_parent():
    sparse = {"name": "sparse", "compress": "l1unstructured:sparsity=0.7"}
    child = {"parent": "sparse", "compress": "rtn:bits=4"}
    assert named({"compress": "rtn:bits=8"}, sparse, child) == {
        "rtn-8": DENSE,
        "sparse": DENSE,
        "sparse+rtn-4": "sparse",
    }
    assert added({"compress": "rtn:bits=8"}, sparse, child) == []


@pytest.mark.parametrize(
    "compress", ["l1unstructured:sparsity=0.5", "rtn:bits=4", ["random:sparsity=0.5", "rtn:bits=4"]]
)
def test_a_fine_tuned_one_is_compared_with_the_same_fine_tuning_which_is_added(compress):
    release = {"name": "small", "compress": compress, "finetune": TUNED}
    assert named(release) == {"small": "dense+finetune"}
    assert added(release) == ["dense+finetune"]
    new = with_baselines(study(release)).releases[-1]
    assert (new.parent, new.compress, new.finetune.model_dump(exclude_none=True)) == (DENSE, (), TUNED)
    assert added({"finetune": TUNED}, release) == []


def test_settings_that_come_to_the_same_are_one_baseline():
    control = {"name": "longer", "finetune": {"epochs": 3}}
    release = {"name": "small", "compress": "rtn:bits=4", "finetune": {"epochs": 3, "learning_rate": 0.1}}
    assert named(control, release) == {"small": "longer"}  # 0.1 is training's learning rate
    again = {**release, "name": "again", "finetune_seed": 1}
    assert named(control, release, again) == {"small": "longer", "again": "longer"}


def test_two_that_differ_get_two_baselines_with_names_of_their_own():
    releases = [{"name": f"r{n}", "compress": "rtn:bits=4", "finetune": {"epochs": n}} for n in (2, 3)]
    assert named(*releases) == {"r2": "dense+finetune", "r3": "dense+finetune-3-epochs"}
    assert added(*releases) == ["dense+finetune", "dense+finetune-3-epochs"]
    once = {"name": "r1", "compress": "rtn:bits=4", "finetune": {"epochs": 1}}
    slower = [{**releases[1], "name": f"s{n}", "finetune": {"epochs": 3, "learning_rate": n / 100}} for n in (1, 2)]
    assert added(*releases, *slower, once) == [
        "dense+finetune",
        "dense+finetune-3-epochs",
        "dense+finetune-3-epochs-2",
        "dense+finetune-3-epochs-3",
        "dense+finetune-1-epoch",
    ]
    mine = {"name": "dense+finetune", "parent": "init", "finetune": {"epochs": 9}}
    assert added(mine, releases[0]) == ["dense+finetune-2-epochs"]


def test_a_network_from_new_weights_is_compared_with_itself_from_new_weights():
    assert named({"compress": "static:start=init", "sparsity": 0.9}) == {"static-0.9-start=init": DENSE}
    assert named({"compress": "dpf:sparsity=0.9"}) == {"dpf-0.9": DENSE}
    shorter = {"name": "short", "compress": "dpf:sparsity=0.9", "finetune": {"epochs": 7}}
    assert added(shorter) == ["init+finetune"]
    assert named({"name": "dense-7", "parent": "init", "finetune": {"epochs": 7}}, shorter) == {"short": "dense-7"}
    student = {"name": "s", "parent": "init", "model": "tinycnn:width=3", "compress": "l1unstructured:sparsity=0.5"}
    (new,) = with_baselines(study(student)).releases[1:]
    assert (new.parent, new.model.label, new.compress) == ("init", "tinycnn:width=3", ())


def test_trainings_between_steps_are_made_without_the_steps_too():
    deep = {"name": "deep", "compress": "deep-compression", "finetune": TUNED}
    (one, two) = with_baselines(study(deep)).releases[1:]
    assert (one.name, one.parent, one.compress) == ("dense+finetune", DENSE, ())
    assert (two.name, two.parent, two.compress) == ("dense+finetune+finetune", "dense+finetune", ())
    assert one.finetune == two.finetune
    found = baselines(study(deep))["deep"]
    assert (found.name, found.gap) == (two.name, "")
    plain = {"name": "small", "compress": "rtn:bits=4", "finetune": TUNED}
    assert added(plain, deep) == ["dense+finetune", "dense+finetune+finetune"]  # the first serves both
    shorter = {**deep, "name": "shorter", "compress": "deep-compression:epochs=1"}
    assert added(deep, shorter) == [
        "dense+finetune",
        "dense+finetune+finetune",
        "dense+finetune-1-epoch",
        "dense+finetune-1-epoch+finetune",
    ]
    assert with_baselines(study(shorter)).releases[1].finetune.epochs == 1
    assert added({"name": "longer", "finetune": TUNED}, deep) == ["longer+finetune"]
    for other in (
        {**deep, "defense": "relaxloss"},
        {**deep, "compress": ["slim:sparsity=0.3", "finetune", "kmeans:clusters=4"]},
    ):
        assert "own training phases" in baselines(study(other))["deep"].gap


def test_a_compressed_parent_stays_as_it_is():
    releases = [
        {"name": "sparse", "compress": "l1unstructured:sparsity=0.7"},
        {"name": "sparse-4", "parent": "sparse", "compress": "rtn:bits=4", "finetune": TUNED},
    ]
    assert named(*releases)["sparse-4"] == "sparse+finetune"
    new = with_baselines(study(*releases)).releases[-1]
    assert (new.name, new.parent) == ("sparse+finetune", "sparse")


def test_the_defence_stays_and_counterparts_of_what_is_added_are_there_too():
    release = {"compress": "rtn:bits=4", "finetune": TUNED, "defense": "relaxloss"}
    assert named(release) == {"rtn-4+relaxloss": "dense+finetune+relaxloss"}
    whole = with_baselines(study(release, audit={"references": ["matched", "undefended"]}))
    assert {r.name for r in whole.releases} == {
        *("rtn-4+relaxloss", "rtn-4"),
        *("dense+finetune+relaxloss", "dense+finetune"),
    }


def test_what_no_other_network_goes_through_is_said():
    found = baselines(study({"name": "rounds", "compress": "iterative:sparsity=0.5", "finetune": TUNED}))["rounds"]
    assert found.name == "dense+finetune"
    assert "'iterative' has its own training phases" in found.gap
    once = baselines(study({"name": "once", "compress": "iterative:sparsity=0.5:rounds=1", "finetune": TUNED}))["once"]
    assert once.gap == ""


def test_completing_a_complete_study_adds_nothing():
    whole = with_baselines(study({"compress": "rtn", "bits": [4, 8], "finetune": TUNED}))
    assert with_baselines(whole) == whole
