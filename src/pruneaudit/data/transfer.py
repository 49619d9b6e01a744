"""Sending small tensors to a device while it works on others."""

# B batch

from __future__ import annotations

import torch
from torch import Tensor


def sent(values: Tensor, device: torch.device) -> Tensor:
    """What the CPU has drawn (positions, offsets, flips), on the device that uses it.

    A plain copy waits until a GPU has done all that it was given before. From pinned memory it does not, so that the
    CPU prepares the next steps meanwhile.

    Args:
        values: any tensor.
        device: where it is needed.

    Returns:
        `values` itself where it is there already.
    """
    if device.type == "cuda" and not values.is_cuda:
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)
