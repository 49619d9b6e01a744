"""Batched augmentation equals a plain loop over images given the same random numbers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pruneaudit.core.errors import UserError
from pruneaudit.data.augment import AUGMENTATIONS, crop_flip, draw_flips, draw_offsets, flip, normalise
from pruneaudit.data.kinds import OF_TOKENS
from pruneaudit.study import Training

# B batch, C channels, H height, W width

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
FORMATS = st.sampled_from([torch.contiguous_format, torch.channels_last])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def naive_crop_flip(x: Tensor, seed: int, padding: int) -> Tensor:
    """Image by image and pixel by pixel."""
    draws = generator(seed)
    tops, lefts = draw_offsets(len(x), padding, draws)
    flips = draw_flips(len(x), draws)
    out = torch.zeros(x.shape)
    height, width = x.shape[2:]
    for image in range(len(x)):
        for row in range(height):
            for column in range(width):
                from_row = row + int(tops[image]) - padding
                shown = width - 1 - column if flips[image] else column
                from_column = shown + int(lefts[image]) - padding
                if 0 <= from_row < height and 0 <= from_column < width:
                    out[image, :, row, column] = x[image, :, from_row, from_column]
    return out


@given(shape=SHAPES, memory_format=FORMATS, padding=st.integers(0, 5), seed=st.integers(0, 1000))
def test_crop_flip_equals_the_loop(
    shape: tuple[int, ...], memory_format: torch.memory_format, padding: int, seed: int
) -> None:
    x = torch.randn(shape, generator=generator()).contiguous(memory_format=memory_format)
    before = x.clone()
    found = crop_flip(x, generator(seed), padding)
    assert torch.equal(found, naive_crop_flip(x, seed, padding))
    assert found.is_contiguous(memory_format=memory_format)
    assert torch.equal(x, before)


@given(shape=SHAPES, memory_format=FORMATS, seed=st.integers(0, 1000))
def test_flip_equals_the_loop(shape: tuple[int, ...], memory_format: torch.memory_format, seed: int) -> None:
    x = torch.randn(shape, generator=generator()).contiguous(memory_format=memory_format)
    flips = draw_flips(len(x), generator(seed))
    expected = torch.stack([image.flip(-1) if flipped else image for image, flipped in zip(x, flips, strict=True)])
    found = flip(x, generator(seed))
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=memory_format)


def test_crop_by_hand() -> None:
    """With seed 0 the one image is moved by the drawn offset and zeros come in."""
    x = torch.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    seen = {tuple(crop_flip(x, generator(seed), 1).flatten().tolist()) for seed in range(200)}
    assert len(seen) == 18  # 3 x 3 places, mirrored or not
    assert (1, 2, 3, 4, 5, 6, 7, 8, 9) in seen
    assert (3, 2, 1, 6, 5, 4, 9, 8, 7) in seen
    assert (0, 0, 0, 0, 1, 2, 0, 4, 5) in seen
    assert (0, 6, 5, 0, 9, 8, 0, 0, 0) in seen


def test_draws_are_uniform() -> None:
    tops, lefts = draw_offsets(90_000, 4, generator())
    for offsets in (tops, lefts):
        counts = torch.bincount(offsets)
        assert counts.shape == (9,)
        assert (counts - 10_000).abs().max() < 500  # standard deviation 94
    assert abs(float(torch.corrcoef(torch.stack([tops, lefts]).float())[0, 1])) < 0.02
    assert abs(float(draw_flips(90_000, generator()).float().mean()) - 0.5) < 0.01


@pytest.mark.parametrize("name", ["flip", "crop_flip"])
def test_non_contiguous_and_integer_images(name: str) -> None:
    x = torch.randint(0, 256, (5, 8, 3, 7), generator=generator(), dtype=torch.uint8).transpose(1, 2)[:, :, ::2]
    found = AUGMENTATIONS[name](x, generator(3))
    assert found.dtype == torch.uint8
    assert torch.equal(found, AUGMENTATIONS[name](x.contiguous(), generator(3)))


def test_augmentations_are_those_of_a_study() -> None:
    assert {*AUGMENTATIONS, OF_TOKENS} == set(Training.model_fields["augment"].annotation.__args__)


def test_none_changes_nothing_and_draws_nothing() -> None:
    draws = generator()
    x = torch.randn(2, 5, generator=draws)
    state = draws.get_state()
    assert AUGMENTATIONS["none"](x, draws) is x
    assert torch.equal(draws.get_state(), state)


@pytest.mark.parametrize("name", ["flip", "crop_flip"])
def test_tables_cannot_be_flipped(name: str) -> None:
    with pytest.raises(UserError, match="augment = 'none'"):
        AUGMENTATIONS[name](torch.zeros(4, 7), generator())


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_normalise_by_hand(memory_format: torch.memory_format) -> None:
    x = torch.tensor([0, 255, 51, 102], dtype=torch.uint8).reshape(1, 2, 1, 2).expand(3, 2, 1, 2)
    x = x.contiguous(memory_format=memory_format)
    before = x.clone()
    found = normalise(x, (0.5, 0.2), (0.25, 0.1))
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(found[1].flatten(), torch.tensor([-2.0, 2.0, 0.0, 2.0]), atol=1e-6, rtol=0)
    assert torch.equal(x, before)


def test_float_data_are_taken_as_they_are() -> None:
    x = torch.randn(4, 7, generator=generator(), dtype=torch.float64)
    assert torch.equal(normalise(x, None, None), x.float())
    for wrong in ((x, (0.5,), (0.5,)), (torch.zeros(1, 1, 2, 2, dtype=torch.uint8), None, None)):
        with pytest.raises(ValueError, match="expected both for uint8"):
            normalise(*wrong)
