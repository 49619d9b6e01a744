"""Finds the weights and channels that users' networks keep: from files of masks, or from the zeros of their weights.

| what is known of a file of weights | bits |
|---|---|
| a file of masks, given or written beside it by `compress`, a run or `export` | True where a weight is kept |
| nothing | the zeros of the weights count as removed, in every matrix that has any |
| removed channels, in the structure file beside it | one bit per channel of the whole network |

`compression.kept` says how the bits of several networks are put in one order.
"""

# M models, D bits

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from pruneaudit.compression.kept import KeptByModels, Whole, kept_bits
from pruneaudit.compression.mask import Masks
from pruneaudit.compression.matrices import counted_weights
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import MASK_FILE, WEIGHTS_FILE
from pruneaudit.external.folder import beside
from pruneaudit.external.weight_files import natural_order, structure_of
from pruneaudit.external.weights import read_checkpoint
from pruneaudit.signals.bits import Bits

NO_STRUCTURE = (
    "structure: no weight of any network is zero and no channel is missing, so the file has no key `structure`, and"
    " `mask_filter` is not played on it"
)
_TORCH_SUFFIX = "_mask"
"""`torch.nn.utils.prune` keeps the mask of `weight` as `weight_mask`."""


def find_masks(given: Sequence[str | Path], num_models: int) -> list[Path]:
    """The files of masks, one per model, in the order of the models; none if none are given.

    Args:
        given: files and patterns; the files of a pattern are sorted naturally, as those of weights are.
        num_models: M.

    Raises:
        UserError: a file is missing, or there are not as many as models.
    """
    found: list[Path] = []
    for place in given:
        path = Path(place).expanduser()
        files = [path] if path.is_file() else sorted(map(Path, glob.glob(str(path), recursive=True)), key=natural_order)  # noqa: PTH207 - a pattern may have a root
        if not files:
            raise UserError(f"masks: {place}: no such file, and as a pattern it matches none; give one file per model")
        found += files
    if found and len(found) != num_models:
        raise UserError(
            f"masks: got {len(found)} files for {num_models} models, expected one for each, in the order of the"
            " weights; leave them out to read masks from the zeros of the weights"
        )
    return found


class Structures:
    """The bits of several networks, read one by one.

    Args:
        build: builds the network before any compression.
        mask_files: from `find_masks`.
    """

    def __init__(self, build: Callable[[], nn.Module], mask_files: Sequence[Path]) -> None:
        self._build, self._mask_files = build, mask_files
        self._whole: Whole | None = None
        self._found = KeptByModels()
        self._count = 0

    def add(self, network: nn.Module, path: Path) -> tuple[Mapping[str, Tensor], str]:
        """Reads the next network.

        Args:
            network: with its weights.
            path: the file that they are from.

        Returns:
            Its masks, and how its architecture was changed, as JSON text.

        Raises:
            UserError: a mask fits no parameter of the network, or has other values than 0 and 1.
        """
        file = self._mask_files[self._count] if self._mask_files else _written_beside(path)
        self._count += 1
        record = structure_of(path)
        structure = "" if record is None else record.read_text(encoding="utf-8")
        if structure and self._whole is None:
            self._whole = Whole(self._build)
        masks = _of_zeros(network) if file is None else _read(file, network)
        self._found.add(kept_bits(masks, structure, self._whole))
        return masks, structure

    def bits(self) -> Bits | None:
        """All bits (M, D); None if nothing is removed from any network."""
        packed, num_bits = self._found.packed()
        return Bits(packed, num_bits) if num_bits else None


def _written_beside(path: Path) -> Path | None:
    """The file of masks that this program wrote beside weights."""
    places = [beside(path, f".{MASK_FILE}"), *([path.with_name(MASK_FILE)] if path.name == WEIGHTS_FILE else [])]
    return next((place for place in places if place.is_file()), None)


def _of_zeros(network: nn.Module) -> Mapping[str, Tensor]:
    """The masks that the zeros of a network's weights show."""
    weights = counted_weights(network)
    return {name: weight.detach() != 0 for name, weight in weights.items() if not bool(weight.all())}


def _read(file: Path, network: nn.Module) -> Mapping[str, Tensor]:
    """The masks in a file, by the names of the network's parameters."""
    tensors = read_checkpoint(file).tensors
    of_torch = {name: mask for name, mask in tensors.items() if name.endswith(_TORCH_SUFFIX)}
    found: dict[str, Tensor] = {}
    parameters = dict(network.named_parameters())
    for name, mask in (of_torch or tensors).items():
        own = name.removesuffix(_TORCH_SUFFIX)
        shape = tuple(parameters[own].shape) if own in parameters else None
        if shape != tuple(mask.shape):
            expected = f"({', '.join(map(str, shape))})" if shape else f"names such as {next(iter(parameters))}"
            raise UserError(
                f"{file}: mask '{name}' of shape {tuple(mask.shape)}, expected {expected} as the network's parameters;"
                " give the masks of this network"
            )
        if not bool(((mask == 0) | (mask == 1)).all()):
            raise UserError(f"{file}: mask '{name}' has other values than 0 and 1, expected 1 where a weight is kept")
        found[own] = mask.to(torch.bool)
    return Masks(found)
