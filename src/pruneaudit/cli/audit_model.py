"""`pruneaudit audit-model`: writes a study of one trained model from a few options, and runs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pruneaudit.cli.arguments import keyed_values, named_path, numbers
from pruneaudit.cli.common import (
    DataRootOption,
    DeviceOption,
    DryRunOption,
    ExecutorOption,
    JobsOption,
    OutOption,
    QuietOption,
    SetOption,
    ShowRecordsOption,
    VerboseOption,
    WaitOption,
    WeightsKeyOption,
)
from pruneaudit.cli.dry_run import describe
from pruneaudit.cli.offers import chosen_within, print_offers, timed_offers
from pruneaudit.cli.run import execute
from pruneaudit.core.errors import UserError, printable
from pruneaudit.core.files import write_atomically, writing
from pruneaudit.core.identity import sha256_of
from pruneaudit.core.settings_file import read_settings, with_overrides

REFERENCES = 4
COMPRESSION, STUDY = "Compressed versions", "The study"


def command(
    weights: Annotated[
        str,
        typer.Option(
            "--weights", metavar="FILE", help="Your trained model: .pt, .safetensors, .., or a folder of Transformers."
        ),
    ],
    data: Annotated[
        str,
        typer.Option("--data", help="npz:FILE, text:FILE or a data source: all samples, members and others."),
    ],
    member: Annotated[
        str,
        typer.Option(
            "--member",
            metavar="FILE",
            help=".npy, .npz, .csv or .txt: a 0 or 1 for each row of the data, or the row numbers of the members.",
        ),
    ],
    factory: Annotated[
        str,
        typer.Option(
            "--factory",
            metavar="MODULE:FUNCTION",
            help="Function or class that builds the network, or a packaged network. For a folder of Transformers: hf, "
            "with --factory-option folder=BASE, where BASE is the folder of the network before fine-tuning.",
        ),
    ] = "",
    train: Annotated[
        str,
        typer.Option(
            "--train",
            metavar="MODULE:FUNCTION",
            help="Your training: train(model, x, y, generator, device); default: a standard loop (set its epochs with "
            "--set training.epochs=20).",
        ),
    ] = "",
    factory_option: Annotated[
        list[str] | None,
        typer.Option("--factory-option", metavar="KEY=VALUE", help="An argument for the factory function. Repeatable."),
    ] = None,
    weights_key: WeightsKeyOption = "",
    mean: Annotated[
        str | None,
        typer.Option("--mean", metavar="M,M,M", help="Mean per channel of your training, for uint8 images."),
    ] = None,
    std: Annotated[
        str | None, typer.Option("--std", metavar="S,S,S", help="Standard deviation per channel, with --mean.")
    ] = None,
    compressed: Annotated[
        list[str] | None,
        typer.Option(
            "--compressed",
            metavar="[NAME=]FILE",
            help="A compressed version of the model. Repeatable.",
            rich_help_panel=COMPRESSION,
        ),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            "--recipe",
            metavar="NAME=METHOD[+METHOD]",
            help="How a version is made, such as pruned=l1unstructured:sparsity=0.9:scope=layerwise. The references "
            "are compressed in the same way. If --compressed gives no file of that name, your model is "
            "compressed too. Repeatable.",
            rich_help_panel=COMPRESSION,
        ),
    ] = None,
    finetune: Annotated[
        list[str] | None,
        typer.Option(
            "--finetune",
            metavar="[NAME=]EPOCHS",
            help="Epochs of training after the compression. Repeatable.",
            rich_help_panel=COMPRESSION,
        ),
    ] = None,
    finetune_rate: Annotated[
        float | None,
        typer.Option("--finetune-rate", help="Learning rate of --finetune.", rich_help_panel=COMPRESSION),
    ] = None,
    canaries: Annotated[
        str,
        typer.Option(
            "--canaries",
            metavar="FILE",
            help="The canaries that the model was trained with: a file of `pruneaudit canaries make`.",
        ),
    ] = "",
    references: Annotated[
        int | None,
        typer.Option("--references", min=0, max=256, help=f"Models to train for comparison; default: {REFERENCES}."),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=0.1, help="Train as many references as this time allows."),
    ] = None,
    training_minutes: Annotated[
        float | None,
        typer.Option("--training-minutes", min=0, help="With --minutes and --train: minutes that one training takes."),
    ] = None,
    public: Annotated[
        int, typer.Option("--public", min=0, help="Number of non-members to set apart for dev set, calibration, ...")
    ] = 0,
    name: Annotated[str, typer.Option("--name", help="Name of the study; default: the name of the weights file.")] = "",
    set_: SetOption = None,
    dry_run: DryRunOption = False,
    executor: ExecutorOption = "processes",
    jobs: JobsOption = None,
    device: DeviceOption = "cpu",
    data_root: DataRootOption = None,
    wait: WaitOption = False,
    out: OutOption = Path("runs"),
    show_records: ShowRecordsOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Audit one trained model, and compressed versions of it.

    Trains references with your own training, attacks the model, and reports. Writes the study to OUT/NAME.toml.
    """
    from pruneaudit.core.options import validated
    from pruneaudit.study import Study
    from pruneaudit.study.own_model import OwnModel, own_model_settings

    if references is not None and minutes is not None:
        raise UserError(f"got --references {references} and --minutes {minutes:g}, expected one of them; leave one out")
    if not factory:
        raise UserError(_what_builds(weights))
    asked = OwnModel(
        weights,
        member,
        _with_tokenizer(data, Path(weights).expanduser()),
        factory,
        keyed_values("--factory-option", factory_option or []),
        weights_key,
        train,
        canaries,
        REFERENCES if references is None else references,
        {key or file.stem: str(file) for key, file in map(named_path, compressed or [])},
        _recipes(recipe or []),
        _epochs(finetune or []),
        finetune_rate,
        public,
        numbers("--mean", mean),
        numbers("--std", std),
    )
    values = with_overrides(own_model_settings(asked, name), set_ or [])
    study = validated(Study, values, "audit-model")
    if minutes is not None or dry_run:
        is_timed = not train or training_minutes is not None
        if minutes is not None and not is_timed:
            raise UserError(
                f"--minutes: got {minutes:g}, but the time that {train} takes is unknown; add --training-minutes with "
                f"the minutes of one training"
            )
        found = timed_offers(study, out / study.name, data_root, device, jobs, training_minutes)
        if minutes is not None:
            values = chosen_within(values, found, minutes)
            study = validated(Study, values, "audit-model")
        if dry_run:
            describe(study, out / study.name, data_root, device, jobs)
            print()
            print_offers(found, is_timed)
            return
    is_new = not (out / f"{study.name}.toml").exists()
    file = write_study(out / f"{study.name}.toml", values)
    print(printable(f"study: {file}; change it and repeat with: pruneaudit run {file} --out {out}"), file=sys.stderr)
    where = {"out": out, "executor": executor, "jobs": jobs, "device": device, "data_root": data_root, "wait": wait}
    try:
        execute(study, where | {"show_records": show_records or None}, quiet, verbose)
    except UserError:
        if is_new:
            file.unlink(missing_ok=True)
        raise


def _with_tokenizer(data: str, weights: Path) -> str:
    """The source, if it has texts, with the tokenizer of a folder of Transformers, unless it names another one."""
    from pruneaudit.core.options import validated
    from pruneaudit.data import SOURCES
    from pruneaudit.data.tokenizing import FILE
    from pruneaudit.models._hf_folder import is_of_transformers
    from pruneaudit.study import Source

    if not is_of_transformers(weights) or not (weights / FILE).is_file():
        return data
    source = validated(Source, data, "--data")
    takes_one = "tokenizer" in SOURCES.get(source.name).Options.model_fields
    return f"{data}:tokenizer={weights}" if takes_one and "tokenizer" not in source.options else data


def _what_builds(weights: str) -> str:
    """What to say without a factory."""
    from pruneaudit.models._hf_folder import is_of_transformers

    if not is_of_transformers(Path(weights).expanduser()):
        return "--factory: got none, expected the function that builds the network: --factory MODULE:FUNCTION"
    return (
        f"--factory: got none, and {weights} does not say where its training began, as the references need; if it was"
        " fine-tuned, give --factory hf --factory-option folder=BASE (and new_head=true if it has no classifier), else"
        f" --factory hf --factory-option folder={weights} --factory-option from_scratch=true"
    )


def write_study(file: Path, values: dict[str, Any]) -> Path:
    """Writes a study file, unless a user has edited it.

    Raises:
        UserError: the file there was not written by this command, or was edited since.
    """
    import tomlkit

    body = tomlkit.dumps(values)
    if file.exists():
        first, _, rest = read_settings(file).partition("\n")
        if first != _mark(rest):
            raise UserError(
                f"{file}: edited since it was written; run it with: pruneaudit run {file} --out {file.parent}, or"
                " choose another --name"
            )
    with writing(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        return write_atomically(file, f"{_mark(body)}\n{body}")


def _mark(body: str) -> str:
    """The first line of a file that this command wrote."""
    return f"# Written by pruneaudit audit-model ({sha256_of(body)[:16]})."


def _recipes(given: list[str]) -> dict[str, list[str]]:
    """The compressors of each version.

    Raises:
        UserError: a text has no name.
    """
    found = {}
    for text in given:
        name, equals, methods = text.partition("=")
        if not equals or not name.strip().replace("-", "_").replace(".", "_").isidentifier() or not methods:
            raise UserError(
                f"--recipe: got '{text}', expected NAME=METHOD, for example pruned=l1unstructured:sparsity=0.9"
            )
        found[name.strip()] = [method.strip() for method in methods.split("+")]
    return found


def _epochs(given: list[str]) -> dict[str, int]:
    """Epochs of fine-tuning by name; under an empty name for all others.

    Raises:
        UserError: a number is none.
    """
    found = {}
    for text in given:
        name, _, epochs = text.rpartition("=")
        if not epochs.isdecimal():
            raise UserError(f"--finetune: got '{text}', expected epochs, for example 5 or pruned=5")
        found[name.strip()] = int(epochs)
    return found
