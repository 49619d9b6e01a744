"""Builds users' networks: with their own function, from a packaged network, or from a folder of Transformers."""

# C classes

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.data.kinds import TokenShape
from pruneaudit.external.transformers_folders import architecture_of
from pruneaudit.models import MODELS, build_model
from pruneaudit.models._arguments import take_what_it_names
from pruneaudit.models.factory import call_of, user_function
from pruneaudit.study.plugins import as_network
from pruneaudit.study.user_function import working_folder_searched

Maker = Callable[[], nn.Module]
"""Builds a new network, on the CPU."""


def maker_of(
    factory: str | Callable[..., Any] | None,
    options: Mapping[str, Any],
    input_shape: tuple[int, ...] | None,
    num_classes: int | None,
    files: Sequence[Path] = (),
) -> Maker:
    """Returns a function that builds a new network, whose weights are then replaced.

    A user's factory gets the options, and `input_shape` and `num_classes` if they are known and it accepts them.

    Args:
        factory: `package.module:function`, the function, or the name of a packaged network with `options`; None: the
            architecture is that of the folders of Transformers that the files are in.
        options: arguments of the factory, or options of the packaged network.
        input_shape: shape of one sample; None: not known.
        num_classes: C; None: not known.
        files: the files of weights.

    Raises:
        UserError: the factory cannot be imported, or does not accept these arguments; or without a factory a file is
            in no folder of Transformers.
    """
    if factory is None:
        if options:
            raise UserError(f"factory: got the option '{next(iter(options))}' without a factory; name the factory too")
        return _packaged("hf", {"config": architecture_of(files), "strict": False}, input_shape, num_classes)
    if isinstance(factory, str) and as_network(factory) == factory and factory in MODELS.names():
        return _packaged(factory, options, input_shape, num_classes)
    name = factory if isinstance(factory, str) else getattr(factory, "__name__", type(factory).__name__)
    function = _imported(factory) if isinstance(factory, str) else factory
    known: dict[str, Any] = {"input_shape": input_shape and tuple(input_shape), "num_classes": num_classes}
    if isinstance(input_shape, TokenShape):
        known |= {"vocabulary_size": input_shape.vocabulary.size, "padding_id": input_shape.vocabulary.padding}
    offered = {key: value for key, value in known.items() if value is not None}
    call = call_of(function, offered, options, f"factory {name}", "with --factory-option {}=VALUE")

    def make() -> nn.Module:
        with torch.random.fork_rng(devices=[]), working_folder_searched():  # the weights that it draws are replaced
            network = called(call, f"factory {name}")
        if not isinstance(network, nn.Module):
            raise UserError(f"factory {name}: returned {type(network).__name__}, expected a torch.nn.Module")
        if isinstance(input_shape, TokenShape):
            take_what_it_names(network)
        return network

    return make


def _packaged(
    name: str, options: Mapping[str, Any], input_shape: tuple[int, ...] | None, num_classes: int | None
) -> Maker:
    """Returns a function that builds a packaged network.

    Raises:
        UserError: nothing says what samples it takes.
    """
    if input_shape is None or num_classes is None:
        raise UserError(
            f"factory: building network '{name}' needs samples and classes; give --data or --test-data, or your own "
            f"factory"
        )
    shape, width = input_shape, num_classes

    def make() -> nn.Module:
        return build_model(name, options, shape, width, torch.Generator().manual_seed(0))

    return make


def _imported(function_name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = called(lambda: user_function(function_name), f"factory {function_name}")
    return found


def called(action: Callable[[], Any], what: str) -> Any:
    """Returns the action's result; any error of the user's code becomes one line."""
    try:
        return action()
    except UserError:
        raise
    except Exception as error:
        reason = in_one_line(error)
        raise UserError(f"{what}: failed ({reason}); expected code that works in this environment") from error
