"""Compares two folders of runs file by file: artifacts by their bytes, pages by their text, the rest by its content."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# What is not compared. Keep these lists short: whatever stands here may change unseen.

NOT_COMPARED = ("SHA256SUMS", ".lock", "*.log", "evaluated.json")
"""Checksums, locks, logs, and what results are known by: it holds the checksum of the code and of the page."""
RENAMED: dict[str, str] = {}
"""Files at the top of a run that have another name in the version after: {before: after}."""
VARYING_KEYS = frozenset({"versions", "platform", "created", "command", "device", "machine", "latency"})
"""Keys of JSON files outside artifacts: versions, times, paths, devices."""
MAY_COME_OR_GO = ("about.json", "study.json")
"""JSON files whose keys may stand in one version only; they are listed then."""
MAY_COME = ("summary.json", "findings.json", "DONE")
"""JSON files that may have further keys in the version after; they are listed then."""
SEALED_WITH_OTHERS = frozenset({"summary.json"})
"""Files whose checksum in a seal is not compared: they are compared by their content."""
VARYING_COLUMNS = "Latency"
"""Columns of tables on the page whose header begins with this."""
VARYING_TEXT = (
    r"pruneaudit \d+\.\d+\S*",  # version
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\+00:00|Z)?",  # date
    r"\d+ rounds that time",  # of the latency
    r'"engine": "\w+",?',  # a setting that goes; the rest of the study on the page is compared
)


@dataclass
class Comparison:
    """What was found between two folders."""

    differences: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    compared: Counter[str] = field(default_factory=Counter)
    """How many files, by the end of their names."""


def compare(before: Path, after: Path) -> Comparison:
    """Compares two folders of runs, file by file.

    Files that stand on one side only are listed, unless they are of an artifact of the version before: its folder is
    named after its identity, so that losing it means that the identity changed.
    """
    found = Comparison()
    old, new = _files(before), _files(after)
    old = {RENAMED.get(name, name): path for name, path in old.items()}
    lost = Counter(str(Path(name).parent) for name in old.keys() - new.keys())
    for folder, number in sorted(lost.items()):
        lines = found.listed if _at_top(Path(folder)) else found.differences
        names = sorted(Path(name).name for name in old.keys() - new.keys() if str(Path(name).parent) == folder)
        lines.append(f"{folder}: only before: {', '.join(names[:5])}{f' and {number - 5} more' * (number > 5)}")
    found.listed += [f"{name}: only after" for name in sorted(new.keys() - old.keys())]
    for name in sorted(old.keys() & new.keys()):
        if any(Path(name).match(pattern) for pattern in NOT_COMPARED):
            continue
        found.compared[Path(name).suffix or Path(name).name] += 1
        found.differences += [f"{name}: {what}" for what in _differences(name, old[name], new[name], found.listed)]
    if not found.compared:
        found.differences.append(f"{before} and {after} have no file in common")
    return found


def _files(folder: Path) -> dict[str, Path]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in paths}


def _at_top(folder: Path) -> bool:
    """Whether a folder is a run's own, not one of an artifact: ., runs or runs/STUDY."""
    return len(folder.parts) <= 2


def _differences(name: str, before: Path, after: Path, listed: list[str]) -> list[str]:
    """What differs between two files of this name."""
    if before.read_bytes() == after.read_bytes():
        return []
    if not _at_top(Path(name).parent) and Path(name).name not in (*MAY_COME_OR_GO, *MAY_COME):
        return ["bytes differ"]
    if Path(name).name == "DONE":
        seals = [json.loads(path.read_text()) for path in (before, after)]
        for seal in seals:
            seal["files"] = {file: sum for file, sum in seal["files"].items() if file not in SEALED_WITH_OTHERS}
        return _of_json(name, *seals, listed)
    match Path(name).suffix:
        case ".html" | ".txt":
            return _of_texts(text_of(before), text_of(after))
        case ".json":
            return _of_json(name, json.loads(before.read_text()), json.loads(after.read_text()), listed)
        case ".npz":
            with np.load(before) as old, np.load(after) as new:
                return _of_columns(dict(old), dict(new))
        case ".parquet":
            old, new = (pd.read_parquet(path) for path in (before, after))
            return _of_columns({c: old[c].to_numpy() for c in old}, {c: new[c].to_numpy() for c in new})
        case ".csv" if _at_top(Path(name).parent):
            return _of_tables(before, after, name, listed)
        case ".csv":
            return _of_lines(before.read_text().splitlines(), after.read_text().splitlines())
    return ["bytes differ"]


def _of_json(name: str, before: Any, after: Any, listed: list[str]) -> list[str]:
    """What differs between two JSON values; keys that may stand in one version only are listed."""
    allowed = {"after"} if Path(name).name in MAY_COME else set()
    allowed |= {"before", "after"} if Path(name).name in MAY_COME_OR_GO else set()
    found = list(_of_values(before, after, ""))
    listed += [f"{name}: {what}" for what, only in found if only in allowed]
    return [what for what, only in found if only not in allowed]


def _of_tables(before: Path, after: Path, name: str, listed: list[str]) -> list[str]:
    """What differs between two tables. The version after may have further columns, which are listed.

    All that the version before has is compared cell by cell, as text, in its order; without further columns, line by
    line.
    """
    old, new = (list(csv.reader(path.read_text().splitlines(keepends=True))) for path in (before, after))
    gained = [column for column in new[0] if column not in old[0]] if old and new else []
    if not gained:
        return _of_lines(before.read_text().splitlines(), after.read_text().splitlines())
    listed += [f"{name}: column {column} only after" for column in gained]
    kept = [number for number, column in enumerate(new[0]) if column not in gained]
    old, new = [repr(row) for row in old], [repr([row[number] for number in kept]) for row in new]
    return [] if old == new else _of_lines(old, new)


def _of_lines(old: Sequence[str], new: Sequence[str]) -> list[str]:
    differing = [row for row, pair in enumerate(zip(old, new, strict=False), 1) if pair[0] != pair[1]]
    if len(old) != len(new):
        return [f"{len(old)} lines before, {len(new)} after"]
    if not differing:
        return ["line ends differ"]
    first = differing[0]
    return [f"{len(differing)} lines differ, the first is {first}: {old[first - 1]!r} -> {new[first - 1]!r}"]


def _of_columns(old: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> list[str]:
    if list(old) != list(new):
        return [f"columns {list(old)} -> {list(new)}"]
    return [f"column {name} differs" for name in old if not _same_array(old[name], new[name])]


def _same_array(old: np.ndarray, new: np.ndarray) -> bool:
    if old.dtype != new.dtype or old.shape != new.shape:
        return False
    return old.tolist() == new.tolist() if old.dtype == object else old.tobytes() == new.tobytes()


def _of_values(old: Any, new: Any, where: str) -> Iterator[tuple[str, str]]:
    """Differences of two JSON values, and for a key that stands on one side only that side: before or after."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(new.keys() - old.keys())]:
            if key in VARYING_KEYS:
                continue
            if key in old and key in new:
                yield from _of_values(old[key], new[key], f"{where}.{key}")
            else:
                side = "before" if key in old else "after"
                yield f"{where}.{key} only {side}", side
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from _of_values(*pair, f"{where}[{index}]")
    elif json.dumps(old) != json.dumps(new):  # so that NaN equals NaN, and 1 is not 1.0
        yield f"{where}: {json.dumps(old)[:80]} -> {json.dumps(new)[:80]}", ""


def _of_texts(old: str, new: str) -> list[str]:
    """Where two texts part, word by word."""
    before, after = old.split(), new.split()
    if before == after:
        return []
    pairs = zip(before, after, strict=False)
    first = next((place for place, pair in enumerate(pairs) if pair[0] != pair[1]), min(len(before), len(after)))
    around = slice(max(0, first - 4), first + 6)
    return [f"text differs at word {first}: {' '.join(before[around])!r} -> {' '.join(after[around])!r}"]


def text_of(file: Path) -> str:
    """The words of a page or text file, without what varies from run to run."""
    text = file.read_text()
    if file.suffix == ".html":
        page = _Page()
        page.feed(text)
        text = " ".join(page.parts)
    for varying in VARYING_TEXT:
        text = re.sub(varying, "", text)
    return text


class _Page(HTMLParser):
    """Collects the text of a page: no scripts, no styles, no column that varies."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._silent = 0
        self._column = -1
        self._varying: set[int] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._silent += tag in ("script", "style")
        if tag == "table":
            self._varying = set()
        if tag == "tr":
            self._column = -1
        self._column += tag in ("td", "th")

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("script", "style")
        if tag in ("table", "tr"):
            self._column = -1

    def handle_data(self, data: str) -> None:
        if self._silent:
            return
        if data.startswith(VARYING_COLUMNS) and self.get_starttag_text().startswith("<th"):
            self._varying.add(self._column)
        if self._column not in self._varying:
            self.parts.append(data)
