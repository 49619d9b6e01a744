"""What shapes the models of a release, and how many holdout samples that leaves."""

from __future__ import annotations

from typing import Any

import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.engine.plan import check_plugins
from pruneaudit.study import Study
from pruneaudit.study.lineage import release_of
from pruneaudit.study.parts import SUFFICIENT_HOLDOUT, num_taken, uses_of

WEMEM = {"name": "wemem", "options": {"scoring_models": 2}}
FINETUNE = {"epochs": 1, "learning_rate": 0.02}
RELEASES = [
    {"name": "plain", "finetune": FINETUNE},
    {"name": "tuned", "finetune": {**FINETUNE, "select": "best_dev"}},
    {"name": "child", "parent": "tuned", "compress": "l1unstructured:sparsity=0.5"},
    {"name": "adv", "parent": "init", "defense": "adv"},
    {"name": "stopped", "parent": "init", "defense": "early_stopping"},
    {"name": "shorter", "parent": "init", "defense": "early_stopping:epochs=2"},
]


def study(data: dict[str, Any], **changes: Any) -> Study:
    values = {"name": "a", "data": {"source": "digits", "num_samples": 200, **data}, "releases": RELEASES}
    return Study(**(values | {"audit": {"attacks": ["loss"]}} | changes))


def taken(of: Study) -> dict[str, int]:
    names = ("dense", *(release.name for release in of.releases))
    return {name: num_taken(of, release_of(of, name)) for name in names}


def test_a_release_and_all_that_descend_from_it_lose_what_shaped_it() -> None:
    found = taken(study({"num_holdout": 500}))
    unshaped = {"dense": 0, "plain": 0, "shorter": 0}
    assert found == unshaped | dict.fromkeys(("tuned", "child", "adv", "stopped"), 500)
    assert set(taken(study({"num_holdout": 500, "num_public": 1})).values()) == {0}


def test_the_dev_set_of_the_bank_shapes_what_starts_from_it_and_what_its_scores_choose() -> None:
    releases = [{"name": "new", "parent": "init", "finetune": {**FINETUNE, "select": "last"}}]
    releases += [{"name": "weighed", "parent": "init", "finetune": {**FINETUNE, "select": "last"}, "defense": WEMEM}]
    releases += [{"name": "pruned", "compress": "l1unstructured:sparsity=0.5"}]
    found = study({"num_holdout": 300}, training={"select": "best_dev"}, releases=releases)
    assert taken(found) == {"dense": 300, "new": 0, "weighed": 300, "pruned": 300}
    (use,) = uses_of(found, release_of(found, "weighed"))
    assert "dev set" in use.what and "scoring" in use.what


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ({}, ("200", "got 0", "num_holdout=500")),
        ({"num_holdout": 399}, ("200", "got 199 of 399", "num_holdout=500")),
        ({"num_holdout": 500}, ("200", "got 0 of 500", "'tuned'", "dev set", "num_public=500", "num_holdout=500")),
        ({"num_holdout": 399, "num_public": 100}, ("200", "got 199", "num_holdout=500")),
    ],
)
def test_attack_p_is_refused_before_any_training_where_half_of_the_rest_is_below_200(
    data: dict[str, int], parts: tuple[str, ...]
) -> None:
    shaped = data.get("num_holdout", 0) + data.get("num_public", 0) > 0
    asked = study(data, audit={"attacks": ["loss", "attack_p"]}, releases=RELEASES if shaped else RELEASES[:1])
    with pytest.raises(UserError) as refused:
        check_plugins(asked)
    assert all(part in str(refused.value) for part in ("attack_p", *parts))


def test_following_that_advice_works() -> None:
    attacks = {"attacks": ["loss", "attack_p"]}
    check_plugins(study({"num_holdout": SUFFICIENT_HOLDOUT, "num_public": 1}, audit=attacks))
    check_plugins(study({"num_holdout": 500, "num_public": 500}, audit=attacks))
    check_plugins(study({"num_holdout": SUFFICIENT_HOLDOUT}, audit=attacks, releases=RELEASES[:1]))


@pytest.mark.parametrize("name", ["tuned", "adv", "stopped"])
def test_what_is_shaped_needs_public_or_holdout_samples(name: str) -> None:
    releases = [release for release in RELEASES if release["name"] == name]
    for data in ({"num_public": 10}, {"num_holdout": 10}):
        check_plugins(study(data, releases=releases))
    with pytest.raises(UserError, match=r"data\.num_public above 0"):
        check_plugins(study({}, releases=releases))
