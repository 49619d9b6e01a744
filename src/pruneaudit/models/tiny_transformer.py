"""tiny_transformer: a small transformer encoder for texts, with a vocabulary and positions of its own.

Pre-norm blocks (arXiv:2002.04745) with separate projections q, k, v and o; no dropout by default, so that it can
memorise. It learns from scratch in seconds. For pre-trained networks, see the model `hf`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.data.kinds import TokenShape
from pruneaudit.models.model import Dropout, Model, Width

if TYPE_CHECKING:
    import torch


class TinyTransformerOptions(Options):
    """Its sizes."""

    width: Width = 64
    """Width of the network; the hidden layer of each block has twice as many units."""
    layers: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of blocks."""
    heads: Annotated[int, Field(ge=1, le=256)] = 4
    """Attention heads of each block; the width is a multiple of it."""
    dropout: Dropout = 0.0
    """Probability that an attention weight or an output of a part of a block is zero in training."""
    initial_std: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Standard deviation of the initial weights. With BERT's 0.02, a network of this size memorises less."""


class TinyTransformer(Model[TinyTransformerOptions]):
    """The transformer encoder."""

    takes_images = False
    takes_tokens = True

    def build(self, options: TinyTransformerOptions, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """The encoder.

        Raises:
            UserError: the width is no multiple of the heads, or the samples are no texts.
        """
        from pruneaudit.models import check_takes
        from pruneaudit.models._transformer import TextEncoder

        check_takes("tiny_transformer", input_shape)
        assert isinstance(input_shape, TokenShape)
        if options.width % options.heads:
            raise UserError(
                f"model 'tiny_transformer': got width = {options.width} and heads = {options.heads}, expected a width"
                " that is a multiple of the heads"
            )
        sizes = options.width, options.layers, options.heads, options.dropout, options.initial_std
        return TextEncoder(input_shape, num_classes, *sizes)


MODEL = TinyTransformer()
