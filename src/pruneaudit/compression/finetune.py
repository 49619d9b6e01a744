"""Trains the network between two steps of a chain, on its members, with the results of earlier steps held.

Deep Compression (Han et al. 2016, arXiv 1510.00149) trains after pruning and again after clustering. The second
training is the release's own fine-tuning; this step is the first. It uses the settings of the release's fine-tuning,
and its defence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor, DataUse, Kind
from pruneaudit.core import options, seeds

if TYPE_CHECKING:
    from torch import nn


class Options(options.Options):
    """Settings of the training between two steps."""

    epochs: int | None = Field(default=None, ge=1, le=100_000)
    """Number of epochs; default: as many as in the release's fine-tuning."""


class Finetune(Compressor[Options]):
    """Trains between two steps."""

    degree = "epochs"

    def kind(self, options: Options) -> Kind:
        """Trained weights."""
        return "training"

    def data(self, options: Options) -> DataUse:
        """`members`."""
        return "members"

    def works_in_training(self, options: Options) -> bool:
        """It is a training."""
        return True

    def trains(self, options: Options) -> bool:
        """It is a training."""
        return True

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Trains the network in place; see `Compressor.compress`."""
        context.train(model, (), seeds.BETWEEN_STEPS, options.epochs)
        return Compressed(model)


COMPRESSOR = Finetune()
