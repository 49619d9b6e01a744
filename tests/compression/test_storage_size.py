"""What networks cost to store, by hand and by the same rule for all compressors."""

from __future__ import annotations

import gzip
import math
from typing import Any

import pytest
import torch
from torch import nn

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.chain import Chained, Step, compressed
from pruneaudit.compression.compressor import CompressionContext
from pruneaudit.compression.storage_size import cost, entropy, packed_size, state_bits


def small() -> nn.Module:
    """8 weights, 2 biases, 2 x 2 parameters and 2 x 2 statistics of BatchNorm."""
    model = nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[3.0, -3.0, 1.0, 0.2], [-7.0, 7.0, 1.0, 2.0]]))
    return model


def after(*described: dict[str, Any]) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    context: Any = CompressionContext(torch.empty(1, 0), torch.Generator(), lambda *_: None, nn.Module)
    made = compressed(Chained(small()), [Step.of(step) for step in described], lambda number: context)
    return made.model, made.state()


REST = 32 * (2 + 4 + 4)
"""Bits of what is never compressed: bias, BatchNorm."""


def test_a_dense_network_costs_32_bits_a_number() -> None:
    found = cost(small(), {})
    assert (found.weight_bits, found.bytes, found.effective_bits(8)) == (256, (256 + REST) / 8, 32)


def test_a_mask_costs_its_entropy_and_kept_weights_32_bits() -> None:
    model, state = after({"name": "l1unstructured", "options": {"sparsity": 0.75}})
    mask = 8 * (-0.25 * math.log2(0.25) - 0.75 * math.log2(0.75))
    assert cost(model, state).weight_bits == pytest.approx(2 * 32 + mask)
    assert state_bits(state) == pytest.approx(2 * 32 + mask)
    assert cost(model, state).bytes == math.ceil((2 * 32 + mask + REST) / 8)


def test_codes_cost_their_entropy_and_scales_32_bits() -> None:
    model, state = after({"name": "rtn", "options": {"bits": 3}})
    assert state["codes/0.weight"].tolist() == [[3, -3, 1, 0], [-3, 3, 0, 1]]
    assert cost(model, state).weight_bits == pytest.approx(8 * 2 + 2 * 32)  # four codes, each twice
    assert COMPRESSORS.get("rtn").size(state) == pytest.approx(8 * 2 + 2 * 32)
    model, state = after({"name": "rtn", "options": {"bits": 2, "symmetry": "asymmetric"}})
    codes = state["codes/0.weight"].flatten().tolist()
    own = 8 * entropy(torch.tensor([codes.count(code) for code in range(4)]))
    assert cost(model, state).weight_bits == pytest.approx(own + 2 * 32 + 2 * 2)  # codes of zero: 2 bits each


def test_shared_values_cost_32_bits_and_their_numbers_their_entropy() -> None:
    model, state = after({"name": "kmeans", "options": {"clusters": 2}})
    sizes = state["index/0.weight"].flatten().bincount()
    assert cost(model, state).weight_bits == pytest.approx(8 * entropy(sizes) + 2 * 32)


def test_a_chain_counts_codes_of_kept_weights_alone() -> None:
    model, state = after(
        {"name": "l1unstructured", "options": {"sparsity": 0.5}}, {"name": "rtn", "options": {"bits": 3}}
    )
    assert state["codes/0.weight"].tolist() == [[3, -3, 0, 0], [-3, 3, 0, 0]]
    assert cost(model, state).weight_bits == pytest.approx(8 + 4 * 1 + 2 * 32)


def test_entropy_of_one_outcome_is_zero_and_never_more_than_all_alike() -> None:
    assert entropy(torch.tensor([5, 0])) == 0
    assert entropy(torch.tensor([1, 1, 1, 1])) == 2
    assert 0 < entropy(torch.tensor([1, 9])) < 1


def test_what_gzip_makes_of_codes_is_less_than_of_the_floats_they_stand_for() -> None:
    model = nn.Sequential(nn.Linear(200, 100, bias=False))
    rtn = COMPRESSORS.get("rtn")
    made = rtn.compress(model, rtn.Options(bits=4), None)
    state = rtn.state(made)
    packed, bound = packed_size(model, state), cost(model, state).bytes
    floats = len(gzip.compress(model[0].weight.detach().numpy().tobytes()))
    assert bound < packed.gzip < floats
    assert bound < packed.xz < floats
    assert packed.gzip < 1.25 * bound
