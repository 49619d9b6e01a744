"""Settings of a target: what follows from them, what contradicts them, and what stays as it was without one."""

import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.study import Membership, Release, Study
from pruneaudit.study.baselines import baselines, with_baselines
from pruneaudit.study.lineage import repeats, undefended

TARGET = {"weights": "prod.pt", "member": "ids.txt", "num_references": 4}


def test_the_bank_is_the_target_and_its_references():
    study = Study(name="a", target=TARGET)
    assert study.membership == Membership(protocol="target", num_models=5)
    assert [study.membership.is_victim(m) for m in range(5)] == [True, False, False, False, False]
    assert study.membership.group_size == 5
    assert study.has_open_holdout
    assert not Study(name="a", target=TARGET, data={"num_holdout": 0}).has_open_holdout
    assert Study(name="a", target={**TARGET, "num_references": 0}).membership.num_models == 1


def test_more_references_can_be_set_in_any_study_file():
    study = Study(name="a", target=TARGET, membership={"num_models": 5})
    for values in (study.model_dump_json(), study.model_dump_json(exclude_unset=True)):
        loaded = Study.from_text(values, "study.json", is_json=True, overrides=["target.num_references=9"])
        assert loaded.membership.num_models == 10
    assert study.changed(["target.num_references=2"], "x").membership.num_models == 3


def test_a_study_without_a_target_is_written_as_before():
    values = Study(name="a").model_dump(mode="json")
    assert "target" not in values
    assert values["membership"] == {"protocol": "pooled", "num_models": 16, "num_shadows": None}
    assert "membership" not in Study(name="a", target=TARGET).model_dump(mode="json")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"target": TARGET, "membership": {"num_models": 16}}, ("membership.num_models", "16", "expected 5")),
        ({"target": TARGET, "membership": {"protocol": "pooled"}}, ("membership.protocol", "'pooled'")),
        ({"membership": {"protocol": "target"}}, ("membership.protocol", "[target]")),
        ({"target": {**TARGET, "num_references": 257}}, ("target.num_references", "257", "256")),
        ({"target": {**TARGET, "mean": [0.5]}}, ("mean without std",)),
        ({"target": {**TARGET, "mean": [0.5], "std": [0]}}, ("std", "above 0")),
        ({"target": TARGET, "data": {"num_canaries": 5}}, ("data.num_canaries", "5", "target.canaries")),
        ({"target": TARGET, "data": {"label_noise": 0.1}}, ("data.label_noise", "0.1")),
        ({"releases": [{"weights": "small.pt"}]}, ("'small'", "[target]")),
        (
            {"target": TARGET, "releases": [{"weights": "small.pt"}, {"parent": "small", "finetune": {"epochs": 1}}]},
            ("parent = 'small'", "your file"),
        ),
        (
            {"target": TARGET, "releases": [{"weights": "s.pt", "compress": "l1unstructured", "sparsity": [0.5, 0.7]}]},
            ("sparsity", "s.pt"),
        ),
        ({"target": TARGET, "releases": [{"weights": "s.pt"}], "audit": {"references": ["s"]}}, ("'s'", "recipe")),
        ({"releases": [{"name": "b", "weights_key": "x", "finetune": {"epochs": 1}}]}, ("weights_key", "'x'")),
    ],
)
def test_contradictions_are_refused_in_one_line(values, told):
    with pytest.raises(UserError) as error:
        Study(name="a", **values)
    assert "\n" not in str(error.value)
    assert all(part in str(error.value) for part in told)


def test_a_file_can_be_a_release_with_or_without_a_recipe():
    alone, made = Release(weights="out/shipped.v2.pt"), Release(weights="s.pt", compress="rtn:bits=4")
    assert (alone.name, alone.is_file_alone) == ("shipped_v2", True)
    assert (made.name, made.is_file_alone) == ("rtn-4", False)
    assert Release(weights="s.pt", parent="init", model="mlp").has_recipe


def test_a_file_has_no_baseline_of_its_own_and_is_none():
    tune = {"epochs": 1}
    study = Study(
        name="a",
        target=TARGET,
        releases=[
            {"name": "own", "weights": "s.pt", "compress": "rtn:bits=4", "finetune": tune},
            {"name": "alone", "weights": "s.pt"},
            {"name": "tuned", "weights": "t.pt", "finetune": tune},
            {"name": "made", "compress": "rtn:bits=4", "finetune": tune},
        ],
    )
    found = baselines(study)
    assert found["own"].name == ""
    assert "file" in found["own"].gap
    assert found["made"].name not in ("own", "alone", "tuned")
    assert [release.name for release in with_baselines(study).releases][-1] == found["made"].name


def test_the_counterpart_of_a_defended_file_is_made_by_the_recipe():
    release = Release(weights="s.pt", defense="relaxloss", finetune={"epochs": 1}, name="safe")
    study = Study(name="a", target=TARGET, releases=[release])
    assert undefended(study, release).weights == ""


def test_networks_that_are_trained_anew_repeat_no_network_of_the_user():
    anew = {"name": "retrained", "parent": "init", "finetune_seed": 1}
    assert repeats(Study(name="a", releases=[anew])) == {"retrained": "dense"}
    assert repeats(Study(name="a", target=TARGET, releases=[anew])) == {}
