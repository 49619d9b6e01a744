"""Low rank: pairs of layers against reconstructed weights, ranks by hand, layers that stay whole, chains, training."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

import pruneaudit
from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.chain import Chained, Step, compressed
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.decompositions import Split, as_matrix
from pruneaudit.compression.factored import Factored
from pruneaudit.compression.factors import factorise, forms
from pruneaudit.compression.macs import count_macs
from pruneaudit.compression.selection import prunable_weights
from pruneaudit.compression.storage_size import cost
from pruneaudit.compression.structure import kept_whole, replay
from pruneaudit.core.errors import UserError
from pruneaudit.study import Training
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples

MakeNet = Callable[..., nn.Module]
MakeContext = Callable[..., CompressionContext]


def made(model: nn.Module, samples: Samples | None = None, **options: Any) -> Compressed:
    svd = COMPRESSORS.get("svd")
    context: Any = CompressionContext(
        torch.empty(1, 0), torch.Generator(), lambda *_: None, lambda: model, samples=samples
    )
    return svd.compress(model, svd.Options(**{"split_ends": True} | options), context)


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def at_full_rank(model: nn.Module, form: Any = "channel") -> nn.Module:
    weights = prunable_weights(model)
    splits = {name: Split.of(weights[name], how) for name, how in forms(model, weights, form)[0].items()}
    return factorise(copy.deepcopy(model), {name: min(split.shape) for name, split in splits.items()}, splits)


def cut(matrix: np.ndarray, rank: int) -> np.ndarray:
    """The nearest matrix of a rank, by numpy."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    return (left[:, :rank] * values[:rank]) @ right[:rank]


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch says once that it pads even kernels itself
@given(
    seed=st.integers(0, 2**32),
    outputs=st.integers(1, 6),
    inputs=st.integers(1, 4),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.one_of(st.tuples(st.integers(0, 2), st.integers(0, 2)), st.sampled_from(["same", "valid"])),
    mode=st.sampled_from(["zeros", "circular", "reflect", "replicate"]),
    bias=st.booleans(),
    form=st.sampled_from(["channel", "spatial"]),
    rank=st.integers(1, 6),
)
def test_two_convolutions_are_the_reconstructed_one(
    seed: int, outputs: int, inputs: int, kernel: Any, stride: Any, dilation: Any, padding: Any, mode: Any, bias: bool,
    form: Any, rank: int,
) -> None:  # fmt: skip
    assume(padding != "same" or stride == (1, 1))
    settings = {"stride": stride, "dilation": dilation, "padding": padding, "padding_mode": mode, "bias": bias}
    layer = seeded(lambda: nn.Conv2d(inputs, outputs, kernel, **settings), seed)
    weight = layer.weight.detach().double().numpy()
    matrix = weight.reshape(outputs, -1)
    if form == "spatial":  # row (output, height), column (input, width), written out
        matrix = np.array(
            [
                [weight[o, i, h, k] for i in range(inputs) for k in range(kernel[1])]
                for o in range(outputs)
                for h in range(kernel[0])
            ]
        )
    rank = min(rank, *matrix.shape)
    near = cut(matrix, rank)
    whole = copy.deepcopy(layer)
    for index in np.ndindex(*weight.shape):
        o, i, h, k = index
        row, column = (o * kernel[0] + h, i * kernel[1] + k) if form == "spatial" else (o, np.ravel_multi_index(
            (i, h, k), (inputs, *kernel)))  # fmt: skip
        whole.weight.data[index] = float(near[row, column])

    pair = factorise(nn.Sequential(layer), {"0.weight": rank}, {"0.weight": Split.of(layer.weight, form)})[0]
    x = torch.randn(2, inputs, 11, 10, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(pair(x), whole(x), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(pair.weight, whole.weight.detach(), atol=1e-5, rtol=1e-4)
    assert sum(p.numel() for p in pair.parameters()) == rank * sum(matrix.shape) + bias * outputs


@pytest.mark.parametrize("form", ["channel", "spatial"])
def test_full_rank_loses_nothing(form: Any, make_net: MakeNet, noise: Samples) -> None:
    for name in ("tinycnn", "mlp"):
        model = make_net(name).eval()
        x = noise.inputs(slice(None))
        again = at_full_rank(model, form)
        assert any(isinstance(part, Factored) for part in again.modules())
        torch.testing.assert_close(again(x), model(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv3d])
def test_convolutions_of_other_dimensions_take_the_channel_form(kind: Any) -> None:
    model = seeded(lambda: nn.Sequential(kind(4, 6, 3, stride=2, padding=1)))
    spatial = 1 if kind is nn.Conv1d else 3
    x = torch.randn(2, 4, *[7] * spatial)
    torch.testing.assert_close(at_full_rank(model, "spatial")(x), model(x), atol=1e-5, rtol=1e-5)


def test_ranks_by_weights_energy_and_error_by_hand() -> None:
    layer = nn.Linear(20, 10, bias=False)
    values = [6.0, 3.0, 2.0, 1.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0]
    left, right = (torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(n)))[0] for n in (10, 20))
    with torch.no_grad():
        layer.weight.copy_(left @ torch.diag(torch.tensor(values)) @ right[:10])
    energies = np.cumsum(np.square(values)) / np.sum(np.square(values))  # .702 .878 .956 .976 .995 1
    expected = {
        ("weights", 0.5): math.floor(0.5 * 200 / 30),
        ("weights", 0.9): math.floor(0.9 * 200 / 30),
        ("weights", 0.15): 1,  # 30 of 200 weights, to the last
        ("energy", 0.71): 2,
        ("energy", 0.69): 1,
        ("energy", 0.96): 4,
        ("error", 0.5): 2,
        ("error", 0.1): 5,
    }
    assert 0.69 < energies[0] < 0.71 < energies[1]
    assert math.sqrt(1 - energies[1]) < 0.5 < math.sqrt(1 - energies[0])
    assert math.sqrt(1 - energies[4]) < 0.1 < math.sqrt(1 - energies[3])
    for (by, fraction), rank in expected.items():
        found = made(nn.Sequential(copy.deepcopy(layer)), fraction=fraction, by=by)
        assert found.description["ranks"] == {"0": rank}, (by, fraction)
        error = ((found.model[0].weight - layer.weight).norm() / layer.weight.norm()).detach()
        assert float(error) == pytest.approx(math.sqrt(max(0, 1 - energies[rank - 1])), abs=1e-5)


def test_a_layer_above_break_even_stays_whole_and_is_told(make_net: MakeNet) -> None:
    found = made(make_net(), fraction=0.9999, by="energy")
    notes = kept_whole(found.structure)
    assert any("classifier: rank 3 is not below 2.526" in note for note in notes)  # (3, 16)
    assert isinstance(found.model.classifier, nn.Linear)
    assert kept_whole(found.structure, weights_are_final=False) == ()
    with warnings.catch_warnings(record=True, action="always") as caught:
        pruneaudit.compress(make_net(), "svd:fraction=0.9999:by=energy:split_ends=true")
    assert {str(each.message) for each in caught} == set(notes)


def test_too_low_a_fraction_names_layer_shape_and_one_that_works() -> None:
    model = nn.Sequential(nn.Linear(64, 10), nn.Linear(10, 3))
    with pytest.raises(
        UserError, match=r"fraction: got 0.05, but rank 1 of layer '0' \(10, 64\) holds 0.1156"
    ) as caught:
        made(copy.deepcopy(model), fraction=0.05)
    advised = float(str(caught.value).partition("at least ")[2].partition(",")[0])
    with pytest.raises(UserError, match=r"layer '1' \(3, 10\)"):
        made(copy.deepcopy(model), fraction=advised)
    assert made(model, fraction=advised, exclude=("1",)).description["ranks"] == {"0": 1}


def test_the_first_convolution_and_the_last_linear_layer_stay_whole_unless_asked(make_net: MakeNet) -> None:
    inner = {"features.1.conv", "features.2.conv"}
    assert made(make_net(), fraction=0.5, split_ends=False).description["ranks"].keys() == inner
    both = {*inner, "features.0.conv", "classifier"}
    assert made(make_net(), fraction=0.5).description["ranks"].keys() == both
    wide = made(make_net("mlp", hidden=[20, 10]), fraction=0.5, split_ends=False)  # the first linear layer is no end
    assert len(wide.description["ranks"]) == 2
    assert made(nn.Sequential(nn.Linear(30, 20)), fraction=0.5, split_ends=False).description["ranks"] == {"0": 6}


class Nested(nn.Module):
    """Layers of many kinds; some cannot become two."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.ModuleDict({"conv": nn.Conv2d(3, 8, 3, padding=1, bias=False)})
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 3, groups=4, padding=1), nn.ConvTranspose2d(8, 8, 2, stride=2))
        self.tied = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.tied[1].weight = self.tied[0].weight
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.encoder = nn.TransformerEncoderLayer(8, 2, dim_feedforward=32, batch_first=True)
        self.gru = nn.GRU(8, 6, batch_first=True)
        self.hooked = nn.Linear(6, 12)
        self.hooked.register_forward_hook(lambda *_: None)
        self.read = nn.Linear(12, 20)
        self.only = nn.Linear(20, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.deep(functional.relu(self.stem["conv"](x)))
        x = x.mean(3).mT  # (B, T, 8)
        x = self.tied[1](torch.relu(self.tied[0](x)))
        x = self.encoder(self.attention(x, x, x)[0])
        x = self.hooked(self.gru(x)[0][:, -1])
        assert self.read.in_features == 12
        return self.only(functional.linear(x, self.read.weight, self.read.bias))


def test_networks_of_users_become_smaller_where_they_can() -> None:
    model = seeded(Nested).eval()
    found = made(copy.deepcopy(model), fraction=0.8)
    assert found.description["ranks"].keys() == {"stem.conv", "encoder.linear1", "encoder.linear2", "read"}
    notes = " ".join(kept_whole(found.structure))
    for name in ("deep.0", "deep.1", "tied.0", "attention", "encoder.self_attn", "gru", "hooked", "only"):
        assert name in notes
    for reason in ("grouped", "ConvTranspose2d", "shared", "MultiheadAttention", "GRU", "hooks", "below 0.95"):
        assert reason in notes
    x = torch.randn(2, 3, 6, 6)
    with torch.no_grad():  # the encoder's fast path reads the weights of its layers
        fast = found.model(x)
    torch.testing.assert_close(found.model(x), fast, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(at_full_rank(model)(x), model(x), atol=1e-5, rtol=1e-4)
    found.model(x).sum().backward()
    assert found.model.read.reduce.weight.grad is not None


def test_a_network_that_is_one_layer_becomes_a_pair() -> None:
    model = nn.Linear(30, 20)
    found = made(copy.deepcopy(model), fraction=0.5)
    assert [name for name, _ in found.model.named_parameters()] == ["reduce.weight", "expand.weight", "expand.bias"]
    assert replay(nn.Linear(30, 20), found.structure).load_state_dict(found.model.state_dict())


def test_frozen_layers_modes_and_types_stay_as_they_were() -> None:
    model = nn.Sequential(nn.Linear(30, 20, dtype=torch.float64), nn.Linear(20, 10, dtype=torch.float64)).eval()
    model[0].weight.requires_grad_(False)
    state = torch.get_rng_state()
    found = made(model, fraction=0.5).model
    assert torch.equal(torch.get_rng_state(), state)
    assert [p.requires_grad for p in found[0].parameters()] == [False, False, True]
    assert {p.dtype for p in found.parameters()} == {torch.float64}
    assert not found[0].reduce.training


def test_nothing_to_split_is_refused() -> None:
    with pytest.raises(UserError, match=r"no layer of this network can become two .*0: grouped"):
        made(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), fraction=0.5)


@pytest.mark.parametrize("form", ["channel", "spatial"])
def test_training_trains_the_factors_and_a_state_rebuilds_them_bit_for_bit(
    form: Any, make_net: MakeNet, noise: Samples
) -> None:
    svd = COMPRESSORS.get("svd")
    found = made(make_net(), fraction=0.6, form=form)
    before = {name: p.detach().clone() for name, p in found.model.named_parameters()}
    train(found.model, noise, Training(epochs=1, batch_size=8), torch.Generator().manual_seed(0), found.hooks)
    rebuilt = svd.restore(svd.state(found))
    assert {"classifier.reduce.weight", "features.0.conv.expand.weight"} <= rebuilt.keys()
    for name, weight in rebuilt.items():
        assert torch.equal(found.model.get_parameter(name), weight)
        assert not torch.equal(before[name], weight)
    for name, rank in found.description["ranks"].items():
        matrix = as_matrix(found.model.get_submodule(name).weight.detach(), "linear" if name == "classifier" else form)
        assert torch.linalg.matrix_rank(matrix) <= rank
        assert found.model.get_submodule(name).rank == rank
    fresh = replay(make_net(seed=5), found.structure)
    fresh.load_state_dict(found.model.state_dict())
    x = noise.inputs(slice(None))
    assert torch.equal(fresh.eval()(x), found.model.eval()(x))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"kind": "factors", "layers": [{"name": "nope", "form": "linear", "rank": 1}]}', "'nope'"),
        ('{"kind": "factors", "layers": [{"name": "0", "form": "spatial", "rank": 1}]}', "'0'"),
        ('{"kind": "factors", "layers": [{"name": "0", "form": "linear", "rank": 9}]}', "rank 9"),
        ('{"kind": "factors", "layers": [{"name": "0", "rank": 1}]}', "record of factors"),
        ('{"kind": "factor", "layers": []}', "kind 'factor'"),
    ],
)
def test_a_record_of_another_network_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=r"^structure: ") as caught:
        replay(nn.Sequential(nn.Linear(4, 8)), text)
    assert message in str(caught.value)


def test_size_and_operations_count_the_factors() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(8 * 16, 10, bias=False))
    found = made(model, fraction=0.5)
    ranks = (math.floor(0.5 * 8 * 27 / 35), math.floor(0.5 * 1280 / 138))
    assert tuple(found.description["ranks"].values()) == ranks
    weights = ranks[0] * 35 + ranks[1] * 138
    assert cost(found.model, COMPRESSORS.get("svd").state(found)).weight_bits == 32 * weights
    assert COMPRESSORS.get("svd").size(COMPRESSORS.get("svd").state(found)) == 32 * weights
    assert count_macs(found.model, torch.zeros(1, 3, 4, 4)) == 16 * ranks[0] * 35 + ranks[1] * 138


@pytest.mark.parametrize("form", ["channel", "spatial"])
def test_inputs_steer_what_is_kept(form: Any) -> None:
    """The error of outputs on correlated inputs is smaller than without them, and full rank loses nothing."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 4, 6, 6, generator=generator) * torch.tensor([8.0, 1.0, 0.1, 0.0])[:, None, None]
    x = x + x.roll(1, 3)
    samples = Samples(x.permute(0, 2, 3, 1).contiguous(), torch.zeros(200, dtype=torch.long))
    model = seeded(lambda: nn.Sequential(nn.Conv2d(4, 12, 3), nn.Flatten(), nn.Linear(192, 10)), 1)
    errors = []
    for data in ("none", "public"):
        found = made(copy.deepcopy(model), samples, fraction=0.4, form=form, data=data)
        with torch.no_grad():
            errors.append(float((found.model[0](x) - model[0](x)).norm() / model[0](x).norm()))
    assert errors[1] < 0.8 * errors[0]


def test_weighting_by_hand() -> None:
    """With the second moments of inputs, the kept part is the best for outputs, as numpy finds it."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 9, generator=generator, dtype=torch.float64)
    x = torch.randn(9, 500, generator=generator, dtype=torch.float64) * torch.logspace(0, -1, 9)[:, None]
    split = Split.of(weight, "linear", x @ x.T)
    reduce, expand = split.factors(2)
    best = cut((weight @ x).numpy(), 2)  # no matrix of rank 2 has outputs nearer to all of them
    error = np.linalg.norm(((expand @ reduce) @ x).numpy() - (weight @ x).numpy())
    assert error <= 1.02 * np.linalg.norm(best - (weight @ x).numpy())
    reduce, expand = split.factors(6)
    torch.testing.assert_close(expand @ reduce, weight)


CHAINS: list[list[dict[str, Any]]] = [
    [{"name": "l1structured", "options": {"sparsity": 0.3}}, {"name": "svd", "options": {"fraction": 0.6}}],
    [{"name": "svd", "options": {"fraction": 0.6}}, {"name": "l1unstructured", "options": {"sparsity": 0.5}}],
    [{"name": "svd", "options": {"fraction": 0.6}}, {"name": "rtn", "options": {"bits": 4}}],
    [
        {"name": "l1structured", "options": {"sparsity": 0.3}},
        {"name": "svd", "options": {"fraction": 0.7}},
        {"name": "random", "options": {"sparsity": 0.3}},
        {"name": "kmeans", "options": {"clusters": 4}},
    ],
]


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: "+".join(step["name"] for step in chain))
def test_chains_with_factors_are_saved_loaded_and_trained_further(
    chain: Any, make_net: MakeNet, tmp_path: Any, noise: Samples
) -> None:
    network = make_net().eval()
    methods = [":".join([s["name"], *(f"{k}={v}" for k, v in s["options"].items())]) for s in chain]
    found = pruneaudit.compress(network, methods, example=(1, 8, 8))
    loaded = pruneaudit.load_compressed(make_net(seed=3).eval(), found.save(tmp_path / "made"))
    x = noise.inputs(slice(None))
    assert torch.equal(loaded.model(x), found.model(x))
    assert found.state.keys() == loaded.state.keys()
    train(loaded.model, noise, Training(epochs=1, batch_size=8), torch.Generator(), loaded.hooks)
    state = {k: v for each in loaded.constraints for k, v in each.state(loaded.model).items()}
    held = ("mask", "index", "grid", "scale")
    assert all(torch.equal(state[k], v) for k, v in found.state.items() if k.split("/")[0] in held)


def test_rewinding_after_a_split_is_refused(make_net: MakeNet, make_context: MakeContext) -> None:
    options = {"sparsity": 0.5, "rounds": 2, "rewind": "init"}
    steps = [Step.of(CHAINS[1][0]), Step.of({"name": "iterative", "options": options})]
    with pytest.raises(UserError, match=r"'iterative' cannot follow 'svd': .*rewind=none"):
        compressed(Chained(make_net()), steps, lambda number: make_context(make_net))


def test_excluding_a_layer_covers_both_of_its_parts(make_net: MakeNet) -> None:
    model = made(make_net(), fraction=0.6).model
    for name, part in (("classifier", "classifier"), ("first_conv", "features.0.conv")):
        left = prunable_weights(model, (name,))
        assert not [key for key in left if key.startswith(f"{part}.")]
        assert len(left) == len(prunable_weights(model)) - 2
