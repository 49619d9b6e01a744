"""A compressed network, with its constraints and sizes, and its folder.

| file | what is in it |
|---|---|
| model.safetensors | all parameters and buffers |
| compressed.safetensors | kept weights, codes and scales, shared values: they rebuild the compressed weights |
| mask.safetensors | the mask of kept weights, if some were removed | | structure.json | the parts that were removed
from the architecture, if it is smaller | | history.csv | the fine-tuning, one row per epoch, if the package's loop
trained | | config.json, tokenizer.json, ... | of a network of Transformers: copies of its folder's files, by the
command line | | summary.json | method, sparsity, sizes, layers, accuracy; SHA-256 of the other files; written last |
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pruneaudit.compression.chain import Step, constraints_of
from pruneaudit.compression.compressor import Constraint
from pruneaudit.compression.mask import Masks
from pruneaudit.compression.parametrized import copied
from pruneaudit.compression.state import load_state, masks_in, not_rebuilt, save_state, state_of, structure_in
from pruneaudit.compression.structure import replay
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

if TYPE_CHECKING:
    from pruneaudit.external.onnx_file import OnnxFacts

FILES = (WEIGHTS_FILE, COMPRESSED_FILE, MASK_FILE, STRUCTURE_FILE, HISTORY_FILE, SUMMARY_FILE)
"""All files that a folder can hold."""


@dataclass(frozen=True, eq=False)
class CompressedModel:
    """A network that was compressed outside a study, with its constraints and sizes.

    Example:
        >>> pruned = pruneaudit.compress(model, "l1unstructured", 0.5)
        >>> round(pruned.summary["sparsity"], 2)
        0.5
    """

    model: nn.Module
    """The compressed network."""
    state: Mapping[str, Tensor]
    """Every compressed tensor; they rebuild its weights bit for bit, see `compression.state`."""
    constraints: tuple[Constraint, ...]
    """The constraints on its weights: masks, grids, shared values."""
    hooks: tuple[Hook, ...]
    """The hooks with which a training by `pruneaudit.training.loop.train` keeps the compression."""
    summary: Mapping[str, Any]
    """Method, sparsity, sizes before and after, layers, accuracy; as in summary.json."""
    history: tuple[Mapping[str, Any], ...] = field(default=())
    """The fine-tuning, one row per epoch; empty if the user's own function trained."""

    @property
    def masks(self) -> Masks | None:
        """Which weights are kept, by parameter name; None without masks."""
        return masks_in(self.state)

    @property
    def structure(self) -> str:
        """The removed parts of the architecture, as JSON text; empty if nothing was removed."""
        return structure_in(self.state)

    @property
    def sparsity(self) -> float:
        """Fraction of the prunable weights that is zero or removed, in [0, 1]; see `compression.matrices`."""
        return float(self.summary["sparsity"])

    @property
    def sparsity_all(self) -> float:
        """Fraction of all parameters that is zero or removed, in [0, 1]."""
        return float(self.summary["after"]["sparsity_all"])

    def hold(self, optimizer: torch.optim.Optimizer) -> RemovableHandle | None:
        """Keeps the weights compressed in a user's training loop, after each step of the optimizer.

        Removed weights stay zero, rounded weights stay on their grid, and clusters stay equal. Steps much smaller than
        the grid's spacing are lost; to avoid that, train with the package's loop and `hooks`, which updates unrounded
        weights.

        Returns:
            A handle whose `.remove()` ends this; None if there is nothing to keep.
        """
        if all(not constraint.hooks(self.model) for constraint in self.constraints):
            return None

        def after_step(*_: Any) -> None:
            for constraint in self.constraints:
                constraint.apply(self.model)

        return optimizer.register_step_post_hook(after_step)

    def save(self, folder: str | Path, force: bool = False, beside: Sequence[Path] = ()) -> Path:
        """Writes the folder, completely or not at all, without pickle.

        Args:
            folder: a new or empty one.
            force: replace the files of an earlier `save`; other files stay.
            beside: further files to copy into it, such as a configuration and a tokenizer; their names must not be in
                `FILES`.

        Returns:
            The folder.

        Raises:
            UserError: the folder is not empty, or cannot be written to.
            StorageError: the disk is full.
        """
        folder = check_new_folder(Path(folder), force)
        with new_folder(folder, (*(path.name for path in beside), *FILES)) as staging:
            for path in beside:
                shutil.copyfile(path, staging / path.name)
            save_tensors(_state(self.model), staging / WEIGHTS_FILE)
            save_state(self.state, staging)
            if self.history:
                write_history(self.history, staging)
            sums = {path.name: file_sha256(path) for path in sorted(staging.iterdir())}
            write_summary(
                {**self.summary, "file_bytes": (staging / WEIGHTS_FILE).stat().st_size, "files": sums}, staging
            )
        return folder

    def to_onnx(
        self, file: str | Path, inputs: Any = None, shape: Sequence[int] | None = None, force: bool = False
    ) -> OnnxFacts:
        """Writes the network as ONNX: with its codes, shared values or int8 activations, as far as it has them.

        The file is written only if onnxruntime agrees with the network on 1,000 inputs; `external.onnx_check` has the
        limits. A note `FILE.json` has the figures, the format of inputs, and the summary.

        Args:
            file: the file. It takes inputs as the network does, in batches of any size, and texts of any length.
            inputs: inputs to compare on (N, ...), such as the calibration samples; for texts a dict of `input_ids` and
                `attention_mask`. If there are fewer than 1,000, copies with noise are added. Default: random numbers,
                which are a weaker test.
            shape: the shape of one input, without the batch; default: that of `inputs`, or of the compression.
            force: replace an existing file.

        Raises:
            UserError: the shape is unknown, the file exists, the network cannot be written as ONNX, or onnxruntime's
                answers differ. Nothing is then written.

        Example:
            >>> facts = pruneaudit.compress(model, "rtn:bits=4").to_onnx("rounded.onnx", inputs=x)
            >>> facts.agreement.same_class
            1000
        """
        from pruneaudit.external.onnx_compressed import write_compressed

        return write_compressed(self, Path(file).expanduser(), inputs, shape, force)


def load_compressed(model: nn.Module | Callable[[], nn.Module], folder: str | Path) -> CompressedModel:
    """Loads a folder that `CompressedModel.save` wrote, without running any code in it.

    Args:
        model: a network of the architecture before compression, with any weights (it does not change), or a function
            that builds one.
        folder: the saved folder.

    Returns:
        The compressed network on the CPU, in the mode and the memory order of `model`, with hooks that keep its
        compression. On the CPU, its outputs are bit-identical.

    Raises:
        UserError: the folder has no complete compressed network, or a network of another architecture.

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
    if COMPRESSED_FILE not in summary["files"]:  # of an earlier version: the weights have the rest
        state = state_of(network, constraints)
    if wrong := not_rebuilt(network, state):
        raise UserError(f"{folder}: '{wrong[0]}' differs from its compressed state; compress the network again")
    return CompressedModel(network, state, constraints, hooks, summary)


def _steps(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The compressors of a summary; earlier versions have one, with a separate sparsity."""
    steps = [summary["method"]] if isinstance(summary["method"], Mapping) else list(summary["method"])
    if COMPRESSED_FILE not in summary["files"]:
        asked = {} if summary["asked_sparsity"] is None else {"sparsity": summary["asked_sparsity"]}
        steps = [{**step, "options": {**asked, **step["options"]}} for step in steps]
    return steps


@torch.no_grad()
def _fill(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    own = _state(network)
    other = [name for name, tensor in tensors.items() if name in own and own[name].dtype != tensor.dtype]
    if other:  # loading would convert silently
        raise UserError(
            f"{path}: '{other[0]}' is {tensors[other[0]].dtype}, but {own[other[0]].dtype} in this network;"
            " give a network of the same type"
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
        raise UserError(f"model: '{foreign[0]}' in its state dict is not a tensor, and needs pickle to be saved")
    return state
