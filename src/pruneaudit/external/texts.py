"""Checks that a user's network accepts some texts, before it is queried with any.

Ids beyond a network's vocabulary, and texts beyond its positions, make its code fail, for some texts only, and on a GPU
they stop the whole process. So both are checked first, on the CPU.
"""

# T tokens

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pruneaudit.compression.macs import evaluating
from pruneaudit.core.errors import UserError
from pruneaudit.data.inputs import answered, token_inputs
from pruneaudit.signals.embedding_noise import embedding_of
from pruneaudit.training.samples import Samples

_SHORT = 4
"""Tokens of a text with which the network's table is found."""


def check_takes_texts(network: nn.Module, samples: Samples, name: str) -> None:
    """Checks that a network's vocabulary holds the ids of all texts, and that its positions hold the longest.

    Args:
        network: with its weights; it predicts in evaluation mode, and does not change.
        samples: the texts; samples of another kind pass.
        name: its name, for messages.

    Raises:
        UserError: an id or a text is beyond what the network takes.
    """
    if samples.lengths is None:
        return
    network = network if samples.stored.device.type == "cpu" else copy.deepcopy(network).cpu()
    num_ids, highest = num_ids_of(network, samples.stored.shape[1]), int(samples.stored.max())
    if num_ids is not None and highest >= num_ids:
        raise UserError(
            f"{name}: got token ids up to {highest:,}, expected 0..{num_ids - 1:,}, the ids of the network; encode"
            " the texts with the tokenizer that it was trained with"
        )
    longest = int(samples.lengths.argmax())
    ids, lengths = samples.stored[longest : longest + 1].cpu(), samples.lengths[longest : longest + 1].cpu()
    if (most := _most_tokens(network, ids, lengths)) is not None:
        raise UserError(
            f"{name}: got texts of {ids.shape[1]} tokens (the longest has {int(lengths)} real ones), but the network"
            f" takes at most {most}; cut them in the source, or with the tokenizer: max_length={most}"
        )


def num_ids_of(network: nn.Module, num_tokens: int) -> int | None:
    """The rows of the table that gets the ids; None if there is none, or the network fails on a text of small ids."""
    for length in dict.fromkeys((min(num_tokens, _SHORT), num_tokens)):
        ids = torch.arange(length)[None] % 2  # no positions and no types: these are in order, or all zero
        ids[:, 0] = 1
        try:
            found = embedding_of(network, token_inputs(ids, torch.tensor([length])))
        except Exception:
            continue
        return None if found is None else found.num_embeddings
    return None


def _most_tokens(network: nn.Module, ids: Tensor, lengths: Tensor) -> int | None:
    """The most tokens T that the network takes of a text; None if it takes the whole, or no part at all."""

    def takes(length: int) -> bool:
        return _answers(network, token_inputs(ids[:, :length], lengths.clamp(max=length)))

    if takes(ids.shape[1]):
        return None
    low, high = 0, ids.shape[1]  # takes low tokens, does not take high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if takes(middle) else (low, middle)
    return low or None


def _answers(network: nn.Module, x: Mapping[str, Tensor]) -> bool:
    """Whether the network answers without an error."""
    with evaluating(network), torch.no_grad():
        try:
            answered(network, dict(x))
        except Exception:
            return False
    return True
