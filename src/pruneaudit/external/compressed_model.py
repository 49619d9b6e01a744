"""A compressed network: what it is, what holds it, how large it is, and its folder.

| file | what is in it |
|---|---|
| model.safetensors | all parameters and buffers |
| compressed.safetensors | kept weights, codes and scales, shared values: what the compressed weights are rebuilt from |
| mask.safetensors | which weights are kept, where some were removed |
| structure.json | what was removed from the architecture, where it is smaller |
| history.csv | the fine-tuning, one row per epoch, if our loop trained |
| summary.json | method, sparsity, sizes, layers, accuracy; SHA-256 of the other files; written last |
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pruneaudit.compression.chain import Step, constraints_of
from pruneaudit.compression.compressor import Constraint
from pruneaudit.compression.mask import Masks
from pruneaudit.compression.parametrized import copied
from pruneaudit.compression.state import load_state, masks_in, not_rebuilt, save_state, state_of, structure_in
from pruneaudit.compression.structured import replay
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import (
    COMPRESSED_FILE,
    HISTORY_FILE,
    MASK_FILE,
    STRUCTURE_FILE,
    SUMMARY_FILE,
    WEIGHTS_FILE,
    check_new_folder,
    file_sha256,
)
from pruneaudit.external.folder import check_sums, new_folder, read_summary
from pruneaudit.training.checkpoint import load_tensors, own_tensors, save_tensors, with_further_names
from pruneaudit.training.history import write_history, write_summary
from pruneaudit.training.hooks import Hook

FILES = (WEIGHTS_FILE, COMPRESSED_FILE, MASK_FILE, STRUCTURE_FILE, HISTORY_FILE, SUMMARY_FILE)
"""All that a folder may hold."""


@dataclass(frozen=True, eq=False)
class CompressedModel:
    """A network that was compressed outside a study.

    Example:
        >>> pruned = pruneaudit.compress(model, "l1unstructured", 0.5)
        >>> round(pruned.summary["sparsity"], 2)
        0.5
    """

    model: nn.Module
    """The compressed network."""
    state: Mapping[str, Tensor]
    """Every compressed tensor, by which its weights are rebuilt bit for bit; see `compression.state`."""
    constraints: tuple[Constraint, ...]
    """What holds of its weights: masks, grids, shared values."""
    hooks: tuple[Hook, ...]
    """What a training with `pruneaudit.training.loop.train` must run so that the compression holds."""
    summary: Mapping[str, Any]
    """Method, sparsity, sizes before and after, layers, accuracy; as it stands in summary.json."""
    history: tuple[Mapping[str, Any], ...] = field(default=())
    """The fine-tuning, one row per epoch; empty if the user's own function trained."""

    @property
    def masks(self) -> Masks | None:
        """Which weights are kept, by parameter name; none where no mask removes any."""
        return masks_in(self.state)

    @property
    def structure(self) -> str:
        """What was removed from the architecture, as JSON text; empty where it is as it was."""
        return structure_in(self.state)

    @property
    def sparsity(self) -> float:
        """Fraction of the prunable weights that is zero or gone, in [0, 1]; see `compression.matrices`."""
        return float(self.summary["sparsity"])

    @property
    def sparsity_all(self) -> float:
        """Fraction of all parameters that is zero or gone, in [0, 1]."""
        return float(self.summary["after"]["sparsity_all"])

    def hold(self, optimizer: torch.optim.Optimizer) -> RemovableHandle | None:
        """Keeps the weights as compressed in a training loop of the user's own, after each of the optimizer's steps.

        Removed weights stay zero, rounded ones stay on their grid, clusters stay equal. Steps that are small against a
        grid are lost so: `hooks` with our loop train what the grid rounds.

        Returns:
            What ends that with `.remove()`; none where nothing has to be held.
        """
        if all(not constraint.hooks(self.model) for constraint in self.constraints):
            return None

        def after_step(*_: Any) -> None:
            for constraint in self.constraints:
                constraint.apply(self.model)

        return optimizer.register_step_post_hook(after_step)

    def save(self, folder: str | Path, force: bool = False) -> Path:
        """Writes the folder: whole or not at all, without pickle.

        Args:
            folder: a new or an empty one.
            force: replace what an earlier `save` wrote there; other files stay.

        Returns:
            The folder.

        Raises:
            UserError: it is not empty, or cannot be written to.
            StorageError: the disk is full.
        """
        folder = check_new_folder(Path(folder), force)
        with new_folder(folder, FILES) as staging:
            save_tensors(_state(self.model), staging / WEIGHTS_FILE)
            save_state(self.state, staging)
            if self.history:
                write_history(self.history, staging)
            sums = {path.name: file_sha256(path) for path in sorted(staging.iterdir())}
            write_summary({**self.summary, "disk": _disk(staging / WEIGHTS_FILE), "files": sums}, staging)
        return folder


def load_compressed(model: nn.Module | Callable[[], nn.Module], folder: str | Path) -> CompressedModel:
    """What `CompressedModel.save` wrote; nothing in it is run.

    Args:
        model: a network of the architecture that was pruned, with any weights (it stays as it is), or a function that
            makes one.
        folder: where it was saved.

    Returns:
        The pruned network on the CPU, in the mode and the memory order of `model`, where it gives the same outputs bit
        for bit; with hooks that hold its masks.

    Raises:
        UserError: the folder holds no whole pruned network, or one of another architecture.

    Example:
        >>> folder = pruneaudit.compress(model, "rtn:bits=4").save("rounded")
        >>> network = pruneaudit.load_compressed(model, folder).model
    """
    folder = Path(folder)
    summary = read_summary(folder / SUMMARY_FILE)
    check_sums(folder, summary["files"])
    network = copied(model) if isinstance(model, nn.Module) else model()
    if not isinstance(network, nn.Module):
        raise UserError(f"model: got {type(network).__name__}, expected a torch.nn.Module or a function that makes one")
    state = load_state(folder, summary["files"])
    network = replay(network.cpu(), structure_in(state))
    _fill(network.cpu(), load_tensors(folder / WEIGHTS_FILE), folder / WEIGHTS_FILE)
    constraints = constraints_of(state, [Step.of(described) for described in _steps(summary)])
    hooks = tuple(hook for constraint in constraints for hook in constraint.hooks(network))
    if COMPRESSED_FILE not in summary["files"]:  # of an earlier version: the weights say the rest
        state = state_of(network, constraints)
    if wrong := not_rebuilt(network, state):
        raise UserError(f"{folder}: '{wrong[0]}' is not what its compressed state says; compress the network again")
    return CompressedModel(network, state, constraints, hooks, summary)


def _steps(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The compressors of a summary; earlier versions have one, and its sparsity beside it."""
    steps = [summary["method"]] if isinstance(summary["method"], Mapping) else list(summary["method"])
    if COMPRESSED_FILE not in summary["files"]:
        steps = [{**step, "options": {"sparsity": summary["asked_sparsity"], **step["options"]}} for step in steps]
    return steps


@torch.no_grad()
def _fill(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    own = _state(network)
    other = [name for name, tensor in tensors.items() if name in own and own[name].dtype != tensor.dtype]
    if other:  # loading would convert without a word
        raise UserError(
            f"{path}: '{other[0]}' is {tensors[other[0]].dtype}, and {own[other[0]].dtype} in this network;"
            " give one of the same type"
        )
    try:
        network.load_state_dict(with_further_names(network, tensors))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except RuntimeError as error:
        reason = " ".join(str(error).partition(":")[2].split())[:300]
        raise UserError(
            f"{path}: does not fit this network ({reason}); give the architecture that was pruned"
        ) from None


def _state(model: nn.Module) -> dict[str, Tensor]:
    state = own_tensors(model)
    foreign = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if foreign:
        raise UserError(f"model: '{foreign[0]}' in its state dict is no tensor, and cannot be saved without pickle")
    return state


def _disk(path: Path) -> dict[str, int]:
    """Bytes of a file as it is, and compressed by zlib: zeros take room until somebody compresses them."""
    squeezed, compressor = 0, zlib.compressobj(level=6)
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            squeezed += len(compressor.compress(part))
    return {"bytes": path.stat().st_size, "compressed_bytes": squeezed + len(compressor.flush())}
