"""Which releases decide: chosen by what they are, so that a user's own run is judged whatever its names."""

import pytest

from pruneaudit.claims.comparisons import QUESTIONS, NotTestedError, Releases
from pruneaudit.study import Study
from pruneaudit.study.baselines import with_baselines
from pruneaudit.study.recipes import load_recipe

TUNED = {"epochs": 2}


def asked(question, *releases, **more):
    study = with_baselines(Study(name="own", releases=list(releases), **more))
    return QUESTIONS[question](Releases(study))


@pytest.mark.parametrize("recipe", ["claims-fashion", "claims-location", "claims-cifar10", "claims-clinc150"])
def test_the_recipes_answer_every_question_as_declared(recipe):
    releases = Releases(with_baselines(load_recipe(recipe)))
    found = {name: question(releases) for name, question in QUESTIONS.items()}
    assert found["pruning"].deciding.after == ("l1unstructured-0.7",)
    assert found["pruning"].deciding.before == ("dense+finetune",)
    assert found["one more"].deciding.after == ("dense", "l1unstructured-0.7")
    assert found["one more"].second.before == ("dense", "dense+finetune")
    assert {"static8+finetune", "kmeans-8+finetune", "gptq-2"} < set(found["several"].deciding.after)
    assert not any("distil" in name or "ppb" in name for name in found["several"].deciding.after)
    assert (found["precision"].deciding.after, found["precision"].deciding.before) == (("gptq-2",), ("dense",))
    assert found["distillation"].deciding.after == ("distil-members",)
    assert found["distillation"].deciding.share == 0.5
    assert found["ppb"].deciding.after == ("pruned-0.7+ppb-4",)
    assert found["relaxloss"].deciding.way == "equal accuracy"
    assert all(question.deciding.way == "equal accuracy" for question in (found["ppb"], found["relaxloss"]))
    dense = set(found["ppb"].deciding.before)
    assert {"dense", "dense+finetune", "wide"} < dense
    assert not any("relaxloss" in name or "l1" in name for name in dense)


@pytest.mark.parametrize("recipe", ["claims-fashion-quick", "claims-location-quick"])
def test_the_quick_recipes_answer_every_question(recipe):
    releases = Releases(with_baselines(load_recipe(recipe)))
    assert all(question(releases).deciding for question in QUESTIONS.values())


def test_names_do_not_matter_and_the_nearest_degree_decides():
    releases = [
        {"name": "small", "compress": "l1unstructured:sparsity=0.95", "finetune": TUNED},
        {"name": "good", "compress": "l1unstructured:sparsity=0.6", "finetune": TUNED},
        {"name": "raw", "compress": "l1unstructured:sparsity=0.7"},  # not trained further
        {"name": "safe", "compress": "l1unstructured:sparsity=0.7", "finetune": TUNED, "defense": "ppb"},
    ]
    found = asked("pruning", *releases)
    assert found.deciding.after == ("good",)
    assert {each.after for each in found.beside} == {("good",), ("small",), ("raw",)}
    assert asked("ppb", *releases).deciding.after == ("safe",)


def test_rounding_stands_in_for_gptq_and_training_excludes():
    assert asked("precision", {"compress": "rtn:bits=4"}, {"compress": "rtn:bits=3"}).deciding.after == ("rtn-3",)
    assert asked("precision", {"compress": "rtn:bits=2"}, {"compress": "gptq:bits=4"}).deciding.after == ("gptq-4",)
    with pytest.raises(NotTestedError, match="4 bits"):
        asked("precision", {"compress": "rtn:bits=8"}, {"compress": "qat:bits=2", "finetune": TUNED})


def test_a_student_that_never_saw_members_does_not_decide():
    small = {"model": {"name": "mlp", "options": {"hidden": [4]}}, "finetune": TUNED}
    with pytest.raises(NotTestedError, match="members"):
        asked("distillation", {"compress": "distil:data=public", **small})
    found = asked(
        "distillation", {"compress": "distil:data=public", **small}, {"compress": "distil:data=members", **small}
    )
    assert found.deciding.after == ("distil-members",)
    assert found.deciding.before != ("dense",)


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_run_without_the_releases_is_not_tested(question):
    with pytest.raises(NotTestedError):
        asked(question, {"name": "longer", "finetune": TUNED})


def test_several_needs_two():
    with pytest.raises(NotTestedError, match="found 1"):
        asked("several", {"compress": "rtn:bits=4"})
    found = asked("several", {"compress": "rtn:bits=4"}, {"compress": "kmeans:clusters=8"})
    assert found.deciding.after == ("dense", "rtn-4", "kmeans-8")
    assert found.second is None  # nothing was trained further, so there is no uncompressed second release
