"""Parsers for arguments with several values: `key=value`, `name=FILE`, and comma-separated names and numbers.

Also the arguments of commands that take a finished run, or files of predictions.
"""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pruneaudit.core.errors import UserError

if TYPE_CHECKING:
    from pruneaudit.api import PredictionFiles


RunOrFilesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN | [NAME=]FILE...",
        help="The folder of a finished run, such as runs/demo; or files of predictions, as for audit.",
    ),
]
OtherModelsOption = Annotated[
    list[str] | None,
    typer.Option("--references", metavar="[NAME=]FILE", help="Predictions of other models, as for audit."),
]
BaselineOption = Annotated[
    str | None,
    typer.Option("--baseline", metavar="NAME", help="With files: the baseline, as for audit; default: dense."),
]


def keyed_values(option: str, given: list[str]) -> dict[str, Any]:
    """Parses `key=value` texts into values by key.

    Raises:
        UserError: a text is not of the form `key=value`.
    """
    from pruneaudit.core.settings_file import scalar

    values = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.strip().isidentifier():
            raise UserError(f"{option}: got '{text}', expected key=value, for example width=64")
        values[key.strip()] = scalar(value)
    return values


def files_by_release(option: str, given: list[str]) -> Path | dict[str, Path]:
    """Parses `name=FILE`, `FILE` (named after the file) and folders of predictions into files by release.

    Returns:
        The path alone if there is one without a name.

    Raises:
        UserError: two files have the same name, or a folder has no list of its files.
    """
    from pruneaudit.external.release_files import read_release_files

    named = [named_path(text) for text in given]
    if len(named) == 1 and not named[0][0] and not named[0][1].is_dir():
        return named[0][1]
    found: dict[str, Path] = {}
    for name, path in named:
        parts = read_release_files(path) if path.is_dir() and not name else {name or path.stem: path}
        for release, file in parts.items():
            if release in found:
                raise UserError(
                    f"{option}: got the name '{release}' twice ({found[release]}, {file}), expected a name for each;"
                    " write NAME=FILE"
                )
            found[release] = file
    return found


def run_or_files(source: list[str], references: list[str] | None, baseline: str | None) -> Path | PredictionFiles:
    """The folder of a finished run, or files of predictions.

    Args:
        source: the argument RUN or [NAME=]FILE...
        references: the option --references, for files.
        baseline: the option --baseline, for files.

    Raises:
        UserError: the options were given beside a run; the only source is no run and no file; or as for
            `files_by_release`.
    """
    from pruneaudit.api import PredictionFiles
    from pruneaudit.core.files import STUDY_FILE
    from pruneaudit.external.release_files import LIST_FILE
    from pruneaudit.runs.names import REPORT_FILE

    first = Path(source[0])
    is_results = (first / STUDY_FILE).exists() or (first / REPORT_FILE).exists()  # not what `collect` wrote
    if len(source) == 1 and first.is_dir() and is_results:
        if references or baseline:
            raise UserError(f"--references, --baseline: got them beside the run {first}, which has its own; leave them")
        return first
    is_nowhere = not first.exists() and not first.suffix and "=" not in source[0]
    if len(source) == 1 and (is_nowhere or (first.is_dir() and not (first / LIST_FILE).exists())):
        why = "no such folder" if is_nowhere else f"has neither {STUDY_FILE} nor {REPORT_FILE} nor {LIST_FILE}"
        raise UserError(
            f"{first}: {why}; expected the folder of a finished run, such as runs/demo, a folder that pruneaudit"
            " collect wrote, or files of predictions: NAME=FILE.npz"
        )
    others = files_by_release("--references", references) if references else None
    return PredictionFiles(files_by_release("FILE", source), others, baseline)


def families(given: list[str] | None) -> list[tuple[str, ...]] | str:
    """Parses texts such as "dense,int8" into families; "all" stays as it is.

    Raises:
        UserError: "all" stands beside others.
    """
    from pruneaudit.study.families import ALL

    found = [names(text) for text in given or ()]
    if (ALL,) not in found:
        return found
    if len(found) > 1:
        raise UserError(f"--families: got '{ALL}' beside other families, expected one or the other; leave one out")
    return ALL


UNITS = {"": 1, "B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3}
"""Units of sizes."""


def sizes(option: str, given: list[str]) -> dict[str, float]:
    """Parses `name=BYTES` texts, such as `pruned=241kB`, and `name=FOLDER` of a compressed network, into bytes by name.

    Raises:
        UserError: a text has another form, a name stands twice, or a folder holds no compressed network.
    """
    found: dict[str, float] = {}
    for text in given:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise UserError(f"{option}: got '{text}', expected NAME=BYTES, such as pruned=241kB")
        if name in found:
            raise UserError(f"{option}: got the name '{name}' twice, expected one size for each release")
        found[name] = _bytes(option, text, value)
    return found


def _bytes(option: str, text: str, value: str) -> float:
    number = value.rstrip("BMGk ")
    unit = value[len(number) :].strip()
    if unit in UNITS and number.replace(".", "", 1).isdecimal():
        return float(number) * UNITS[unit]
    if not Path(value).is_dir():
        raise UserError(
            f"{option}: got '{text}', expected bytes, such as 241000, 241kB or 1.2MB, or a folder that compress wrote"
        )
    from pruneaudit.core.files import SUMMARY_FILE
    from pruneaudit.external.folder import read_summary

    return float(read_summary(Path(value) / SUMMARY_FILE)["after"]["compressed_bytes"])


def named_path(text: str) -> tuple[str, Path]:
    """Splits `name=PATH`; the name is empty without one, or if the whole text is a path or pattern of something."""
    name, equals, path = text.partition("=")
    if not equals or Path(text).exists() or next(glob.iglob(text, recursive=True), None):  # noqa: PTH207 - has a root
        return "", Path(text)
    return name.strip(), Path(path)


def numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Parses a text such as "0.49,0.48,0.45" into numbers.

    Raises:
        UserError: a part is not a number.
    """
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"{option}: got '{text}', expected comma-separated numbers, such as 0.49,0.48,0.45") from None


def names(text: str | None) -> tuple[str, ...]:
    """Splits a text such as "round:2,label" into names; none without a text."""
    return () if text is None else tuple(part.strip() for part in text.split(","))


def rates(option: str, text: str) -> tuple[float, ...]:
    """Parses a text such as "0.1,1%" into rates.

    Raises:
        UserError: a part is not a rate.
    """
    from pruneaudit.core.amounts import parse_rate

    return tuple(parse_rate(part, option) for part in text.split(","))


def lengths(option: str, text: str | None) -> tuple[int, ...] | None:
    """Parses a text such as "3,32,32" into lengths.

    Raises:
        UserError: a part is not an integer of at least 1.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"{option}: got '{text}', expected comma-separated lengths, such as 3,32,32")
    return tuple(int(part) for part in parts)
