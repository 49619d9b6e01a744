"""`pruneaudit.compress` on networks of the user's own: what comes out, what is left alone, what is refused."""

import copy
import inspect
import json
import re

import pytest
import torch
from torch import nn

import pruneaudit
from pruneaudit.compression import COMPRESSORS
from pruneaudit.core.errors import UserError
from pruneaudit.external.compress import compress
from pruneaudit.external.tuning import FineTuning
from pruneaudit.study import Training
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples
from run_bytes import all_bytes

pytestmark = pytest.mark.usefixtures("one_thread")

# N samples, B batch, C classes


class Residual(nn.Module):
    """Two coupled convolutions, and a view that needs plain memory order."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 8, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(8)
        self.head = nn.Linear(8 * 36, 3)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        x = (x + self.norm2(self.inner(x))).relu()
        return self.head(x.view(len(x), -1))


class Scale(nn.Module):
    """A layer of the user's own, neither convolution nor linear."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((6,), 2.0))

    def forward(self, x):
        return x * self.weight


def plain():
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 3)),
    )


def grouped():
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
    )


def table():
    return nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))


def scaled():
    return nn.Sequential(nn.Linear(10, 6), Scale(), nn.Tanh(), nn.Linear(6, 3))


NETWORKS = {"residual": Residual, "plain": plain, "grouped": grouped, "table": table, "scaled": scaled}
IN_TRAINING = (
    "dpf",
    "gradual",
    "iterative:rounds=2",
    "static:start=init",
    "iterative:rounds=2:rewind=init",
    "synflow",
    "rigl:period_steps=2",
)
BY_CHANNEL = ("l1structured", "l2structured", "slim")
BY_SAMPLES = ("obc", "snip", "sparsegpt", "wanda")
OF_TRANSFORMERS = ("heads", "ffn")
NEEDS_MORE = {method.partition(":")[0] for method in (*IN_TRAINING, *BY_CHANNEL, *BY_SAMPLES, *OF_TRANSFORMERS)} - {
    "static"
}
BY_MASK = (
    # a new method whose degree is a sparsity is tried with them
    *(name for name in COMPRESSORS.names() if name not in NEEDS_MORE and COMPRESSORS.get(name).degree == "sparsity"),
    *(
        "l1unstructured:scope=layerwise",
        "l1unstructured:preset=mia_prune",
        "static:densities=erk",
        "synflow:start=pretrained",
    ),
)


def made(name, seed=0):
    """A network whose BatchNorm and biases are not as they are at first."""
    torch.manual_seed(seed)
    network = NETWORKS[name]()
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand_like(tensor))
    return network


def samples(network, number=40):
    generator = torch.Generator().manual_seed(1)
    shape = (10,) if isinstance(network, nn.Sequential) and isinstance(network[0], nn.Linear) else (1, 6, 6)
    return torch.randn(number, *shape, generator=generator), torch.randint(3, (number,), generator=generator)


def answers(network, x):
    with torch.no_grad():
        return copy.deepcopy(network).eval()(x)


def zero_fraction(network):
    weights = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return 1 - sum(int((w != 0).sum()) for w in weights) / sum(w.numel() for w in weights)


def check_saved(pruned, fresh, x, folder):
    again = pruneaudit.load_compressed(fresh, pruned.save(folder))
    assert torch.equal(answers(again.model, x), answers(pruned.model, x))
    assert again.structure == pruned.structure and again.sparsity == pruned.sparsity
    assert (again.masks is None) == (pruned.masks is None)
    if pruned.masks:
        assert all(torch.equal(again.masks[name], mask) for name, mask in pruned.masks.items())


@pytest.mark.parametrize("method", BY_MASK)
@pytest.mark.parametrize("name", NETWORKS)
def test_masks_hold_on_every_network_and_come_back_from_disk(name, method, tmp_path):
    model = made(name)
    before = copy.deepcopy(model.state_dict())
    x, _ = samples(model)
    pruned = pruneaudit.compress(model, method, 0.6, example=x if "synflow" in method else None)
    assert pruned.sparsity == pytest.approx(zero_fraction(pruned.model))
    assert pruned.sparsity == pytest.approx(0.6, abs=0.02)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    check_saved(pruned, NETWORKS[name], x, tmp_path / "pruned")


@pytest.mark.parametrize("method", ["obc", "snip:start=pretrained", "sparsegpt", "wanda"])
@pytest.mark.parametrize("name", ["residual", "table"])
def test_masks_that_samples_determine_come_back_from_disk(name, method, tmp_path):
    model = made(name)
    x, y = samples(model)
    pruned = pruneaudit.compress(model, method, 0.6, calibration=(x, y))
    assert pruned.sparsity == pytest.approx(0.6, abs=0.02)
    check_saved(pruned, NETWORKS[name], x, tmp_path / "pruned")


@pytest.mark.parametrize("method", ["l1structured", "l2structured:scope=global", "l1structured:target=macs"])
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "scaled"])
def test_removed_channels_come_back_from_disk(name, method, tmp_path):
    model = made(name)
    before = copy.deepcopy(model.state_dict())
    x, _ = samples(model)
    pruned = pruneaudit.compress(model, method, 0.4, example=x)
    sizes = pruned.summary
    assert sizes["after"]["parameters"] == sum(p.numel() for p in pruned.model.parameters())
    assert sizes["after"]["parameters"] < sizes["before"]["parameters"]
    assert sizes["after"]["macs"] < sizes["before"]["macs"]
    assert pruned.masks is None and pruned.hold(torch.optim.SGD(pruned.model.parameters(), 0.1)) is None
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    check_saved(pruned, NETWORKS[name], x, tmp_path / "pruned")


@pytest.mark.parametrize("method", [*IN_TRAINING, "l1unstructured", "random:exclude=['head']", "slim:preset=mia_prune"])
def test_fine_tuning_holds_the_mask(method, tmp_path):
    model = made("residual").eval()
    before = copy.deepcopy(model.state_dict())
    x, y = samples(model)
    initial = made("residual", seed=5) if "rewind" in method else None
    pruned = pruneaudit.compress(
        *(model, method, 0.6),
        finetuning=FineTuning((x, y), initial=initial, epochs=4, batch_size=10, momentum=0.9),
        test=(x, y),
    )
    removed = sum(int((pruned.model.get_parameter(name)[~mask] != 0).sum()) for name, mask in pruned.masks.items())
    assert removed == 0
    assert pruned.masks.sparsity == pytest.approx(0.6, abs=0.05)
    assert not torch.equal(pruned.model.head.weight[pruned.model.head.weight != 0][:5], before["head.weight"][0, :5])
    assert not any(module.training for module in pruned.model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [row["epoch"] for row in pruned.history] == [1, 2, 3, 4]
    assert pruned.summary["accuracy"]["after_finetuning"] > 1 / 3
    check_saved(pruned, made("residual", seed=2), x, tmp_path / "pruned")


def test_hooks_of_the_result_hold_its_mask_in_a_further_training():
    model = made("table")
    x, y = samples(model)
    pruned = pruneaudit.compress(model, "dpf", 0.6, finetuning=FineTuning((x, y), epochs=3))
    masks = dict(pruned.masks)
    train(pruned.model, Samples(x, y), Training(epochs=2), torch.Generator().manual_seed(0), pruned.hooks)
    assert all(not pruned.model.get_parameter(name)[~mask].any() for name, mask in masks.items())


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_the_memory_order_stays_as_it_was(order, tmp_path):
    model = made("plain").to(memory_format=order)
    x, y = samples(model)
    pruned = pruneaudit.compress(model, "l1unstructured", 0.5, finetuning=FineTuning((x, y), epochs=1))
    assert pruned.model[3].weight.is_contiguous(memory_format=order)
    check_saved(pruned, plain().to(memory_format=order), x, tmp_path / "pruned")


@pytest.mark.parametrize("kind", ["texts", "series"])
def test_inputs_that_are_no_images(kind, tmp_path):
    def fresh():
        first = nn.Embedding(20, 6) if kind == "texts" else nn.Conv1d(6, 6, 3, padding=1)
        return nn.Sequential(first, nn.Flatten(), nn.Linear(6 * 6, 3))

    model, y = fresh(), torch.arange(30) % 3
    x = torch.arange(180).view(30, 6) % 20 if kind == "texts" else torch.randn(30, 6, 6)
    pruned = pruneaudit.compress(model, "l1unstructured", 0.5, finetuning=FineTuning((x, y), epochs=2))
    assert pruned.sparsity == pytest.approx(0.5, abs=0.01)
    assert pruned.summary["after"]["macs"] == 36 * 3 + (6 * 18 * 6 if kind == "series" else 0)
    check_saved(pruned, fresh, x, tmp_path / "pruned")


def test_slim_trains_removes_and_trains(tmp_path):
    model = made("plain")
    x, y = samples(model)
    pruned = pruneaudit.compress(
        *(model, "slim:sparsity_epochs=1", 0.5),
        finetuning=FineTuning((x.numpy(), y.numpy()), epochs=2, batch_size=10),
    )
    assert pruned.sparsity == pytest.approx(0.5, abs=0.1)
    assert model.training and pruned.model.training
    check_saved(pruned, plain, x, tmp_path / "pruned")


def test_the_same_seed_gives_the_same_network_and_leaves_the_global_generator_alone():
    model = made("plain")
    x, y = samples(model)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    tuned = FineTuning((x, y), epochs=2)
    results = [pruneaudit.compress(model, "random", 0.5, finetuning=tuned, seed=seed) for seed in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), state)
    first, same, other = (result.model.state_dict() for result in results)
    assert all(torch.equal(value, same[key]) for key, value in first.items())
    assert not torch.equal(first["0.weight"], other["0.weight"])


def test_macs_and_rows_of_layers_are_those_of_a_hand_count():
    pruned = pruneaudit.compress(made("table"), "l1unstructured", 0.5)
    assert pruned.summary["before"]["macs"] == pruned.summary["after"]["macs"] == 10 * 16 + 16 * 16 + 16 * 3
    rows = pruned.summary["layers"]
    assert [row["name"] for row in rows] == ["0", "2", "4"]
    assert sum(row["nonzero"] for row in rows) == (160 + 256 + 48) // 2
    assert pruneaudit.compress(made("plain"), "l1unstructured", 0.5).summary["after"]["macs"] is None
    with_shape = pruneaudit.compress(made("plain"), "l1unstructured", 0.5, example=(1, 6, 6))
    assert with_shape.summary["after"]["macs"] == 36 * 9 * 8 + 36 * 9 * 8 * 12 + 48 * 3


def test_a_loop_of_the_users_own_holds_the_mask_until_it_is_let_go():
    model = made("table")
    x, y = samples(model)
    pruned = pruneaudit.compress(model, "l1unstructured", 0.7)
    optimizer = torch.optim.SGD(pruned.model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    handle = pruned.hold(optimizer)

    def steps():
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(pruned.model(x), y).backward()
            optimizer.step()
        return zero_fraction(pruned.model)

    assert steps() == pytest.approx(pruned.sparsity)
    handle.remove()
    assert steps() < 0.1


def test_a_training_function_is_called_per_phase_and_gets_hooks():
    model = made("table")
    stored = Samples(*samples(model))
    phases = []

    def own(network, hooks, phase, epochs):
        phases.append((phase, epochs))
        settings = Training(epochs=epochs or 2, batch_size=10, learning_rate=0.01)
        train(network, stored, settings, torch.Generator().manual_seed(0), hooks)

    pruned = pruneaudit.compress(model, "iterative:rounds=3", 0.6, finetuning=FineTuning(train=own))
    assert phases == [("round 1", None), ("round 2", None), ("finetune", None)]
    assert zero_fraction(pruned.model) == pytest.approx(0.6, abs=0.01)
    assert pruned.summary["finetuning"] == "train function"
    again = pruneaudit.compress(model, "dpf", 0.6, finetuning=FineTuning(train=own))
    assert again.sparsity == pytest.approx(0.6, abs=0.01)


def test_a_training_function_that_ignores_the_hooks_is_refused():
    def careless(network, hooks, phase, epochs):
        with torch.no_grad():
            network[0].weight.add_(1)

    with pytest.raises(UserError, match="removed weights are not zero"):
        pruneaudit.compress(made("table"), "l1unstructured", 0.6, finetuning=FineTuning(train=careless))
    with pytest.raises(UserError, match=r"sparsity 0 after it, expected 0\.6"):
        pruneaudit.compress(made("table"), "gradual", 0.6, finetuning=FineTuning(train=lambda *_: None))


def parametrized():
    network = table()
    nn.utils.parametrizations.weight_norm(network[0])
    return network


def of_nan():
    network = table()
    network[2].weight.data[0, :2] = torch.tensor([float("nan"), float("inf")])
    return network


def frozen():
    return table().requires_grad_(False)


X, Y = torch.randn(20, 10), torch.arange(20) % 3
REFUSED = [
    ({"sparsity": 1.0}, "sparsity: got 1.0, expected above 0 and below 1"),
    ({"sparsity": -0.1}, "sparsity: got -0.1"),
    ({"sparsity": float("nan")}, "sparsity: got nan"),
    ({"sparsity": "0.9"}, "sparsity: got '0.9'"),
    ({"sparsity": 0.9999}, "leaves none of 464 weights"),
    ({"method": 7}, "method"),
    ({"method": "l1unstructred"}, "unknown compressor 'l1unstructred' (did you mean 'l1unstructured'?)"),
    ({"method": "l1unstructured:scop=global"}, "unknown key 'scop' (did you mean 'scope'?)"),
    ({"method": "l1unstructured:exclude=['3']"}, "exclude: no layer '3'"),
    ({"method": "l1unstructured:layers=convolutions"}, "nothing to prune"),
    ({"model": "resnet"}, "model: got str, expected a torch.nn.Module"),
    ({"model": nn.Sequential(nn.BatchNorm1d(4))}, "nothing to prune"),
    ({"model": nn.Sequential(nn.LazyLinear(4))}, "run the network on one batch first"),
    ({"model": parametrized()}, "weight_norm computes it"),
    ({"model": of_nan()}, "NaN or infinity in 2 of 256 weights"),
    ({"method": "slim", "data": (X, Y)}, "got a network without BatchNorm"),
    ({"method": "l1structured", "sparsity": 0.99}, "at most"),
    ({"method": "l1structured", "model": plain()}, "give example=(3, 32, 32) or a batch"),
    ({"method": "l1structured", "example": (11,)}, "the network fails on them"),
    ({"example": (0,)}, "example: got the shape (0,), expected lengths above 0"),
    ({"method": "l1structured", "model": scaled()}, "no layer of this network can lose channels"),
    ({"method": "dpf"}, "give finetuning=FineTuning((x, y)"),
    ({"method": "iterative"}, "works during training"),
    ({"method": "iterative:rewind=init", "data": (X, Y)}, "FineTuning(..., initial=a network"),
    ({"method": "iterative:rewind=init", "data": (X, Y), "initial": scaled}, "initial: got a network of another"),
    ({"epochs": 3}, "epochs: has no effect without fine-tuning; give data=(x, y)"),
    ({"data": (X, Y), "epoch": 3}, "unknown key 'epoch' (did you mean 'epochs'?)"),
    ({"data": (X, Y), "select": "best_dev"}, "'select': got 'best_dev'"),
    ({"data": (X, Y), "learning_rate": 1e30}, "training diverged"),
    ({"data": (X, Y), "augment": "flip"}, "expected images (C, H, W) to flip"),
    ({"data": (X, Y), "train": print}, "train, data: got both"),
    ({"data": X}, "data: got Tensor, expected a pair (x, y)"),
    ({"data": (X, Y[:5])}, "expected (N, ...) and (N,)"),
    ({"data": (X, Y.float())}, "expected integer labels from 0 up"),
    ({"data": ((X * 20).byte(), Y)}, "got x of torch.uint8, expected"),
    ({"data": (X / 0, Y)}, "NaN or infinity in x"),
    ({"data": (X[:, :4], Y)}, "the network fails on them"),
    ({"data": (X, Y + 1)}, "data: got outputs of shape (4, 3) for 4 samples, expected (4, 4 or more)"),
    ({"data": (X, Y), "model": frozen()}, "no parameter of the network has requires_grad"),
    ({"test": (X, Y + 1)}, "test: got outputs of shape (4, 3)"),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_cannot_be_done_is_one_line(arguments, words):
    given = {"model": table(), "method": "l1unstructured", "sparsity": 0.5} | arguments
    training = {name: given.pop(name) for name in list(given) if name not in inspect.signature(compress).parameters}
    with pytest.raises(UserError, match=re.escape(words)) as error:
        pruneaudit.compress(**given, finetuning=FineTuning(**training))
    assert "\n" not in str(error.value)


@pytest.fixture
def saved(tmp_path):
    return pruneaudit.compress(made("table"), "l1structured", 0.5).save(tmp_path / "pruned")


def test_a_folder_that_is_in_use_is_left_alone_unless_forced(saved):
    (saved / "notes.txt").write_text("mine")
    before = all_bytes(saved)
    other = pruneaudit.compress(made("table", seed=1), "l1unstructured", 0.5)
    with pytest.raises(UserError, match="is not empty"):
        other.save(saved)
    assert all_bytes(saved) == before
    other.save(saved, force=True)
    assert sorted(path.name for path in saved.iterdir()) == sorted(
        ["compressed.safetensors", "mask.safetensors", "model.safetensors", "notes.txt", "summary.json"]
    )
    assert pruneaudit.load_compressed(table, saved).masks
    assert not list(saved.parent.glob(".*"))


def test_an_empty_folder_is_filled(tmp_path):
    pruneaudit.compress(made("table"), "random", 0.5).save(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["method"]["name"] == "random"


@pytest.mark.parametrize("name", ["model.safetensors", "structure.json"])
def test_damage_is_noticed(saved, name):
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="has changed since it was saved"):
        pruneaudit.load_compressed(table, saved)
    (saved / name).unlink()
    with pytest.raises(UserError, match="is missing"):
        pruneaudit.load_compressed(table, saved)


def test_loading_into_something_else_is_one_line(saved, tmp_path):
    for fresh, words in (
        (scaled, "structure: no channels"),
        (lambda: table().double(), "of the same type"),
        (lambda: None, "got NoneType, expected a torch.nn.Module"),
    ):
        with pytest.raises(UserError, match=words):
            pruneaudit.load_compressed(fresh, saved)
    masked = pruneaudit.compress(made("table"), "l1unstructured", 0.5).save(tmp_path / "masked")
    with pytest.raises(UserError, match="does not fit this network"):
        pruneaudit.load_compressed(scaled, masked)
    with pytest.raises(UserError, match="no summary of a pruned network"):
        pruneaudit.load_compressed(table, tmp_path / "absent")


def test_loading_leaves_a_given_network_alone(saved):
    fresh = table()
    before = copy.deepcopy(fresh.state_dict())
    pruneaudit.load_compressed(fresh, saved)
    assert all(torch.equal(value, before[key]) for key, value in fresh.state_dict().items())


class Scored(nn.Module):
    """One logit for two classes, bare or in a dict."""

    def __init__(self, in_dict):
        super().__init__()
        self.head, self.in_dict = nn.Linear(6, 1), in_dict

    def forward(self, x):
        return {"logits": self.head(x)} if self.in_dict else self.head(x)


@pytest.mark.parametrize("in_dict", [False, True])
def test_a_network_with_one_logit_is_fine_tuned_and_stays_as_it_was_written(in_dict):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 6, generator=generator)
    y = (x.sum(dim=1) > 0).long()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Scored(in_dict)
    pruned = pruneaudit.compress(
        network, "l1unstructured", 0.2, finetuning=FineTuning((x, y), epochs=20, learning_rate=0.1), test=(x, y)
    )
    z = pruned.model.head(x)[:, 0]
    accuracy = pruned.summary["accuracy"]
    assert accuracy["after_finetuning"] == ((z > 0).long() == y).double().mean().item()
    assert accuracy["after_finetuning"] > 0.75
    answer = pruned.model(x)
    assert (answer["logits"] if in_dict else answer).shape == (200, 1)
