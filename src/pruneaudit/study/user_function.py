"""The user's functions, which a study names as `package.module:function`.

Their modules can be in the working folder. The folder is on Python's search path only while such a function is looked
up, imported or called. It is in the last place, so that it hides no installed module. No other code in the folder is
run.
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
"""Attribute of a user's module: the hash of its source at the last look-up."""
NAMES_FUNCTION = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


def function_name_of(given: Any) -> Any:
    """Returns the text that names a function; returns anything else unchanged.

    Raises:
        ValueError: no other process could import the function.
    """
    if not callable(given):
        return given
    module, name = getattr(given, "__module__", None), getattr(given, "__qualname__", "")
    if module == "__main__":
        raise ValueError(
            f"got the function '{name}' of the running program, but worker processes cannot import it: move it to a"
            f" separate module, such as networks.py, and give networks.{name} or 'networks:{name}'"
        )
    function_name = f"{module}:{name}"
    if not re.fullmatch(NAMES_FUNCTION, function_name):
        shown = name or type(given).__name__
        raise ValueError(f"got {shown} of {module}, expected a function defined at the top level of a module")
    return function_name


UserFunction = Annotated[str, BeforeValidator(function_name_of), Field(pattern=NAMES_FUNCTION)]
"""`package.module:function`, or in Python the function itself, if its module can be imported."""

SourceHash: TypeAlias = Callable[[str, str], str]
"""Returns the source hash of a function by its name, or raises an error: `source_sha256`, or a look-up of recorded
hashes."""
FILE = "file:"
"""Prefix of the path of a file of weights in the recorded hashes; keys without a prefix are functions."""
FOLDER = "folder:"
"""Prefix of the path of a folder with a network: the hash of its architecture and weights."""
NETWORK = "network of folder:"
"""Prefix of the same path: the architecture itself, as JSON text. A run keeps it, so the folder is no longer needed."""
_PATH_LOCK = threading.Lock()


def working_folder() -> str:
    """Returns the working folder of this process; empty if it was removed."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return ""


@contextmanager
def working_folder_searched(folder: str = "") -> Iterator[None]:
    """Lets Python also find modules in the working folder, after all other places.

    Safe in threads and when nested: each use removes only its own entry.

    Args:
        folder: another folder; default: the working folder of this process.
    """
    entry = "".join(list(folder or working_folder()))  # a new string object, recognised by identity
    if entry:
        sys.path.append(entry)
    try:
        yield
    finally:
        with _PATH_LOCK:
            mine = [number for number, other in enumerate(sys.path) if other is entry]
            for number in mine:
                del sys.path[number]


def source_of(function_name: str, what: str) -> Path:
    """Returns the source file of a function's module; does not run the module, but does run its parent packages.

    Args:
        function_name: `package.module:function`.
        what: the caller, for messages.

    Raises:
        UserError: the name is malformed, or the module cannot be found or has no source.
    """
    if not re.fullmatch(NAMES_FUNCTION, function_name):
        raise UserError(f"{what}: got '{function_name}', expected package.module:function")
    module = function_name.partition(":")[0]
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


def source_sha256(function_name: str, what: str) -> str:
    """Returns the SHA-256 of the source file of a function's module, in hexadecimal.

    Raises:
        UserError: as for `source_of`.
    """
    return file_sha256(source_of(function_name, what))


def function_of(function_name: str, what: str) -> Callable[..., Any]:
    """Imports and returns the function with that name; the user's module can raise any exception.

    Reloads a module that has changed on disk since the last look-up, which notebooks need.

    Raises:
        UserError: the module does not exist, or has no such function.
    """
    source = source_sha256(function_name, what)
    module, _, name = function_name.partition(":")
    with working_folder_searched():
        imported = importlib.import_module(module)
        if getattr(imported, SEEN, source) != source:
            imported = importlib.reload(imported)
    setattr(imported, SEEN, source)
    function = getattr(imported, name, None)
    if not callable(function):
        raise UserError(f"{what}: {module} has no function '{name}'")
    return function


def check_takes(function_name: str, parameters: Sequence[str], what: str) -> None:
    """Imports a function and checks that it accepts the given arguments by name.

    Args:
        function_name: `package.module:function`.
        parameters: the names of the arguments.
        what: the caller, for messages.

    Raises:
        UserError: it cannot be imported, or does not accept them.
    """
    try:
        function = function_of(function_name, what)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # a user's module can raise anything
        reason = in_one_line(error)
        raise UserError(f"{what}: {function_name.partition(':')[0]} cannot be imported ({reason})") from error
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin without a signature
        return
    name = function_name.partition(":")[2]
    try:
        signature.bind(**dict.fromkeys(parameters))
    except TypeError as error:
        wanted = f"{name}({', '.join(parameters)})"
        raise UserError(f"{what}: got {name}{signature}, expected {wanted} ({error})") from None
