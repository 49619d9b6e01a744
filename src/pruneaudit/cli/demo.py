"""`pruneaudit demo`: runs a whole audit on real data that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pruneaudit.cli.common import (
    DeviceOption,
    ExecutorOption,
    JobsOption,
    OutOption,
    QuietOption,
    VerboseOption,
    WaitOption,
)
from pruneaudit.cli.run import execute


def command(
    quick: Annotated[bool, typer.Option("--quick", help="Run a smaller demo, in seconds.")] = False,
    text: Annotated[
        bool, typer.Option("--text", help="Audit small transformers on texts instead (extra: text).")
    ] = False,
    out: OutOption = Path("runs"),
    executor: ExecutorOption = "processes",
    jobs: JobsOption = None,
    device: DeviceOption = "cpu",
    wait: WaitOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Audit small networks on real images; no download.

    Trains, attacks and compares dense, fine-tuned and pruned networks.
    """
    from pruneaudit.core.errors import UserError
    from pruneaudit.study.recipes import load_recipe

    if quick and text:
        raise UserError("demo: got --quick and --text, expected one of them; --text takes about two minutes")
    study = load_recipe("text" if text else "demo-quick" if quick else "demo")
    where = {"out": out, "executor": executor, "jobs": jobs, "device": device, "wait": wait}
    execute(study, where, quiet, verbose, demonstration=True)
