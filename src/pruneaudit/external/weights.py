"""Reads other programs' files of weights, without running any code in them."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pruneaudit.core.errors import UserError
from pruneaudit.core.unpacking import check_zip
from pruneaudit.training.checkpoint import load_tensors

DEEPEST = 8
"""Greatest depth of nested dicts."""
_ADVICE = "write it with torch.save(model.state_dict(), path)"
_REFUSED_CLASS = re.compile(r"GLOBAL (\S+) was not an allowed global|Can only build .* got <class '([^']+)'>")


@dataclass(frozen=True)
class Checkpoint:
    """All tensors of a file, and the dicts that hold them."""

    tensors: Mapping[str, Tensor]
    """By their keys from the outermost dict inwards, joined by dots."""
    containers: tuple[str, ...]
    """The dicts that hold tensors, by their keys joined by dots; the outermost, "", first."""

    def under(self, key: str) -> dict[str, Tensor]:
        """The tensors of one dict, or of one part of a network, by their names within it."""
        start = f"{key}." if key else ""
        return {name.removeprefix(start): tensor for name, tensor in self.tensors.items() if name.startswith(start)}


def read_checkpoint(path: Path) -> Checkpoint:
    """The tensors of a file, on the CPU; no code in it is run.

    Raises:
        UserError: the file cannot be read, holds objects that could be code, or no tensors.
    """
    if path.suffix.lower() == ".safetensors":
        found = Checkpoint(load_tensors(path), ("",))
    else:
        tensors: dict[str, Tensor] = {}
        containers: dict[str, None] = {}
        _gather(_read_pickled(path), (), tensors, containers, set())
        found = Checkpoint(tensors, tuple(containers))
    if not found.tensors:
        raise UserError(f"{path}: not a state dict (it has no tensors); {_ADVICE}")
    return found


def _gather(
    held: Mapping[Any, Any],
    keys: tuple[str, ...],
    tensors: dict[str, Tensor],
    containers: dict[str, None],
    seen: set[int],
) -> None:
    """Adds the tensors in a dict and its nested dicts, each dict once, because they can contain each other."""
    if id(held) in seen or len(keys) > DEEPEST:
        return
    seen.add(id(held))
    before = len(tensors)
    containers[".".join(keys)] = None  # before those within
    for key, value in held.items():
        inner = (*keys, str(key))
        if isinstance(value, Tensor):
            tensors[".".join(inner)] = value
        elif isinstance(value, Mapping):
            _gather(value, inner, tensors, containers, seen)
    if len(tensors) == before:
        del containers[".".join(keys)]


def _read_pickled(path: Path) -> Mapping[Any, Any]:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_inert()):
            warnings.simplefilter("ignore")  # about old formats, and archives that are then refused
            check_zip(path)
            held = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); expected a file of weights") from None
    except Exception as error:  # a damaged or foreign pickle raises anything
        what = _shortened(str(error)) or type(error).__name__
        if "weights only load failed" in what.lower():
            refused = _REFUSED_CLASS.search(str(error))
            named = f", such as {refused[1] or refused[2]}" if refused else ""
            what = f"it contains objects other than tensors{named}, which could be code"
        raise UserError(f"{path}: refused ({what}); {_ADVICE}") from None
    if not isinstance(held, Mapping):
        raise UserError(
            f"{path}: got a {type(held).__name__}, expected a state dict: torch.save(model.state_dict(), path)"
        )
    return held


def _inert() -> list[Any]:
    """Harmless types that files hold besides weights: NumPy's numbers and arrays, and the options of a program."""
    makers = [(np.float64(0).__reduce__()[0], "scalar"), (np.zeros(0).__reduce__()[0], "_reconstruct")]
    named = [(made, f"numpy.{core}.multiarray.{name}") for made, name in makers for core in ("core", "_core")]
    kinds = {type(np.dtype(code)) for code in "?bBhHiIlLqQefdgFDGSU"}
    return [*named, np.ndarray, np.dtype, *kinds, argparse.Namespace]


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:197] + "..."
