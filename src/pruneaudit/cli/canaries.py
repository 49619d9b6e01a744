"""`pruneaudit canaries make`: draws mislabelled rows and their coins, before a network is trained."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pruneaudit.cli.common import DataRootOption
from pruneaudit.cli.panels import PanelCommand, PanelGroup
from pruneaudit.core.errors import printable

if TYPE_CHECKING:
    from pruneaudit.data.canaries import Canaries

app = typer.Typer(
    name="canaries",
    cls=PanelGroup,
    help="Draw mislabelled rows (canaries) to train your model with.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def _group() -> None:
    """Draw mislabelled rows (canaries) to train your model with."""


@app.command("make", cls=PanelCommand)
def make(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="npz:FILE, text:FILE, or a data source (pruneaudit list datasets): rows that your training does not "
            "use otherwise.",
        ),
    ],
    num: Annotated[
        int, typer.Option("--num", help="Number of canaries; about half of them will be trained on.")
    ] = 1000,
    out: Annotated[Path, typer.Option("--out", help="The .npz file to write: rows and coins, for the audit.")] = Path(
        "canaries.npz"
    ),
    train: Annotated[
        Path | None,
        typer.Option("--train", help="Also write the rows to add to your training set; .npz, texts: .csv."),
    ] = None,
    rest: Annotated[
        Path | None,
        typer.Option(
            "--rest",
            help="Also write DATA without the canaries, to train on if you have no other data; .npz, texts: .csv.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of rows, labels and coins.")] = 0,
    data_root: DataRootOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the files if there are any.")] = False,
) -> None:
    """Draw rows with wrong labels, and a coin for each.

    The coin decides whether to train on the row. After the training: pruneaudit collect ... --canaries canaries.npz
    """
    from pruneaudit.data.texts import RawTexts
    from pruneaudit.external.canaries import CanaryFiles, write_canaries
    from pruneaudit.external.sources import read_source

    _, raw = read_source(data, data_root)
    files = CanaryFiles(out, train, rest)
    files.check(data, force, isinstance(raw, RawTexts))
    canaries = write_canaries(data, raw, num, seed, files)
    _print(canaries, data, files.train, files.rest, out)


def _print(canaries: Canaries, data: str, train: Path | None, rest: Path | None, out: Path) -> None:
    """Prints what was drawn, and what to do next."""
    from pruneaudit.evaluation.canaries import ALPHA, DEFAULT_BOUNDS

    num, num_in = len(canaries.y), int(canaries.member.sum())
    ceiling = -math.log(math.expm1(-math.log(ALPHA / len(DEFAULT_BOUNDS.guesses)) / num))  # all of num guesses right
    where = f"the rows of {train}" if train else f"the rows of {out} whose member is true"
    base = rest or "your training set"
    print(printable(f"canaries  {num:,} rows of {data}, with wrong labels"))
    print(f"in        {num_in:,}, by their coins; {num - num_in:,} are out")
    print(f"can show  epsilon up to {ceiling:.1f} of any training (95% confidence), if all guesses are right")
    print(
        printable(
            f"\nnext: 1. train on {base} and {where}. No other row of the training set may have the x of"
            f" a canary,\n         in or out: its row numbers in {data} are 'ids' in {out}."
            f"\n      2. pruneaudit collect ... --canaries {out}, then pruneaudit audit\n"
            "      Audit and ship the same model: another one, trained without canaries, has not been audited.",
            "\n",
        )
    )
