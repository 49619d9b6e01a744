"""`pruneaudit export`: a model of a finished run, in a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run, such as runs/demo.")],
    release: Annotated[str, typer.Option("--release", help='"dense", or the name of a release.')],
    out: Annotated[Path, typer.Option("--out", help="The file to write; a note lies beside it, FILE.json.")],
    format: Annotated[
        str, typer.Option("--format", help="onnx (needs the extra 'onnx'), torch (a state dict) or safetensors.")
    ] = "onnx",
    model_id: Annotated[int, typer.Option("--model-id", help="Which model of the release.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
) -> None:
    """Write one model of a finished run as ONNX, a torch state dict or safetensors."""
    from pruneaudit.exporting import export

    exported = export(run, release, out, format, model_id, force)
    for file in exported.files:
        print(f"written: {file} ({file.stat().st_size:,} bytes)")
    if exported.difference is not None:
        print(f"onnxruntime and torch differ by at most {exported.difference:.1e} (relative to the largest logit)")
