"""The base class of models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from pruneaudit.core.errors import UserError
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
    """One architecture.

    A subclass sets `Options` and imports torch only within `build`; its module sets `MODEL`.

    Example:
        >>> mlp = pruneaudit.MODELS.get("mlp")
        >>> network = mlp.build(mlp.Options(), input_shape=(20,), num_classes=3)
    """

    takes_tables = False
    """Whether it accepts tables (F,); every model accepts images (C, H, W)."""
    draws_own_weights = False
    """Whether `build` draws the weights itself, from torch's global generator, which is seeded for it."""
    semantics_version = 1
    """Raised when the same options and generator give a different network than before."""

    def fingerprint(self, options: OptionsT) -> str:
        """Anything besides the options that affects the network, such as the hash of a user's source; or empty."""
        return ""

    def function_name(self, options: OptionsT) -> str:
        """The user's function that builds the network, `package.module:function`; or empty.

        The hash of its source is part of the network's identity; a run records it.
        """
        return ""

    @abstractmethod
    def build(self, options: OptionsT, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """The network; its weights are ignored, because `pruneaudit.models.build_model` draws new ones.

        Args:
            options: this model's own options.
            input_shape: shape of one sample: (C, H, W) or (F,).
            num_classes: width of the output.

        Returns:
            A module from (B, *input_shape) float32 to logits (B, num_classes).

        Raises:
            UserError: the model needs images, but samples are rows of a table.
        """


def image_channels(name: str, input_shape: tuple[int, ...]) -> int:
    """The channels of images (C, H, W), for a model that accepts only images.

    Raises:
        UserError: samples are rows of a table; the message names the models that accept them.
    """
    if len(input_shape) == 3:
        return input_shape[0]
    from pruneaudit.models import MODELS

    fitting = [other for other in MODELS.names() if MODELS.get(other).takes_tables]
    raise UserError(
        f"model '{name}': got samples of shape {tuple(input_shape)}, expected images (channels, height, width); "
        f"for a table, use {' or '.join(fitting)}"
    )
