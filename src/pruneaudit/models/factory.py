"""A network of your own: `package.module:function`, called with input_shape, num_classes and your arguments.

The function returns a `torch.nn.Module` with its weights drawn (torch's global generator is seeded for
it). The source of its module is part of the identity of everything that is made with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pruneaudit.errors import UserError
from pruneaudit.models.model import Model
from pruneaudit.options import Options
from pruneaudit.study.target import Target, function_of, source_of, source_sha256

if TYPE_CHECKING:
    import torch

WHAT = "model 'factory'"


class FactoryOptions(Options):
    """Where the function is, and what else it is given."""

    target: Target
    """`package.module:function`."""
    arguments: dict[str, Any] = Field(default={})
    """Further keyword arguments."""


class Factory(Model[FactoryOptions]):
    """Calls a function of the user's."""

    Options = FactoryOptions
    takes_tables = True
    draws_own_weights = True

    def fingerprint(self, options: FactoryOptions) -> str:
        """SHA-256 of the source file of the function's module."""
        return source_sha256(options.target, WHAT)

    def build(self, options: FactoryOptions, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """What the function returns."""
        import torch

        network = user_function(options.target)(
            input_shape=tuple(input_shape), num_classes=num_classes, **options.arguments
        )
        if not isinstance(network, torch.nn.Module):
            raise UserError(f"{WHAT}: {options.target} returned {type(network).__name__}, expected a Module")
        return network


def check_target(target: str) -> None:
    """Checks that a target can be the name of a function in a module that is there; the module is not run.

    Raises:
        UserError: it is malformed, or there is no such module.
    """
    source_of(target, "factory")


def user_function(target: str) -> Callable[..., Any]:
    """The function that a target names; its module is imported, and may raise what it likes.

    Raises:
        UserError: there is no such module, or no such function in it.
    """
    return function_of(target, WHAT)


MODEL = Factory()
