"""`pruneaudit collect`: turns existing checkpoints into a file that can be audited."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pruneaudit.cli.arguments import keyed_values, numbers
from pruneaudit.cli.common import DataRootOption, DeviceOption, QuietOption, StepLine, WeightsKeyOption
from pruneaudit.core.errors import printable

if TYPE_CHECKING:
    from pruneaudit.signals.signals import Signals


def command(
    factory: Annotated[
        str,
        typer.Option(
            "--factory",
            metavar="MODULE:FUNCTION",
            help="Function that builds the network; gets input_shape and num_classes if its signature names them.",
        ),
    ],
    weights: Annotated[
        list[str],
        typer.Option(
            "--weights", help="Files, a folder or a pattern in quotes: .safetensors, .pt, .pth, ... Repeatable."
        ),
    ],
    membership: Annotated[
        str,
        typer.Option("--membership", help=".npz: member (models, samples), model_ids, eligible, is_victim, ..."),
    ],
    data: Annotated[str, typer.Option("--data", help="npz:FILE, or a data source (pruneaudit list datasets).")],
    out: Annotated[Path, typer.Option("--out", help="The file to write, .npz.")] = Path("signals.npz"),
    factory_option: Annotated[
        list[str] | None,
        typer.Option("--factory-option", metavar="KEY=VALUE", help="An argument for the factory function. Repeatable."),
    ] = None,
    weights_key: WeightsKeyOption = "",
    queries: Annotated[
        int, typer.Option("--queries", min=1, help="Queries per image: the image itself, then random crops and flips.")
    ] = 1,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Also collect what the attack samia needs; 11 times the work.")
    ] = False,
    mean: Annotated[
        str | None,
        typer.Option(
            "--mean",
            metavar="M,M,M",
            help="Mean per channel, or one for all: uint8 images are normalised as (x / 255 - mean) / std. Use the"
            " values of your training; default: the data source's. Float data are not normalised.",
        ),
    ] = None,
    std: Annotated[str | None, typer.Option("--std", metavar="S,S,S", help="Standard deviation, for --mean.")] = None,
    device: DeviceOption = "cpu",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of crops, flips and noise.")] = 0,
    data_root: DataRootOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Query your models with samples, and save the answers.

    Pass the file to `pruneaudit audit`.
    """
    from pruneaudit.core.machine import Here
    from pruneaudit.external.asked import NetworkOptions, Queries
    from pruneaudit.external.collect import collect
    from pruneaudit.external.output import check_new, write_signals

    check_new(out, force)
    if device != "cpu":
        from pruneaudit.engine.devices import check_device

        check_device(device)
    options = NetworkOptions(
        keyed_values("--factory-option", factory_option or []),
        weights_key,
        numbers("--mean", mean),
        numbers("--std", std),
    )
    with StepLine(quiet) as line:
        machine = Here(device, data_root, line)
        collected = collect(factory, weights, membership, data, options, Queries(queries, sensitivity, seed), machine)
    write_signals(collected.signals, out, force)
    for note in collected.notes:
        print(f"warning: {note}", file=sys.stderr)
    _print(collected.signals, out, collected.fed_as)


def _print(signals: Signals, out: Path, fed_as: str) -> None:
    """Prints a summary of the collected signals, and the next command."""
    from pruneaudit.external.plausible import model_accuracies

    models = model_accuracies(signals)
    different = ~signals.copies  # (N,)
    sizes = signals.member[:, different].sum(axis=1)
    size = f"{sizes.min():,}" + (f" to {sizes.max():,}" if sizes.max() > sizes.min() else "")
    alone = "" if different.all() else " different"
    names = [str(name) for name in signals.model_names]
    shown = names if len(names) <= 4 else [*names[:2], "...", names[-1]]
    count = len(models)
    train, test = sum(model.members for model in models) / count, sum(model.others for model in models) / count
    for what, figure in (
        ("models", f"{signals.num_models:,} ({', '.join(shown)})"),
        ("samples", f"{different.sum():,}{alone}, of which {size} trained {'each' if len(names) > 1 else 'the'} model"),
        ("classes", f"{signals.num_classes:,}"),
        ("fed as", fed_as),
        ("accuracy", f"{train:.1%} on members, {test:.1%} on non-members (mean over models)"),
    ):
        print(printable(f"{what:<10}{figure}"))
    for model in models if count > 1 else ():
        print(printable(f"  {model.name}: {model.members:.1%}, {model.others:.1%}"))
    print(printable(f"\nwritten: {out}\nnext: {shlex.join(['pruneaudit', 'audit', str(out)])}", "\n"))
