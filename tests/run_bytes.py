"""What two runs must have in common, byte for byte."""

from collections.abc import Iterable
from pathlib import Path

FINDINGS = ("findings.csv", "findings.json", "comparisons.csv", "curves.csv", "releases.csv", "scores.parquet")


def bytes_of(folder: Path, names: Iterable[str] = FINDINGS) -> dict[str, bytes]:
    """Named files of a folder; by default everything that a run finds."""
    return {name: (folder / name).read_bytes() for name in names}


def all_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its place."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def reproducible_bytes(folder: Path, *more: str) -> dict[str, bytes]:
    """What must not depend on how a study was run: findings, the seal of every artifact, and files of `more` names."""
    places = sorted(path for name in ("DONE", *more) for path in folder.rglob(name) if "set-aside" not in path.parts)
    return bytes_of(folder) | {str(path.relative_to(folder)): path.read_bytes() for path in places}
