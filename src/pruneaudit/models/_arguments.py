"""Gives a user's network for texts the arguments that its `forward` names.

The program calls `network(input_ids=..., attention_mask=...)`, as for Hugging Face's models. If the first argument of a
network has another name, it still gets the ids. A network without the argument `attention_mask` (or `mask`) gets no
mask.
"""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from pruneaudit.data.inputs import IDS, MASK

OTHER_MASKS = ("mask",)
"""Other names of the mask, true where a token is real."""


class ByName:
    """A forward pre-hook that renames the inputs of texts; see the module."""

    def __init__(self, ids: str, mask: str | None) -> None:
        """Takes the names of the two arguments; None: no mask."""
        self._ids, self._mask = ids, mask

    def __call__(self, network: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
        """Returns the arguments for the network."""
        if args or IDS not in given:
            return None
        rest = {key: value for key, value in given.items() if key not in (IDS, MASK)}
        return args, {self._ids: given[IDS], **({self._mask: given[MASK]} if self._mask else {}), **rest}


def take_what_it_names(network: nn.Module) -> None:
    """Makes a network take `input_ids` and `attention_mask`, whatever names its own arguments have.

    A network whose `forward` takes both, or anything by keyword, does not change.
    """
    if any(isinstance(hook, ByName) for hook in network._forward_pre_hooks.values()):
        return
    parameters = list(inspect.signature(network.forward).parameters.values())
    names = [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters)
    if not names or (IDS in names and (MASK in names or takes_all)):
        return
    mask = next((name for name in (MASK, *OTHER_MASKS) if name in names), MASK if takes_all else None)
    ids = IDS if IDS in names else names[0]
    network.register_forward_pre_hook(ByName(ids, mask), with_kwargs=True)


def take_only_its_own(network: nn.Module) -> None:
    """Takes back `take_what_it_names` in a network, or in a copy of it."""
    for key, hook in list(network._forward_pre_hooks.items()):
        if isinstance(hook, ByName):
            del network._forward_pre_hooks[key]
            network._forward_pre_hooks_with_kwargs.pop(key, None)
