"""A trial refuses, word for word, what compression refuses, also where it skips the work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed
from pruneaudit.compression.kmeans import KMeans
from pruneaudit.compression.l1unstructured import L1Unstructured
from pruneaudit.core.errors import UserError
from pruneaudit.engine.task_context import NewNetworks
from pruneaudit.models import build_model

CASES: list[tuple[str, dict[str, Any], bool]] = [
    ("l1unstructured", {"sparsity": 0.9}, False),
    ("l1unstructured", {"sparsity": 0.9999}, True),
    ("l1unstructured", {"sparsity": 0.95, "scope": "layerwise"}, True),
    ("l1unstructured", {"sparsity": 0.95, "preset": "mia_prune"}, False),
    ("l1unstructured", {"sparsity": 0.5, "exclude": ("nowhere",)}, True),
    ("l1unstructured", {"sparsity": 0.5, "layers": "convolutions"}, True),
    ("kmeans", {"clusters": 4}, False),
    ("kmeans", {"clusters": 4, "exclude": ("nowhere",)}, True),
    ("kmeans", {"clusters": 4, "layers": "convolutions"}, True),
]


def network() -> nn.Module:
    return build_model("mlp", {"hidden": [3]}, (3,), 3, torch.Generator().manual_seed(0))


def refusal(do: Any, model: nn.Module, options: Any) -> str | None:
    try:
        do(model, options, type("NoMasks", (), {"masks": None, "generator": None}))
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize(("name", "options", "refused"), CASES)
def test_a_trial_refuses_what_compression_refuses(
    name: str, options: dict[str, Any], refused: bool, broken: bool
) -> None:
    method, models = COMPRESSORS.get(name), [network(), network()]
    if broken:
        for model in models:
            next(model.parameters()).data[0] = float("nan")
    settings = method.Options(**options)
    tried = refusal(method.trial, models[0], settings)
    assert tried == refusal(method.compress, models[1], settings)
    assert (tried is not None) == (refused or broken)


@pytest.mark.parametrize("parent", [L1Unstructured, KMeans])
def test_a_method_derived_from_another_is_tried_in_its_own_way(parent: type) -> None:
    class Own(parent):  # type: ignore[misc]
        def compress(self, model: nn.Module, options: Any, context: Any) -> Compressed:
            raise UserError("of its own")

    assert refusal(Own().trial, network(), None) == "of its own"


def test_new_networks_are_equal_and_independent() -> None:
    class Shapes:
        input_shape, num_classes = (3,), 3

    networks = NewNetworks(Shapes())  # type: ignore[arg-type]
    spec = {"model": {"name": "mlp", "options": {"hidden": [3]}}}
    first, second = networks.of(spec), networks.of(spec)
    drawn = network().state_dict()
    next(first.parameters()).data.zero_()
    assert all(torch.equal(value, drawn[key]) for key, value in second.state_dict().items())
    wide = networks.of({"model": {"name": "mlp", "options": {"hidden": [4]}}})
    assert len(next(wide.parameters())) == 4
