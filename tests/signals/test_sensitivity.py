"""Sensitivity: how much each class's probability changes under small noise."""

# N samples, C classes, F features

import numpy as np
import pytest
import torch
from torch import nn

from pruneaudit.core.randomness import torch_generator
from pruneaudit.models import build_model
from pruneaudit.signals.sensitivity import sensitivity
from pruneaudit.training.predict import PREDICT_BATCH
from pruneaudit.training.samples import Samples

NUM_CLASSES, NUM_FEATURES = 3, 5


def table(num_samples):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(num_samples, NUM_FEATURES, generator=generator)
    return Samples(x, torch.zeros(num_samples, dtype=torch.int64))


@pytest.fixture
def linear():
    model = nn.Linear(NUM_FEATURES, NUM_CLASSES)
    with torch.no_grad():
        model.weight.copy_(torch.randn(NUM_CLASSES, NUM_FEATURES, generator=torch.Generator().manual_seed(2)))
        model.bias.zero_()
    return model


def softmax(logits):
    odds = np.exp(logits)
    return odds / odds.sum(axis=-1, keepdims=True)


def test_against_a_plain_loop(linear):
    samples = table(PREDICT_BATCH + 7)  # more than one batch
    found = sensitivity(linear, samples, study_seed=4, model_id=9, draws=3, epsilon=0.05)
    assert (found.shape, found.dtype) == ((len(samples), NUM_CLASSES), np.float32)
    generator = torch_generator(4, "sensitivity", 9)
    weight, x = linear.weight.detach().double().numpy(), samples.stored.double().numpy()
    expected = np.zeros(found.shape)
    for _ in range(3):
        sizes = (PREDICT_BATCH, 7)
        noise = torch.cat([torch.randn(size, NUM_FEATURES, generator=generator) for size in sizes]).double().numpy()
        for n in range(len(samples)):
            change = softmax(weight @ (x[n] + 0.05 * noise[n])) - softmax(weight @ x[n])
            expected[n] += np.abs(change) / 0.05 / 3
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_for_small_noise_it_is_the_slope(linear):
    """|J u| has the mean |J| sqrt(2 / pi), J the gradient of a class's probability, p_c (w_c - sum_j p_j w_j)."""
    samples = table(20)
    found = sensitivity(linear, samples, study_seed=0, model_id=0, draws=500)
    weight = linear.weight.detach().double().numpy()
    p = softmax(samples.stored.double().numpy() @ weight.T)
    slope = p[..., None] * (weight - (p @ weight)[:, None])  # (N, C, F)
    np.testing.assert_allclose(found, np.linalg.norm(slope, axis=2) * np.sqrt(2 / np.pi), rtol=0.15)


def test_where_nothing_depends_on_the_input_there_is_none(linear):
    with torch.no_grad():
        linear.weight.zero_()
    assert (sensitivity(linear, table(10), 0, 0) == 0).all()


def test_every_model_has_noise_of_its_own(linear):
    samples = table(10)
    first = sensitivity(linear, samples, 0, model_id=1)
    torch.manual_seed(5)
    np.testing.assert_array_equal(sensitivity(linear, samples, 0, model_id=1), first)
    for other in (sensitivity(linear, samples, 0, model_id=2), sensitivity(linear, samples, 1, model_id=1)):
        assert (other != first).all()


def test_asking_changes_nothing():
    stored = torch.randn(12, 8, 8, 1, generator=torch.Generator().manual_seed(0))
    samples = Samples(stored.clone(), torch.zeros(12, dtype=torch.int64))
    model = build_model("tinycnn", {"width": 4}, (1, 8, 8), NUM_CLASSES, torch.Generator().manual_seed(0)).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    found = sensitivity(model, samples, 0, 0)
    assert found.shape == (12, NUM_CLASSES)
    assert (found > 0).all()
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(samples.stored, stored)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("wrong", [{"draws": 0}, {"epsilon": 0.0}, {"epsilon": float("nan")}])
def test_no_noise_is_refused(linear, wrong):
    with pytest.raises(ValueError, match="at least one draw and epsilon above 0"):
        sensitivity(linear, table(4), 0, 0, **wrong)
