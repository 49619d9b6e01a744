"""Asking networks: the same views for every model, the plain one first, and nothing changed by asking."""

# N samples, C classes, Q queries

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pruneaudit.core.randomness import torch_generator
from pruneaudit.data.augment import crop_flip
from pruneaudit.models import build_model
from pruneaudit.signals.collect import collect
from pruneaudit.signals.derived import correct, scaled_confidence
from pruneaudit.training.predict import PREDICT_BATCH, predict
from pruneaudit.training.samples import Samples


@pytest.fixture
def samples() -> Samples:
    generator = torch.Generator().manual_seed(0)
    num_samples = PREDICT_BATCH + 30  # more than one batch
    stored = torch.randn(num_samples, 8, 8, 1, generator=generator)
    return Samples(stored, torch.randint(3, (num_samples,), generator=generator))


@pytest.fixture
def model(samples: Samples) -> nn.Module:
    """A network whose BatchNorm statistics are not those it began with."""
    built = build_model("tinycnn", {"width": 4}, (1, 8, 8), 3, torch.Generator().manual_seed(0))
    built(samples.inputs(slice(0, 50)))
    return built


def test_one_query_gives_logits_alone(model: nn.Module, samples: Samples) -> None:
    answers = collect(model, samples, 1, study_seed=0)
    assert answers.keys() == {"logits"}
    assert (answers["logits"].shape, answers["logits"].dtype) == ((len(samples), 3), np.float32)
    np.testing.assert_array_equal(answers["logits"], predict(model, samples).numpy())


def test_the_plain_query_comes_first(model: nn.Module, samples: Samples) -> None:
    answers = collect(model, samples, 4, study_seed=0)
    labels = samples.y.numpy()
    assert answers.keys() == {"logits", "confidence", "correct"}
    assert (answers["confidence"].shape, answers["confidence"].dtype) == ((len(samples), 4), np.float32)
    assert (answers["correct"].shape, answers["correct"].dtype) == ((len(samples), 4), np.bool_)
    np.testing.assert_array_equal(answers["logits"], collect(model, samples, 1, study_seed=0)["logits"])
    np.testing.assert_allclose(answers["confidence"][:, 0], scaled_confidence(answers["logits"], labels), rtol=1e-6)
    np.testing.assert_array_equal(answers["correct"][:, 0], answers["logits"].argmax(1) == labels)


def test_further_queries_are_crops_and_flips_of_their_own_seed(model: nn.Module, samples: Samples) -> None:
    answers = collect(model, samples, 3, study_seed=5)
    labels = samples.y.numpy()
    for query in (1, 2):
        draws = torch_generator(5, "query", query)
        starts = range(0, len(samples), PREDICT_BATCH)
        views = [crop_flip(samples.inputs(slice(start, start + PREDICT_BATCH)), draws) for start in starts]
        seen = Samples(torch.cat(views).permute(0, 2, 3, 1).contiguous(), samples.y)
        logits = predict(model, seen).numpy()
        np.testing.assert_allclose(answers["confidence"][:, query], scaled_confidence(logits, labels), atol=1e-4)
        np.testing.assert_array_equal(answers["correct"][:, query], correct(logits, labels))
    differ = [(answers["confidence"][:, a] != answers["confidence"][:, b]).mean() for a, b in ((0, 1), (0, 2), (1, 2))]
    assert min(differ) > 0.9


def test_every_model_sees_the_same_views(model: nn.Module, samples: Samples) -> None:
    torch.manual_seed(1)
    one = collect(model, samples, 3, study_seed=0)
    torch.manual_seed(2)
    other = collect(copy.deepcopy(model), samples, 3, study_seed=0)
    for key in one:
        np.testing.assert_array_equal(one[key], other[key])
    elsewhere = collect(model, samples, 3, study_seed=1)
    np.testing.assert_array_equal(elsewhere["logits"], one["logits"])
    assert (elsewhere["confidence"][:, 1] != one["confidence"][:, 1]).mean() > 0.9


def test_a_view_does_not_depend_on_how_many_there_are(model: nn.Module, samples: Samples) -> None:
    few, many = (collect(model, samples, queries, study_seed=0) for queries in (2, 4))
    np.testing.assert_array_equal(few["confidence"], many["confidence"][:, :2])


class Collecting(nn.Module):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.clone())
        return x.flatten(1)[:, :3]


def test_the_views_shown_are_images_of_the_same_pixels(samples: Samples) -> None:
    shown: Any = Collecting()
    collect(shown, samples, 2, study_seed=0)
    plain, views = torch.cat(shown.seen[:2]), torch.cat(shown.seen[2:])
    assert torch.equal(plain, samples.inputs(slice(None)))
    for image, attack_input in zip(plain[:40], views[:40], strict=True):
        assert set(attack_input.flatten().tolist()) <= {0.0, *image.flatten().tolist()}


@pytest.mark.parametrize("mode", [True, False])
def test_asking_changes_nothing(model: nn.Module, samples: Samples, mode: bool) -> None:
    model.train(mode)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    stored, state = samples.stored.clone(), torch.random.get_rng_state()
    first = collect(model, samples, 3, study_seed=0)
    assert model.training is mode
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(samples.stored, stored)
    assert torch.equal(torch.random.get_rng_state(), state)
    again = collect(model, samples, 3, study_seed=0)
    assert all((first[key] == again[key]).all() for key in first)
