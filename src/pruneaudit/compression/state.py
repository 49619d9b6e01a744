"""The state of a compressed network: every released compressed tensor. It rebuilds the weights bit for bit.

| key | what is in it |
|---|---|
| `mask/NAME` | bool: True for the kept weights of the parameter | | `kept/NAME` | the kept weights, in order
(num_kept,) | | `codes/NAME` | the codes of weights on a grid, int8 or uint8 | | `scale/NAME` | of the tensor (1,), per
channel (C,), or per group (C, G) | | `zero/NAME` | the codes of 0, in the same shape, only if they are not 0 everywhere
| | `grid/NAME` | lowest code, highest code, axis of the channels, and the weights of a group if there are groups | |
`threshold/NAME` | only of ternary weights, in the same shape: later training rounds up to here to 0 | | `index/NAME`,
`codebook/NAME` | weights that share values: the index of each weight's value, and the values | | `whole/NAME` | the
weights of a layer of a network that has lost channels, or of a factor of low rank | | `structure` | how the
architecture was changed, as text, one byte per character; see `compression.structure` |

Biases, normalisation, scales of quantised inputs and uncompressed tensors are in the weights file that is attacked. On
disk masks and structure have separate files; one file holds the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from pruneaudit.compression.compressed import Constraint
from pruneaudit.compression.grids import Grids
from pruneaudit.compression.mask import Masks
from pruneaudit.compression.structure import joined
from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.core.files import COMPRESSED_FILE, MASK_FILE, STRUCTURE_FILE
from pruneaudit.training.checkpoint import load_tensors, save_tensors

State = Mapping[str, Tensor]
STATE_FILES = (COMPRESSED_FILE, MASK_FILE, STRUCTURE_FILE)
_VALUES = ("whole", "kept", "index", "codes")
"""Keys with a parameter's values; later ones replace earlier ones."""


def state_of(model: nn.Module, constraints: Iterable[Constraint]) -> dict[str, Tensor]:
    """The state of a network with these constraints."""
    found: dict[str, Tensor] = {}
    several = list(constraints)
    for constraint in several:
        found |= constraint.state(model)
    if changes := joined([constraint.structure for constraint in several]):
        found["structure"] = torch.tensor(list(changes.encode()), dtype=torch.uint8)
    for name in names_in(found):
        said = [kind for kind in _VALUES if f"{kind}/{name}" in found]
        for kind in said[:-1]:
            del found[f"{kind}/{name}"]
    return found


def names_in(state: State) -> list[str]:
    """The parameters whose values a state holds, sorted."""
    return sorted({key.split("/", 1)[1] for key in state if key.split("/", 1)[0] in _VALUES})


def restored(state: State) -> dict[str, Tensor]:
    """The weights by parameter name, as they were when the state was taken, bit for bit.

    Raises:
        UserError: parts are missing or do not fit each other.
    """
    try:
        return _restored(state)
    except (KeyError, IndexError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"the compressed state is inconsistent ({in_one_line(error)}); make it again") from None


def _restored(state: State) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    grids = Grids.of(state).grids
    for name in names_in(state):
        mask = state.get(f"mask/{name}")
        if f"codes/{name}" in state:
            weights[name] = grids[name].values(state[f"codes/{name}"])
        elif f"index/{name}" in state:
            weights[name] = state[f"codebook/{name}"][state[f"index/{name}"].long()]
            weights[name] = weights[name] if mask is None else torch.where(mask, weights[name], 0.0)
        elif f"kept/{name}" in state and mask is not None:
            kept = state[f"kept/{name}"]
            weights[name] = kept.new_zeros(mask.shape).masked_scatter_(mask, kept)
        else:
            weights[name] = state[f"whole/{name}"]
    return weights


def not_rebuilt(model: nn.Module, state: State) -> list[str]:
    """The parameters that a state does not rebuild bit for bit: none, unless a training broke a constraint."""
    return differing({name: parameter.detach() for name, parameter in model.named_parameters()}, state)


def differing(weights: State, state: State) -> list[str]:
    """The parameters that a state rebuilds differently from `weights`, or that `weights` lacks.

    Raises:
        UserError: the state is inconsistent.
    """
    return [
        name
        for name, rebuilt in restored(state).items()
        if name not in weights or not torch.equal(weights[name].cpu(), rebuilt.to(weights[name].dtype))
    ]


def check_rebuilt(weights: State, folder: Path) -> None:
    """Checks that the state in a folder, if there is one, rebuilds weights bit for bit.

    Raises:
        UserError: a file cannot be read, or the weights differ.
    """
    try:
        wrong = differing(weights, load_state(folder))
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    if wrong:
        raise UserError(f"{folder}: '{wrong[0]}' differs from its compressed state; make it again")


def masks_in(state: State) -> Masks | None:
    """Which weights are kept; None without masks."""
    masks = {key.removeprefix("mask/"): value for key, value in state.items() if key.startswith("mask/")}
    return Masks(masks) if masks else None


def structure_in(state: State) -> str:
    """How the architecture was changed, as JSON text; empty if it was not."""
    return bytes(state["structure"].tolist()).decode(errors="replace") if "structure" in state else ""


def num_left(state: State) -> dict[str, int]:
    """The number of remaining weights of each parameter whose zeros do not show it: a code can mean 0."""
    found = {}
    for name in names_in(state):
        codes = state.get(f"codes/{name}", state.get(f"index/{name}"))
        if codes is not None:
            mask = state.get(f"mask/{name}")
            found[name] = codes.numel() if mask is None else int(mask.sum())
    return found


def has_codes(folder: Path) -> bool:
    """Whether the state in a folder stores weights as codes or as indices of shared values, which are smaller."""
    return any(key.startswith(("codes/", "index/")) for key in load_state(folder, (COMPRESSED_FILE,)))


def save_state(state: State, folder: Path) -> None:
    """Writes a state into a folder: masks, structure and the rest, each only if there is any."""
    masks, structure = masks_in(state), structure_in(state)
    if masks:
        save_tensors(dict(masks), folder / MASK_FILE)
    if structure:
        (folder / STRUCTURE_FILE).write_text(structure, encoding="utf-8")
    rest = {key: value for key, value in state.items() if not key.startswith("mask/") and key != "structure"}
    if rest:
        save_tensors(rest, folder / COMPRESSED_FILE)


def load_state(folder: Path, files: Collection[str] | None = None) -> dict[str, Tensor]:
    """Reads the state in a folder; empty if nothing in it is compressed.

    Args:
        folder: the folder.
        files: the file names to read; default: all that are there.

    Raises:
        UserError: a file cannot be read.
    """
    state: dict[str, Tensor] = {}
    there = [name for name in STATE_FILES if (folder / name).exists() and (files is None or name in files)]
    if COMPRESSED_FILE in there:
        state |= load_tensors(folder / COMPRESSED_FILE)
    if MASK_FILE in there:
        state |= {f"mask/{name}": mask for name, mask in load_tensors(folder / MASK_FILE).items()}
    if STRUCTURE_FILE in there:
        state["structure"] = torch.tensor(list((folder / STRUCTURE_FILE).read_bytes()), dtype=torch.uint8)
    return state
