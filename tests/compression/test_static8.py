"""Static quantisation: what layers see, by hand and as torch rounds; states, records and training."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.activations import rounded
from pruneaudit.compression.chain import Chained, Step, compressed
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.macs import count_bit_operations, layer_macs
from pruneaudit.compression.state import load_state, not_rebuilt, save_state, structure_in
from pruneaudit.compression.storage_size import cost
from pruneaudit.compression.structure import replay
from pruneaudit.compression.structured import kept_whole
from pruneaudit.core.errors import UserError
from pruneaudit.study import Training
from pruneaudit.training.checkpoint import load_weights, save_weights
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples

MakeNet = Callable[..., Any]
MakeContext = Callable[..., CompressionContext]
STATIC8 = COMPRESSORS.get("static8")


@pytest.fixture
def quantised(make_context: MakeContext, noise: Samples) -> Callable[..., Compressed]:
    def make(model: nn.Module, samples: Samples | None = None, **options: Any) -> Compressed:
        context = replace(make_context(lambda: model), samples=samples or noise)
        return STATIC8.compress(model, STATIC8.Options(**options), context)

    return make


def table(rows: list[list[float]]) -> Samples:
    return Samples(torch.tensor(rows), torch.zeros(len(rows), dtype=torch.long))


def test_ranges_and_codes_by_hand(quantised: Callable[..., Compressed]) -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
    quantised(model, table([[-1.0, 0.5], [4.1, 0.0]]))
    assert model[0].input_scale.item() == pytest.approx(5.1 / 255)
    assert model[0].input_zero.item() == 50  # 1 / 0.02
    assert model[0].input_scale.dtype == model[0].input_zero.dtype == torch.float32
    found = model(torch.tensor([[0.029, 9.0], [-7.0, 0.0]]))
    assert torch.allclose(found, torch.tensor([[0.02, 4.1], [-1.0, 0.0]]))


def test_a_range_costs_a_scale_of_32_bits_and_a_code_of_8(quantised: Callable[..., Compressed]) -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    made = quantised(model, table([[-1.0, 0.5], [4.1, 0.0]]))
    found = cost(made.model, STATIC8.state(made))
    codes, scales, of_range = 4 * 1, 2 * 32, 32 + 8  # two codes, alike often: a bit each
    assert found.weight_bits == codes + scales
    assert found.bytes == -(-(codes + scales + of_range) // 8)


def test_ranges_include_zero_and_percentiles_leave_out_the_largest(quantised: Callable[..., Compressed]) -> None:
    samples = table([[float(number)] for number in range(1, 101)])
    for percentile, high in ((100, 100), (99, 99), (90, 90)):
        model = nn.Sequential(nn.Linear(1, 1))
        quantised(model, samples, percentile=percentile)
        assert model[0].input_scale.item() == pytest.approx(high / 255)
        assert model[0].input_zero.item() == 0


def test_percentiles_are_those_of_all_inputs_of_a_layer(
    make_net: MakeNet, quantised: Callable[..., Compressed], noise: Samples
) -> None:
    model, dense = make_net("tinycnn"), make_net("tinycnn").eval()
    quantised(model, percentile=97.3)
    seen: list[Tensor] = []
    dense.get_submodule("features.1.conv").register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    dense(noise.inputs(slice(None)))
    ordered = seen[0].flatten().sort().values
    left_out = int(0.027 * len(ordered))
    layer = model.get_submodule("features.1.conv")
    assert layer.input_zero.item() == 0  # behind a ReLU
    assert layer.input_scale.item() == pytest.approx(ordered[-1 - left_out].item() / 255)


def test_rounding_and_its_gradient_are_torch_s() -> None:
    torch.manual_seed(0)
    scale, zero = torch.tensor(0.031), torch.tensor(77.0)
    x = (3 * torch.randn(1000)).requires_grad_()
    got = rounded(x, scale, zero)
    (got * torch.arange(1000)).sum().backward()
    other = x.detach().clone().requires_grad_()
    expected = torch.fake_quantize_per_tensor_affine(other, scale.item(), 77, 0, 255)
    (expected * torch.arange(1000)).sum().backward()
    assert torch.allclose(got, expected, atol=1e-6)
    assert torch.equal(got, rounded(x.detach(), scale, zero))
    assert torch.equal(x.grad, other.grad)  # type: ignore[arg-type]
    assert 0 < (x.grad == 0).sum() < 500  # type: ignore[union-attr]


def test_weights_are_those_of_rtn_and_every_layer_sees_codes(
    make_net: MakeNet, quantised: Callable[..., Compressed], noise: Samples
) -> None:
    model, alone, dense = make_net("tinycnn"), make_net("tinycnn"), make_net("tinycnn").eval()
    made = quantised(model)
    rtn = COMPRESSORS.get("rtn")
    context: Any = None
    rtn.compress(alone, rtn.Options(bits=8), context)
    for name, weight in alone.named_parameters():
        assert torch.equal(model.get_parameter(name), weight)
    model.eval()
    for name in made.description["inputs"]:
        seen: list[Tensor] = []
        layer = model.get_submodule(name)
        layer.register_forward_hook(lambda _, inputs, output, seen=seen: seen.append(inputs[0]))
        model(noise.inputs(slice(None)))
        codes = seen[0] / layer.input_scale + layer.input_zero
        assert torch.allclose(codes, codes.round(), atol=1e-3)
        assert codes.round().min() >= 0
        assert codes.round().max() <= 255
    assert len(made.description["inputs"]) == 4
    x = noise.inputs(slice(None))
    assert (model(x) - dense(x)).abs().max() < 0.05 * dense(x).abs().max()


def test_logits_depend_on_no_other_sample(
    make_net: MakeNet, quantised: Callable[..., Compressed], noise: Samples
) -> None:
    """An outlier in the batch changes nothing; batch size and order change only float32 sums, by a step at most."""
    model = make_net("tinycnn")
    quantised(model)
    model.eval()
    x = noise.inputs(slice(None))
    with torch.no_grad():
        together = model(x)
        assert torch.equal(model(torch.cat([x[:-1], 1e3 * x[-1:]]))[:-1], together[:-1])
        alone = torch.cat([model(one[None]) for one in x])
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        shuffled = model(x[order])
    last = model.get_submodule("classifier")
    step = last.input_scale * last.weight.abs().max()
    for other in (alone, torch.empty_like(together).index_copy_(0, order, shuffled)):
        assert torch.isclose(other, together, rtol=0, atol=1e-5).float().mean() > 0.95
        assert (other - together).abs().max() <= 4 * step


def test_int8_logits_are_at_most_256_values(
    make_net: MakeNet, quantised: Callable[..., Compressed], noise: Samples
) -> None:
    dense, model = make_net("tinycnn").eval(), make_net("tinycnn")
    quantised(model, output="int8")
    logits = dense(noise.inputs(slice(None)))
    last = model.get_submodule("classifier")
    covered = max(logits.max().item(), 0) - min(logits.min().item(), 0)
    assert last.output_scale.item() == pytest.approx(covered / 255)
    found = model.eval()(100 * noise.inputs(slice(None)))
    codes = found / last.output_scale + last.output_zero
    assert torch.allclose(codes, codes.round(), atol=1e-3)
    assert 0 <= codes.round().min() < codes.round().max() <= 255


def test_state_and_record_rebuild_the_network_from_disk(
    make_net: MakeNet, quantised: Callable[..., Compressed], noise: Samples, tmp_path: Path
) -> None:
    model = make_net("tinycnn")
    made = quantised(model, output="int8")
    train(model, noise, Training(epochs=2, batch_size=8, learning_rate=0.05), torch.Generator(), made.hooks)
    state = STATIC8.state(made)
    assert not_rebuilt(model, state) == []
    save_state(state, tmp_path)
    save_weights(model, tmp_path / "model.safetensors")
    again = load_state(tmp_path)
    text = structure_in(again)
    assert json.loads(text)["kind"] == "activations"
    assert kept_whole(text) == ()
    fresh = load_weights(replay(make_net("tinycnn", seed=5), text), tmp_path / "model.safetensors").eval()
    x = noise.inputs(slice(None))
    assert torch.equal(fresh(x), model.eval()(x))
    constraint = STATIC8.constraint(again, STATIC8.Options())
    assert constraint.structure == text
    assert constraint.state(fresh).keys() == {key for key in state if key != "structure"}
    assert torch.equal(copy.deepcopy(fresh)(x), fresh(x))


def test_training_goes_through_the_rounded_inputs(
    make_net: MakeNet, quantised: Callable[..., Compressed], noise: Samples
) -> None:
    model = make_net("tinycnn")
    made = quantised(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = train(model, noise, Training(epochs=4, batch_size=8, learning_rate=0.05), torch.Generator(), made.hooks)
    assert state.history[-1]["loss"] < state.history[0]["loss"]
    for name, tensor in model.state_dict().items():
        assert torch.equal(before[name], tensor) == ("input_" in name)


def test_it_follows_masks_and_fewer_channels(make_net: MakeNet, make_context: MakeContext, noise: Samples) -> None:
    steps = [
        {"name": "l1structured", "options": {"sparsity": 0.4}},
        {"name": "l1unstructured", "options": {"sparsity": 0.5}},
        {"name": "static8", "options": {}},
    ]
    context = replace(make_context(make_net), samples=noise)
    chained = compressed(Chained(make_net()), [Step.of(step) for step in steps], lambda number: context)
    state = chained.state()
    assert not_rebuilt(chained.model, state) == []
    kinds = [record.get("kind", "channels") for record in json.loads(structure_in(state))]
    assert kinds == ["channels", "activations"]
    fresh = replay(make_net(), structure_in(state))
    fresh.load_state_dict(chained.model.state_dict())
    x = noise.inputs(slice(None))
    assert torch.equal(fresh.eval()(x), chained.model.eval()(x))
    for name, mask in chained.masks.items():  # type: ignore[union-attr]
        assert (fresh.get_parameter(name)[~mask] == 0).all()


def test_bit_operations_count_eight_by_eight(make_net: MakeNet, quantised: Callable[..., Compressed]) -> None:
    model = make_net("mlp")
    made = quantised(model)
    macs = layer_macs(model, torch.zeros(1, 1, 8, 8))
    assert count_bit_operations(model, macs, STATIC8.state(made)) == 64 * sum(macs.values())


class Doubled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.fc(x)


def test_bad_input_is_refused_by_name(quantised: Callable[..., Compressed], make_net: MakeNet) -> None:
    samples = table([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(UserError, match=r"'fc'.*output=float"):
        quantised(Doubled(), samples, output="int8")
    quantised(Doubled(), samples)
    with pytest.raises(UserError, match=r"bits.*4"):
        STATIC8.Options(bits=4)
    model = Doubled()
    with torch.no_grad():
        model.fc.bias.fill_(float("inf"))
    with pytest.raises(UserError, match=r"'fc'.*finite"):
        quantised(model, samples, output="int8")
    with pytest.raises(UserError, match=r"no layer 'fc'"):
        replay(make_net(), '{"kind": "activations", "inputs": ["fc"]}')
    with pytest.raises(UserError, match="not a record of quantised inputs"):
        replay(make_net(), '{"kind": "activations"}')
