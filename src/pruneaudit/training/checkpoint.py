"""Weights on disk: safetensors, nothing that could carry code."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pruneaudit.errors import UserError


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Writes tensors by name, in plain memory order."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU.

    Raises:
        UserError: the file is missing or no safetensors file.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from None


def save_weights(model: nn.Module, path: Path) -> None:
    """Writes all parameters and buffers of `model`."""
    save_tensors(model.state_dict(), path)


@torch.no_grad()
def load_weights(model: nn.Module, path: Path) -> nn.Module:
    """Puts the weights of a file into `model`, which must have exactly these names and shapes.

    Raises:
        UserError: the file is unreadable or belongs to another network.
    """
    try:
        model.load_state_dict(load_tensors(path))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: does not fit this network ({reason})") from None
    return model
