"""Start saliency: the derivative of each sample's loss at the initial weights, along what was kept."""

# N samples

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pruneaudit.models import build_model
from pruneaudit.signals.start_saliency import direction, settle_norms, slopes, start_saliency
from pruneaudit.training.samples import Samples

NUM_SAMPLES = 131  # more than one batch


def samples_for(shape, num_classes, num_samples=NUM_SAMPLES):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(num_samples, *shape, generator=generator)
    stored = x.permute(0, 2, 3, 1).contiguous() if len(shape) == 3 else x
    return Samples(stored, torch.randint(num_classes, (num_samples,), generator=generator))


def random_masks(model, share=0.3):
    generator = torch.Generator().manual_seed(2)
    weights = {name: weight for name, weight in model.named_parameters() if weight.ndim > 1}
    return {name: torch.rand(weight.shape, generator=generator) < share for name, weight in weights.items()}


def by_single_gradients(model, samples, kept):
    """a_j = -g_j sign(w_j), sample by sample; times m_j minus the share of its layer."""
    found = np.zeros(len(samples))
    for n in range(len(samples)):
        x, y = samples.batch(torch.tensor([n]))
        gradients = torch.autograd.grad(cross_entropy(model(x), y), [model.get_parameter(name) for name in kept])
        for (name, mask), gradient in zip(kept.items(), gradients, strict=True):
            growth = -gradient.double() * model.get_parameter(name).detach().double().sign()
            found[n] += float((growth * (mask.double() - mask.double().mean())).sum())
    return found


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("mlp", {"hidden": [7, 5]}, (6,)),
        ("tinycnn", {"width": 4}, (1, 12, 12)),
        ("tinycnn", {"width": 4, "norm": "group"}, (1, 12, 12)),
        ("columnfc", {"hidden": [6]}, (6,)),
    ],
)
def test_against_the_gradient_of_each_sample(name, options, shape):
    model = build_model(name, options, shape, 3, torch.Generator().manual_seed(0)).eval()
    samples, kept = samples_for(shape, 3), random_masks(model)
    found = start_saliency(model, samples, kept)
    assert (found.shape, found.dtype) == ((NUM_SAMPLES,), np.float32)
    expected = by_single_gradients(model, samples, kept)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert np.abs(found).max() > 1e-3


def test_a_step_on_the_sample_changes_the_kept_magnitudes_by_as_much():
    """To first order, of a model of doubles: sum of (m - p) times the growth of |w|, per unit of learning rate."""
    model = build_model("mlp", {"hidden": [5]}, (4,), 3, torch.Generator().manual_seed(0)).double().eval()
    samples = samples_for((4,), 3, 5)
    samples = Samples(samples.stored.double(), samples.y)
    kept = random_masks(model)
    found = start_saliency(model, samples, kept)
    names, rate = list(kept), 1e-7
    for n in range(5):
        x, y = samples.batch(torch.tensor([n]))
        gradients = torch.autograd.grad(cross_entropy(model(x), y), [model.get_parameter(name) for name in names])
        growth = 0.0
        for name, gradient in zip(names, gradients, strict=True):
            weight = model.get_parameter(name).detach()
            moved = (weight - rate * gradient).abs() - weight.abs()
            share = kept[name].double().mean()
            growth += float((moved * (kept[name].double() - share)).sum())
        assert found[n] == pytest.approx(growth / rate, rel=1e-4)


def test_norms_get_the_statistics_of_the_samples():
    model = build_model("tinycnn", {"width": 4}, (1, 12, 12), 3, torch.Generator().manual_seed(0))
    samples = samples_for((1, 12, 12), 3, 2 * 128)
    halves = [samples.inputs(slice(start, start + 128)) for start in (0, 128)]
    seen = []
    first = next(layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d))
    first.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    settle_norms(model, samples)
    assert not model.training and not first.training
    of_batches = torch.stack([batch.mean((0, 2, 3)) for batch in seen])
    torch.testing.assert_close(first.running_mean, of_batches.mean(0))
    variances = torch.stack([batch.var((0, 2, 3)) for batch in seen])
    torch.testing.assert_close(first.running_var, variances.mean(0))
    with torch.no_grad():
        assert (model(halves[0])[0] - model(halves[0][:1])[0]).abs().max() < 1e-5  # a sample does not see the others
    kept = random_masks(model)
    settle_norms(model, samples)  # again from the beginning
    np.testing.assert_allclose(
        start_saliency(model, samples, kept)[:9], by_single_gradients(model, samples, kept)[:9], rtol=1e-3, atol=1e-4
    )


def test_networks_without_norms_stay_as_they_were():
    model = build_model("tinycnn", {"width": 4, "norm": "group"}, (1, 12, 12), 3, torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settle_norms(model, samples_for((1, 12, 12), 3, 9))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_by_hand():
    """One layer, two inputs, two classes: logits w x, so the gradient at row c is (p_c - y_c) x."""
    model = nn.Linear(2, 2, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -1.0], [0.0, 2.0]]))
    samples = Samples(torch.tensor([[1.0, 0.5]], dtype=torch.float64), torch.tensor([0]))
    kept = {"weight": torch.tensor([[True, False], [False, False]])}  # a quarter
    p = np.exp([0.5, 1.0]) / np.exp([0.5, 1.0]).sum()
    gradient = np.outer(p - [1, 0], [1.0, 0.5])
    expected = -(gradient * np.sign([[1, -1], [0, 2]]) * np.array([[0.75, -0.25], [-0.25, -0.25]])).sum()
    assert start_saliency(model, samples, kept)[0] == pytest.approx(expected, rel=1e-6)


def test_what_removes_nothing_or_everything_says_nothing():
    model = build_model("mlp", {"hidden": [5]}, (4,), 3, torch.Generator().manual_seed(0))
    samples = samples_for((4,), 3, 9)
    np.testing.assert_array_equal(start_saliency(model, samples, {}), np.zeros(9, np.float32))
    for bits in (torch.zeros(5, 4, dtype=torch.bool), torch.ones(5, 4, dtype=torch.bool)):
        np.testing.assert_array_equal(start_saliency(model, samples, {"1.weight": bits}), np.zeros(9, np.float32))
    assert not direction(model.get_parameter("1.weight").detach(), torch.ones(5, 4, dtype=torch.bool)).any()


class Words(nn.Module):
    """Attention and a recurrent layer, whose fast kinds have no second derivative."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.1)
        self.first, self.encoder, self.last = nn.Linear(3, 8), nn.TransformerEncoder(layer, 1), nn.LSTM(8, 8)
        self.head, self.unused = nn.Linear(8, 3), nn.Linear(4, 4)

    def forward(self, x):
        x = self.encoder(self.first(x.view(len(x), 2, 3)))
        return self.head(self.last(x.transpose(0, 1))[0][-1])


def test_attention_recurrent_layers_and_layers_that_are_not_used():
    torch.manual_seed(0)
    model, samples = Words().eval(), samples_for((6,), 3, 4)
    kept = random_masks(model)
    used = {name: mask for name, mask in kept.items() if "unused" not in name}
    found = start_saliency(model, samples, kept)
    np.testing.assert_allclose(found, by_single_gradients(model, samples, used), rtol=1e-4, atol=1e-6)
    only = {name: mask for name, mask in kept.items() if "unused" in name}
    assert not slopes(model, *samples.batch(torch.arange(4)), only).any()
