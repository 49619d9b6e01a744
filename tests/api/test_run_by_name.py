"""`pruneaudit.run` of a study that is named: a recipe, one of a published system, or a file."""

import json

import pytest

import pruneaudit
from pruneaudit.core.errors import UserError
from pruneaudit.study.recipes import load_recipe

SERIAL = {"executor": "serial"}


def test_a_file_is_run_as_the_study_in_it(tmp_path):
    values = {
        "name": "from-file",
        "data": {"source": "digits", "num_samples": 80},
        "membership": {"num_models": 2},
        "model": {"name": "mlp", "options": {"hidden": [4]}},
        "training": {"epochs": 1},
        "releases": [],
        "audit": {"attacks": ["loss"], "fpr_levels": [0.2]},
    }
    file = tmp_path / "study.json"
    file.write_text(json.dumps(values))
    named = pruneaudit.run(file, tmp_path, pruneaudit.Runtime(**SERIAL))
    given = pruneaudit.run(pruneaudit.Study.model_validate(values), tmp_path / "given", pruneaudit.Runtime(**SERIAL))
    assert named.results.findings.equals(given.results.findings)


@pytest.mark.parametrize("name", ["mia-prune/location", "pruning-mia/cifar10"])
def test_a_recipe_of_a_published_system_is_found_by_its_name(tmp_path, name):
    no_folder = tmp_path / "a file"
    no_folder.write_text("where data sets cannot lie")
    with pytest.raises(UserError, match=f"a file/{load_recipe(name).data.source.name}"):  # the folder of its data
        pruneaudit.run(name, tmp_path / "runs", pruneaudit.Runtime(data_root=no_folder, **SERIAL))
    assert not (tmp_path / "runs").exists()


def test_an_unknown_name_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(UserError, match=r"mia-prune/locaton.*did you mean 'mia-prune/location'"):
        pruneaudit.run("mia-prune/locaton", tmp_path)
