"""Singular value decompositions of weights, and the ranks that they or the number of weights allow.

The matrix of a weight depends on the form of the split; see `factors.py`.
"""

# r rank; o output channels, i input channels, h x k kernel

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pruneaudit.compression.factored import Form
from pruneaudit.core.errors import UserError

DAMPING = 0.01
"""Added to the second moments of inputs, relative to their mean: an input that is always 0 would have no inverse."""


@dataclass(frozen=True)
class Split:
    """The singular value decomposition of one layer's matrix, weighted by its inputs if they are known."""

    form: Form
    left: Tensor
    """U (rows, s) float64, s = min(rows, columns)."""
    values: Tensor
    """S (s,) float64, falling."""
    right: Tensor
    """V' (s, columns) float64, with the weighting undone."""

    @classmethod
    @torch.no_grad()
    def of(cls, weight: Tensor, form: Form, moment: Tensor | None = None) -> Split:
        """Decomposes a weight.

        Args:
            weight: (outputs, inputs), or (o, i, h, k) of a convolution.
            form: how to read it as a matrix.
            moment: X X' of the layer's inputs (d, d) in the order of `weight.flatten(1)`: the error of outputs on
                these inputs is then as small as possible, instead of that of weights. `spatial` reads it row of kernel
                by row of kernel, and neglects what inputs of different rows have in common.
        """
        matrix = as_matrix(weight.detach().double(), form)
        if moment is None:
            left, values, right = torch.linalg.svd(matrix, full_matrices=False)
            return cls(form, left, values, right)
        root = _root(_of_columns(moment.double(), weight, form))
        left, values, right = torch.linalg.svd(matrix @ root, full_matrices=False)
        return cls(form, left, values, torch.linalg.solve_triangular(root, right, upper=False, left=False))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return self.left.shape[0], self.right.shape[1]

    def rank_of_energy(self, energy: float) -> int:
        """The smallest rank that keeps this fraction of the sum of squared singular values; at least 1."""
        lost = self.values.square().flip(0).cumsum(0).flip(0)  # by rank 0, 1, ...: of all that are cut
        return max(1, int((lost > (1 - energy) * lost[0]).sum()))

    def rank_of_error(self, error: float) -> int:
        """The smallest rank whose error, relative to the norm of the matrix, is at most this; at least 1."""
        return self.rank_of_energy(1 - error**2)

    def factors(self, rank: int) -> tuple[Tensor, Tensor]:
        """The weights of both layers as matrices, (r, columns) and (rows, r), float64."""
        root = self.values[:rank].sqrt()
        return root[:, None] * self.right[:rank], self.left[:, :rank] * root


def as_matrix(weight: Tensor, form: Form) -> Tensor:
    """A weight as the matrix (rows, columns) of a form."""
    if form == "spatial":
        outputs, inputs, height, width = weight.shape
        return weight.permute(0, 2, 1, 3).reshape(outputs * height, inputs * width)
    if form == "transposed":
        return weight.T
    return weight.flatten(1)


def matrix_shape(weight: Tensor, form: Form) -> tuple[int, int]:
    """(rows, columns) of the matrix of a form."""
    if form == "spatial":
        outputs, inputs, height, width = weight.shape
        return outputs * height, inputs * width
    if form == "transposed":
        return weight.shape[1], weight.shape[0]
    return weight.shape[0], weight[0].numel()


def break_even(shape: tuple[int, int]) -> float:
    """The rank at which two layers hold as many weights as the matrix of this shape."""
    rows, columns = shape
    return rows * columns / (rows + columns)


def rank_of_weights(layer: str, weight: Tensor, form: Form, fraction: float) -> int:
    """The largest rank at which two layers hold at most this fraction of the layer's weights.

    Args:
        layer: its name, for messages.
        weight: its weight.
        form: how to split it.
        fraction: in (0, 1].

    Raises:
        UserError: even rank 1 holds more.
    """
    limit = break_even(matrix_shape(weight, form))
    rank = math.floor(fraction * limit * (1 + 1e-12))
    if rank < 1 <= limit:
        least = math.ceil(1e4 / limit) / 1e4
        raise UserError(
            f"fraction: got {fraction:g}, but rank 1 of layer '{layer}' {tuple(weight.shape)} holds {1 / limit:.4f} of"
            f" its weights; give at least {least:g}, or exclude the layer"
        )
    return rank


def _of_columns(moment: Tensor, weight: Tensor, form: Form) -> Tensor:
    """The second moments of the columns of a form, from those of the columns of `weight.flatten(1)`."""
    if form != "spatial":
        return moment
    _, inputs, height, width = weight.shape
    by_row = moment.view(inputs, height, width, inputs, height, width)
    return torch.einsum("ihkjhl->ikjl", by_row).reshape(inputs * width, inputs * width)


def _root(moment: Tensor) -> Tensor:
    """A lower triangular L with L L' = the second moments, after damping; any root gives the same factors' product."""
    mean = moment.diagonal().mean().clamp(min=torch.finfo(moment.dtype).tiny)
    return torch.linalg.cholesky(
        moment / mean + DAMPING * torch.eye(len(moment), dtype=moment.dtype, device=moment.device)
    )
