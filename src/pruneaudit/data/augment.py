"""Normalises and randomly augments whole batches of images or texts, on any device.

Augmentation works on normalised images: crops are padded with 0, the mean colour (torchvision usually pads
with black before it normalises). Random numbers come from a CPU generator on every device, so that a model
sees the same augmentations on all devices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pruneaudit.core.errors import UserError
from pruneaudit.data.inputs import IDS, MASK
from pruneaudit.data.kinds import OF_TOKENS, Vocabulary

# B batch, C channels, H height, W width, F features, P padding, T tokens

PADDING = 4
"""Pixels, the usual amount for 32x32 images (He et al. 2015, arXiv:1512.03385)."""
TOKEN_DROPOUT = 0.15
"""The share of real tokens that `token_dropout` replaces, as masked language models do (arXiv:1810.04805)."""


def normalise(x: Tensor, mean: Sequence[float] | None, std: Sequence[float] | None) -> Tensor:
    """Returns the input of networks: `(x / 255 - mean) / std` for uint8 images, float data unchanged.

    Args:
        x: (B, C, H, W) uint8 in 0..255, or float of any shape.
        mean: per channel, in units of [0, 1]; None for float data.
        std: per channel, in units of [0, 1], above 0; None for float data.

    Returns:
        float32 of the same shape and memory format; `x` itself if nothing changes.

    Raises:
        ValueError: uint8 without mean and std, or float with them.
    """
    if (x.dtype == torch.uint8) != (mean is not None and std is not None):
        raise ValueError(
            f"got {x.dtype} with mean {mean} and std {std}, expected both for uint8 and none for float data"
        )
    x = x.to(torch.float32)
    if mean is None or std is None:
        return x
    shift, scale = (torch.tensor(values, dtype=torch.float32, device=x.device)[:, None, None] for values in (mean, std))
    return x.div_(255).sub_(shift).div_(scale)  # in place: `.to` made a copy of the uint8 data


def unchanged(x: Any, generator: torch.Generator) -> Any:
    """Returns `x` itself; draws nothing."""
    return x


def flip(x: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrors each image of the batch left to right with probability 1/2.

    Args:
        x: (B, C, H, W), any type, device and memory format.
        generator: a CPU generator.

    Returns:
        A new tensor of the same shape, type and memory format.

    Raises:
        UserError: `x` is a table.
    """
    _check_images(x)
    return _mirrored(x, draw_flips(len(x), generator))


def crop_flip(x: Tensor, generator: torch.Generator, padding: int = PADDING) -> Tensor:
    """Pads each image with zeros, crops it to its size at a random place, and mirrors it with probability 1/2.

    Args:
        x: (B, C, H, W), any type, device and memory format.
        generator: a CPU generator.
        padding: P pixels on each of the four sides.

    Returns:
        A new tensor of the same shape, type and memory format.

    Raises:
        UserError: `x` is a table.
    """
    _check_images(x)
    tops, lefts = draw_offsets(len(x), padding, generator)
    flips = draw_flips(len(x), generator)
    return _mirrored(_cropped(x, tops, lefts, padding), flips)


def draw_flips(num_images: int, generator: torch.Generator) -> Tensor:
    """Draws (B,) bool, each true with probability 1/2."""
    return torch.rand(num_images, generator=generator) < 0.5


def draw_offsets(num_images: int, padding: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draws top (B,) and left (B,) of the crops, uniform in 0..2P of the padded image; (P, P) is no shift."""
    tops, lefts = torch.randint(2 * padding + 1, (2, num_images), generator=generator)
    return tops, lefts


def _cropped(x: Tensor, tops: Tensor, lefts: Tensor, padding: int) -> Tensor:
    """Makes all crops by one gather from a view of all windows."""
    height, width = x.shape[2:]
    padded = functional.pad(x, (padding,) * 4)  # (B, C, H + 2P, W + 2P)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2P + 1, 2P + 1, H, W), no copy
    images = torch.arange(len(x), device=x.device)
    crops = windows[images, :, sent(tops, x.device), sent(lefts, x.device)]  # (B, C, H, W)
    return crops.contiguous(memory_format=_memory_format(x))


def _mirrored(x: Tensor, flips: Tensor) -> Tensor:
    chosen = sent(flips, x.device)[:, None, None, None]
    return torch.where(chosen, x.flip(3), x).contiguous(memory_format=_memory_format(x))


def _memory_format(x: Tensor) -> torch.memory_format:
    is_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if is_last else torch.contiguous_format


def _check_images(x: Tensor) -> None:
    if x.ndim != 4:
        raise UserError(
            f"training.augment: got samples of shape {tuple(x.shape[1:])}, expected images (C, H, W) to flip or crop; "
            "for a table, augment = 'none'"
        )


def token_dropout(
    x: dict[str, Tensor], generator: torch.Generator, vocabulary: Vocabulary, rate: float = TOKEN_DROPOUT
) -> dict[str, Tensor]:
    """Replaces each real token by the unknown one with probability `rate`.

    Args:
        x: texts, as `inputs.token_inputs` makes them.
        generator: a CPU generator.
        vocabulary: gives the id of the unknown token.
        rate: in [0, 1].

    Returns:
        New ids of the same shape, with the same mask.
    """
    drawn = torch.rand(x[IDS].shape, generator=generator) < rate  # (B, T)
    dropped = sent(drawn, x[IDS].device) & x[MASK].bool()
    return x | {IDS: x[IDS].masked_fill(dropped, vocabulary.unknown)}


Augmentation = Callable[[Any, torch.Generator], Any]
"""A batch of inputs and a CPU generator to a changed batch."""
AUGMENTATIONS: dict[str, Augmentation] = {"none": unchanged, "flip": flip, "crop_flip": crop_flip}
"""Augmentations of images by their names in `study.Training.augment`."""


def augmentation(name: str, vocabulary: Vocabulary | None) -> Augmentation:
    """Returns an augmentation by its name.

    Args:
        name: as in `study.Training.augment`.
        vocabulary: that of the samples if they are texts; else None.

    Raises:
        UserError: the samples are of another kind than the augmentation.
    """
    if name == "none":
        return unchanged
    if (name == OF_TOKENS) != (vocabulary is not None):
        kind = "images or a table" if vocabulary is None else "texts"
        fitting = "none, flip and crop_flip" if vocabulary is None else f"none and {OF_TOKENS}"
        raise UserError(f"training.augment: got '{name}' for {kind}, expected one of {fitting}")
    return AUGMENTATIONS[name] if vocabulary is None else partial(token_dropout, vocabulary=vocabulary)


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Copies values drawn on the CPU (positions, offsets, flips) to a device.

    A plain copy waits until the GPU has finished all earlier work. A copy from pinned memory does not, so the CPU can
    prepare the next steps meanwhile.

    Args:
        values: any tensor.
        device: the target device.

    Returns:
        The values on the device; `values` itself if they are already there.
    """
    if device.type == "cuda" and not values.is_cuda:
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)
