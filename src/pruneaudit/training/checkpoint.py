"""Weights on disk, as safetensors files, which cannot carry code.

A tensor that several layers share is written once, under its first name: the format refuses shared memory, and a
second copy would double the apparent number of weights. The network that a file is read into knows the other names.
Files of other programs, which hold all names, can be read too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pruneaudit.core.errors import UserError


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Writes tensors by name, in plain memory order; each tensor is written even if it shares memory with another.

    safetensors makes its files readable only for their owner; this function uses the user's umask instead.
    """
    written: dict[str, Tensor] = {}
    places = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        place = plain.untyped_storage().data_ptr()
        written[name] = plain.clone() if place in places else plain
        places.add(place)
    path.touch()
    mode = path.stat().st_mode
    save_file(written, path)
    path.chmod(mode)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Reads tensors by name, onto the CPU.

    Raises:
        UserError: the file is missing or not a safetensors file.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from None


def further_names(model: nn.Module) -> dict[str, str]:
    """Maps each further name of a shared tensor in the state dict to its first name."""
    first: dict[int, str] = {}
    further = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and first.setdefault(id(tensor), name) != name:
            further[name] = first[id(tensor)]
    return further


def own_tensors(model: nn.Module) -> dict[str, Any]:
    """The state dict without the further names of shared tensors."""
    further = further_names(model)
    return {name: value for name, value in model.state_dict().items() if name not in further}


def with_further_names(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A file's tensors, plus the further names that they have in `model`.

    Raises:
        UserError: the file has two different tensors where the network has one.
    """
    complete = dict(tensors)
    for name, first in further_names(model).items():
        held = [complete[key] for key in (first, name) if key in complete]
        if len(held) == 2 and not _same(*held):
            raise UserError(
                f"'{first}' and '{name}' differ in the file but are one tensor in this network; give a network that "
                f"does not share them, or weights of a network that does"
            )
        if held:
            complete[first] = complete[name] = held[0]
    return complete


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether both are equal to the last bit, including NaN."""
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


def save_weights(model: nn.Module, path: Path) -> None:
    """Writes all parameters and buffers of `model`, each once."""
    save_tensors(own_tensors(model), path)


@torch.no_grad()
def load_weights(model: nn.Module, path: Path, new_head: Collection[str] | None = None) -> nn.Module:
    """Loads the weights of a file into `model`, which must have exactly these names and shapes.

    Args:
        model: the network, changed in place.
        path: the file.
        new_head: names of tensors that keep their values, as do those that the file lacks; None: load all.

    Raises:
        UserError: the file is unreadable or belongs to another network.
    """
    tensors = load_tensors(path)
    if new_head is not None:
        kept = {name: value for name, value in tensors.items() if name not in new_head}
        tensors = own_tensors(model) | kept
    try:
        model.load_state_dict(with_further_names(model, tensors))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: does not fit this network ({reason})") from None
    return model
