"""Grids by tensor, channel and group, clipped and ternary, against naive loops and torch's quantisation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.grid_rules import GridRule, grid_for
from pruneaudit.compression.state import not_rebuilt, restored
from pruneaudit.core.errors import UserError
from pruneaudit.study import Release, Training
from pruneaudit.study.lineage import described
from pruneaudit.study.plugins import Plugin
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples

MakeNet = Callable[..., Any]
RTN = COMPRESSORS.get("rtn")
SYMMETRIES = ["narrow", "full", "asymmetric"]


def rounded(model: nn.Module, **options: Any) -> Compressed:
    context: Any = CompressionContext(torch.empty(1, 0), torch.Generator(), lambda *_: None, nn.Module)
    return RTN.compress(model, RTN.Options(**options), context)


def weights(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator) * torch.rand(shape[0], *[1] * (len(shape) - 1), generator=generator)


def parts(weight: np.ndarray, granularity: str, group: int) -> Iterator[np.ndarray]:
    """Views of the weights that share a scale."""
    if granularity == "tensor":
        yield weight.reshape(-1)
        return
    for row in weight.reshape(len(weight), -1):
        size = group if granularity == "group" else len(row)
        for first in range(0, len(row), size):
            yield row[first : first + size]


def naive(values: np.ndarray, bits: int, symmetry: str, fraction: float = 1.0) -> np.ndarray:
    """Rounds the numbers of one block in float64."""
    low, high = fraction * min(values.min(), 0), fraction * max(values.max(), 0)
    if symmetry == "asymmetric":
        least, most, scale = 0, 2**bits - 1, (high - low) / (2**bits - 1)
        zero = np.round(-low / scale)
    else:
        most, zero = 2 ** (bits - 1) - 1, 0
        least = -most if symmetry == "narrow" else -most - 1
        scale = max(high, -low) / (most if symmetry == "narrow" else most + 0.5)
    return scale * (np.clip(np.round(values / scale) + zero, least, most) - zero)


def clipped(values: np.ndarray, bits: int, symmetry: str) -> np.ndarray:
    """The best of all ranges that GPTQ's code tries."""
    tried = [naive(values, bits, symmetry, 1 - step / 100) for step in range(80)]
    return min(tried, key=lambda found: float((abs(found - values) ** 2.4).sum()))


@given(
    seed=st.integers(0, 2**32),
    bits=st.integers(2, 6),
    symmetry=st.sampled_from(SYMMETRIES),
    granularity=st.sampled_from(["tensor", "channel", "group"]),
    group=st.integers(1, 20),
    clips=st.booleans(),
)
@settings(max_examples=60)
def test_every_block_is_rounded_as_a_naive_loop_rounds_it(
    seed: int, bits: int, symmetry: Any, granularity: Any, group: int, clips: bool
) -> None:
    weight = weights(seed, 3, 2, 3, 2)
    found = GridRule(bits, symmetry, granularity, group, clips).grid(weight).rounded(weight)
    expected = weight.double().numpy().copy()
    for part in parts(expected, granularity, group):
        if clips:
            part[:] = clipped(part, bits, symmetry)
        elif part.any():
            part[:] = naive(part, bits, symmetry)
    if clips:  # another range can be as good: compare errors, not values
        for part, its, given_ in zip(
            *(parts(np.ascontiguousarray(each), granularity, group) for each in (expected, found.double(), weight)),
            strict=True,
        ):
            errors = [(abs(each - given_) ** 2.4).sum() for each in (part, its)]
            assert errors[1] <= errors[0] * 1.001 + 1e-9
        return
    grid = GridRule(bits, symmetry, granularity, group).grid(weight)
    quotients = weight.double() / grid.spread(grid.scale, weight).double()
    halves = ((quotients % 1) - 0.5).abs() < 1e-4  # either neighbour will do
    assert (torch.isclose(found.double(), torch.from_numpy(expected), rtol=1e-4, atol=1e-6) | halves).all()
    step = grid.spread(grid.scale, weight)
    assert ((found - torch.from_numpy(expected)).abs() <= 1.001 * step).all()


def test_the_last_group_of_a_channel_is_shorter_and_no_group_crosses_channels() -> None:
    weight = torch.tensor([[1.2, 2.0, 4.1, 8.0, 70.0], [0.5, 0.3, 0.0, 0.0, 0.0]])
    grid = GridRule(4, granularity="group", group=2).grid(weight)
    assert torch.allclose(grid.scale, torch.tensor([[2, 8, 70], [0.5, 0, 0]]) / 7, atol=1e-6)
    assert grid.codes(weight).tolist() == [[4, 7, 4, 7, 7], [7, 4, 0, 0, 0]]


@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
@pytest.mark.parametrize("clips", [False, True])
@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_rounding_keeps_the_promises_of_a_grid(granularity: Any, clips: bool, symmetry: Any) -> None:
    weight = weights(3, 6, 5, 3, 3)
    weight[weight.abs() < 0.05] = 0
    grid = GridRule(3, symmetry, granularity, 7, clips).grid(weight)
    once, codes = grid.rounded(weight), grid.codes(weight)
    assert torch.equal(grid.rounded(once), once)
    assert (once[weight == 0] == 0).all()
    assert grid.low <= codes.min() <= codes.max() <= grid.high
    step = grid.values(torch.ones_like(weight)) - grid.values(torch.zeros_like(weight))
    inside = grid.passes(weight)
    assert ((once - weight).abs() <= (0.5 + 1e-4) * step)[inside].all()
    assert inside.all() or clips or symmetry == "full"
    assert not (clips and granularity == "tensor" and inside.all())


def test_clipping_reduces_the_error_it_measures() -> None:
    weight = weights(0, 8, 64)
    errors = [
        (GridRule(2, "narrow", "tensor", clips=clips).grid(weight).rounded(weight) - weight).abs().pow(2.4).sum()
        for clips in (False, True)
    ]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize(("rule", "threshold", "scale"), [("twn", 0.7 * 1.7 / 3, 0.75), ("absmean", 1.7 / 6, 1.7 / 3)])
def test_ternary_rules_by_hand(rule: Any, threshold: float, scale: float) -> None:
    weight = torch.tensor([[0.9, -0.6, 0.2, 0.0, 0.0], [-0.9, 0.6, -0.2, 0.0, 0.0]])  # zeros are removed weights
    grid = GridRule(0, ternary=rule).grid(weight)
    assert grid.threshold is not None
    assert grid.threshold.tolist() == pytest.approx([threshold, threshold])
    assert grid.scale.tolist() == pytest.approx([scale, scale])
    assert grid.codes(weight).tolist() == [[1, -1, 0, 0, 0], [-1, 1, 0, 0, 0]]
    assert (grid.low, grid.high) == (-1, 1)


@given(seed=st.integers(0, 2**32), rule=st.sampled_from(["twn", "absmean"]), group=st.sampled_from([0, 4, 7]))
def test_ternary_weights_are_what_a_naive_loop_gives(seed: int, rule: Any, group: int) -> None:
    weight = weights(seed, 3, 18)
    granularity: Any = "group" if group else "channel"
    grid = GridRule(0, granularity=granularity, group=group or 32, ternary=rule).grid(weight)
    found, expected = grid.rounded(weight), weight.double().numpy().copy()
    for part in parts(expected, granularity, group):
        size = abs(part)
        if rule == "absmean":
            part[:] = size.mean() * np.clip(np.round(part / size.mean()), -1, 1)
        else:
            large = size > 0.7 * size.mean()
            part[:] = np.sign(part) * large * size[large].mean()
    assert torch.allclose(found.double(), torch.from_numpy(expected), rtol=1e-5)
    assert torch.equal(grid.rounded(found), found)
    assert grid.passes(weight).all()


@pytest.mark.parametrize("symmetry", SYMMETRIES)
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_codes_are_those_of_torch_for_the_same_scales(symmetry: Any, bits: int) -> None:
    """torch multiplies by 1 / s instead of dividing by s: halves can differ, and nothing else does."""
    weight = weights(bits, 6, 4, 3, 3)
    grid = grid_for(weight, bits, symmetry, 0)
    fake = torch.fake_quantize_per_channel_affine(weight, grid.scale, grid.zero.int(), 0, grid.low, grid.high)
    ours = grid.rounded(weight)
    same = torch.isclose(ours, fake, rtol=1e-6, atol=1e-8)
    halves = (weight / grid.scale.view(-1, 1, 1, 1) % 1 - 0.5).abs() < 1e-5
    assert (same | halves).all()
    assert same.float().mean() > 0.95


def test_scales_are_those_of_torch_s_observers() -> None:
    from torch.ao.quantization.observer import PerChannelMinMaxObserver

    weight = weights(5, 6, 30)
    for symmetry, scheme, low, high in (
        ("full", torch.per_channel_symmetric, -8, 7),
        ("asymmetric", torch.per_channel_affine, 0, 15),
    ):
        observer = PerChannelMinMaxObserver(
            0, dtype=torch.quint8 if low == 0 else torch.qint8, qscheme=scheme, quant_min=low, quant_max=high
        )
        observer(weight)
        scale, zero = observer.calculate_qparams()
        grid = grid_for(weight, 4, symmetry, 0)  # type: ignore[arg-type]
        assert torch.allclose(grid.scale, scale, rtol=1e-5)
        assert torch.equal(grid.zero, zero.long())


@pytest.mark.parametrize(
    "options",
    [
        {"bits": 3, "granularity": "tensor"},
        {"bits": 3, "granularity": "group", "group_size": 5, "symmetry": "asymmetric"},
        {"bits": 2, "granularity": "group", "group_size": 5, "clip": "mse"},
        {"bits": "ternary"},
        {"bits": "ternary", "ternary": "absmean", "granularity": "group", "group_size": 5},
        {"bits": "ternary", "first_last_bits": 8},
    ],
)
def test_states_rebuild_weights_and_go_on_in_training(
    options: dict[str, Any], make_net: MakeNet, noise: Samples
) -> None:
    model = make_net("tinycnn")
    made = rounded(model, **options)
    state = RTN.state(made)
    assert not_rebuilt(model, state) == []
    constraint = RTN.constraint(state, RTN.Options(**options))
    again = constraint.state(model)
    assert again.keys() == state.keys()
    assert all(torch.equal(state[key], again[key]) for key in state)
    train(model, noise, Training(epochs=2, batch_size=8, learning_rate=0.05), torch.Generator(), made.hooks)
    assert not_rebuilt(model, RTN.state(made)) == []
    assert any(not torch.equal(weight, restored(state)[name]) for name, weight in restored(RTN.state(made)).items())
    for name in ("codes/features.0.conv.weight", "codes/classifier.weight"):
        assert (state[name].unique().numel() > 3) == ("first_last_bits" in options or options["bits"] != "ternary")


def test_sizes_count_every_scale_and_ternary_codes_by_their_entropy(make_net: MakeNet) -> None:
    for options, scales in (
        ({"bits": 4, "granularity": "tensor"}, 4),
        ({"bits": 4, "granularity": "channel"}, 4 + 8 + 16 + 3),
        ({"bits": 4, "granularity": "group", "group_size": 10}, 4 * 1 + 8 * 4 + 16 * 8 + 3 * 2),
        ({"bits": "ternary"}, 4 + 8 + 16 + 3),
    ):
        model = make_net("tinycnn")
        state = RTN.state(rounded(model, **options))
        num_weights = sum(weight.numel() for weight in RTN.restore(state).values())
        of_codes = RTN.size(state) - 32 * scales
        most = np.log2(3) if options["bits"] == "ternary" else 4
        assert 0.8 * num_weights < of_codes <= most * num_weights


def test_the_first_and_the_last_layer_can_have_other_bits(make_net: MakeNet) -> None:
    state = RTN.state(rounded(make_net("tinycnn"), bits=2, first_last_bits=8))
    limits = {key: value[:2].tolist() for key, value in state.items() if key.startswith("grid/")}
    assert list(limits.values()) == [[-127, 127], [-2, 1], [-2, 1], [-127, 127]]
    alone = RTN.state(rounded(make_net("tinycnn"), bits=2, first_last_bits=8, exclude=["first_conv"]))
    assert [value[1].item() for key, value in alone.items() if key.startswith("grid/")] == [1, 1, 127]


def test_identities_of_releases_that_use_no_later_setting_stay() -> None:
    """Runs of earlier versions stay valid."""
    known = {"bits": 4, "exclude": [], "layers": "all", "symmetry": None}
    assert described(COMPRESSORS, Plugin(name="rtn", options={"bits": 4}), "here")["options"] == known
    later = described(COMPRESSORS, Plugin(name="rtn", options={"bits": 4, "granularity": "tensor"}), "here")
    assert later["options"] == known | {"granularity": "tensor"}
    assert RTN.Options(**later["options"]) == RTN.Options(bits=4, granularity="tensor")


def test_releases_are_named_after_their_bits() -> None:
    assert Release(compress="rtn:bits=ternary").name == "rtn-ternary"
    assert Release(compress="rtn", bits="ternary", name="") == Release(compress="rtn:bits=ternary")  # type: ignore[call-arg]
    for wrong in (1, 9, "binary", 2.5, True):
        with pytest.raises(ValueError, match=r"bits.*got.*2 to 8.*ternary"):
            Release.model_validate({"compress": {"name": "rtn", "options": {"bits": wrong}}})


def test_settings_without_effect_and_groups_that_are_too_large_are_refused(make_net: MakeNet) -> None:
    with pytest.raises(UserError, match=r"'classifier\.weight'|'features\.2\.conv\.weight' of shape \(16, 8, 3, 3\)"):
        rounded(make_net("tinycnn"), bits=4, granularity="group", group_size=73)
    rounded(make_net("tinycnn"), bits=4, granularity="group", group_size=72)
    for options, word in (
        ({"bits": "ternary", "symmetry": "full"}, "symmetry"),
        ({"bits": "ternary", "clip": "mse"}, "clip"),
        ({"bits": 4, "ternary": "absmean"}, "ternary"),
        ({"bits": 4, "group_size": 64, "granularity": "channel"}, "granularity"),
    ):
        with pytest.raises(UserError, match=word):
            RTN.Options(**options)


def test_a_size_of_groups_alone_means_groups() -> None:
    rtn = COMPRESSORS.get("rtn")
    assert rtn.Options(bits=4, group_size=16).granularity == "group"
    given = rtn.Options(bits=4, group_size=32)
    assert rtn.Options.model_validate(given.model_dump()) == given
    assert rtn.Options.model_validate(rtn.Options(bits=4).model_dump()).granularity == "channel"
