"""Noise on the output of the layer that gets the token ids, for networks on texts."""

# B batch, T tokens, D width

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pruneaudit.compression.macs import evaluating
from pruneaudit.core.errors import UserError
from pruneaudit.data.inputs import IDS, MASK, answered
from pruneaudit.training.samples import Samples


@contextmanager
def noisy_embedding(model: nn.Module, samples: Samples, epsilon: float, generator: torch.Generator) -> Iterator[None]:
    """Within the context, adds noise to the embedding of each real token.

    Args:
        model: the network, on the samples' device.
        samples: texts; the first shows which layer gets the ids.
        epsilon: standard deviation of the noise, in units of the root mean square of the layer's weights.
        generator: CPU generator of the noise.

    Raises:
        UserError: no embedding gets the ids.
    """
    table = input_embedding(model, samples)
    weight = table.weight
    assert isinstance(weight, Tensor)
    scale = epsilon * float(weight.detach().double().square().mean().sqrt())
    real: list[Tensor] = []

    def keep_mask(network: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        real[:] = [given[MASK]]

    def add(layer: nn.Module, args: Any, output: Tensor) -> Tensor:
        # Drawn on the CPU: the same noise on every device.
        noise = torch.randn(output.shape, generator=generator).to(output)  # (B, T, D)
        return output + scale * noise * real[0][:, :, None]

    handles = [
        # First of all: a later hook can rename the arguments.
        model.register_forward_pre_hook(keep_mask, with_kwargs=True, prepend=True),
        table.register_forward_hook(add),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def input_embedding(model: nn.Module, samples: Samples) -> nn.Module:
    """Returns the embedding that gets the token ids.

    Args:
        model: the network, on the samples' device.
        samples: texts.

    Raises:
        UserError: there is none, such as in a network that computes one-hot vectors.
    """
    x = samples.inputs(slice(0, 1))
    assert not isinstance(x, Tensor)
    found = embedding_of(model, x)
    if found is None:
        raise UserError(
            "sensitivity: no nn.Embedding of the network gets the token ids, but noise on texts is added to its "
            "output; give the network a method get_input_embeddings that returns the layer, or leave attack 'samia' out"
        )
    return found


def embedding_of(model: nn.Module, x: Mapping[str, Tensor]) -> nn.Embedding | None:
    """Returns the embedding that gets the token ids of a batch, or None.

    Args:
        model: the network, on the batch's device.
        x: texts that the network takes.
    """
    named = getattr(model, "get_input_embeddings", None)
    if callable(named) and isinstance(found := named(), nn.Embedding):
        return found
    seen = list[nn.Embedding]()

    def looks(layer: nn.Embedding) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def look(_: nn.Module, args: tuple[Any, ...]) -> None:
            if args and args[0].shape == x[IDS].shape and torch.equal(args[0].long(), x[IDS]):
                seen.append(layer)

        return look

    tables = [layer for layer in model.modules() if isinstance(layer, nn.Embedding)]
    handles = [layer.register_forward_pre_hook(looks(layer)) for layer in tables]
    try:
        with evaluating(model), torch.no_grad():
            answered(model, dict(x))
    finally:
        for handle in handles:
            handle.remove()
    return seen[0] if seen else None
