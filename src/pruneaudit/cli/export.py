"""`pruneaudit export`: writes a model of a finished run to a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pruneaudit.core.errors import UserError, printable


def command(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run, such as runs/demo.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write.")],
    release: Annotated[str | None, typer.Option("--release", help='"dense", or the name of a release.')] = None,
    chosen: Annotated[
        bool,
        typer.Option(
            "--chosen", help="Instead of --release: export the network that the certificate of `choose` names."
        ),
    ] = False,
    format: Annotated[
        str, typer.Option("--format", help="onnx (needs the extra 'onnx'), torch (a state dict) or safetensors.")
    ] = "onnx",
    model_id: Annotated[
        int | None, typer.Option("--model-id", help="Model of the release to export; default: the first.")
    ] = None,
    factory: Annotated[
        str,
        typer.Option(
            "--factory",
            metavar="MODULE:FUNCTION",
            help="For ONNX of your own network: the function that builds it. (The function that the run names is "
            "never imported.)",
        ),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
) -> None:
    """Export a model of a finished run: ONNX, torch, safetensors.

    Also writes a summary of the model to FILE.json.
    """
    if chosen == (release is not None):
        got = "both" if chosen else "neither"
        raise UserError(f"--release, --chosen: got {got}, expected one of them, such as --release dense")
    if release is None:
        from pruneaudit.choosing.chosen import export_chosen

        exported = export_chosen(run, out, format, model_id, force, factory)
    else:
        from pruneaudit.runs.export import export

        exported = export(run, release, out, format, model_id or 0, force, factory)
    for file in exported.files:
        print(printable(f"written: {file} ({file.stat().st_size:,} bytes)"))
    for line in exported.onnx.lines() if exported.onnx else ():
        print(printable(line))
