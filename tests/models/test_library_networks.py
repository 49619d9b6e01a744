"""Networks of transformers, torchvision and timm through factories: built, compressed, loaded again, tried with dp."""

from __future__ import annotations

import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pruneaudit
from pruneaudit.core.errors import UserError
from pruneaudit.defenses.dp import DEFENSE, DpOptions
from pruneaudit.external.makers import maker_of
from pruneaudit.models import build_model
from vision_libraries import torchvision_or_skip

# B batch, C channels

MODULE, SHAPE, CLASSES = "networks_of_vision_libraries", (3, 32, 32), 4
SOURCE = """
def hf_vit(input_shape, num_classes):
    from transformers import ViTConfig, ViTForImageClassification
    sizes = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, patch_size=4)
    return ViTForImageClassification(ViTConfig(image_size=input_shape[1], num_labels=num_classes, **sizes))

def hf_convnext(input_shape, num_classes):
    from transformers import ConvNextConfig, ConvNextForImageClassification
    sizes = dict(patch_size=2, num_stages=2, hidden_sizes=[4, 8], depths=[1, 1])
    return ConvNextForImageClassification(ConvNextConfig(num_labels=num_classes, **sizes))

def tv_vit(input_shape, num_classes):
    from torchvision.models import VisionTransformer
    sizes = dict(patch_size=4, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16)
    return VisionTransformer(image_size=input_shape[1], num_classes=num_classes, **sizes)

def tv_convnext(input_shape, num_classes):
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt
    return ConvNeXt([CNBlockConfig(4, 8, 1), CNBlockConfig(8, None, 1)], num_classes=num_classes)

def timm_vit(input_shape, num_classes):
    import timm
    sizes = dict(img_size=input_shape[1], patch_size=4, depth=1, embed_dim=8, num_heads=2)
    return timm.create_model("vit_tiny_patch16_224", num_classes=num_classes, **sizes)

def timm_convnext(input_shape, num_classes):
    import timm
    sizes = dict(patch_size=2, depths=(1, 1, 1, 1), dims=(4, 4, 8, 8))
    return timm.create_model("convnext_atto", num_classes=num_classes, **sizes)

def timm_efficientnet(input_shape, num_classes):
    import timm
    return timm.create_model("test_efficientnet", num_classes=num_classes)
"""
NAMES = ["hf_vit", "hf_convnext", "tv_vit", "tv_convnext", "timm_vit", "timm_convnext", "timm_efficientnet"]
X = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", autouse=True)
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("networks")
        (folder / f"{MODULE}.py").write_text(SOURCE)
        patch.syspath_prepend(folder)
        yield
    sys.modules.pop(MODULE, None)


def network(name: str, seed: int = 0) -> nn.Module:
    """Built as in a study, with other weights, biases and scales everywhere."""
    if name.startswith("hf"):
        pytest.importorskip("transformers")
    if find_spec("torchvision") or not name.startswith("hf"):  # transformers imports it where it is installed
        torchvision_or_skip()
    if name.startswith("timm"):
        pytest.importorskip("timm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = build_model("factory", {"target": f"{MODULE}:{name}"}, SHAPE, CLASSES, torch.Generator().manual_seed(0))
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=draws)
    return made.eval()


def answers(model: nn.Module) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(X)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_it_answers_with_logits_in_a_study_and_in_collect(name: str) -> None:
    found = answers(network(name))
    assert found.shape == (5, CLASSES)
    assert float(found.std(dim=0).min()) > 1e-3
    assert isinstance(maker_of(f"{MODULE}:{name}", {}, SHAPE, CLASSES)(), nn.Module)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "method", ["l2structured:sparsity=0.2", "rtn:bits=4", "svd:fraction=0.5", "l1unstructured:sparsity=0.5"]
)
def test_it_is_compressed_and_loaded_again(name: str, method: str, tmp_path: Path) -> None:
    dense = network(name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = pruneaudit.compress(dense, method, example=SHAPE)
    assert all(str(warning.message).startswith("kept whole: ") for warning in caught)
    again = pruneaudit.load_compressed(network(name, seed=3), made.save(tmp_path / "made"))
    assert torch.equal(answers(again.model), answers(made.model))
    assert (answers(made.model) - answers(dense)).abs().max() > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_dp_takes_it_or_says_why_not(name: str) -> None:
    options, y = DpOptions(noise_multiplier=1.0), torch.arange(5) % CLASSES
    if name == "tv_vit":
        with pytest.raises(UserError, match="MultiheadAttention"):
            DEFENSE.prepare(network(name), options)
    else:
        with warnings.catch_warnings():  # timm's attention, sample by sample, is slow
            warnings.filterwarnings("ignore", message="There is a performance drop")
            DEFENSE.try_batch(DEFENSE.prepare(network(name), options), X, y)
