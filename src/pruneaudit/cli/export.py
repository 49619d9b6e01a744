"""`pruneaudit export`: a model of a finished run in a file, or whole runs in another system's folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pruneaudit.core.errors import UserError, printable

LAYOUTS = ("pruning-mia",)


def command(
    run: Annotated[
        list[Path],
        typer.Argument(help="The folder of a finished run; with --layout, also of its other seeds."),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="The file to write, with a note FILE.json beside it; with --layout a folder.")
    ],
    release: Annotated[str | None, typer.Option("--release", help='"dense", or the name of a release.')] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format", help="onnx (the default, needs the extra 'onnx'), torch (a state dict) or safetensors."
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option("--layout", help="pruning-mia: all releases, in Pruning_MIA's folders and tables."),
    ] = None,
    model_id: Annotated[int, typer.Option("--model-id", help="Which model of the release.")] = 0,
    factory: Annotated[
        str,
        typer.Option(
            "--factory",
            metavar="MODULE:FUNCTION",
            help="For ONNX of a network of your own: the function that builds it; what the run names is not imported.",
        ),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace the file, or an earlier export.")] = False,
) -> None:
    """Write one model of a finished run as ONNX, a torch state dict or safetensors, or whole runs as --layout says."""
    if layout is not None:
        _check_layout(layout, release, format, factory or None)
        _export_tree(run, out, model_id, force)
        return
    if release is None:
        raise UserError(
            "--release is missing: expected 'dense' or the name of a release; for all of them use --layout pruning-mia"
        )
    if len(run) > 1:
        raise UserError(f"got {len(run)} run folders, expected one; several are for --layout pruning-mia")
    from pruneaudit.runs.export import export

    exported = export(run[0], release, out, format or "onnx", model_id, force, factory)
    for file in exported.files:
        print(printable(f"written: {file} ({file.stat().st_size:,} bytes)"))
    if exported.difference is not None:
        print(f"onnxruntime and torch differ by at most {exported.difference:.1e} (relative to the largest logit)")


def _check_layout(layout: str, release: str | None, format: str | None, factory: str | None) -> None:
    from pruneaudit.core.registry import nearest

    if layout not in LAYOUTS:
        raise UserError(f"--layout: got '{layout}'{nearest(layout, LAYOUTS)}, expected {', '.join(LAYOUTS)}")
    for option, value in (("--release", release), ("--format", format), ("--factory", factory)):
        if value is not None:
            raise UserError(
                f"{option}: got '{value}' with --layout, which exports all releases in one format; leave it out"
            )


def _export_tree(runs: list[Path], out: Path, model_id: int, force: bool) -> None:
    from pruneaudit.published.pruning_mia_tree import export_tree

    tree = export_tree(runs, out, model_id, force)
    for folder in tree.experiments:
        print(printable(f"written: {folder}"))
    print(printable(f"tables: {tree.folder / 'results'}"))
