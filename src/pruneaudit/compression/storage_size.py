"""The storage size of a network, by one rule for all compressors.

All parameters count, and the buffers that inference needs (running means and variances, scales and codes of 0 of
quantised inputs), by default at 32 bits each.
Compressed tensors cost:

| what | bits |
|---|---|
| a mask over N weights, a fraction p of them kept | N H(p): the entropy of the mask, at most N |
| kept weights | 32 each |
| codes of b bits | the entropy of the codes of the kept weights, at most b each; 32 per scale, b per code of 0 |
| the code of 0 among the inputs or outputs of a layer | 8 |
| indices of K shared values | the entropy of the kept indices, at most log2 K each; 32 per value; at most 32 each |
| what was removed from the architecture | 0 |

Releases are compared by this bound: it needs no library and no format, and arithmetic codes reach it. The sizes of the
same parts under gzip and xz are given for information.
"""

from __future__ import annotations

import gzip
import lzma
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pruneaudit.compression.macs import FLOAT_BITS, INPUT_CODE_BITS, code_bits, count_bit_operations, layer_macs
from pruneaudit.compression.matrices import counted_weights
from pruneaudit.compression.state import restored
from pruneaudit.data.inputs import Inputs
from pruneaudit.training.checkpoint import own_tensors

GZIP_LEVEL = 9
ZERO_BUFFERS = ("input_zero", "output_zero")
"""Buffers of `compression.activations` that hold a code."""


@dataclass(frozen=True)
class Cost:
    """The storage size of one network."""

    weight_bits: float
    """The weight matrices: the entropy bound."""
    bytes: int
    """The whole network: the entropy bound, rounded up."""

    def effective_bits(self, dense_weights: int) -> float:
        """Bits per weight of the dense network's matrices."""
        return self.weight_bits / dense_weights if dense_weights else math.nan


def cost(model: nn.Module, state: Mapping[str, Tensor], embeddings: bool = False) -> Cost:
    """The storage size of a network.

    Args:
        model: the network.
        state: its compressed state; empty: not compressed.
        embeddings: count tables of embeddings among the weight matrices.
    """
    weights = counted_weights(model, embeddings)
    whole, of_matrices = 0.0, 0.0
    for name, tensor in stored_tensors(model).items():
        bits = _bits(name, tensor, state)
        whole += bits
        of_matrices += bits if name in weights else 0.0
    return Cost(of_matrices, math.ceil(whole / 8))


def size_facts(
    model: nn.Module, state: Mapping[str, Tensor], dense_weights: int, example: Inputs, embeddings: bool = False
) -> dict[str, float]:
    """The size figures that every release reports.

    Args:
        model: the network.
        state: its compressed state; empty: not compressed.
        dense_weights: weights in the matrices of the dense network.
        example: one input (1, ...).
        embeddings: count tables of embeddings among the weight matrices.
    """
    found, macs = cost(model, state, embeddings), layer_macs(model, example)
    return {
        "effective_bits": found.effective_bits(dense_weights),
        "compressed_bytes": found.bytes,
        "macs": sum(macs.values()),
        "bit_operations": count_bit_operations(model, macs, state),
    }


def state_bits(state: Mapping[str, Tensor]) -> float:
    """The entropy bound of the parameters in a state."""
    return sum(_bits(name, tensor, state) for name, tensor in restored(state).items())


def stored_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and the buffers that inference needs, each once, by name."""
    tensors = own_tensors(model)
    return {n: t for n, t in tensors.items() if isinstance(t, Tensor) and t.is_floating_point()}


def _bits(name: str, tensor: Tensor, state: Mapping[str, Tensor]) -> float:
    """The entropy bound of one tensor."""
    count, mask = tensor.numel(), state.get(f"mask/{name}")
    kept = count if mask is None else int(mask.sum())
    bits = 0.0 if mask is None else count * entropy(torch.tensor([kept, count - kept]))
    if (of_code := code_bits(state, name)) is not None:
        scales, zeros = state[f"scale/{name}"].numel(), state.get(f"zero/{name}", torch.empty(0)).numel()
        return bits + _coded(state[f"codes/{name}"], mask, of_code) + FLOAT_BITS * scales + of_code * zeros
    if f"index/{name}" in state:
        values = state[f"codebook/{name}"].numel()
        shared = _coded(state[f"index/{name}"], mask, math.log2(values)) + FLOAT_BITS * values
        return bits + min(shared, FLOAT_BITS * kept)  # a small layer can have hardly more weights than values
    # The code of 0 among a layer's inputs is kept as a float.
    return bits + (INPUT_CODE_BITS if name.rpartition(".")[2] in ZERO_BUFFERS else FLOAT_BITS) * kept


def _coded(codes: Tensor, mask: Tensor | None, at_most: float) -> float:
    """Bits of the codes of the kept weights."""
    kept = codes.flatten() if mask is None else codes[mask]
    if not kept.numel():
        return 0.0
    return kept.numel() * min(entropy(kept.unique(return_counts=True)[1]), at_most)


def entropy(counts: Tensor) -> float:
    """The entropy in bits of a distribution given by counts."""
    fractions = counts[counts > 0].double()
    fractions = fractions / fractions.sum()
    return float(-(fractions * fractions.log2()).sum()) + 0.0  # no -0.0


@dataclass(frozen=True)
class PackedSize:
    """Bytes of a network's parts under two common compressors."""

    gzip: int
    xz: int


def packed_size(model: nn.Module, state: Mapping[str, Tensor]) -> PackedSize:
    """Sizes under gzip and xz of bitmaps, then codes (one byte each), then the remaining float32 values."""
    parts = b"".join(_parts(model, state))
    return PackedSize(len(gzip.compress(parts, GZIP_LEVEL, mtime=0)), len(lzma.compress(parts)))


def _parts(model: nn.Module, state: Mapping[str, Tensor]) -> Iterator[bytes]:
    tensors = stored_tensors(model)
    masks = {name: state[f"mask/{name}"] for name in tensors if f"mask/{name}" in state}
    codes = {n: state[f"{kind}/{n}"] for n in tensors for kind in ("codes", "index") if f"{kind}/{n}" in state}
    for mask in masks.values():
        yield np.packbits(mask.numpy()).tobytes()
    for name, coded in codes.items():
        yield (coded[masks[name]] if name in masks else coded).numpy().tobytes()
    for kind in ("scale", "zero", "codebook"):
        yield from (state[f"{kind}/{n}"].numpy().tobytes() for n in codes if f"{kind}/{n}" in state)
    for name, tensor in tensors.items():
        if name not in codes:
            numbers = tensor.detach().cpu().float()
            yield (numbers[masks[name]] if name in masks else numbers).contiguous().numpy().tobytes()
