"""Folders of Transformers as weights of users' networks, whose files have other names than the networks."""

import pytest
import torch
from torch import nn

from pruneaudit.core.errors import UserError
from pruneaudit.external.filling import filled
from pruneaudit.training.checkpoint import load_tensors

transformers = pytest.importorskip("transformers")

VIT = {"image_size": 8, "patch_size": 4, "num_channels": 1, "hidden_size": 8, "num_hidden_layers": 2}
VIT |= {"num_attention_heads": 2, "intermediate_size": 16, "num_labels": 3}


def network(seed, **changes):
    torch.manual_seed(seed)
    return transformers.ViTForImageClassification(transformers.ViTConfig(**VIT | changes))


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "mine"
    network(1).save_pretrained(place)
    return place


def test_a_folder_fills_the_network_that_wrote_it(folder):
    expected, found = network(1), network(2)
    assert set(load_tensors(folder / "model.safetensors")) != set(expected.state_dict())
    assert filled(found, folder / "model.safetensors") is found
    assert all(torch.equal(found.state_dict()[name], value) for name, value in expected.state_dict().items())


@pytest.mark.parametrize("changes", [{"num_hidden_layers": 1}, {"num_labels": 4}, {"num_hidden_layers": 3}])
def test_another_network_is_refused(folder, changes):
    with pytest.raises(UserError, match=r"does not fit"):
        filled(network(2, **changes), folder / "model.safetensors")


def test_a_network_around_it_has_other_names(folder):
    with pytest.raises(UserError, match=r"does not fit"):
        filled(nn.Sequential(network(2)), folder / "model.safetensors")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "base_model.model.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_removed(tmp_path, prefix):
    expected, found = network(1), network(2)
    torch.save({prefix + name: value for name, value in expected.state_dict().items()}, tmp_path / "wrapped.pt")
    filled(found, tmp_path / "wrapped.pt")
    assert all(torch.equal(found.state_dict()[name], value) for name, value in expected.state_dict().items())


def test_an_adapter_that_was_not_merged_is_named(tmp_path):
    state = {f"base_model.model.{name}": value for name, value in network(1).state_dict().items()}
    first = next(name for name in state if name.endswith("q_proj.weight"))
    state |= {first.replace("weight", "base_layer.weight"): state.pop(first)}
    state |= {first.replace("weight", "lora_A.default.weight"): torch.zeros(2, 8)}
    torch.save(state, tmp_path / "unmerged.pt")
    with pytest.raises(UserError, match=r"does not fit.*merge_and_unload"):
        filled(network(2), tmp_path / "unmerged.pt")
