"""Which weights of the whole network a compressed one keeps, from its masks and its channels."""

import pytest
import torch
from torch import nn

from pruneaudit.compression.kept_weights import kept_weights
from pruneaudit.compression.mask import Masks
from pruneaudit.compression.matrices import counted_weights
from pruneaudit.compression.state import masks_in, state_of, structure_in
from pruneaudit.compression.structure import ChangedArchitecture
from pruneaudit.compression.structured import remove_channels
from pruneaudit.models import build_model


def network(name="tinycnn", **options):
    return build_model(name, options, (1, 8, 8), 4, torch.Generator().manual_seed(1))


def random_masks(model, names):
    parameters, generator = dict(model.named_parameters()), torch.Generator().manual_seed(2)
    return Masks({name: torch.rand(parameters[name].shape, generator=generator) < 0.4 for name in names})


def narrowed(model, sparsity=0.4):
    smaller, changes = remove_channels(model, torch.zeros(1, 1, 8, 8), "l1", sparsity, "channels")
    return smaller, ChangedArchitecture(changes)


def kept_by(model, state):
    return kept_weights(model, masks_in(state) or {}, structure_in(state))


def test_masks_alone_are_given_back():
    model = network("mlp", hidden=[6])
    masks = random_masks(model, ["1.weight"])
    found = kept_by(model, state_of(model, [masks]))
    assert list(found) == ["1.weight"] and torch.equal(found["1.weight"], masks["1.weight"])


def test_nothing_lost_nothing_found():
    model = network("mlp", hidden=[6])
    assert dict(kept_weights(model, {}, "")) == {}


@pytest.mark.parametrize("name", ["tinycnn", "resnet20"])
def test_the_kept_weights_of_channels_are_those_of_the_smaller_network(name):
    model = network(name, width=8) if name == "tinycnn" else network(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    smaller, channels = narrowed(model)
    found = kept_by(model, state_of(smaller, [channels]))
    left = counted_weights(smaller)
    for key, weight in counted_weights(model).items():
        if key in found:
            kept = weight.detach()[found[key]]
            assert torch.equal(kept, left[key].detach().flatten())
            assert not found[key].all()
        else:
            assert weight.shape == left[key].shape
    assert found
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_mask_on_the_channels_that_are_left():
    model = network(width=8)
    smaller, channels = narrowed(model)
    masks = random_masks(smaller, [name for name, _ in counted_weights(smaller).items()])
    masks.apply(smaller)
    found = kept_by(model, state_of(smaller, [channels, masks]))
    assert sum(int(mask.sum()) for mask in found.values()) == masks.num_kept
    left = counted_weights(smaller)
    for key, weight in counted_weights(model).items():
        assert torch.equal(weight.detach()[found[key]], left[key].detach()[masks[key]])


def test_three_channels_by_hand():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3, bias=False), nn.ReLU(), nn.Linear(3, 4))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0], [0.1], [2.0]]).expand(3, 64))
    smaller, channels = narrowed(model, 1 / 3)
    found = kept_by(model, state_of(smaller, [channels]))
    assert found["1.weight"].all(dim=1).tolist() == [True, False, True]
    assert found["3.weight"].tolist() == [[True, False, True]] * 4
