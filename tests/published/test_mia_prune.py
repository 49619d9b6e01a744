"""mia_prune's configurations are studies with its numbers; its JSON files are read, and nothing unknown in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.engine.plan import check_plugins
from pruneaudit.published.mia_prune import (
    DATA_SETS,
    PRUNERS,
    RECIPES,
    SYSTEM,
    config_of,
    load_study,
    release_name,
    study_of,
)
from pruneaudit.study import Study
from pruneaudit.study.recipes import load_recipe, load_recipe_or_file, recipe_names

ITS_FILE = {
    "dataset_name": "cifar10",
    "model_name": "resnet18",
    "epochs": 100,
    "num_cls": 10,
    "input_dim": 3,
    "optimizer": "adam",
    "lr": 0.001,
    "weight_decay": 5e-4,
}


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def written(**changed: Any) -> str:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(ITS_FILE | changed))
        return str(path)

    return written


def test_there_are_its_15_configurations() -> None:
    images = {f"mia-prune/{data}-{net}" for data in ("cifar10", "cifar100", "svhn", "chmnist") for net in NETS}
    assert set(RECIPES) == images | {"mia-prune/location", "mia-prune/purchase100", "mia-prune/texas100"}
    assert set(RECIPES) <= set(recipe_names())


NETS = ("resnet18", "densenet121", "vgg16")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_its_numbers(name: str) -> None:
    study = load_recipe(name)
    check_plugins(study)
    is_table = study.model.name == "columnfc"
    training = study.training
    assert training.epochs == (50 if is_table else 100)
    assert (training.batch_size, training.optimizer, training.learning_rate) == (128, "adam", 1e-3)
    assert (training.weight_decay, training.schedule, training.augment) == (5e-4, "constant", "none")
    assert (training.select, training.patience) == ("best_dev", 5)
    assert study.seed == 7
    assert (study.membership.protocol, study.membership.group_size) == ("disjoint", 6)
    tuned = [study.training_of(release) for release in study.releases]
    assert all(each == training.model_copy(update={"epochs": training.epochs // 2}) for each in tuned)
    methods = {plugin.name for release in study.releases for plugin in release.compress}
    assert methods == ({"l1unstructured"} if is_table else {"l1unstructured", "l1structured", "l2structured", "slim"})
    assert {release.asked("sparsity") for release in study.releases if release.compress} == {0.7}


def test_sizes_are_its_sizes() -> None:
    # Victims of CIFAR: 13,500 of 30,000 train, 3,000 dev, 13,500 test; of Location 1,126 / 251 / 1,128.
    for name, (train, dev, test) in {"cifar10": (13_500, 3_000, 13_500), "location": (1_126, 251, 1_128)}.items():
        data = load_recipe(f"mia-prune/{name}" + ("-resnet18" if name == "cifar10" else "")).data
        assert data.num_public == pytest.approx(2 * dev, abs=1) and data.num_holdout == 0
        assert DATA_SETS[name].num_samples - data.num_public == pytest.approx(2 * (train + test), abs=1)


def test_its_file_is_its_recipe(file: Any) -> None:
    assert load_recipe_or_file(file()) == load_recipe("mia-prune/cifar10-resnet18")
    assert load_recipe_or_file(file(model_name="vgg16bn")) == load_recipe("mia-prune/cifar10-vgg16")


def test_what_a_file_leaves_out_is_as_on_its_command_line(tmp_path: Path) -> None:
    path = tmp_path / "location.json"
    path.write_text('{"dataset_name": "location", "model_name": "columnfc"}')
    assert load_recipe_or_file(str(path)) == load_recipe("mia-prune/location")


def test_the_command_line_goes_before_the_file_and_settings_of_the_study_before_both(file: Any) -> None:
    study = load_study(file(), ["membership.num_models=6"], {"epochs": 8, "shadow_num": 5, "early_stop": 2})
    assert (study.training.epochs, study.training.patience, study.membership.num_models) == (8, 2, 6)
    assert all(release.finetune and release.finetune.epochs == 4 for release in study.releases)
    assert study.warnings() == []
    assert load_study("mia-prune/location", (), {"epochs": 8}).training.epochs == 8
    assert load_study("mia-prune/location") == load_recipe("mia-prune/location")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"image_size": "big"}, r"'image_size': got 'big', expected: a valid integer"),
        ({"prune_ratio": 0.5}, r"config\.json: unknown key 'prune_ratio'; known keys: batch_size, dataset_name, early"),
        ({"epoch": 5}, r"unknown key 'epoch' \(did you mean 'epochs'\?\)"),
        ({"dataset_name": "mnist"}, r"'dataset_name': got 'mnist', expected: 'cifar10', 'cifar100'"),
        ({"model_name": "columnfc"}, r"model_name = 'columnfc', expected for cifar10: resnet18, densenet121, vgg16"),
        ({"num_cls": 100}, r"num_cls = 100, expected 10 for cifar10"),
        ({"input_dim": 446}, r"input_dim = 446, expected 3"),
        ({"lr": "fast"}, r"'lr': got 'fast', expected: a valid number"),
        ({"epochs": 0}, r"'epochs': got 0, expected: greater than or equal to 1"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(file: Any, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_recipe_or_file(file(**changed))


def test_its_options_do_not_go_with_other_studies() -> None:
    with pytest.raises(UserError, match=r"demo: got epochs, .* mia_prune's .* use --set"):
        load_study("demo", (), {"epochs": 3})


def test_a_study_in_json_is_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text('{"name": "a", "seed": 3}')
    assert load_recipe_or_file(str(path)).name == "a"
    assert not SYSTEM.reads({"name": "a"})


def test_what_it_calls_its_networks() -> None:
    assert release_name("slim", 0.7) == "slim_0.7"
    assert release_name("l1unstructure", 0.7, "ppb", 4.0) == "l1unstructure_0.7_ppb_4"


def test_a_table_has_no_filters_to_prune() -> None:
    config = config_of({"dataset_name": "texas100", "model_name": "columnfc", "epochs": 1}, "x")
    assert [release.name for release in study_of(config).releases] == [
        "dense+finetune",
        "l1unstructure_0.7",
        "l1unstructure_0.7_ppb_4",
    ]
    assert study_of(config).releases[1].finetune.epochs == 1  # type: ignore[union-attr]


def test_its_name_of_a_pruner_in_a_study_is_answered_with_ours() -> None:
    theirs = {name: ours.partition(":")[0] for name, ours in PRUNERS.items() if name != ours.partition(":")[0]}
    assert theirs
    for name, ours in theirs.items():
        study = Study.model_validate({"name": "a", "releases": [{"compress": name, "sparsity": 0.5}]})
        with pytest.raises(UserError, match=rf"mia_prune's {name} is {ours} here, .* {PRUNERS[name]}\)") as caught:
            check_plugins(study)
        assert "did you mean" not in str(caught.value)
