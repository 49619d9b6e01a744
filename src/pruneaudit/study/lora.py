"""Low-rank adaptation: adds a product of two thin matrices to some layers, and trains only these and the head."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pruneaudit.core.options import Options


class Lora(Options):
    """LoRA (Hu et al. 2021, arXiv 2106.09685), by PEFT.

    A layer's weight W becomes W + (alpha / r) B A. Only A, B and the head are trained. B starts at 0, so the network
    starts as it was. After the training the product is added to the weight: what is compressed, released and attacked
    is a plain network.

    Example:
        >>> study = pruneaudit.Study(name="thin", training={"epochs": 3, "lora": {"r": 4}})
        >>> study.training.lora.alpha
        16.0
    """

    r: int = Field(default=8, ge=1, le=4096)
    """The rank: A has r rows, B has r columns."""
    alpha: float = Field(default=16, gt=0)
    """The product is multiplied by alpha / r."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability that an input of A is zero in training."""
    target: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Layers to adapt, by the last parts of their names, such as "query" or "layer.0.output.dense"; default: the query
    and value projections of attention."""
