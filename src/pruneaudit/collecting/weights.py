"""Files of weights that others wrote: found, named, and read without running anything that they may hold."""

from __future__ import annotations

import glob
import os
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruneaudit.errors import UserError
from pruneaudit.unpacking import check_zip

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".safetensors", ".pt", ".pth")
WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys of a larger checkpoint that hold the weights, tried in this order."""
PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""
_KINDS = ", ".join(SUFFIXES[:-1]) + f" or {SUFFIXES[-1]}"


def find_weights(given: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files that are meant, each once.

    Args:
        given: files, folders (what lies in them, not deeper) and patterns, in which `**` means any depth. What one of
            them finds is sorted naturally, so that model-2 stands before model-10; several keep their order.

    Raises:
        UserError: one of them leads to no file of weights.
    """
    places = [given] if isinstance(given, str | Path) else list(given)
    found = [file for place in places for file in _files(Path(place).expanduser())]
    if not found:
        raise UserError(f"weights: got none, expected files, folders or patterns of {_KINDS}")
    return list({os.path.abspath(file): file for file in found}.values())  # noqa: PTH100 - a link stays what it is


def _files(place: Path) -> list[Path]:
    """What one place leads to, in natural order."""
    try:
        is_file, is_folder = place.is_file(), place.is_dir()
    except OSError as error:  # a name that is too long, or a folder that may not be read
        raise UserError(f"weights: {place}: cannot be read ({error.strerror})") from None
    if is_file:
        if place.suffix.lower() not in SUFFIXES:
            raise UserError(f"{place}: got a '{place.suffix}' file, expected weights in {_KINDS}")
        return [place]
    # `Path.glob` takes no pattern with a root.
    candidates = place.iterdir() if is_folder else map(Path, glob.glob(str(place), recursive=True))  # noqa: PTH207
    visible = (file for file in candidates if not file.name.startswith("."))
    files = [file for file in visible if file.suffix.lower() in SUFFIXES and file.is_file()]
    if not files:
        what = "holds no file" if is_folder else "no such file, and as a pattern it matches none"
        raise UserError(f"weights: {place}: {what} of weights ({_KINDS}); give files, a folder, or a pattern in quotes")
    return sorted(files, key=_natural)


def _natural(path: Path) -> tuple[list[str | int], str]:
    parts = re.split(r"([0-9]+)", str(path))
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], str(path)


def model_names(files: Sequence[Path]) -> list[str]:
    """What the models are called: the files' stems; where those clash, their paths below the common folder."""
    if len(files) > 1:
        folder = os.path.commonpath([os.path.abspath(file.parent) for file in files])  # noqa: PTH100
        paths = [Path(os.path.relpath(file, folder)) for file in files]
    else:
        paths = [Path(files[0].name)]
    ways: list[Callable[[Path], str]] = [lambda p: p.stem, lambda p: p.with_suffix("").as_posix(), Path.as_posix]
    named = [[way(path) for path in paths] for way in ways]
    return next(names for names in named if len(set(names)) == len(files))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU; no code in it is run.

    A checkpoint that holds the weights under "state_dict", "model_state_dict" or "model" is opened, and what
    DataParallel or torch.compile put before the names is taken off.

    Raises:
        UserError: the file cannot be read, holds other objects than tensors, or no weights.
    """
    if path.suffix.lower() == ".safetensors":
        from pruneaudit.training.checkpoint import load_tensors

        return _without_prefixes(load_tensors(path))
    held = _read_pickled(path)
    inner = next((held[key] for key in WRAPPERS if isinstance(held.get(key), dict)), held)
    return _without_prefixes(_only_tensors(inner, path))


def _read_pickled(path: Path) -> dict[str, Any]:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats, and of archives that are then refused
            check_zip(path)
            held = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); expected a file of weights") from None
    except Exception as error:  # a damaged or foreign pickle raises anything
        what = _shortened(str(error)) or type(error).__name__
        if "weights only load failed" in what.lower():
            what = "it holds other objects than tensors, and nothing that could be code is loaded"
        raise UserError(f"{path}: refused ({what}); write it with torch.save(model.state_dict(), path)") from None
    if not isinstance(held, dict):
        raise UserError(
            f"{path}: got a {type(held).__name__}, expected a state dict: torch.save(model.state_dict(), path)"
        )
    return held


def _only_tensors(held: dict[Any, Any], path: Path) -> dict[str, Tensor]:
    import torch

    foreign = [str(key) for key, value in held.items() if not isinstance(value, torch.Tensor)]
    if foreign or not held:
        what = f"'{_shortened(foreign[0])}' is no tensor" if foreign else "it is empty"
        raise UserError(
            f"{path}: no state dict ({what}); expected tensors by name, or such under one of {', '.join(WRAPPERS)}"
        )
    return {str(key): value for key, value in held.items()}


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    while prefix := next((p for p in PREFIXES if tensors and all(name.startswith(p) for name in tensors)), ""):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:197] + "..."
