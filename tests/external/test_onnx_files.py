"""ONNX files of compressed networks: what they hold, and how onnxruntime answers with them."""

import dataclasses
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

import pruneaudit
from pruneaudit.external.onnx_file import write_onnx
from pruneaudit.external.onnx_inputs import inputs_of
from pruneaudit.models import build_model

# N inputs, C classes

SHAPE = (1, 8, 8)


class Residual(nn.Module):
    """BatchNorm with negative, zero and tiny factors, a sum of two paths, a depthwise and a plain convolution."""

    def __init__(self, outputs=3):
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.deep, self.deep_norm = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8 * 9, outputs)

    def forward(self, x):
        x = self.norm(self.first(x)).relu()
        x = nn.functional.relu(x + self.deep_norm(self.deep(x)))
        return self.head(nn.functional.max_pool2d(self.last(x).relu(), 2).flatten(1))


class InADict(nn.Module):
    def __init__(self):
        super().__init__()
        self.plain = plain()

    def forward(self, x):
        return {"logits": self.plain(x)}


class Tokens(nn.Module):
    """A linear layer on three dimensions is a MatMul in ONNX."""

    def __init__(self):
        super().__init__()
        self.mix, self.head = nn.Linear(8, 16), nn.Linear(16 * 8, 3)

    def forward(self, x):
        return self.head(self.mix(x[:, 0]).relu().flatten(1))


def plain(outputs=3):
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(16, outputs)),
    )


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3))


NETWORKS = {
    "residual": Residual,
    "plain": plain,
    "mlp": mlp,
    "tokens": Tokens,
    "one logit": lambda: plain(1),
    "dict": InADict,
}


def made(name, seed=0):
    """A network in which every factor of BatchNorm, and its statistics, are at work."""
    torch.manual_seed(seed)
    network = NETWORKS[name]()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            with torch.no_grad():
                module.weight[:2] = torch.tensor([-1.5, 0])
    return network.eval()


@pytest.fixture(scope="module")
def x():
    return torch.randn(300, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.onnx"


def answers(file, x):
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits"], {"input": x.numpy()})[0])


def values(file):
    return {value.name: value for value in onnx.load(file).graph.initializer}


METHODS = {
    "rtn:bits=8": "int8",
    "rtn:bits=8:symmetry=full": "int8",
    "rtn:bits=8:symmetry=asymmetric": "uint8",
    "rtn:bits=4": "int4",
    "rtn:bits=2": "int4",
    "rtn:bits=3:symmetry=asymmetric": "uint4",
    "rtn:bits=4:granularity=group:group_size=32": "int4",
    "rtn:bits=8:granularity=tensor": "int8",
    "kmeans:clusters=16": "uint4",
    "kmeans:clusters=64": "uint8",
    "static8": "int8",
}
ON_ALL = ("rtn:bits=4", "kmeans:clusters=16", "static8")
"""On every network; the other methods only on the first two."""
FAST = {("residual", "rtn:bits=8:symmetry=full")}


@pytest.mark.parametrize(
    ("name", "method"),
    [
        pytest.param(name, method, marks=() if (name, method) in FAST else pytest.mark.slow)
        for name in NETWORKS
        for method in (METHODS if name in ("residual", "plain") else ON_ALL)
    ],
)
def test_the_file_holds_codes_and_answers_as_the_network_does(file, x, name, method):
    calibration = x[:64] if method == "static8" else None
    compressed = pruneaudit.compress(made(name), method, example=SHAPE, calibration=calibration)
    facts = compressed.to_onnx(file, inputs=x)
    assert facts.agreement.num_inputs == 1000 and facts.agreement.sources == {"calibration": 300, "noise": 700}
    assert facts.agreement.same_class + facts.agreement.near_ties + facts.agreement.others == 1000
    assert set(facts.stored.values()) == {METHODS[method]}
    assert len(facts.stored) == len([key for key in compressed.state if key.startswith(("codes/", "index/"))])
    assert facts.num_bytes == file.stat().st_size
    if name == "mlp":  # in the others, names take more than weights
        assert facts.num_bytes < 0.75 * facts.float_bytes
    note = json.loads((file.parent / "model.onnx.json").read_text())
    assert note["onnx"]["agreement"]["num_inputs"] == 1000 and note["onnx"]["weights"] == facts.stored
    assert note["summary"]["method"]["name"] == method.partition(":")[0]
    with torch.no_grad():
        expected = compressed.model(x)
    expected = expected["logits"] if name == "dict" else expected
    for size in (1, 3, 300):
        got = answers(file, x[:size])
        assert got.shape == expected[:size].shape
        if method != "static8":
            assert (got - expected[:size]).abs().max() < 1e-5 * max(1, expected.abs().max())
        elif name != "one logit":
            assert (got.argmax(1) == expected[:size].argmax(1)).float().mean() > 0.99


@pytest.mark.slow
def test_codes_times_scales_are_the_weights_with_batch_norm_folded(file, x):
    network = made("plain")
    compressed = pruneaudit.compress(network, "rtn:bits=8:symmetry=full", example=SHAPE)
    compressed.to_onnx(file, inputs=x)
    held = {name: numpy_helper.to_array(value) for name, value in values(file).items()}
    for layer, norm in ((0, 1), (4, 5)):
        conv, batch_norm = compressed.model[layer], compressed.model[norm]
        weight, bias = fuse_conv_bn_weights(
            *(conv.weight, conv.bias, batch_norm.running_mean, batch_norm.running_var),
            *(batch_norm.eps, batch_norm.weight, batch_norm.bias),
        )
        codes, scale, zero = (held[f"{layer}.weight/{part}"] for part in ("codes", "scale", "zero"))
        assert codes.dtype == np.int8 and scale.shape == zero.shape == (len(weight),)
        along = (-1, 1, 1, 1)
        rebuilt = (codes.astype(int) - zero.reshape(along).astype(int)) * scale.reshape(along)
        assert rebuilt == pytest.approx(weight.detach().numpy(), rel=1e-6, abs=1e-9)
        assert held[f"{layer}.weight/bias"] == pytest.approx(bias.detach().numpy(), rel=1e-5, abs=1e-6)
        assert (scale > 0).all()


@pytest.mark.slow
def test_four_bits_take_half_a_byte(file, x):
    network = made("mlp")
    pruneaudit.compress(network, "rtn:bits=4").to_onnx(file, inputs=x)
    weight = values(file)["1.weight/codes"]
    assert weight.data_type == TensorProto.INT4 and len(weight.raw_data) == network[1].weight.numel() // 2
    pruneaudit.compress(network, "rtn:bits=8").to_onnx(file, inputs=x, force=True)
    assert len(values(file)["1.weight/codes"].raw_data) == network[1].weight.numel()


def test_activations_of_8_bits_run_as_integers(file, x):
    compressed = pruneaudit.compress(made("plain"), "static8", calibration=x[:64])
    facts = compressed.to_onnx(file, inputs=x)
    assert (facts.num_kernels, facts.num_rounded) == (3, 3)
    nodes = onnx.load(file).graph.node
    assert [node.op_type for node in nodes if node.op_type in ("Conv", "Gemm", "BatchNormalization")] == [
        *("Conv", "Conv", "Gemm")
    ]
    made_by = {node.output[0]: node.op_type for node in nodes}
    for node in nodes:
        if node.op_type in ("Conv", "Gemm"):
            assert [made_by[name] for name in node.input] == ["DequantizeLinear"] * len(node.input)
    compressed.model.eval()
    assert len(compressed.model[0]._forward_pre_hooks) == 1, "the network itself still rounds"


@pytest.mark.slow
def test_integers_of_the_file_give_its_logits(file, x):
    """Integer sums in numpy, from nothing but the parts of the file."""
    pruneaudit.compress(made("mlp"), "static8", calibration=x[:64]).to_onnx(file, inputs=x)
    held = {name: numpy_helper.to_array(value) for name, value in values(file).items()}
    reads = {node.output[0]: node for node in onnx.load(file).graph.node}

    def layer(node, codes, scale, zero):
        weights, weight_scale = (held[name] for name in reads[node.input[1]].input[:2])
        bias, bias_scale = (held[name] for name in reads[node.input[2]].input[:2])
        assert bias.dtype == np.int32 and bias_scale == pytest.approx(scale * weight_scale, rel=1e-6)
        sums = (codes - int(zero)) @ weights.astype(np.int64).T + bias
        return sums * (float(scale) * weight_scale.astype(np.float64))

    def parts_of(node):
        return (held[name] for name in reads[node.input[0]].input[1:3])

    def rounded(numbers, scale, zero):
        return np.clip(np.rint(numbers / float(scale)) + int(zero), 0, 255).astype(np.int64)

    first, last = (node for node in onnx.load(file).graph.node if node.op_type == "Gemm")
    found = x.flatten(1).double().numpy()
    for node in (first, last):
        scale, zero = parts_of(node)
        found = layer(node, rounded(np.maximum(found, 0) if node is last else found, scale, zero), scale, zero)
    # float32 divides by the scale a little differently: a code next to half a step can move
    assert np.abs(found - answers(file, x).numpy()).max() < 0.02 * np.abs(found).max()
    assert np.median(np.abs(found - answers(file, x).numpy())) < 1e-5


@pytest.mark.slow
def test_a_bias_too_large_for_an_integer_is_added_later(file, x):
    network = made("plain")
    with torch.no_grad():
        network[1].weight[0] = 1e-9
    facts = pruneaudit.compress(network, "static8", calibration=x[:64]).to_onnx(file, inputs=x)
    operations = [node.op_type for node in onnx.load(file).graph.node]
    assert operations.count("Add") == 1 and (facts.num_kernels, facts.num_rounded) == (2, 3)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["rtn:bits=4", "static8", "kmeans:clusters=4"])
def test_a_weight_of_two_layers_is_stored_once(file, x, method):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    network[3].weight = network[1].weight
    compressed = pruneaudit.compress(network, method, calibration=x if method == "static8" else None)
    facts = compressed.to_onnx(file, inputs=x)
    assert len(facts.stored) == 2 and facts.num_bytes < 64 * 64 * 2 + 4000
    if method == "static8":  # both get one range, which ReLU's output does not fill: it stays an operation of its own
        assert (facts.num_kernels, facts.num_rounded) == (2, 3)


@pytest.mark.slow
def test_rounded_logits_differ_by_at_most_one_step(file, x):
    compressed = pruneaudit.compress(made("plain"), "static8:output=int8", calibration=x[:64])
    facts = compressed.to_onnx(file, inputs=x)
    step = float(compressed.model[8].output_scale)
    assert facts.agreement.step == step and facts.agreement.has_int8_logits
    codes = answers(file, x) / step
    assert (codes - codes.round()).abs().max() < 1e-3
    assert facts.agreement.steps <= 1.001


@pytest.mark.slow
def test_smaller_layers_and_zeros_stay(file, x):
    smaller = pruneaudit.compress(made("plain"), "l1structured", 0.5, example=SHAPE)
    smaller.to_onnx(file, inputs=x)
    left = len(smaller.model[0].weight)
    assert left < 8 and list(values(file)["0.weight"].dims) == [left, 1, 3, 3]
    masked = pruneaudit.compress(made("plain"), "l1unstructured", 0.5)
    facts = masked.to_onnx(file, inputs=x, force=True)
    weight = numpy_helper.to_array(values(file)["4.weight"])
    removed = ~masked.masks["4.weight"].numpy()
    assert removed.any() and not weight[removed].any() and facts.stored == {} and facts.times is None


@pytest.mark.slow
@pytest.mark.parametrize("method", ["rtn:bits=4:granularity=group:group_size=32", "rtn:bits=8"])
def test_transposed_convolutions_have_their_channels_on_the_second_axis(file, x, method):
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.ConvTranspose2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 6, 3, groups=2)),
        *(nn.Flatten(), nn.Linear(6 * 144, 3)),
    ).eval()
    nn.init.normal_(network[1].weight)
    compressed = pruneaudit.compress(network, method)
    compressed.to_onnx(file, inputs=x)
    with torch.no_grad():
        assert (answers(file, x) - compressed.model(x)).abs().max() < 1e-5


@pytest.mark.slow
def test_factors_are_layers(file, x):
    """Two layers of rank r in the place of one, with their own weights."""
    compressed = pruneaudit.compress(made("mlp"), "svd", fraction=0.5)
    compressed.to_onnx(file, inputs=x)
    weights = {tuple(value.dims) for value in values(file).values() if len(value.dims) == 2}
    own = {tuple(weight.shape) for weight in compressed.model.parameters() if weight.ndim == 2}
    assert weights == own and len(own) >= 3


@pytest.mark.slow
@pytest.mark.parametrize(("clusters", "kind"), [(4, "uint4"), (16, "uint8"), (256, "uint16")])
def test_removed_weights_are_one_more_shared_value(file, x, clusters, kind):
    compressed = pruneaudit.compress(made("mlp"), ["l1unstructured:sparsity=0.5", f"kmeans:clusters={clusters}"])
    facts = compressed.to_onnx(file, inputs=x)
    assert facts.stored["1.weight"] == kind
    shared = numpy_helper.to_array(values(file)["1.weight/values"])
    assert len(shared) == clusters + 1 and shared[-1] == 0
    index = numpy_helper.to_array(values(file)["1.weight/index"]).astype(int)
    assert ((index == clusters) == ~compressed.masks["1.weight"].numpy()).all()


def flipped(state, name, by):
    codes = state[f"codes/{name}"].clone()
    codes.view(-1)[0] ^= by
    return {**state, f"codes/{name}": codes}


@pytest.mark.parametrize(
    ("method", "by"), [("rtn:bits=8", 1), pytest.param("static8:output=int8", 64, marks=pytest.mark.slow)]
)
def test_one_wrong_code_is_refused_and_nothing_written(file, x, method, by):
    compressed = pruneaudit.compress(made("plain"), method, calibration=x[:64] if "static8" in method else None)
    wrong = flipped(compressed.state, "8.weight", by)
    with pytest.raises(pruneaudit.UserError, match=r"'8\.weight' differs from its compressed state"):
        dataclasses.replace(compressed, state=wrong).to_onnx(file, inputs=x)
    inputs = inputs_of({"calibration": x}, SHAPE, torch.float32)
    with pytest.raises(pruneaudit.UserError, match=r"onnxruntime.* differ.* no ONNX file is written.*safetensors"):
        write_onnx(compressed.model.eval(), wrong, inputs, file)
    assert list(file.parent.iterdir()) == []


@pytest.mark.slow
def test_other_classes_are_refused(file, x):
    """A network with one wrong scale answers otherwise, with float logits too."""
    compressed = pruneaudit.compress(made("plain"), "static8", calibration=x[:64])
    wrong = {**compressed.state, "scale/8.weight": -compressed.state["scale/8.weight"]}
    inputs = inputs_of({}, SHAPE, torch.float32)
    with pytest.raises(pruneaudit.UserError, match=r"another class for [\d,]+ of 1,000 inputs, expected at most 2"):
        write_onnx(compressed.model.eval(), wrong, inputs, file)


def test_what_is_compared_on_is_labelled():
    x = torch.arange(12.0).reshape(6, 2)
    parts = {"holdout": x[:4], "public": x[4:]}
    found = inputs_of(parts, (2,), torch.float32)
    assert found.sources == {"holdout": 4, "public": 2, "noise": 994} and found.x.shape == (1000, 2)
    assert torch.equal(found.x[:6], x)
    noise = found.x[6:] - x.repeat(166, 1)[:994]
    assert float(noise.std()) == pytest.approx(0.1 * float(x.std()), rel=0.1) and float(noise.abs().min()) > 0
    assert torch.equal(inputs_of(parts, (2,), torch.float32).x, found.x)
    assert inputs_of({"holdout": torch.zeros(1500, 2)}, (2,), torch.float32).sources == {"holdout": 1000}
    assert inputs_of({}, (2,), torch.float32).sources == {"random": 1000}
    tokens = inputs_of({"public": torch.ones(5, 2, dtype=torch.int64)}, (2,), torch.int64)
    assert tokens.sources == {"public": 5}


@pytest.mark.slow
def test_without_inputs_seeded_ones_are_used_and_labelled(file):
    compressed = pruneaudit.compress(made("mlp"), "rtn:bits=8", example=SHAPE)
    facts = compressed.to_onnx(file)
    assert facts.times_computed_once.ratio > 0
    assert facts.agreement.sources == {"random": 1000} and "1,000 random" in facts.lines()[0]
    assert json.loads((file.parent / "model.onnx.json").read_text())["onnx"]["agreement"]["inputs"] == {"random": 1000}


@pytest.mark.slow
def test_a_saved_network_is_written_too(file, x, tmp_path):
    folder = pruneaudit.compress(made("plain"), "static8", calibration=x[:64]).save(tmp_path / "rounded")
    with pytest.raises(pruneaudit.UserError, match=r"`compress` saved.*--onnx FILE.*to_onnx"):
        pruneaudit.export(folder, "dense", file)
    again = pruneaudit.load_compressed(plain, folder)
    assert again.to_onnx(file).agreement.num_inputs == 1000
    assert list(values(file)["0.weight/codes"].dims) == [8, 1, 3, 3]


def test_no_file_holds_a_sample(file, x):
    compressed = pruneaudit.compress(made("plain"), "static8", calibration=x)
    folder = compressed.save(file.parent / "folder")
    compressed.to_onnx(file, inputs=x)
    files = [*folder.iterdir(), *(path for path in file.parent.iterdir() if path.is_file())]
    assert len(files) == 6
    parts = [x[number].numpy().tobytes()[: 8 * 4] for number in range(len(x))]
    held = values(file)["4.weight/codes"].raw_data[:32]
    assert any(held in path.read_bytes() for path in files), "the search finds what is there"
    for path in files:
        content = path.read_bytes()
        assert not any(part in content for part in parts), path.name
        assert b"test_onnx_files" not in content, "no path of the user's source"


@pytest.mark.slow
def test_refusals_name_the_remedy(file, x):
    compressed = pruneaudit.compress(made("residual"), "rtn:bits=8")
    with pytest.raises(pruneaudit.UserError, match="shape of an input is unknown; give inputs, or shape="):
        compressed.to_onnx(file)
    with pytest.raises(pruneaudit.UserError, match=r"inputs of shape \(3, 8, 8\).*fails"):
        compressed.to_onnx(file, shape=(3, 8, 8))
    with pytest.raises(pruneaudit.UserError, match="expected finite inputs"):
        compressed.to_onnx(file, inputs=x * float("nan"))
    file.write_text("mine")
    with pytest.raises(pruneaudit.UserError, match="exists already"):
        compressed.to_onnx(file, inputs=x)
    assert file.read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["rtn:bits=4", "static8"])
def test_a_vision_transformer_is_written_too(file, method):
    network = build_model("vit", {"width": 16, "layers": 2, "heads": 2}, (1, 8, 8), 3, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in network.parameters():  # some begin as zeros, which hide errors
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    images = torch.randn(100, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    calibration = images if method == "static8" else None
    compressed = pruneaudit.compress(network.eval(), method, example=(1, 8, 8), calibration=calibration)
    facts = compressed.to_onnx(file, inputs=images)
    assert len(facts.stored) > 10 and facts.agreement.same_class >= 998
    with torch.no_grad():
        differs = (answers(file, images) - compressed.model(images)).abs().max()
    assert differs < (0.1 if method == "static8" else 1e-4)
