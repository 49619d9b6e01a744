"""Pictures, texts and class names of a run's samples, read from its folder and put into the page itself.

A report shows pictures and texts only of the few samples that it lists, and only if the run's folder still has the
audit data of these results. If they cannot be read, the report is written without them. A text is decoded from its
token ids, because the networks saw only these.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pruneaudit.core.files import read_json
from pruneaudit.evaluation.results import Results
from pruneaudit.runs.records_file import named_records
from pruneaudit.runs.texts import texts_of

# N samples, K channels, H height, W width

_MOST_PIXELS = 256 * 256
"""Larger pictures are thinned out, so that dozens of them do not fill the page."""


@dataclass(frozen=True)
class Samples:
    """Class names, pictures and texts of the samples."""

    classes: tuple[str, ...] = ()
    """Names by class number; empty where unknown."""
    pictures: Mapping[str, str] = field(default_factory=dict)
    """PNG files as data URIs, by sample id."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Texts, cut as networks saw them, by sample id."""
    named: tuple[Mapping[str, Any], ...] = ()
    """Rows of records.csv that a list names; only if the reader asked for names."""

    def class_name(self, number: float) -> str:
        """The name of a class, or its number where there is no name."""
        is_known = float(number).is_integer() and 0 <= number < len(self.classes)
        return self.classes[int(number)] if is_known else f"{number:g}"


def read_samples(results: Results, folder: Path, wanted: Iterable[str]) -> Samples:
    """The class names, and the pictures or texts of the `wanted` samples, from the audit data in a run's folder.

    Without the audit data of these very results, or where samples are rows of a table, there are none.
    """
    audit_data = results.about.get("audit_data")
    expected = audit_data.get("sha256") if isinstance(audit_data, Mapping) else None
    for place in sorted(Path(folder).glob("audit_data-*")):
        try:
            if expected and _json(place / "config.json").get("sha256") == expected:
                shown = set(wanted)
                return Samples(_classes(place), _pictures(place, shown), texts_of(place, shown))
        except (OSError, ValueError):
            continue
    return Samples()


def read_named(results: Results, folder: Path) -> tuple[Mapping[str, Any], ...]:
    """The named rows of records.csv in a run's folder; none if it is not the file of these results."""
    record = results.about.get("verdicts")
    sha256 = record.get("records_sha256") if isinstance(record, Mapping) else None
    return tuple(named_records(Path(folder), sha256)) if isinstance(sha256, str) else ()


def png(image: np.ndarray) -> bytes:
    """A PNG file.

    Args:
        image: (K, H, W) uint8, grey (K = 1) or RGB (K = 3).
    """
    channels, height, width = image.shape
    colour = {1: 0, 3: 2}[channels]
    rows = np.ascontiguousarray(image.transpose(1, 2, 0)).reshape(height, width * channels)  # (H, W * K)
    filtered = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _classes(place: Path) -> tuple[str, ...]:
    names = _json(place / "audit_data.json").get("classes")
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


def _pictures(place: Path, wanted: set[str]) -> dict[str, str]:
    x = np.load(place / "x.npy", mmap_mode="r", allow_pickle=False)  # (N, K, H, W), or tables (N, F)
    ids = np.load(place / "ids.npy", allow_pickle=False)  # (N,)
    if x.ndim != 4 or x.shape[1] not in (1, 3) or len(ids) != len(x):
        return {}
    found = {}
    for row, sample in enumerate(ids):
        if str(sample) in wanted:
            found[str(sample)] = "data:image/png;base64," + base64.b64encode(png(_visible(x[row]))).decode()
    return found


def _visible(image: np.ndarray) -> np.ndarray:
    """An image (K, H, W) as uint8; float images are stretched from their least to their greatest value."""
    step = int(np.ceil(np.sqrt(image.shape[1] * image.shape[2] / _MOST_PIXELS)))
    thinned = np.asarray(image[:, :: max(step, 1), :: max(step, 1)])
    if thinned.dtype == np.uint8:
        return thinned
    values = np.nan_to_num(thinned.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = values.min(), values.max()
    return np.round(255 * (values - low) / (high - low or 1.0)).astype(np.uint8)


def _json(path: Path) -> dict[str, Any]:
    data = read_json(path)
    return data if isinstance(data, dict) else {}
