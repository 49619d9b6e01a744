"""Weights of transformers: which ones count, masks on attention in training, and tables that two layers share."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformer_networks import HIDDEN, LAYERS, WIDTH, T, TorchEncoder, V, hugging_face, randomised, texts

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.layer_sizes import weight_counts
from pruneaudit.compression.matrices import counted_weights, matrices
from pruneaudit.compression.state import restored
from pruneaudit.core.options import validated
from pruneaudit.data.kinds import TokenShape, Vocabulary
from pruneaudit.external.filling import filled
from pruneaudit.models import build_model
from pruneaudit.study import Training
from pruneaudit.training.checkpoint import load_weights, save_weights
from pruneaudit.training.loop import train

# n samples, T tokens, V ids


def pruned(model: nn.Module, method: str, **options: Any) -> Compressed:
    compressor = COMPRESSORS.get(method)
    context: Any = CompressionContext(torch.empty(1, 0), torch.Generator(), lambda *_: None, nn.Module)
    return compressor.compress(model, validated(compressor.Options, options, method), context)


@pytest.mark.parametrize("method", ["l1unstructured", "gradual", "dpf"])
def test_masks_on_torchs_attention_hold_in_training(method: str) -> None:
    model, samples = randomised(TorchEncoder()), texts(40)
    made = pruned(model, method, sparsity=0.6, **({"start": "pretrained"} if method == "dpf" else {}))
    settings = Training(epochs=3, batch_size=8, learning_rate=0.05, momentum=0.9, weight_decay=1e-2)
    before = copy.deepcopy(model.state_dict())
    train(made.model, samples, settings, torch.Generator().manual_seed(0), made.hooks)
    assert made.masks is not None
    names = {
        f"encoder.layers.{n}.self_attn.{key}" for n in range(LAYERS) for key in ("in_proj_weight", "out_proj.weight")
    }
    assert names <= set(made.masks)
    for name in names:
        weight, mask = made.model.get_parameter(name), made.masks[name]
        assert 0 < int(mask.sum()) < mask.numel()
        assert not weight[~mask].any()
        assert not torch.equal(weight[mask], before[name][mask])
    assert not {"words.weight"} & set(made.masks)


def test_nine_tenths_of_the_weights_of_a_small_text_model_are_a_fifth_of_its_parameters() -> None:
    shape = TokenShape(24, Vocabulary(2000, 0, 1))
    model = build_model("tiny_transformer", {}, shape, 10, torch.Generator().manual_seed(0))
    counts = weight_counts(model)
    made = pruned(model, "l1unstructured", sparsity=0.9)
    found = weight_counts(made.model, counts)
    assert found["sparsity"] == pytest.approx(0.9, abs=1e-4)
    share = counts["prunable_weights"] / counts["parameters"]  # biases are zero at first
    assert found["sparsity_all"] == pytest.approx(0.9 * share, abs=0.01)
    assert 0.15 < found["sparsity_all"] < 0.21
    both = pruned(copy.deepcopy(model), "rtn", bits=4, layers="with_embeddings")
    assert {"embedding.weight", "positions.weight"} <= set(both.constraint.grids)  # type: ignore[union-attr]


@pytest.mark.parametrize("method", ["l1unstructured", "lamp", "random", "kmeans", "rtn", "nm", "static"])
def test_tables_of_embeddings_are_compressed_only_where_that_is_asked_for(method: str) -> None:
    degree: dict[str, Any] = {"kmeans": {"clusters": 4}, "rtn": {"bits": 3}, "nm": {"pattern": "2:4"}}.get(
        method, {"sparsity": 0.5}
    )
    for layers, is_whole in (("all", True), ("with_embeddings", False)):
        model = randomised(TorchEncoder())
        before = model.words.weight.detach().clone()
        pruned(model, method, layers=layers, **degree)
        assert torch.equal(model.words.weight, before) == is_whole


def test_the_weights_of_gpt2_are_those_of_its_own_layers() -> None:
    pytest.importorskip("transformers")
    model = hugging_face("gpt2")()
    shapes = {"attn.c_attn": (WIDTH, 3 * WIDTH), "attn.c_proj": (WIDTH, WIDTH)}
    shapes |= {"mlp.c_fc": (WIDTH, HIDDEN), "mlp.c_proj": (HIDDEN, WIDTH)}
    want = {f"transformer.h.{n}.{key}.weight": shape for n in range(LAYERS) for key, shape in shapes.items()}
    found = {name: tuple(weight.shape) for name, weight in counted_weights(model).items()}
    assert found == want | {"score.weight": (5, WIDTH)}
    assert set(counted_weights(model, embeddings=True)) - set(found) == {
        "transformer.wte.weight",
        "transformer.wpe.weight",
    }


def language_model() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=V, n_positions=T, n_embd=16, n_layer=1, n_head=2, pad_token_id=0)
    network: nn.Module = transformers.GPT2LMHeadModel(config)
    return network


FIRST, ALIAS = "transformer.wte.weight", "lm_head.weight"


def test_a_table_that_the_last_layer_shares_is_one_tensor() -> None:
    model = language_model()
    (table,) = (matrix for matrix in matrices(model) if matrix.name == FIRST)
    assert (table.kind, table.aliases) == ("embedding", (ALIAS,))
    assert not {FIRST, ALIAS} & set(counted_weights(model))
    made = pruned(model, "l1unstructured", sparsity=0.5, layers="with_embeddings")
    assert made.masks is not None
    assert FIRST in made.masks
    assert ALIAS not in made.masks
    assert made.model.lm_head.weight is made.model.transformer.wte.weight
    state = COMPRESSORS.get("l1unstructured").state(made)
    assert torch.equal(restored(state)[FIRST], made.model.lm_head.weight)
    counts = weight_counts(made.model, embeddings=True)
    assert counts["parameters"] == sum(parameter.numel() for parameter in made.model.parameters())


def test_it_is_stored_once_and_shared_again(tmp_path: Path) -> None:
    model, other = randomised(language_model()), language_model()
    save_weights(model, tmp_path / "own.safetensors")
    load_weights(other, tmp_path / "own.safetensors")
    assert other.lm_head.weight is other.transformer.wte.weight
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("writer", ["save_pretrained", "save_model", "torch.save"])
def test_files_with_either_of_its_names_are_read(writer: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_model

    model, file = randomised(language_model()), tmp_path / "model.safetensors"
    if writer == "save_pretrained":
        model.save_pretrained(tmp_path)
        assert ALIAS not in load_file(file)
    elif writer == "save_model":
        save_model(model, str(file))
        assert FIRST not in load_file(file)
    else:
        file = tmp_path / "model.pt"
        torch.save(model.state_dict(), file)
    read = filled(language_model(), file)
    assert torch.equal(read.lm_head.weight, model.lm_head.weight)
    assert read.lm_head.weight is read.transformer.wte.weight
