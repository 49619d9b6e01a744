"""Functions of the user's own, as a study names them: `package.module:function`.

Their modules may lie in the working folder. It stands on Python's search path only while a function that the user has
named is looked for, imported or called, and last, so that it hides no installed module: nothing else there is run.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field

from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.core.files import file_sha256

SEEN = "__pruneaudit_source__"
"""On a user's module: the hash of its source when it was last asked for."""
TARGET = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


def target_of(given: Any) -> Any:
    """A function as the text that names it; anything that is no function is given back as it is.

    Raises:
        ValueError: no other process could import the function.
    """
    if not callable(given):
        return given
    module, name = getattr(given, "__module__", None), getattr(given, "__qualname__", "")
    if module == "__main__":
        raise ValueError(
            f"got the function '{name}' of the program that is run, which worker processes cannot import: put it into"
            f" a module of its own, say networks.py, and give networks.{name} or 'networks:{name}'"
        )
    target = f"{module}:{name}"
    if not re.fullmatch(TARGET, target):
        shown = name or type(given).__name__
        raise ValueError(f"got {shown} of {module}, expected a function that stands at the top of a module")
    return target


Target = Annotated[str, BeforeValidator(target_of), Field(pattern=TARGET)]
"""`package.module:function`, or in Python the function itself, if its module can be imported."""

SourceHash: TypeAlias = Callable[[str, str], str]
"""Gives the hash of the source of a target, or raises: `source_sha256`, or what a run has recorded."""
_PATH_LOCK = threading.Lock()


def working_folder() -> str:
    """The working folder of this process; empty where somebody has removed it."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return ""


@contextmanager
def working_folder_searched(folder: str = "") -> Iterator[None]:
    """Within it, Python finds modules in the working folder too, after all other places.

    Threads and nested uses do not disturb each other: each takes away the entry that it has put there.

    Args:
        folder: another folder; default: the working folder of this process.
    """
    entry = "".join(list(folder or working_folder()))  # a text of its own, known by its identity
    if entry:
        sys.path.append(entry)
    try:
        yield
    finally:
        with _PATH_LOCK:
            mine = [number for number, other in enumerate(sys.path) if other is entry]
            for number in mine:
                del sys.path[number]


def source_of(target: str, what: str) -> Path:
    """The source file of a target's module; the module is not run, but the packages that it lies in are.

    Args:
        target: `package.module:function`.
        what: who asks, for messages.

    Raises:
        UserError: the target is malformed, or the module cannot be found or has no source.
    """
    if not re.fullmatch(TARGET, target):
        raise UserError(f"{what}: got '{target}', expected package.module:function")
    module = target.partition(":")[0]
    try:
        with working_folder_searched():
            found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None or not found.origin or not Path(found.origin).is_file():
        raise UserError(
            f"{what}: no module '{module}' with a source file; expected package.module:function "
            "that can be imported from where you run this"
        )
    return Path(found.origin)


def source_sha256(target: str, what: str) -> str:
    """SHA-256 of the source file of a target's module, in hexadecimal.

    Raises:
        UserError: as `source_of`.
    """
    return file_sha256(source_of(target, what))


def function_of(target: str, what: str) -> Callable[..., Any]:
    """The function that a target names; its module is imported, and may raise what it likes.

    A module that has changed on disk since this process was last asked for it is read again, as notebooks need it.

    Raises:
        UserError: there is no such module, or no such function in it.
    """
    source = source_sha256(target, what)
    module, _, name = target.partition(":")
    with working_folder_searched():
        imported = importlib.import_module(module)
        if getattr(imported, SEEN, source) != source:
            imported = importlib.reload(imported)
    setattr(imported, SEEN, source)
    function = getattr(imported, name, None)
    if not callable(function):
        raise UserError(f"{what}: {module} has no function '{name}'")
    return function


def check_takes(target: str, parameters: Sequence[str], what: str) -> None:
    """Imports a function and checks that it can be called with some arguments, given by name.

    Args:
        target: `package.module:function`.
        parameters: the names.
        what: who asks, for messages.

    Raises:
        UserError: it cannot be imported, or does not take them.
    """
    try:
        function = function_of(target, what)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # a user's module may do anything
        reason = in_one_line(error)
        raise UserError(f"{what}: {target.partition(':')[0]} cannot be imported ({reason})") from error
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin without a signature
        return
    name = target.partition(":")[2]
    try:
        signature.bind(**dict.fromkeys(parameters))
    except TypeError as error:
        wanted = f"{name}({', '.join(parameters)})"
        raise UserError(f"{what}: got {name}{signature}, expected {wanted} ({error})") from None
