"""Computes how a training step at the public initial weights would change the weights that users' networks keep."""

# N samples

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from pruneaudit.compression.kept_weights import kept_weights
from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.external.filling import filled
from pruneaudit.external.networks import with_logits
from pruneaudit.external.weight_files import find_weights, structure_of
from pruneaudit.signals.start_saliency import settle_norms, start_saliency
from pruneaudit.study.user_function import working_folder_searched
from pruneaudit.training.samples import Samples


def start_file(given: str | Path) -> Path:
    """The one file of weights that a path leads to.

    Raises:
        UserError: there is none, there are several, or its architecture was changed.
    """
    found = find_weights(given)
    if len(found) != 1:
        raise UserError(f"start: {given}: found {len(found)} files, expected one; name the file")
    if structure := structure_of(found[0]):
        raise UserError(
            f"start: {found[0]} is of a network with a changed architecture (its folder has {structure.name}), "
            f"expected the architecture of the factory; give the weights from before the compression"
        )
    return found[0]


class PublicStart:
    """A network with public initial weights, and the samples to differentiate its loss at.

    Args:
        network: a new network of the factory, on the CPU; its weights are replaced.
        path: the file of the weights.
        samples: N samples, on the device to use.
        num_classes: C.
        weights_key: the key of the weights in the file; empty: the one that fits.
        note: called with each choice or omission.

    Raises:
        UserError: the file does not fit, or the network fails on the samples.
    """

    def __init__(
        self,
        network: nn.Module,
        path: Path,
        samples: Samples,
        num_classes: int,
        weights_key: str = "",
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._whole, self._path, self._samples = filled(network, path, weights_key, note), path, samples
        device = samples.y.device
        self._asked = with_logits(self._whole.to(device), samples, str(path), num_classes)
        settle_norms(self._asked, samples)
        asked = {id(parameter): name for name, parameter in self._asked.named_parameters()}
        self._names = {name: asked[id(parameter)] for name, parameter in self._whole.named_parameters()}

    @working_folder_searched()
    def saliency(self, masks: Mapping[str, Tensor], structure: str) -> np.ndarray:
        """The start saliency of every sample for one network, (N,) float32.

        Args:
            masks: which weights it keeps, by parameter name.
            structure: how its architecture was changed, as JSON text; empty if it was not.

        Raises:
            UserError: the network belongs to another one than the start, or has no second derivative.
        """
        kept = kept_weights(self._whole, masks, structure)
        try:
            return start_saliency(self._asked, self._samples, {self._names[name]: kept[name] for name in kept})
        except RuntimeError as error:
            raise UserError(
                f"start: {self._path}: its network has no second derivative ({in_one_line(error)}); leave the start out"
            ) from error
