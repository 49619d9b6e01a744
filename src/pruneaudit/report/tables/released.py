"""Sizes, speed, layers and reactivation of the releases, ready for the page.

The data are `release_report` in about.json. Runs of older versions, and audits of saved predictions, have none. A
missing figure is a dash with its reason, or is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pruneaudit.evaluation.results import Results
from pruneaudit.report.compressed import compressed_by
from pruneaudit.report.quantities import bytes_text, sparsity_text
from pruneaudit.report.selection import target_file
from pruneaudit.report.sentences.family_epsilon import copies_words
from pruneaudit.report.tables.cells import NOT_RECORDED, Cell, Notes


@dataclass(frozen=True)
class SizeLine:
    """One line of the table of sizes and speed."""

    release: str
    method: str
    defense: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class LayerLine:
    """One layer of a release."""

    name: str
    type: str
    shape: str
    dense_shape: str
    """Empty where the shape is the dense network's."""
    nonzero: str
    sparsity: str
    of_models: str
    """Lowest and highest sparsity over networks; empty where all are equal."""


@dataclass(frozen=True)
class Layers:
    """The layers of one release."""

    release: str
    num_models: str
    """Number of networks in the range of sparsities."""
    lines: tuple[LayerLine, ...]


@dataclass(frozen=True)
class Reactivation:
    """How many removed weights came back, epoch by epoch, in one release."""

    release: str
    highest: str
    highest_epoch: str
    last: str
    lines: tuple[tuple[str, str, str], ...]
    """Epoch, sparsity, reactivation rate."""


@dataclass(frozen=True)
class Promise:
    """What a defence guarantees for a release."""

    release: str
    defense: str
    spent: str
    """Epsilon and delta, the highest of all networks; empty where nothing bounds it."""
    statement: str


@dataclass(frozen=True)
class LeftWhole:
    """The weight matrices of a pruned release that lost nothing in any network."""

    release: str
    layers: str
    """Each with its number of weights and, where methods do not prune such a matrix, the reason."""


@dataclass(frozen=True)
class Released:
    """Everything the page shows about sizes and speed."""

    columns: tuple[str, ...]
    lines: tuple[SizeLine, ...]
    notes: tuple[str, ...]
    conditions: str
    """How latency was measured; empty where it was not."""
    zeros: str
    """Says what zeros save."""
    layers: tuple[Layers, ...]
    left_whole: tuple[LeftWhole, ...]
    promises: tuple[Promise, ...]
    """What defences guarantee for releases."""
    reactivation: tuple[Reactivation, ...]


MOST_NAMED = 6
"""Number of layers left whole that are named; the table of layers has all."""
COLUMNS = (
    *("Sparsity of prunable weights", "Sparsity of all parameters", "Nonzero parameters"),
    *("Effective bits per weight", "Compressed size"),
    *("Multiply-accumulates", "Bit operations", "File", "Latency, ms", "Latency, ratio to dense"),
)
ZEROS = (
    "Zeros are multiplied like any other weight, so zeros alone make no network faster. Latency differences of such a "
    "release are measurement noise. Only removed channels, heads and units, and factors save multiply-accumulates. "
    "These do not count the two products of attention, which have no weights. Bit operations are multiply-accumulates "
    "times the bits of a weight times the bits of an input; integer kernels could save them."
)


def released(results: Results) -> Released | None:
    """What the run measured of its releases; None where it measured nothing."""
    report = results.about.get("release_report")
    entries = [entry for entry in _list(report, "releases") if isinstance(entry, Mapping)]
    if not entries:
        return None
    notes, copies = Notes(), copies_words(results)
    return Released(
        columns=COLUMNS,
        lines=tuple(_size_line(results, entry, notes) for entry in entries),
        notes=notes.listed(),
        conditions=_conditions(report),
        zeros=ZEROS,
        layers=tuple(layers for entry in entries if (layers := _layers(entry)).lines),
        left_whole=left_whole(results),
        promises=tuple(promise for entry in entries if (promise := _promise(entry, copies)) is not None),
        reactivation=tuple(found for entry in entries if (found := _reactivation(entry)) is not None),
    )


def left_whole(results: Results) -> tuple[LeftWhole, ...]:
    """The matrices that each pruned release left whole; releases without any are left out."""
    found = []
    for entry in _list(results.about.get("release_report"), "releases"):
        rows = [row for row in _list(entry, "left_whole") if isinstance(row, Mapping)]
        texts = [_whole_layer(row) for row in rows[:MOST_NAMED]]
        more = [f"and {len(rows) - MOST_NAMED:,} more"] if len(rows) > MOST_NAMED else []
        if rows:
            found.append(LeftWhole(str(entry.get("name") or ""), ", ".join([*texts, *more])))
    return tuple(found)


def _whole_layer(row: Mapping[str, Any]) -> str:
    weights, why = _number(row, "weights"), str(row.get("why") or "")
    said = [*([] if weights is None else [f"{weights:,.0f} weights"]), *([why] if why else [])]
    return f"{row.get('name') or 'the network itself'} ({'; '.join(said)})"


def _promise(entry: Mapping[str, Any], about_copies: str) -> Promise | None:
    """What a defence guarantees, such as an epsilon; None without a statement."""
    report = entry.get("defense_report")
    if not isinstance(report, Mapping) or not report.get("statement"):
        return None
    epsilon, delta = _number(entry, "defense_report", "epsilon"), _number(entry, "defense_report", "delta")
    spent = "" if epsilon is None or delta is None else f"epsilon {epsilon:.2f} at delta {delta:g}"
    statement = f"{report['statement']} {about_copies if spent else ''}".rstrip()
    return Promise(str(entry.get("name") or ""), str(entry.get("defense") or ""), spent, statement)


def _size_line(results: Results, entry: Mapping[str, Any], notes: Notes) -> SizeLine:
    gaps = entry.get("gaps")

    def missing(*parts: str) -> Cell:
        """A dash for what was not measured, with the first reason that is known."""
        reasons = [str(gaps[part]) for part in parts if isinstance(gaps, Mapping) and gaps.get(part)]
        return Cell("", note=notes.number(reasons[0] if reasons else NOT_RECORDED))

    def sparsity(key: str) -> Cell:
        value = _number(entry, key)
        return missing(key, "network") if value is None else Cell(sparsity_text(value))

    cells = (
        sparsity("sparsity_prunable"),
        sparsity("sparsity_all"),
        _nonzero(entry) or missing("network"),
        *(cell or missing("size", "network") for cell in _compressed(entry)),
        *(_operations(entry, key) or missing("macs", "network") for key in ("macs", "bit_operations")),
        _file(entry) or missing("bytes"),
        *(cell or missing("latency", "network") for cell in _latency(entry)),
    )
    name, method, defense = (str(entry.get(key) or "") for key in ("name", "method", "defense"))
    file = target_file(results, name, with_dense=True)
    return SizeLine(name, f"your file {file}" if file else compressed_by(results, name) or method, defense, cells)


def _nonzero(entry: Mapping[str, Any]) -> Cell | None:
    """Nonzero parameters of the release's, and the dense number where the release is smaller."""
    left = _number(entry, "nonzero")
    dense, whole = _number(entry, "parameters", "dense"), _number(entry, "parameters", "released")
    if left is None or whole is None:
        return None
    return Cell(f"{left:,.0f} of {whole:,.0f}", f"dense {dense:,.0f}" if dense not in (None, whole) else "")


def _compressed(entry: Mapping[str, Any]) -> tuple[Cell | None, Cell | None]:
    """Bits per weight of the dense network, and bytes of the whole network, with the sizes of gzip and xz."""
    bits, size, ratio, gzip, xz = (
        _number(entry, "size", key) for key in ("effective_bits", "bytes", "ratio", "gzip_bytes", "xz_bytes")
    )
    if bits is None or size is None:
        return None, None
    packed = f"gzip {bytes_text(gzip)}, xz {bytes_text(xz)}" if gzip is not None and xz is not None else ""
    smaller = f"1/{ratio:.3g} of dense" if ratio is not None and ratio > 1 else ""
    return Cell(f"{bits:.2f}"), Cell(bytes_text(size), "; ".join(part for part in (smaller, packed) if part))


def _operations(entry: Mapping[str, Any], key: str) -> Cell | None:
    dense, left = _number(entry, key, "dense"), _number(entry, key, "released")
    if left is None:
        return None
    return Cell(f"{left:,.0f}", f"{100 * left / dense:.1f}% of dense" if dense and left != dense else "")


def _file(entry: Mapping[str, Any]) -> Cell | None:
    size = _number(entry, "bytes", "released")
    if size is None:
        return None
    dense, smaller = _number(entry, "bytes", "dense"), _number(entry, "bytes", "physically_smaller")
    is_smaller = dense is not None and smaller is not None and smaller < dense  # not if only inputs are quantised
    return Cell(bytes_text(size), "smaller architecture" if is_smaller else "")


def _latency(entry: Mapping[str, Any]) -> tuple[Cell | None, Cell | None]:
    """The time of a batch, and its ratio to that of the dense network."""
    median, low, high, ratio = (
        _number(entry, "latency", key)
        for key in ("median_milliseconds", "min_milliseconds", "max_milliseconds", "ratio_to_dense")
    )
    time = None
    if median is not None:
        time = Cell(_milliseconds(median), f"[{_milliseconds(low)}, {_milliseconds(high)}]" if low and high else "")
    if ratio is None:
        return time, None
    dense, left = _number(entry, "parameters", "dense"), _number(entry, "parameters", "released")
    zeros_only = left is not None and dense == left and (_number(entry, "sparsity_prunable") or 0) > 0
    return time, Cell(f"{ratio:.2f}", "zeros only: no speed-up" if zeros_only else "")


def _conditions(report: Any) -> str:
    """How latency was measured, in words."""
    size, rounds, threads = (_number(report, "latency", key) for key in ("batch_size", "rounds", "threads"))
    if size is None or rounds is None or threads is None:
        return ""
    inputs = "one input" if size == 1 else f"a batch of {size:.0f}"
    return (
        f"{inputs}, median [fastest, slowest] of {rounds:.0f} rounds that time all releases in turns, on {threads:.0f} "
        f"CPU {'thread' if threads == 1 else 'threads'} ({report['latency'].get('machine') or 'unknown machine'})"
    )


def _layers(entry: Mapping[str, Any]) -> Layers:
    rows = [row for row in _list(entry, "layers") if isinstance(row, Mapping)]
    num_models = _number(entry, "layers_of_models")
    return Layers(
        str(entry.get("name", "")),
        "" if num_models is None else f"{num_models:,.0f}",
        tuple(_layer_line(row) for row in rows),
    )


def _layer_line(row: Mapping[str, Any]) -> LayerLine:
    nonzero, weights, sparsity = (_number(row, key) for key in ("nonzero", "weights", "sparsity"))
    low, high = _number(row, "sparsity_low"), _number(row, "sparsity_high")
    shape, dense_shape = _shape(row, "shape"), _shape(row, "dense_shape")
    differ = low is not None and high is not None and low != high
    return LayerLine(
        name=str(row.get("name") or "(the network itself)"),
        type=str(row.get("type", "")),
        shape=shape,
        dense_shape=dense_shape if dense_shape != shape else "",
        nonzero="" if nonzero is None or weights is None else f"{nonzero:,.0f} of {weights:,.0f}",
        sparsity="" if sparsity is None else sparsity_text(sparsity),
        of_models=f"{sparsity_text(low)} to {sparsity_text(high)}" if differ and low is not None and high else "",
    )


def _reactivation(entry: Mapping[str, Any]) -> Reactivation | None:
    """None where weights do not come back in this release's method."""
    rows = []
    for row in _list(entry, "reactivation"):
        epoch, sparsity, rate = (_number(row, key) for key in ("epoch", "sparsity", "reactivation_rate"))
        if epoch is not None and sparsity is not None and rate is not None:
            rows.append((rate, f"{epoch:.0f}", sparsity_text(sparsity)))
    if not rows:
        return None
    highest = max(rows, key=lambda row: row[0])
    return Reactivation(
        str(entry.get("name", "")),
        highest=_rate(highest[0]),
        highest_epoch=highest[1],
        last=_rate(rows[-1][0]),
        lines=tuple((epoch, sparsity, _rate(rate)) for rate, epoch, sparsity in rows),
    )


def _number(data: Any, *path: str) -> float | None:
    """The finite number at a path of keys; None where there is none."""
    for key in path:
        data = data.get(key) if isinstance(data, Mapping) else None
    is_number = isinstance(data, int | float) and not isinstance(data, bool) and math.isfinite(data)
    return float(data) if is_number else None


def _list(data: Any, key: str) -> Sequence[Any]:
    found = data.get(key) if isinstance(data, Mapping) else None
    return found if isinstance(found, list) else []


def _shape(row: Mapping[str, Any], key: str) -> str:
    return " x ".join(str(size) for size in _list(row, key))


def _milliseconds(value: float) -> str:
    """Three significant digits, without an exponent: `0.0267`, `4.27`, `1,204`."""
    places = 0 if value <= 0 else max(0, 2 - math.floor(math.log10(value)))
    return f"{value:,.{places}f}"


def _rate(value: float) -> str:
    return f"{100 * value:.2f}%"
