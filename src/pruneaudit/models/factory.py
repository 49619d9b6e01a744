"""A network of your own: `package.module:function`, called with input_shape, num_classes and your arguments.

The function returns a `torch.nn.Module` with its weights drawn (torch's global generator is seeded for
it). The source of its module is part of the identity of everything that is made with it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pruneaudit.errors import UserError
from pruneaudit.models.model import Model
from pruneaudit.options import Options

if TYPE_CHECKING:
    import torch

TARGET = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


class FactoryOptions(Options):
    """Where the function is, and what else it is given."""

    target: str = Field(pattern=TARGET)
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
        return hashlib.sha256(_source(options.target).read_bytes()).hexdigest()

    def build(self, options: FactoryOptions, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
        """What the function returns."""
        import torch

        network = user_function(options.target)(
            input_shape=tuple(input_shape), num_classes=num_classes, **options.arguments
        )
        if not isinstance(network, torch.nn.Module):
            raise UserError(f"model 'factory': {options.target} returned {type(network).__name__}, expected a Module")
        return network


def check_target(target: str) -> None:
    """Checks that a target can be the name of a function in a module that is there; the module is not run.

    Raises:
        UserError: it is malformed, or there is no such module.
    """
    if not re.fullmatch(TARGET, target):
        raise UserError(f"factory: got '{target}', expected package.module:function")
    _source(target)


def user_function(target: str) -> Callable[..., Any]:
    """The function that a target names; its module is imported, and may raise what it likes.

    Raises:
        UserError: there is no such module, or no such function in it.
    """
    _source(target)
    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(module), name, None)
    if not callable(function):
        raise UserError(f"model 'factory': {module} has no function '{name}'")
    return function


def _source(target: str) -> Path:
    """The source file of a target's module.

    Raises:
        UserError: the module cannot be found, or has no source.
    """
    module = target.partition(":")[0]
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None or not found.origin or not Path(found.origin).is_file():
        raise UserError(
            f"model 'factory': no module '{module}' with a source file; expected package.module:function "
            "that can be imported from where you run this"
        )
    return Path(found.origin)


MODEL = Factory()
