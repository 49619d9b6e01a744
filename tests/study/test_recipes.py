"""The studies that come with the package are right, and are found by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.engine.plan import check_plugins
from pruneaudit.study import Study
from pruneaudit.study.lineage import repeats
from pruneaudit.study.post_processing import post_processing
from pruneaudit.study.recipes import load_recipe, load_recipe_or_file, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_a_study_that_its_plugins_accept(name: str) -> None:
    study = load_recipe(name)
    check_plugins(study)
    assert study.description
    assert study.warnings() == []


def test_the_demonstrations_are_there() -> None:
    assert {"demo", "demo-quick"} <= set(recipe_names())
    assert list(recipe_names()) == sorted(recipe_names())


def test_overrides_are_put_in() -> None:
    assert load_recipe("demo", ["training.epochs=2"]).training.epochs == 2
    with pytest.raises(UserError, match=r"^recipe demo: unknown key 'x'"):
        load_recipe("demo", ["x=2"])


@pytest.mark.parametrize("name", ["demmo", "", "demo.tom", "../demo", "x" * 300, "a\0b"])
def test_an_unknown_name_lists_the_choices(name: str) -> None:
    with pytest.raises(UserError, match=r"expected a \.toml or \.json file, or one of: .*demo, demo-quick"):
        load_recipe_or_file(name)


def test_the_nearest_recipe_is_suggested() -> None:
    with pytest.raises(UserError, match=r"no study file or recipe 'demoo' \(did you mean 'demo'\?\)"):
        load_recipe("demoo")


def test_a_file_or_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("study.toml", "without_suffix"):
        (tmp_path / file).write_text('name = "a"')
        assert load_recipe_or_file(file, ["seed=3"]) == Study(name="a", seed=3)
    assert load_recipe_or_file("demo") == load_recipe("demo")
    with pytest.raises(UserError, match=r"demo\.toml: cannot be read"):
        load_recipe_or_file("demo.toml")


def test_the_family_has_its_noise_floors_and_what_was_made_without_data() -> None:
    study = load_recipe("families")
    assert repeats(study) == {"dense+finetune-again": "dense+finetune", "retrained": "dense"}
    assert post_processing(study) == {"pruned-0.5": "dense", "rtn-4": "dense"}
