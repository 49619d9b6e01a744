"""Low-rank adaptation: against the formula, and what stays as it was."""

import json
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import ADAPTER_CONFIG_FILE, ADAPTER_FILE, file_sha256
from pruneaudit.models import build_model
from pruneaudit.study import Training
from pruneaudit.study.lora import Lora
from pruneaudit.training.checkpoint import load_tensors
from pruneaudit.training.hooks import Hook
from pruneaudit.training.loop import train
from pruneaudit.training.lora import Adapted, targets_of
from pruneaudit.training.resume import Checkpoints
from pruneaudit.training.samples import Samples

pytest.importorskip("peft")

CLASSES = 3
START = {"name": "", "sha256": ""}


class Own(nn.Module):
    """Projections with names of attention, a convolution's weight, GPT-2's layer, and torch's own attention."""

    def __init__(self) -> None:
        super().__init__()
        from transformers.pytorch_utils import Conv1D

        self.q, self.v = nn.Linear(8, 8), nn.Linear(8, 8, bias=False)
        self.c_attn = Conv1D(8, 8)
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.q(x)) + self.v(x) + self.c_attn(x)
        x = x + self.conv(x[:, None, None]).mean(1)[:, 0]
        x = x + self.attention(*3 * (x[:, None],), need_weights=False)[0][:, 0]
        return self.head(self.norm(x))


def network(seed=0):
    made = Own()
    with torch.no_grad():
        for number, parameter in enumerate(made.parameters()):
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed + number)))
    return made


def samples(num=48):
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(num, 8, generator=draws)
    return Samples(x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long())


def adapted(model, seed=1, **settings):
    return Adapted(model, Lora(**settings), CLASSES, torch.Generator().manual_seed(seed))


def copied(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def are_equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


TRAINING = Training(epochs=3, batch_size=16, optimizer="adam", learning_rate=0.02, weight_decay=0)


def test_what_was_not_trained_equals_the_base_bit_for_bit():
    model = network()
    before, flags, inside = copied(model), [p.requires_grad for p in model.parameters()], set(vars(model))
    adapter = adapted(model)
    x = samples().inputs(slice(None))
    assert torch.equal(model(x), network()(x))
    adapter.merge()
    assert are_equal(copied(model), before)
    assert [p.requires_grad for p in model.parameters()] == flags and set(vars(model)) == inside
    assert [type(layer) for layer in model.modules()] == [type(layer) for layer in network().modules()]


@pytest.mark.parametrize("target", [(), ("q",), ("conv", "v"), ("c_attn", "q")])
def test_the_merged_weight_is_the_formula(target):
    model = network()
    before = copied(model)
    adapter = adapted(model, r=2, alpha=6, target=target)
    train(model, samples(), TRAINING, torch.Generator().manual_seed(0))
    matrices = {name: (a.detach().clone(), b.detach().clone()) for name, (a, b) in adapter.matrices.items()}
    x = samples().inputs(slice(None))
    unmerged = model(x).detach()
    adapter.merge()
    after = copied(model)
    head = {"head.weight", "head.bias"}
    for name, value in before.items():
        layer = name.rpartition(".")[0]
        if name.endswith("weight") and layer in matrices:
            a, b = matrices[layer]
            assert a.shape[0] == 2 and b.abs().sum() > 0
            product = b @ a if a.ndim == 2 else torch.einsum("orij,rckl->ockl", b, a)
            expected = value + 6 / 2 * (product.T if layer == "c_attn" else product)
            assert torch.allclose(after[name], expected, atol=1e-6), name
        elif name in head:
            assert not torch.equal(after[name], value)
        else:
            assert torch.equal(after[name], value), name
    assert torch.allclose(model(x), unmerged, atol=1e-5)


def test_the_default_targets_are_projections_to_queries_and_values():
    assert targets_of(network(), (), CLASSES) == ("q", "v", "c_attn")
    with pytest.raises(UserError, match=r"query or value.*lora\.target.*1"):
        targets_of(build_model("mlp", {"hidden": [16]}, (1, 8, 8), 10, torch.Generator()), (), 10)
    vit = build_model("vit", {"width": 16, "heads": 2}, (1, 8, 8), 10, torch.Generator())
    assert {name.rpartition(".")[2] for name in targets_of(vit, (), 10)} == {"q", "v"}


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("w", "'w'.*q, v, c_attn, conv"),
        ("norm", "'norm' .a LayerNorm"),
        ("out_proj", "MultiheadAttention reads"),
        ("attention", "MultiheadAttention"),
        ("head", "part of the head"),
    ],
)
def test_a_target_without_effect_is_refused(target, said):
    model = network()
    before = copied(model)
    with pytest.raises(UserError, match=said):
        adapted(model, target=[target])
    assert are_equal(copied(model), before)


def test_running_statistics_would_change_without_being_adapted():
    with pytest.raises(UserError, match=r"BatchNorm.*norm = 'group'"):
        Adapted(
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 3)),
            Lora(target=["0"]),
            3,
            torch.Generator(),
        )


def test_only_matrices_and_head_are_trained_and_the_global_generator_stays():
    model = network()
    state = torch.get_rng_state()
    adapter = adapted(model, r=2)
    assert torch.equal(state, torch.get_rng_state())
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"q", "v", "c_attn", "head"}
    assert all("lora_" in name or name.startswith("head.") for name in trained)
    adapter.merge()
    assert adapter.num_trained == 3 * 2 * (8 + 8) + 8 * CLASSES + CLASSES


def test_the_same_seed_draws_the_same_matrices():
    first, again, other = (adapted(network(), seed=seed).matrices["q"][0] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


class Stop(Hook):
    """A kill after the second epoch."""

    def epoch_end(self, state):
        if state.epoch == 2:
            raise KeyboardInterrupt


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path):
    settings = Training(epochs=4, batch_size=16, learning_rate=0.05)

    def trained(place, hooks=()):
        model = network()
        adapter = adapted(model, dropout=0.3)
        train(model, samples(), settings, torch.Generator().manual_seed(0), hooks, Checkpoints(tmp_path / place, 0))
        adapter.merge()
        return copied(model)

    whole = trained("whole")
    with pytest.raises(KeyboardInterrupt):
        trained("killed", [Stop()])
    assert any((tmp_path / "killed").iterdir())
    assert are_equal(trained("killed"), whole)


def test_its_files_are_those_of_peft(tmp_path):
    """PEFT puts them on the base, and merges them to the same network."""
    from peft import PeftModel
    from transformers import BertConfig, BertForSequenceClassification

    values = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(**values, vocab_size=30, max_position_embeddings=8, num_labels=CLASSES)
    model, other = BertForSequenceClassification(config), BertForSequenceClassification(config)
    other.load_state_dict(model.state_dict())
    before = json.dumps(config.to_dict(), default=str)
    adapter = adapted(model, r=2)
    ids = torch.arange(1, 9).repeat(4, 1)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        cross_entropy(model(input_ids=ids).logits, torch.tensor([0, 1, 2, 0])).backward()
        optimizer.step()
    adapter.merge()
    assert json.dumps(config.to_dict(), default=str) == before
    facts = adapter.save(tmp_path, {"name": "base/model.safetensors", "sha256": "ab" * 32})
    assert facts["layers"] == 4 and facts["bytes"] == (tmp_path / ADAPTER_FILE).stat().st_size < 20_000
    told = json.loads((tmp_path / ADAPTER_CONFIG_FILE).read_text())
    assert told["revision"] == "ab" * 32 and told["base_model_name_or_path"] == "base/model.safetensors"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        merged = PeftModel.from_pretrained(other, str(tmp_path)).merge_and_unload()
    ours = model.state_dict()
    assert all(torch.allclose(ours[name], value, atol=1e-7) for name, value in merged.state_dict().items())
    assert not np.allclose(ours["classifier.weight"], BertForSequenceClassification(config).classifier.weight.detach())
    assert set(load_tensors(tmp_path / ADAPTER_FILE)) > {"base_model.model.classifier.weight"}
    assert len(file_sha256(tmp_path / ADAPTER_FILE)) == 64
