"""Your own network: `package.module:function`, called with your arguments, `input_shape` and `num_classes`.

It gets `input_shape` ((C, H, W), (F,) or (T,)), `num_classes`, and for texts `vocabulary_size` and `padding_id`, as far
as its signature names them. It can be a class, or have no
arguments. It returns a `torch.nn.Module` with initial weights (torch's global generator is seeded for it).
Outputs are converted to logits where that is unambiguous (`_outputs.py`). The source of its module is part of the
identity of everything made with it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.core.registry import nearest
from pruneaudit.data.kinds import TokenShape
from pruneaudit.models.model import Model
from pruneaudit.study.user_function import UserFunction, function_of, source_of, working_folder_searched

if TYPE_CHECKING:
    import torch

WHAT = "model 'factory'"
_NOT_TAKEN = re.compile(r"unexpected keyword argument '(\w+)'")


class FactoryOptions(Options):
    """The function, and further arguments for it."""

    target: UserFunction
    """`package.module:function`."""
    arguments: dict[str, Any] = Field(default={})
    """Further keyword arguments."""


class Factory(Model[FactoryOptions]):
    """Calls a user's function."""

    takes_tables = True
    takes_tokens = True
    draws_own_weights = True

    def function_name(self, options: FactoryOptions) -> str:
        """The function; the source file of its module is part of the network's identity."""
        return options.target

    def build(self, options: FactoryOptions, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """The network that the function returns, made to return plain logits."""
        import torch

        offered: dict[str, Any] = {"input_shape": tuple(input_shape), "num_classes": num_classes}
        if isinstance(input_shape, TokenShape):
            words = input_shape.vocabulary
            offered |= {"vocabulary_size": words.size, "padding_id": words.padding}
        name, advice = (
            f"{WHAT} {options.target}",
            "as model.options.arguments.{}=VALUE in the study, or with --factory-option",
        )
        with working_folder_searched():
            function = user_function(options.target)
            network = call_of(function, offered, options.arguments, name, advice)()
        if not isinstance(network, torch.nn.Module):
            raise UserError(f"{WHAT}: {options.target} returned {type(network).__name__}, expected a Module")
        from pruneaudit.models._outputs import with_logits_alone

        return with_logits_alone(network, input_shape, num_classes)


def check_function_name(function_name: str) -> None:
    """Checks that a name is well-formed and its module exists, without running the module.

    Raises:
        UserError: it is malformed, or there is no such module.
    """
    source_of(function_name, "factory")


def user_function(function_name: str) -> Callable[..., Any]:
    """The function with that name; this imports its module, which can raise any error.

    Raises:
        UserError: there is no such module, or no such function in it.
    """
    return function_of(function_name, WHAT)


def call_of(
    function: Callable[..., Any], offered: Mapping[str, Any], options: Mapping[str, Any], name: str, advice: str
) -> Callable[[], Any]:
    """A call of a user's function with the options, and with the offered arguments that it accepts.

    It accepts those in its signature. With `**kwargs` it accepts everything, except what the called code behind
    `**kwargs` refuses: torchvision's `resnet18(**kwargs)` gets `num_classes` but not `input_shape`.

    Args:
        function: a function, a class, or any other callable.
        offered: arguments that it may ignore.
        options: arguments that it must accept.
        name: the function's name, for messages.
        advice: how a user gives an argument, with {} for its name.

    Raises:
        UserError: it does not accept an option, or needs an argument that nobody gives.
    """
    import torch

    if isinstance(function, torch.nn.Module):
        raise UserError(f"{name}: got a network, expected a function that makes one, such as its class")
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return lambda: function(**offered, **options)
    by_name = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_more = any(p.kind is p.VAR_KEYWORD for p in parameters)
    unknown = [key for key in options if key not in by_name and not takes_more]
    if unknown:
        known = f"; known: {', '.join(by_name)}" if by_name else ", which takes no arguments"
        raise UserError(f"{name}: unknown option '{unknown[0]}'{nearest(unknown[0], by_name)}{known}")
    given = {**{key: value for key, value in offered.items() if key in by_name or takes_more}, **options}
    lacking = [key for key, p in by_name.items() if p.default is p.empty and key not in given]
    if lacking:
        raise UserError(f"{name}: needs '{lacking[0]}'; give it {advice.format(lacking[0])}")
    return lambda: _called_without_refused(function, given, {*offered} - {*by_name, *options})


def _called_without_refused(function: Callable[..., Any], given: Mapping[str, Any], spare: set[str]) -> Any:
    """Calls a function without those spare arguments that code behind `**kwargs` refuses; returns its result."""
    given = dict(given)
    while True:
        try:
            return function(**given)
        except TypeError as error:
            refused = _NOT_TAKEN.search(str(error))
            if refused is None or refused[1] not in spare & given.keys():
                raise
            del given[refused[1]]


MODEL = Factory()
