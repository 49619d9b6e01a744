"""The base class of models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from pruneaudit.core.options import Configured, OptionsT
from pruneaudit.models.init import NetworkOptions as NetworkOptions

if TYPE_CHECKING:
    import torch

# B batch, C channels, H height, W width, F features

Width = Annotated[int, Field(ge=1, le=4096)]
"""Units or channels of one layer."""
Dropout = Annotated[float, Field(ge=0, lt=1)]
"""Probability that a unit is zero in training; 0: no dropout."""
Norm = Literal["batch", "group"]
"""Normalisation after convolutions: BatchNorm, or GroupNorm, which does not mix the samples of a batch."""


class ImageOptions(NetworkOptions):
    """Options of every network for images."""

    norm: Norm = "batch"
    """BatchNorm, or GroupNorm of up to 32 groups of at least 16 channels each (fewer channels: one group)."""


class Model(Configured[OptionsT], ABC):
    """A network architecture: builds networks for given samples and classes.

    A subclass sets `Options` and imports torch only within `build`; its module sets `MODEL`.

    Example:
        >>> mlp = pruneaudit.MODELS.get("mlp")
        >>> network = mlp.build(mlp.Options(), input_shape=(20,), num_classes=3)
    """

    takes_images = True
    """Whether it accepts images (C, H, W)."""
    takes_tables = False
    """Whether it accepts tables (F,)."""
    takes_tokens = False
    """Whether it accepts texts as token ids (T,)."""
    draws_own_weights = False
    """Whether `build` draws the weights itself, from torch's global generator, which is seeded for it."""
    semantics_version = 1
    """Raised when the same options and generator give a different network than before."""

    def fingerprint(self, options: OptionsT) -> str:
        """Returns anything else that affects the network, such as the hash of a user's source; or empty."""
        return ""

    def function_name(self, options: OptionsT) -> str:
        """Returns the user's function that builds the network, `package.module:function`; or empty.

        The hash of its source is part of the network's identity; a run records it.
        """
        return ""

    def folder(self, options: OptionsT) -> str:
        """Returns the user's folder that its architecture comes from; or empty."""
        return ""

    def starts_from_folder(self, options: OptionsT) -> bool:
        """Whether its first weights come from that folder too."""
        return bool(self.folder(options))

    def has_new_head(self, options: OptionsT) -> bool:
        """Whether each model draws its own head instead of the folder's."""
        return False

    def without_folder(self, options: OptionsT, network: str) -> OptionsT:
        """Returns options for the same network that no longer need the folder.

        Args:
            options: options with a folder.
            network: the folder's architecture, as the model itself has read it.
        """
        return options

    def from_folder(
        self, options: OptionsT, input_shape: tuple[int, ...], num_classes: int
    ) -> tuple[torch.nn.Module, frozenset[str]]:
        """Builds the network with the weights of its folder; also returns the names of tensors that are not from there.

        Args:
            options: options with a folder.
            input_shape: as for `build`.
            num_classes: as for `build`.

        Raises:
            UserError: the folder does not fit the data.
        """
        raise NotImplementedError

    @abstractmethod
    def build(self, options: OptionsT, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """Builds the network; its weights are ignored, because `pruneaudit.models.build_model` draws new ones.

        Args:
            options: this model's own options.
            input_shape: shape of one sample: (C, H, W), (F,) or a `TokenShape`, which knows the vocabulary.
            num_classes: width of the output.

        Returns:
            A module from (B, *input_shape) float32 to logits (B, num_classes); for texts from `input_ids` and
            `attention_mask`, int64 (B, T) each, given by keyword.

        Raises:
            UserError: the options do not fit the samples.
        """


def image_channels(name: str, input_shape: tuple[int, ...]) -> int:
    """The channels of images (C, H, W), for a model that accepts only images.

    Raises:
        UserError: samples are of another kind; the message names the models that accept them.
    """
    from pruneaudit.models import check_takes

    check_takes(name, input_shape)
    return input_shape[0]
