"""CutMix's areas and targets, dropout that leaves names alone, weight decay."""

# B batch, K channels, H height, W width, C classes

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruneaudit.core.errors import UserError
from pruneaudit.defenses._regularisers import CutMix, box_around
from pruneaudit.defenses.defense import DefenseContext
from pruneaudit.defenses.strong_regularisation import DEFENSE, StrongRegularisationOptions
from pruneaudit.study import Training
from pruneaudit.training.checkpoint import load_weights, save_weights
from pruneaudit.training.samples import Samples

STATE: Any = None  # CutMix reads nothing of it


def constant_images(num_images: int, height: int = 6, width: int = 9) -> Tensor:
    """(B, 2, H, W), channels last as in training; every pixel says which image it is from."""
    numbers = torch.arange(float(num_images))[:, None, None, None].expand(num_images, height, width, 2)
    return numbers.clone().permute(0, 3, 1, 2)


def test_boxes_by_hand() -> None:
    # Half of each side: a quarter of 8 x 12 is left out of 3/4; cut off where it leaves the image.
    assert box_around((4, 6), (8, 12), 0.75) == (slice(2, 6), slice(3, 9))
    assert box_around((0, 11), (8, 12), 0.75) == (slice(0, 2), slice(8, 12))
    assert box_around((4, 6), (8, 12), 1.0) == (slice(4, 4), slice(6, 6))
    assert box_around((4, 6), (8, 12), 0.0) == (slice(0, 8), slice(0, 12))


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.data())
def test_boxes_lie_within_the_image(height: int, width: int, share: float, data: Any) -> None:
    centre = data.draw(st.tuples(st.integers(0, height - 1), st.integers(0, width - 1)))
    rows, columns = box_around(centre, (height, width), share)
    assert 0 <= rows.start <= rows.stop <= height
    assert 0 <= columns.start <= columns.stop <= width
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    assert area <= (1 - share) * height * width + 1e-9


@given(st.integers(2, 8), st.floats(0.2, 3), st.integers(0, 2**31))
def test_the_targets_weigh_what_is_in_the_images(batch: int, alpha: float, seed: int) -> None:
    x, y = constant_images(batch), torch.arange(batch)
    hook = CutMix(alpha, 1.0, torch.Generator().manual_seed(seed))
    mixed, labels = hook.batch(STATE, x, y)
    assert torch.equal(x, constant_images(batch))  # the data themselves are not touched
    assert torch.equal(labels, y)
    assert mixed.stride() == x.stride()

    logits = torch.randn(batch, batch, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    pixels = mixed[:, 0].flatten(1).long()  # (B, H W): from which image
    shares = torch.stack([torch.bincount(row, minlength=batch) for row in pixels]) / pixels.shape[1]
    found = hook.loss(STATE, logits, y, cross_entropy(logits, y))
    torch.testing.assert_close(found, cross_entropy(logits, shares.double()))


def test_the_share_of_the_own_image_is_uniform_and_half_of_the_batches_are_mixed() -> None:
    hook, shares = CutMix(1.0, 0.5, torch.Generator().manual_seed(0)), []
    big = constant_images(2, 30, 30)
    num_mixed = 0
    for _ in range(600):
        mixed, _ = hook.batch(STATE, big, torch.arange(2))
        num_mixed += mixed is not big
        other = float((mixed[0] != 0).float().mean())
        shares += [other] if other else []
    assert 250 < num_mixed < 350
    # The box's area before it is cut off is uniform in 0..1; cut off, it is between a quarter of it and all of it.
    assert 0.2 < sum(shares) / len(shares) < 0.5
    assert max(shares) > 0.6


@pytest.mark.parametrize("batch", [0, 1])
def test_without_another_image_nothing_is_mixed(batch: int) -> None:
    hook, x, y = CutMix(1.0, 1.0, torch.Generator().manual_seed(0)), constant_images(batch), torch.zeros(batch).long()
    hook.batch(STATE, constant_images(5), torch.arange(5))
    assert hook.batch(STATE, x, y)[0] is x
    loss = torch.tensor(0.5)
    assert hook.loss(STATE, torch.zeros(batch, 3), y, loss) is loss  # of the batch before, nothing is left


# ------------------------------------------------------------------ dropout


def test_dropout_before_the_classifier_leaves_names_and_evaluation_alone(
    make_net: Callable[..., nn.Module], tmp_path: Path
) -> None:
    plain, net = make_net(), make_net()
    names = list(net.state_dict())
    options = StrongRegularisationOptions(dropout=0.5)
    net = DEFENSE.prepare(net, options)
    save_weights(plain, tmp_path / "w.safetensors")
    loaded = load_weights(DEFENSE.prepare(make_net(seed=9), options), tmp_path / "w.safetensors")
    x = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    undropped = inputs_of_classifier(copy.deepcopy(plain), x)
    for model in (net, copy.deepcopy(net), loaded):
        assert list(model.state_dict()) == names
        assert torch.equal(model.eval()(x), plain.eval()(x))
        seen = inputs_of_classifier(model, x)
        assert 0.3 < float((seen[undropped != 0] == 0).float().mean()) < 0.7
    assert torch.equal(
        inputs_of_classifier(DEFENSE.prepare(make_net(), StrongRegularisationOptions(dropout=0)), x), undropped
    )


def inputs_of_classifier(model: nn.Module, x: Tensor) -> Tensor:
    """What reaches the last linear layer in training."""
    seen: list[Tensor] = []
    last: Any = model.train().classifier
    with last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        torch.manual_seed(0)
        model(x)
    return seen[0].detach()


def test_what_is_not_dropped_is_scaled_up(make_net: Callable[..., nn.Module]) -> None:
    model = nn.Sequential(nn.Linear(1000, 1000), nn.Linear(1000, 1, bias=False))
    DEFENSE.prepare(model, StrongRegularisationOptions(dropout=0.2))
    first, last = model
    seen: list[Tensor] = []
    for layer in (first, last):
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    nn.init.zeros_(first.weight)
    nn.init.ones_(first.bias)
    torch.manual_seed(0)
    model.train()(torch.ones(1, 1000))
    assert (seen[0] == 1).all()  # the first layer's inputs stay
    assert set(seen[1].flatten().tolist()) == {0.0, 1.25}
    assert 0.15 < float((seen[1] == 0).float().mean()) < 0.25


def test_a_network_without_linear_layer_is_refused() -> None:
    with pytest.raises(UserError, match=r"no linear layer.* dropout = 0"):
        DEFENSE.prepare(nn.Conv2d(1, 3, 8), StrongRegularisationOptions())


# ------------------------------------------------------------------ settings


def test_weight_decay_replaces_a_smaller_one() -> None:
    training = Training(weight_decay=5e-4)
    assert DEFENSE.settings(StrongRegularisationOptions(), training) == training.model_copy(
        update={"weight_decay": 1e-3}
    )
    with pytest.raises(UserError, match=r"got weight_decay = 0\.0001, expected at least the training's own 0\.0005"):
        DEFENSE.settings(StrongRegularisationOptions(weight_decay=1e-4), training)


def test_tables_have_no_boxes(
    make_net: Callable[..., nn.Module], make_defense_context: Callable[..., DefenseContext]
) -> None:
    table = Samples(torch.zeros(8, 5), torch.zeros(8, dtype=torch.int64))
    context = make_defense_context(Training(), members=table)
    with pytest.raises(UserError, match=r"got samples of shape \(5,\), expected images .* cutmix_probability = 0"):
        DEFENSE.hooks(make_net("mlp"), StrongRegularisationOptions(), context)
    assert DEFENSE.hooks(make_net("mlp"), StrongRegularisationOptions(cutmix_probability=0), context) == ()
