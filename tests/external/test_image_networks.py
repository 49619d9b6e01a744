"""vit, convnext and mobilenet outside a study: compressed by every method, saved and loaded, written as ONNX, asked."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pruneaudit
from pruneaudit.compression.state import restored
from pruneaudit.core.errors import UserError
from pruneaudit.models import build_model
from pruneaudit.signals.sensitivity import sensitivity
from pruneaudit.training.samples import Samples

# B batch, C classes

SHAPE = (3, 12, 12)
NETWORKS: dict[str, dict[str, Any]] = {
    "vit": {"width": 8, "layers": 1, "heads": 2},
    "convnext": {"width": 4, "layers": 1},
    "mobilenet": {"width": 8, "layers": 1},
}
DRAWS = torch.Generator().manual_seed(2)
X, Y = torch.randn(64, *SHAPE, generator=DRAWS), torch.arange(64) % 4
CALIBRATED = ("wanda", "sparsegpt", "gptq", "static8", "svd:fraction=0.5:data")
METHODS = [
    *("l1unstructured:sparsity=0.5", "lamp:sparsity=0.5", "wanda:sparsity=0.5", "sparsegpt:sparsity=0.5"),
    *("nm:pattern=2:4", "kmeans:clusters=8", "rtn:bits=4", "gptq:bits=4", "static8", "static8:output=int8"),
    *("svd:fraction=0.5", "svd:fraction=0.5:data=public", "l2structured:sparsity=0.3"),
]


def network(name: str, seed: int = 0) -> nn.Module:
    """With other weights, biases and scales everywhere, so that each matters to the outputs."""
    model = build_model(name, NETWORKS[name], SHAPE, 4, torch.Generator().manual_seed(seed))
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=draws)
    return model.eval()


def compressed(name: str, method: str) -> Any:
    """The compressed network; warnings name layers that a method cannot change."""
    calibration = X if method.startswith(CALIBRATED) else None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = pruneaudit.compress(network(name), method, example=SHAPE, calibration=calibration)
    assert all(str(warning.message).startswith("kept whole: ") for warning in caught)
    return made


def answers(model: nn.Module) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(X)
    return found


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", METHODS)
def test_it_is_compressed_and_comes_back_as_it_was(name: str, method: str, tmp_path: Path) -> None:
    made = compressed(name, method)
    again = pruneaudit.load_compressed(network(name, seed=3), made.save(tmp_path / "made"))
    assert torch.equal(answers(again.model), answers(made.model))
    assert (answers(made.model) - answers(network(name))).abs().max() > 1e-3
    for key, weight in restored(made.state).items():
        assert torch.equal(made.model.get_parameter(key), weight)
    after = json.loads((tmp_path / "made" / "summary.json").read_text())["after"]
    assert after["compressed_bytes"] < 4 * sum(parameter.numel() for parameter in network(name).parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_patterns_of_two_in_four_are_along_the_inputs(name: str) -> None:
    made = compressed(name, "nm:pattern=2:4")
    assert len(made.masks) >= 4
    for key, mask in made.masks.items():
        weight = made.model.get_parameter(key)
        by_output = weight.movedim(1, -1).reshape(-1, 4) if weight.ndim > 2 else weight.view(-1, 4)
        assert ((by_output != 0).sum(1) == 2).all(), key
        assert torch.equal(mask, weight != 0)


@pytest.mark.parametrize("name", NETWORKS)
def test_sensitivity_is_finite_and_differs_between_samples(name: str) -> None:
    samples = Samples(X[:8].permute(0, 2, 3, 1).contiguous(), Y[:8])
    found = sensitivity(network(name), samples, 0, name)
    assert found.shape == (8, 4)
    assert (found > 0).all()
    assert len({*found[:, 0].tolist()}) == 8


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", ["rtn:bits=4", "static8", "l2structured:sparsity=0.3"])
def test_onnxruntime_gives_the_same_classes(name: str, method: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    facts = compressed(name, method).to_onnx(tmp_path / "made.onnx", inputs=X)
    found = facts.described()
    assert found["agreement"]["same_class"] >= 995
    assert bool(found["int8_layers"]) == (method == "static8")


def test_a_file_for_one_number_of_samples_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")

    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.token = nn.Linear(4, 3), nn.Parameter(torch.ones(1, 4))

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.layer(x + self.token.expand(len(x), -1))
            return logits

    made = pruneaudit.compress(Fixed(), "rtn:bits=4")
    with pytest.raises(UserError, match=r"onnx: .*number of samples at 2.*x\.shape\[0\] for len\(x\)"):
        made.to_onnx(tmp_path / "made.onnx", inputs=torch.randn(10, 4, generator=torch.Generator().manual_seed(0)))
    assert not list(tmp_path.iterdir())
