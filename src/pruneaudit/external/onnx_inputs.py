"""The inputs of an ONNX file, and those on which it is compared: the user's, the same with noise, or random ones."""

# N inputs, T tokens

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pruneaudit.core import seeds
from pruneaudit.core.randomness import torch_generator
from pruneaudit.data.inputs import (
    IDS,
    MASK,
    Inputs,
    answered,
    contiguous,
    first_of,
    joined,
    moved,
    num_in,
    token_inputs,
)

INPUT, OUTPUT = "input", "logits"
"""Names in a file; texts have the inputs `input_ids` and `attention_mask`."""
BATCH, LENGTH = "batch", "length"
"""Names of the axes that can have any length."""
NUM_INPUTS = 1000
"""Number of inputs to compare on."""
NOISE = 0.1
"""Standard deviation of noise on inputs, relative to theirs."""
EXCHANGED = 0.15
"""Fraction of the tokens of a text that noise exchanges."""


@dataclass(frozen=True, eq=False)
class ComparedInputs:
    """Inputs of a network to compare on, and where they are from."""

    x: Inputs
    """(N, ...) contiguous; texts by name."""
    sources: Mapping[str, int]
    """How many come from each source, in order; "noise": inputs of the sources before it, with noise on them; "random":
    random numbers alone."""


def inputs_of(
    parts: Mapping[str, Inputs], shape: Sequence[int], dtype: torch.dtype, num_ids: int = 0, seed: int = 0
) -> ComparedInputs:
    """The first inputs of each part, then the same with noise on them, `NUM_INPUTS` in total.

    Args:
        parts: inputs by source, in order of preference; if all are empty, inputs are standard normal numbers.
        shape: the shape of one input.
        dtype: the type of inputs; whole numbers that are no texts get no noise, and are 0 or 1 if nothing is given.
        num_ids: for texts without parts: the number of token ids to draw from; 0: the inputs are no texts.
        seed: seed of the noise.
    """
    generator = torch_generator(seed, seeds.EXPORT_INPUTS)
    sources: dict[str, int] = {}
    taken: list[Inputs] = []
    for name, x in parts.items():
        chosen = contiguous(moved(first_of(x, NUM_INPUTS - sum(sources.values())), "cpu"))
        if num_in(chosen):
            sources[name] = num_in(chosen)
            taken.append(chosen if isinstance(chosen, Mapping) else chosen.detach())
    if not taken:
        return ComparedInputs(_random(shape, dtype, num_ids, generator), {"random": NUM_INPUTS})
    given = taken[0]
    for part in taken[1:]:
        given = joined(given, part)
    missing = NUM_INPUTS - num_in(given)
    if missing > 0 and (isinstance(given, Mapping) or given.is_floating_point()):
        given = joined(given, _noisy(given, missing, generator))
        sources["noise"] = missing
    return ComparedInputs(given, sources)


def _random(shape: Sequence[int], dtype: torch.dtype, num_ids: int, generator: torch.Generator) -> Inputs:
    """Random numbers, or texts of random tokens and lengths."""
    full = (NUM_INPUTS, *shape)
    if num_ids:
        lengths = torch.randint(1, shape[0] + 1, (NUM_INPUTS,), generator=generator)
        return token_inputs(torch.randint(num_ids, full, generator=generator), lengths)
    if not dtype.is_floating_point:
        return torch.randint(2, full, generator=generator).to(dtype)
    return torch.randn(full, generator=generator).to(dtype)


def _noisy(given: Inputs, count: int, generator: torch.Generator) -> Inputs:
    """The inputs, again and again, with noise: numbers added, or tokens exchanged for others of the same texts."""
    rows = torch.arange(count) % num_in(given)
    if isinstance(given, Mapping):
        ids, mask = given[IDS][rows], given[MASK][rows]
        known = given[IDS][given[MASK].bool()]
        others = known[torch.randint(len(known), ids.shape, generator=generator)]
        exchanged = (torch.rand(ids.shape, generator=generator) < EXCHANGED) & mask.bool()
        return {IDS: torch.where(exchanged, others, ids), MASK: mask}
    noise = torch.randn((count, *given.shape[1:]), generator=generator).to(given.dtype)
    return given[rows] + NOISE * float(given.std(correction=0)) * noise


def batches_of(x: Inputs, size: int) -> list[Inputs]:
    """All inputs, in batches of `size`."""
    starts = range(0, num_in(x), size)
    if not isinstance(x, Mapping):
        return [x[start : start + size] for start in starts]
    return [{key: value[start : start + size] for key, value in x.items()} for start in starts]


def sizes_to_try(x: Inputs, fixed_length: int | None) -> list[Inputs]:
    """Further batches, to check that a file fixes no size that its network leaves open.

    Args:
        x: inputs.
        fixed_length: the number of tokens of every text, if the file fixes it.

    Returns:
        One input; for texts of any length also some, cut to other lengths.
    """
    if not isinstance(x, Mapping) or fixed_length is not None:
        return [first_of(x, 1)]
    whole = x[IDS].shape[1]
    lengths = dict.fromkeys((whole, max(1, whole // 2), min(2, whole), 1))
    return [_cut(first_of(x, count), length) for count, length in enumerate(lengths, 1)]


def takes_other_lengths(model: nn.Module, x: Mapping[str, Tensor]) -> bool:
    """Whether a network takes texts that are cut to half of their tokens.

    Args:
        model: the network, in evaluation mode.
        x: texts that it takes.
    """
    length = x[IDS].shape[1]
    try:
        with torch.no_grad():
            answered(model, _cut(dict(x), length // 2))
    except Exception:  # a network can fail in any way
        return False
    return length > 1


def _cut(x: Inputs, length: int) -> dict[str, Tensor]:
    assert isinstance(x, Mapping)
    return {key: value[:, :length].contiguous() for key, value in x.items()}


def input_note(x: Inputs, fixed_length: int | None = None) -> dict[str, Any]:
    """Describes the inputs of a network or file, as JSON data.

    Args:
        x: inputs.
        fixed_length: the number of tokens of every text, if the file fixes it.
    """
    if not isinstance(x, Mapping):
        return {"name": INPUT, "shape": [BATCH, *x.shape[1:]], "type": name_of(x.dtype)}
    length = LENGTH if fixed_length is None else fixed_length
    return {"names": [IDS, MASK], "shape": [BATCH, length], "most_tokens": x[IDS].shape[1], "type": "int64"}


def name_of(dtype: torch.dtype) -> str:
    """The name of a type, such as float32."""
    return str(dtype).removeprefix("torch.")
