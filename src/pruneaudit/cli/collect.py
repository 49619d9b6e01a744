"""`pruneaudit collect`: turns existing checkpoints into a file that can be audited."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pruneaudit.cli.arguments import keyed_values, named_path, numbers
from pruneaudit.cli.common import (
    DataRootOption,
    DeviceOption,
    FactoryOption,
    QuietOption,
    StepLine,
    WeightsKeyOption,
)
from pruneaudit.core.errors import UserError, printable

if TYPE_CHECKING:
    from pruneaudit.signals.signals import Signals


def command(
    weights: Annotated[
        list[str],
        typer.Option(
            "--weights",
            metavar="[NAME=]FILES",
            help="Files, a folder or a pattern in quotes: .safetensors, .pt, .pth, ..., folders of Transformers."
            " Repeatable. With names: several releases of the same models, such as dense=dense pruned=pruned, each"
            " after its own --weights.",
        ),
    ],
    membership: Annotated[
        str,
        typer.Option(
            "--membership",
            help="The members of each model: .npz with member (models, samples), and optionally model_ids, eligible, "
            "placebo, ... For one model also .txt or .csv, such as the row numbers of its members.",
        ),
    ],
    data: Annotated[
        str, typer.Option("--data", help="npz:FILE, text:FILE, or a data source (pruneaudit list datasets).")
    ],
    factory: FactoryOption = "",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The .npz file to write; default: signals.npz. For several releases, a folder; default: signals.",
        ),
    ] = None,
    factory_option: Annotated[
        list[str] | None,
        typer.Option("--factory-option", metavar="KEY=VALUE", help="An argument for the factory function. Repeatable."),
    ] = None,
    weights_key: WeightsKeyOption = "",
    queries: Annotated[
        int,
        typer.Option(
            "--queries",
            min=1,
            help="Queries per sample. The first is the sample itself; the others are random crops and flips of an "
            "image, or a text without some of its tokens.",
        ),
    ] = 1,
    canaries: Annotated[
        Path | None,
        typer.Option(
            "--canaries", help="The canaries that the models were trained with: a file of `pruneaudit canaries make`."
        ),
    ] = None,
    sensitivity: Annotated[
        bool,
        typer.Option(
            "--sensitivity", help="Also collect the sensitivity that the attack samia needs; takes 11 times as long."
        ),
    ] = False,
    structure: Annotated[
        bool,
        typer.Option(
            "--structure",
            help="Also collect which weights and channels each network keeps, for the attack mask_filter. Weights "
            "that are zero count as removed.",
        ),
    ] = False,
    masks: Annotated[
        list[str] | None,
        typer.Option(
            "--masks",
            metavar="[NAME=]FILES",
            help="Mask files that say which weights are kept, instead of the zeros: one per model, in the order of "
            "--weights, with 0 or 1 for every weight. Repeatable; with names of releases as in --weights.",
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--start",
            help="The file of public weights from which all networks were trained. Also collects the input of the "
            "attack mask_saliency, and turns --structure on.",
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            "--mean",
            metavar="M,M,M",
            help="Mean per channel, or one for all: uint8 images are normalised as (x / 255 - mean) / std. Use the"
            " values of your training; default: the data source's. Float data are not normalised.",
        ),
    ] = None,
    std: Annotated[
        str | None, typer.Option("--std", metavar="S,S,S", help="Standard deviation per channel, with --mean.")
    ] = None,
    device: DeviceOption = "cpu",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the further queries and of noise.")] = 0,
    data_root: DataRootOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file, or the files in the folder, if there are any.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Query your models with samples, and save the answers.

    Pass the file, or the folder of several releases, to `pruneaudit audit`.
    """
    from pruneaudit.core.machine import Here
    from pruneaudit.external.asked import NetworkOptions, Queries
    from pruneaudit.external.collect import collect
    from pruneaudit.study import DENSE

    releases = _by_release(weights)
    out = out or Path("signals" if "" not in releases else "signals.npz")
    if device != "cpu":
        from pruneaudit.engine.devices import check_device

        check_device(device)
    options = NetworkOptions(
        keyed_values("--factory-option", factory_option or []),
        weights_key,
        numbers("--mean", mean),
        numbers("--std", std),
    )
    masks_of = _masks(masks or [], list(releases))
    asked = Queries(queries, sensitivity, seed, structure, start=start or "")
    with _writing(out, list(releases), force) as write, StepLine(quiet) as line:
        machine = Here(device, data_root, line)
        collected = {}
        for name, files in releases.items():
            own = replace(asked, masks=masks_of[name])
            found = collect(factory or None, files, membership, data, options, own, machine, canaries)
            write(name, found.signals)
            collected[name] = found
    for name, found in collected.items():
        for note in found.notes:
            print(printable(f"warning: {f'{name}: ' if name else ''}{note}"), file=sys.stderr)
        _print(found.signals, found.fed_as, name)
    given = [] if "" in releases or len(releases) == 1 or DENSE in releases else ["--baseline", next(iter(releases))]
    print(printable(f"\nwritten: {out}\nnext: {shlex.join(['pruneaudit', 'audit', str(out), *given])}", "\n"))


def _by_release(weights: list[str]) -> dict[str, list[Path]]:
    """The given files of each release; of the only one, without a name, under an empty name.

    Raises:
        UserError: some have a name and others none, or two releases have the same files.
    """
    found: dict[str, list[Path]] = {}
    for name, path in map(named_path, weights):
        found.setdefault(name, []).append(path)
    if "" in found and len(found) > 1:
        named = ", ".join(name for name in found if name)
        raise UserError(f"--weights: got '{found[''][0]}' without a name beside {named}; write NAME={found[''][0]}")
    first: dict[tuple[Path, ...], str] = {}
    for name, paths in found.items():
        earlier = first.setdefault(tuple(path.resolve() for path in paths), name)
        if earlier != name:
            raise UserError(f"--weights: got {paths[0]} for {earlier} and for {name}, expected the files of each")
    return found


def _masks(given: list[str], releases: list[str]) -> dict[str, list[Path]]:
    """The given files of masks of each release.

    Raises:
        UserError: a name is not one of the releases'.
    """
    found: dict[str, list[Path]] = {name: [] for name in releases}
    for name, path in map(named_path, given):
        if name not in found:
            expected = "files without a name" if "" in found else f"NAME=FILES with a name of {', '.join(found)}"
            raise UserError(f"--masks: got {f'{name}=' if name else ''}{path}, expected {expected}, as in --weights")
        found[name].append(path)
    return found


@contextmanager
def _writing(out: Path, names: list[str], force: bool) -> Iterator[Callable[[str, Signals], None]]:
    """Checks the place to write to; gives a function that writes a release's signals, complete only at the end."""
    from pruneaudit.core.files import check_new_folder
    from pruneaudit.external.output import check_new, write_signals
    from pruneaudit.external.release_files import new_release_files

    if "" in names:
        check_new(out, force)
        yield lambda _, signals: write_signals(signals, out, force)
        return
    with new_release_files(check_new_folder(out, force), names) as files:
        models: dict[str, list[str]] = {}

        def write(name: str, signals: Signals) -> None:
            models[name] = [str(model) for model in signals.model_names]
            first = names[0]
            if models[name] != models[first]:
                raise UserError(
                    f"--weights: got the models {_few(models[name])} for {name} and {_few(models[first])} for {first},"
                    f" expected the same; name their files or folders alike, such as {name}/{models[first][0]}"
                )
            signals.save(files[name])

        yield write


def _few(names: list[str]) -> str:
    """The first names and the last."""
    return ", ".join(names if len(names) <= 4 else [*names[:2], "...", names[-1]])


def _print(signals: Signals, fed_as: str, release: str) -> None:
    """Prints a summary of the collected signals."""
    from pruneaudit.external.plausible import model_accuracies

    models = model_accuracies(signals)
    different = ~signals.copies & ~signals.canaries  # (N,)
    planted = signals.member[signals.victims][:, signals.canaries]
    sizes = signals.member[:, different].sum(axis=1)
    size = f"{sizes.min():,}" + (f" to {sizes.max():,}" if sizes.max() > sizes.min() else "")
    alone = " different" if signals.copies.any() else ""
    names = [str(name) for name in signals.model_names]
    count = len(models)
    if models:
        train, test = sum(model.members for model in models) / count, sum(model.others for model in models) / count
        accuracy = f"{train:.1%} on members, {test:.1%} on non-members (mean over models)"
    else:
        accuracy = f"{signals.is_correct.mean():.1%}"
    for what, figure in (
        *([("release", release)] if release else []),
        ("models", f"{signals.num_models:,} ({_few(names)})"),
        ("samples", f"{different.sum():,}{alone}, of which {size} trained {'each' if len(names) > 1 else 'the'} model"),
        *(
            [("canaries", f"{planted.shape[1]:,}, of which {planted.sum():,} trained the model")]
            if planted.size
            else []
        ),
        ("classes", f"{signals.num_classes:,}"),
        ("fed as", fed_as),
        ("accuracy", accuracy),
    ):
        print(printable(f"{what:<10}{figure}"))
    for model in models if count > 1 else ():
        print(printable(f"  {model.name}: {model.members:.1%}, {model.others:.1%}"))
