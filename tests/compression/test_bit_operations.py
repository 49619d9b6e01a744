"""Multiply-accumulates times the bits of weights and of inputs, by hand."""

import pytest
import torch
from torch import nn

import pruneaudit
from pruneaudit.compression.macs import INPUT_SCALE, count_bit_operations, layer_macs
from pruneaudit.compression.storage_size import size_facts

MACS = (6 * 6 * 2 * 9, 72 * 5, 5 * 3)
"""A convolution of 3 x 3 from one channel to two over 6 x 6 places, and two linear layers."""


class Network(nn.Module):
    """A convolution and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.hidden = nn.Linear(72, 5)
        self.last = nn.Linear(5, 3)

    def forward(self, x):
        return self.last(self.hidden(self.conv(x).flatten(1)))


def operations(model, state):
    return count_bit_operations(model, layer_macs(model, torch.zeros(1, 1, 8, 8)), state)


def released(method, model=None, **given):
    made = pruneaudit.compress(Network() if model is None else model, method, **given)
    return made.model, made.state


@pytest.mark.parametrize(
    ("method", "bits"),
    [
        ("rtn:bits=8", 8),
        ("rtn:bits=3", 3),
        ("rtn:bits=2", 2),
        ("rtn:bits=4:symmetry=asymmetric", 4),
        ("kmeans:clusters=4", 32),
    ],
)
def test_codes_count_and_shared_values_are_floats(method, bits):
    assert operations(*released(method)) == sum(MACS) * bits * 32


def test_a_layer_left_whole_has_32_bits():
    model, state = released("rtn:bits=4:exclude=['last']")
    assert operations(model, state) == (MACS[0] + MACS[1]) * 4 * 32 + MACS[2] * 32 * 32


def test_quantised_inputs_have_8_bits():
    model, state = released("rtn:bits=8")
    model.hidden.register_buffer(INPUT_SCALE, torch.tensor(0.1))
    assert operations(model, state) == MACS[0] * 8 * 32 + MACS[1] * 8 * 8 + MACS[2] * 8 * 32


def test_static_quantisation_multiplies_8_bits_by_8():
    inputs = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert operations(*released("static8", calibration=inputs)) == sum(MACS) * 8 * 8


def test_first_and_last_layers_with_bits_of_their_own_and_groups():
    assert operations(*released("rtn:bits=4:first_last_bits=8")) == (MACS[0] * 8 + MACS[1] * 4 + MACS[2] * 8) * 32
    assert operations(*released("rtn:bits=4:granularity=group:group_size=32")) == sum(MACS) * 4 * 32


def test_factors_save_multiplications_and_no_bits():
    network = nn.Sequential(nn.Linear(40, 30, bias=False))
    made = pruneaudit.compress(network, "svd:fraction=0.5")
    rank = made.model[0].rank
    assert made.summary["after"]["macs"] == rank * (40 + 30) < 1200
    assert made.summary["after"]["bit_operations"] == rank * (40 + 30) * 1024


def test_a_dense_network_and_a_batch():
    model = Network()
    assert operations(model, {}) == sum(MACS) * 1024
    facts = size_facts(model, {}, 1, torch.zeros(1, 1, 8, 8))
    assert (facts["macs"], facts["bit_operations"]) == (sum(MACS), sum(MACS) * 1024)
    assert count_bit_operations(model, layer_macs(model, torch.zeros(4, 1, 8, 8)), {}) == 4 * sum(MACS) * 1024


def test_weights_shared_by_layers_have_the_bits_of_their_codes():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    model, state = released("rtn:bits=2", model)
    assert count_bit_operations(model, layer_macs(model, torch.zeros(1, 4)), state) == 2 * 16 * 2 * 32
