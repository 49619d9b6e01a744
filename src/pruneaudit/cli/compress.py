"""`pruneaudit compress`: compresses a user's network, optionally fine-tunes it, and saves it."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from pruneaudit.cli.arguments import keyed_values, lengths, numbers
from pruneaudit.cli.common import DataRootOption, DeviceOption, FactoryOption, WeightsKeyOption
from pruneaudit.core.errors import UserError, printable
from pruneaudit.core.settings_file import scalar


def command(
    weights: Annotated[
        Path, typer.Option("--weights", help="One file: .safetensors, .pt, .pth, ...; or a folder of Transformers.")
    ],
    method: Annotated[
        list[str],
        typer.Option(
            "--method",
            help="A compressor with options, such as rtn:bits=4 (see: pruneaudit list compressors). Repeat it for a"
            " chain, applied in this order.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to create.")],
    factory: FactoryOption = "",
    sparsity: Annotated[
        float | None,
        typer.Option("--sparsity", help="Fraction of weights to remove, in (0, 1); for methods that prune."),
    ] = None,
    bits: Annotated[
        str | None, typer.Option("--bits", help="Bits per weight; for methods that round (rtn, gptq, ...).")
    ] = None,
    clusters: Annotated[
        int | None, typer.Option("--clusters", help="Shared values per layer; for methods that cluster (kmeans).")
    ] = None,
    fraction: Annotated[
        float | None, typer.Option("--fraction", help="Fraction of weights to keep; for low rank (svd).")
    ] = None,
    pattern: Annotated[
        str | None, typer.Option("--pattern", help="Weights to keep in each group, such as 2:4; for nm.")
    ] = None,
    factory_option: Annotated[
        list[str] | None,
        typer.Option("--factory-option", metavar="KEY=VALUE", help="An argument for the factory function. Repeatable."),
    ] = None,
    weights_key: WeightsKeyOption = "",
    example_shape: Annotated[
        str | None,
        typer.Option("--example-shape", metavar="3,32,32", help="Shape of one input; default: the shape of the data."),
    ] = None,
    initial_weights: Annotated[
        Path | None,
        typer.Option("--initial-weights", help="The weights before training, for methods that rewind to them."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="npz:FILE or a source (pruneaudit list datasets), for fine-tuning and accuracy."),
    ] = None,
    test_data: Annotated[
        str | None, typer.Option("--test-data", help="Data for accuracy only; default: --data.")
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            "--calibration",
            help="Samples for methods that need some (static8, gptq, snip, ...): FILE.npz with x, and with y for "
            "methods that need labels; or a source. Use samples that the network was not trained on.",
        ),
    ] = None,
    onnx: Annotated[
        Path | None,
        typer.Option(
            "--onnx",
            help="Also write an ONNX file of the compressed network, and compare both on the calibration samples; "
            "needs the extra 'onnx'.",
        ),
    ] = None,
    student: Annotated[
        str,
        typer.Option(
            "--student",
            metavar="MODULE:FUNCTION",
            help="For distil: function that builds the student, the network that learns from yours on --data. It gets "
            "input_shape and num_classes if its signature names them.",
        ),
    ] = "",
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="Fine-tune for this many epochs on --data; default: no fine-tuning.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Learning rate of fine-tuning; default: 0.01.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="Batch size of fine-tuning; default: 128.")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option("--optimizer", help="Optimizer of fine-tuning: sgd (default) or adam.")
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option("--weight-decay", help="Weight decay of fine-tuning; default: 0.0005.")
    ] = None,
    augment: Annotated[
        str | None, typer.Option("--augment", help="Augmentation in fine-tuning: none (default), flip or crop_flip.")
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
    data_root: DataRootOption = None,
    device: DeviceOption = "cpu",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of all random draws.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a compressed network in the folder.")] = False,
) -> None:
    """Compress your own network, and fine-tune it on request.

    Saves the network with a summary of what was done.
    """
    from pruneaudit.core.files import check_new_folder
    from pruneaudit.external.method import check_calibration, check_student, check_trained, method_of, tuning_of
    from pruneaudit.models.factory import check_function_name

    given = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size, "optimizer": optimizer}
    given |= {"weight_decay": weight_decay, "augment": augment}
    training = {key: value for key, value in given.items() if value is not None}
    # Checks that need no torch come before its import, and all checks before any training.
    tuning_of(training, epochs is not None)
    degrees = {"sparsity": sparsity, "bits": bits and scalar(bits), "clusters": clusters, "fraction": fraction}
    degrees |= {"pattern": pattern}
    asked_for = method_of(method, degrees)
    check_trained(asked_for, epochs is not None)
    check_calibration(asked_for, calibration is not None, onnx is not None)
    check_student(asked_for, bool(student))
    for name in (factory, student):
        if ":" in name:
            check_function_name(name)
    check_new_folder(out, force)
    if device != "cpu":
        from pruneaudit.engine.devices import check_device

        check_device(device)
    if onnx is not None:
        from pruneaudit.external.onnx_compressed import NO_SHAPE, check_onnx_file

        check_onnx_file(onnx.expanduser(), force)
        if factory and not (example_shape or calibration or data or test_data):
            raise UserError(NO_SHAPE)
    from pruneaudit.core.files import SUMMARY_FILE
    from pruneaudit.core.machine import Here
    from pruneaudit.external.asked import NetworkOptions
    from pruneaudit.external.checkpoint import Asked, prune_checkpoint
    from pruneaudit.external.folder import read_summary

    shape = lengths("--example-shape", example_shape)
    asked = Asked(
        method,
        degrees,
        training or None,
        initial_weights,
        shape,
        seed,
        calibration=calibration,
        student=student or None,
        is_exported=onnx is not None,
    )
    arguments = keyed_values("--factory-option", factory_option or [])
    options = NetworkOptions(arguments, weights_key, numbers("--mean", mean), numbers("--std", std))
    made = prune_checkpoint(factory or None, weights, asked, data, test_data, options, Here(device, data_root))
    for note in made.notes:
        print(printable(f"warning: {note}"), file=sys.stderr)
    folder = made.save(out, force)
    _print(read_summary(folder / SUMMARY_FILE), "test accuracy" if test_data else "accuracy on --data")
    for how in made.fed_as:
        print(printable(f"samples are fed as {how}"))
    print(f"\nsaved: {printable(str(out))}")
    if onnx is not None:
        facts = made.to_onnx(onnx, force)
        print(printable(f"\nwritten: {onnx} ({facts.num_bytes:,} bytes)", "\n"))
        for line in facts.lines():
            print(printable(line))


def _print(summary: Mapping[str, Any], accuracy_of: str) -> None:
    """Prints sizes and accuracies before and after, one row each."""
    before, after = summary["before"], summary["after"]
    rows = [("", "before", "after")]
    for key, label in (("sparsity", "sparsity"), ("sparsity_all", "  of all parameters")):
        rows.append((label, f"{before[key]:.1%}", f"{after[key]:.1%}"))
    for key, label in (
        *(("parameters", "parameters"), ("nonzero_parameters", "nonzero")),
        *(("macs", "MACs per sample"), ("bit_operations", "bit operations")),
    ):
        rows.append((label, _count(before[key]), _count(after[key])))
    rows.append(("bits per weight", f"{before['effective_bits']:.2f}", f"{after['effective_bits']:.2f}"))
    rows.append(("compressed size", _bytes(before["compressed_bytes"]), _bytes(after["compressed_bytes"])))
    rows.append(("  ratio", "", f"{after['compression_ratio']:.2f}"))
    rows.append(("float32 file", "", _bytes(summary["file_bytes"])))
    accuracy = summary["accuracy"]
    if accuracy:
        last = next(accuracy[key] for key in ("after_finetuning", "after_pruning", "before") if key in accuracy)
        rows.append((accuracy_of, f"{accuracy['before']:.1%}", f"{last:.1%}"))
        if "after_finetuning" in accuracy and "after_pruning" in accuracy:
            rows.append(("  not fine-tuned", "", f"{accuracy['after_pruning']:.1%}"))
    for label, left, right in rows:
        print(f"{label:<20}{left:>14}{right:>14}")
    if before["macs"] is None:
        print("operations are unknown without the shape of an input: give --example-shape, such as 3,32,32")
    for whole in summary["left_whole"]:
        why = f": {whole['why']}" if whole["why"] else ""
        print(printable(f"left whole: {whole['name'] or 'the network itself'} ({whole['weights']:,} weights){why}"))


def _count(count: int | None) -> str:
    """Formats a count; MACs are unknown if the shape of an input is."""
    return "unknown" if count is None else f"{count:,}"


def _bytes(count: int) -> str:
    """Formats bytes in the largest unit that gives at least 1."""
    unit = min(3, int(math.log(max(count, 1), 1000)))
    return f"{count / 1000**unit:.1f} {('B', 'kB', 'MB', 'GB')[unit]}" if unit else f"{count} B"
