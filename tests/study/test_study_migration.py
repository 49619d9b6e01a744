"""Studies of the first format: their reserve becomes the public part where it shaped a model, else the holdout."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.study import Study
from pruneaudit.study.former import former_words
from pruneaudit.study.migration import migrated

RESERVE = {"source": "digits", "num_samples": 400, "num_reserve": 150, "label_noise": 0.1}


def former(**changes: Any) -> dict[str, Any]:
    return {"name": "old", "data": dict(RESERVE), **changes}


SHAPED = [
    {"training": {"select": "best_dev"}},
    {"releases": [{"finetune": {"epochs": 2, "select": "best_dev"}}]},
    {"releases": [{"parent": "init", "defense": "adv"}]},
    {"releases": [{"parent": "init", "defense": "early_stopping"}]},
    {
        "training": {"epochs": 3},
        "releases": [{"pruner": "l1unstructured", "sparsity": 0.5, "finetune": {"epochs": 1}, "defense": "adv"}],
    },
]
NOT_SHAPED = [
    {},
    {"releases": [{"pruner": "l1unstructured", "sparsity": [0.5, 0.7], "finetune": {"epochs": 1}}]},
    {"releases": [{"parent": "init", "defense": "early_stopping:epochs=3"}]},
    {"releases": [{"parent": "init", "defense": "relaxloss"}]},
]


@pytest.mark.parametrize("changes", SHAPED)
def test_a_reserve_that_shaped_a_model_becomes_public_and_gets_a_holdout(changes: dict[str, Any]) -> None:
    given = former(**changes)
    before = copy.deepcopy(given)
    found = migrated(given, "old.toml", num_unused=1247)
    rest = {"source": "digits", "num_samples": 400, "label_noise": 0.1, "num_public": 150}
    assert found["data"] == rest | {"num_holdout": 500, "drawn_first": "public"}  # as many as attacks need
    assert given == before
    assert Study.model_validate(found).data.num_public == 150
    assert migrated(given, "old.toml", num_unused=30)["data"] == rest | {"num_holdout": 30, "drawn_first": "public"}
    assert migrated(given, "old.toml")["data"] == rest  # nothing is left over
    without_number = former(**changes, data={"source": "digits", "num_reserve": 150})
    assert migrated(without_number, "old.toml", 500)["data"] == {"source": "digits", "num_public": 150}


@pytest.mark.parametrize("changes", NOT_SHAPED)
def test_any_other_reserve_becomes_the_holdout(changes: dict[str, Any]) -> None:
    found = migrated(former(**changes), "old.toml", num_unused=1247)
    assert found["data"] == {"source": "digits", "num_samples": 400, "label_noise": 0.1, "num_holdout": 150}
    releases = [
        {"pruner" if key == "compress" else key: each[key] for key in each} for each in found.get("releases", ())
    ]
    assert found.pop("format") == 2
    assert {**found, "data": RESERVE, **({"releases": releases} if releases else {})} == former(**changes)
    assert not any("pruner" in release for release in found.get("releases", ()))


def test_a_study_without_a_reserve_stays_as_it_is() -> None:
    for study in ({"name": "a"}, {"name": "a", "data": {"source": "digits", "num_public": 5}}):
        assert migrated(study, "a.toml", 100) == study | {"format": 2}


def test_a_study_that_is_wrong_is_refused_by_its_name() -> None:
    with pytest.raises(UserError, match=r"^old\.toml: .*training\.epoch'"):
        migrated(former(training={"epoch": 3}), "old.toml")


def test_references_have_their_present_names_and_the_engine_goes() -> None:
    audit = {"knowledge": ["adaptive", "no-defense", "dense"], "attacks": ["loss"]}
    found = migrated({"name": "old", "audit": audit, "training": {"epochs": 3, "engine": "auto"}}, "old.toml")
    assert found["audit"] == {"references": ["matched", "undefended", "dense"], "attacks": ["loss"]}
    assert found["training"] == {"epochs": 3}
    assert former_words(found) == []
    assert Study.model_validate(found).audit.references == ("matched", "undefended", "dense")
