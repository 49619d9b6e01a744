"""Finds files of weights, and names their models.

A model in its own folder is named after that folder, so that dense and pruned models have the same names:
`dense/m0.pt` and `pruned/m0/model.safetensors` are both m0.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from pathlib import Path

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import ADAPTER_CONFIG_FILE, STRUCTURE_FILE, SUMMARY_FILE, WEIGHTS_FILE
from pruneaudit.models._hf_folder import INDEX_FILE, check_weights, is_of_transformers, network_in

SUFFIXES = (".safetensors", ".pt", ".pth", ".pth.tar", ".pt.tar", ".ckpt", ".th", ".torch")
SHARED_SUFFIXES = (".bin", ".pkl", ".tar")
"""Suffixes that other kinds of files have too: in folders and patterns, only files written by torch count."""
_KINDS = f"{', '.join(SUFFIXES)}; or {', '.join(SHARED_SUFFIXES)} written by torch.save"
_NO_WEIGHTS = re.compile(r"(.*\.)?mask|compressed|adapter_model|optimizer|scheduler|scaler|rng_state.*|training_args")
"""Stems of files that are next to weights but are not weights."""
_TORCH_MAGIC = (b"PK\x03\x04", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.")
"""First bytes of files of torch.save: archives, and those of torch before 1.6."""


def find_weights(given: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files of weights, each once.

    Args:
        given: files, folders and patterns, in which `**` means any depth. A folder means the files in it; if it has
            only folders, the one file in each of these. Files of one place are sorted naturally, so that
            model-2 comes before model-10; places keep their order. Masks and optimizer states are skipped.

    Raises:
        UserError: one of them leads to no file of weights, or a folder within a folder has several.
    """
    places = [given] if isinstance(given, str | Path) else list(given)
    found = [file for place in places for file in _files(Path(place).expanduser())]
    if not found:
        raise UserError(f"weights: got none, expected files, folders or patterns of {_KINDS}")
    return list({os.path.abspath(file): file for file in found}.values())  # noqa: PTH100 - keep links


def _files(place: Path) -> list[Path]:
    """The files of one place, in natural order."""
    try:
        if place.is_file():
            if not _suffix(place):
                raise UserError(f"{place}: got a '{place.suffix}' file, expected weights in {_KINDS}")
            return [place]
        if place.is_dir():
            files, what = _in_folder(place), "has no file"
        else:
            # `Path.glob` does not accept a pattern with a root.
            matches = [Path(match) for match in glob.glob(str(place), recursive=True)]  # noqa: PTH207
            folders = [match for match in _visible(matches) if match.is_dir()]
            files = _weights_among(matches) or [file for folder in folders for file in _in_folder(folder)]
            what = "no such file, and as a pattern it matches none"
    except OSError as error:  # a name that is too long, or a folder that cannot be read
        raise UserError(f"weights: {place}: cannot be read ({error.strerror})") from None
    if not files:
        raise UserError(f"weights: {place}: {what} of weights ({_KINDS}); give files, a folder, or a pattern in quotes")
    return files


def _in_folder(folder: Path) -> list[Path]:
    """The files of weights in a folder; if there are none, the one in each folder within it."""
    inside = list(folder.iterdir())
    if own := _of_transformers(folder):
        return [own]
    if files := _weights_among(inside):
        return files
    for within in (path for path in _visible(inside) if path.is_dir()):
        own = _of_transformers(within)
        found = [own] if own else _weights_among(within.iterdir())
        if len(found) > 1:
            raise UserError(
                f"weights: {within}: has {len(found)} files of weights ({found[0].name}, {found[1].name}, ...),"
                f" expected one in each folder of {folder}; choose with a pattern in quotes, such as"
                f" '{folder}/*/{found[0].name}'"
            )
        files += found
    return files


def _of_transformers(folder: Path) -> Path | None:
    """The weights in a folder that Transformers wrote; None in another folder, or where they are a pickle.

    Raises:
        UserError: they are divided into several files, or the folder holds an adapter alone.
    """
    if (folder / INDEX_FILE).is_file() or (folder / ADAPTER_CONFIG_FILE).is_file():
        network_in(str(folder))
        return check_weights(str(folder))
    return folder / WEIGHTS_FILE if is_of_transformers(folder) and (folder / WEIGHTS_FILE).is_file() else None


def _visible(paths: Iterable[Path]) -> list[Path]:
    return sorted((path for path in paths if not path.name.startswith(".")), key=natural_order)


def _weights_among(paths: Iterable[Path]) -> list[Path]:
    """Files of weights, in natural order."""
    return [path for path in _visible(paths) if _suffix(path) and path.is_file() and _is_meant(path)]


def _is_meant(path: Path) -> bool:
    """Whether a file in a folder or pattern holds a model's weights, judging by its name and first bytes."""
    if _NO_WEIGHTS.fullmatch(_without_suffix(path).name):
        return False
    if _suffix(path) not in SHARED_SUFFIXES:
        return True
    with path.open("rb") as file:
        return file.read(16).startswith(_TORCH_MAGIC)


def natural_order(path: Path) -> tuple[list[str | int], str]:
    """The key by which files are sorted: model-2 comes before model-10."""
    parts = re.split(r"([0-9]+)", str(path))
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], str(path)


def _suffix(path: Path) -> str:
    """The longest known suffix of a file; or empty."""
    fitting = [suffix for suffix in (*SUFFIXES, *SHARED_SUFFIXES) if path.name.lower().endswith(suffix)]
    return max(fitting, key=len, default="")


def _without_suffix(path: Path) -> Path:
    return path.with_name(path.name[: len(path.name) - len(_suffix(path))] or path.name)


def model_names(files: Sequence[Path]) -> list[str]:
    """The names of the models: those of their files, or of the folders that distinguish these."""
    folder = os.path.commonpath([os.path.abspath(file.parent) for file in files])  # noqa: PTH100
    paths = [Path(os.path.relpath(file, folder)) for file in files]
    named = [_without_suffix(path) for path in paths]
    ends = zip(*(path.parts[::-1] for path in named), strict=False)
    shared = sum(1 for _ in takewhile(lambda parts: len(set(parts)) == 1, ends))  # "model" in a/model and b/model
    shared = min(shared, *(len(path.parts) - 1 for path in named))
    ways: list[Callable[[int], str]] = [
        lambda row: _own_name(files[row]),
        lambda row: "/".join(named[row].parts[: len(named[row].parts) - shared]),
        lambda row: paths[row].as_posix(),
    ]
    tried = [[way(row) for row in range(len(files))] for way in ways]
    return next(names for names in tried if len(set(names)) == len(files))


def _own_name(file: Path) -> str:
    """The stem of a file, or the folder that this program or Transformers created for one model."""
    if file.name == WEIGHTS_FILE and (file.with_name(SUMMARY_FILE).is_file() or is_of_transformers(file.parent)):
        return Path(os.path.abspath(file.parent)).name  # noqa: PTH100
    return _without_suffix(file).name


def rows_named_after(file: Path, names: Sequence[str]) -> list[int]:
    """Which names match the end of a file's path, with or without its suffix; if none does, its folder's path."""

    def among(*paths: Path) -> list[int]:
        wanted = [(row, Path(name).parts) for row, name in enumerate(names)]
        return [row for row, parts in wanted if parts and any(path.parts[-len(parts) :] == parts for path in paths)]

    return among(file, _without_suffix(file)) or among(file.parent)


def structure_of(path: Path) -> Path | None:
    """The file on the changed architecture that `compress`, a run or `export` writes beside weights; or None."""
    beside = [path.with_name(f"{path.name}.{STRUCTURE_FILE}")]
    if path.name == WEIGHTS_FILE:
        beside.append(path.with_name(STRUCTURE_FILE))
    return next((file for file in beside if file.is_file()), None)
