"""Turns the names that users choose into names of files."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

_UNSAFE = re.compile(r"[^A-Za-z0-9+=-]+")
_LENGTH = 80


def file_stems(prefix: str, names: Iterable[str]) -> dict[str, str]:
    """By name: `prefix-name`, safe and different on every file system.

    Letters, digits and +=- are kept. A dot becomes "_" too: LaTeX takes what follows it for a suffix.
    Names that would be the same file (also where upper and lower case are one), and names of which
    nothing is left, get the first 8 digits of their SHA-256.
    """
    names = list(dict.fromkeys(names))
    stems = {name: _UNSAFE.sub("_", name)[:_LENGTH].strip("_-") for name in names}
    counts = Counter(stem.casefold() for stem in stems.values())
    found = {}
    for name, stem in stems.items():
        parts = [prefix, stem, _digest(name) if not stem or counts[stem.casefold()] > 1 else ""]
        found[name] = "-".join(part for part in parts if part)
    return found


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", errors="replace")).hexdigest()[:8]
