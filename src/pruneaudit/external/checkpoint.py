"""Compresses a network that is given as a file of weights and a function that builds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pruneaudit.core.errors import UserError
from pruneaudit.core.machine import HERE, Machine
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.npz import read_samples
from pruneaudit.data.source import RawSamples
from pruneaudit.external.asked import NetworkOptions
from pruneaudit.external.collect import AS_THEY_ARE
from pruneaudit.external.compress import Given, make_compressed
from pruneaudit.external.compressed_model import CompressedModel
from pruneaudit.external.filling import filled
from pruneaudit.external.makers import maker_of
from pruneaudit.external.method import Method, check_calibration, check_student, method_of
from pruneaudit.external.onnx_file import OnnxFacts
from pruneaudit.external.onnx_inputs import NUM_INPUTS
from pruneaudit.external.sources import device_samples, fed_as, whole_source
from pruneaudit.external.transformers_folders import (
    architecture_of,
    check_tokenizer,
    folder_of,
    kept_files,
    num_labels,
    shape_in,
    shape_like,
    with_labels_of,
)
from pruneaudit.external.tuning import NO_LABEL, FineTuning
from pruneaudit.external.weight_files import find_weights, structure_of
from pruneaudit.study.user_function import working_folder_searched
from pruneaudit.training.samples import Samples


@dataclass(frozen=True)
class Asked:
    """How to compress the network of a file."""

    method: str | Sequence[str]
    """A compressor and its options, such as "l1structured:target=macs"; or several, applied in order."""
    degrees: Mapping[str, Any]
    """Degrees of the compressors by name, such as `sparsity` or `bits`, unless their options have them."""
    training: Mapping[str, Any] | None = None
    """Settings of fine-tuning (epochs, learning_rate, ...; see `FineTuning`); None: no fine-tuning."""
    initial_weights: str | Path | None = None
    """The file of the initial weights, if the method rewinds to them."""
    example_shape: Sequence[int] | None = None
    """Shape of one input, without the batch; default: that of the data."""
    seed: int = 0
    """Seed of all random draws."""
    calibration: str | None = None
    """Samples for methods that need some: a source, or an `.npz` file; only some methods need labels."""
    student: str | Callable[..., Any] | None = None
    """For `distil`: builds the student, in the same way as `factory` builds the given network."""
    is_exported: bool = False
    """Whether the calibration samples also serve to compare an exported file."""


@dataclass(frozen=True, eq=False)
class PrunedCheckpoint:
    """A pruned network, with notes on how it was made."""

    pruned: CompressedModel
    fed_as: tuple[str, ...]
    """How samples were fed to the network."""
    notes: tuple[str, ...]
    """One line for each choice made in a file, and for layers that were kept whole."""
    calibration: Samples | None = None
    """The calibration samples."""
    beside: tuple[Path, ...] = ()
    """Files of the network's folder that are also valid for the compressed network: its configuration, its
    tokenizer."""

    def save(self, folder: str | Path, force: bool) -> Path:
        """Writes the folder; see `CompressedModel.save`."""
        return self.pruned.save(folder, force, self.beside)

    def to_onnx(self, file: Path, force: bool) -> OnnxFacts:
        """Writes the network as ONNX, compared on the calibration samples; see `CompressedModel.to_onnx`."""
        inputs = None if self.calibration is None else self.calibration.inputs(slice(NUM_INPUTS))
        with working_folder_searched():
            return self.pruned.to_onnx(file, inputs, force=force)


def prune_checkpoint(
    factory: str | Callable[..., Any] | None,
    weights: str | Path,
    asked: Asked,
    data: str | None = None,
    test_data: str | None = None,
    options: NetworkOptions = AS_THEY_ARE,
    machine: Machine = HERE,
) -> PrunedCheckpoint:
    """Prunes the network of a file, and fine-tunes it if requested.

    Args:
        factory: builds the network: `package.module:function`, or the function; it gets `input_shape` and
            `num_classes` if its signature names them and they are known. Or the name of a packaged network; or None for
            a folder of Transformers, which says what it holds.
        weights: one file, or a folder with one: `.safetensors`, or a state dict written by `torch.save`.
        asked: method, degrees and training.
        data: a source such as "cifar10" or "npz:FILE" to fine-tune on, and to measure accuracy on if there is no
            `test_data`.
        test_data: a source to measure accuracy on.
        options: how to build the network, load its weights and feed it.
        machine: the device, and the folder of data sets.

    Returns:
        The pruned network, on the device, with notes on it.

    Raises:
        UserError: something is missing or does not fit.
    """
    if asked.training is not None and data is None:
        raise UserError(f"{next(iter(asked.training), 'training')}: fine-tuning needs samples; give --data")
    method = method_of(asked.method, asked.degrees)
    check_calibration(method, asked.calibration is not None, asked.is_exported)
    check_student(method, asked.student is not None)
    notes = dict[str, None]()  # each once, in order
    file = _one_file(weights)
    reader = _Reader(options, machine.data_folder, folder_of(file), notes.setdefault)
    sources = [None if name is None else reader.source(name) for name in (data, test_data)]
    if sources[0] and sources[1]:
        _check_alike(sources[0], sources[1])
    calibration, has_labels = None, False
    if asked.calibration is not None:
        calibration, has_labels = reader.calibration(asked.calibration, method)
    known = next((source for source in (*sources, calibration) if source is not None), None)
    network_shape = known.input_shape if known is not None else None
    if factory is None and network_shape is None:
        network_shape = shape_in(architecture_of([file]))
    shape = None if known is None else known.input_shape
    if asked.example_shape is not None:
        shape = shape_like(tuple(asked.example_shape), network_shape)
        network_shape = shape
    num_classes = _num_classes(sources) or (None if factory is not None else num_labels(reader.folder))
    make = maker_of(factory, options.factory_options, network_shape, num_classes, [file])
    network = _read(make, file, options.weights_key, notes.setdefault).to(machine.device)
    tuned, tested = (None if source is None else device_samples(source, machine.device) for source in sources)
    initial = None
    if asked.initial_weights is not None:
        initial = _read(make, _one_file(asked.initial_weights), options.weights_key, notes.setdefault)
    finetuning = FineTuning(None if asked.training is None else tuned, initial=initial, **(asked.training or {}))
    seen = _seen(calibration, has_labels, machine.device)
    student = None
    if asked.student is not None:
        student = maker_of(asked.student, {}, network_shape, num_classes)
    tests = tested if tested is not None else tuned
    asked_for = Given(finetuning, tests, shape, seen, student, asked.is_exported)
    with working_folder_searched():  # the network predicts and trains
        pruned = make_compressed(network, method, asked_for, asked.seed)
    fed = dict.fromkeys(fed_as(source, options) for source in (*sources, calibration) if source is not None)
    looked_at = pruned.summary["calibration"] or {}
    few = [note for step in method.looking for note in step.note_on_few_samples(looked_at[step.name])]
    told = (*notes, *few, *pruned.summary["kept_whole"])
    return PrunedCheckpoint(pruned, tuple(fed), told, seen, kept_files(reader.folder) if factory is None else ())


def _num_classes(sources: Sequence[AuditData | None]) -> int | None:
    """The number of classes of the data for training or accuracy; calibration samples can have no labels."""
    return next((source.num_classes for source in sources if source is not None), None)


@dataclass(frozen=True)
class _Reader:
    """Reads samples for a network."""

    options: NetworkOptions
    data_folder: Path | None
    folder: Path | None
    """The network's folder of Transformers."""
    note: Callable[[str], None]

    def source(self, data: str | RawSamples) -> AuditData:
        """All samples of a source, as the network takes them.

        Raises:
            UserError: they cannot be read, or do not belong to the network's folder.
        """
        found = whole_source(data, self.options, self.data_folder, self.folder)
        for each in found.notes:
            self.note(each)
        if self.folder is None:
            return found
        check_tokenizer(found, self.folder)
        return with_labels_of(found, self.folder, self.note)

    def calibration(self, name: str, method: Method) -> tuple[AuditData, bool]:
        """Calibration samples, a source or a file, and whether they have labels.

        Raises:
            UserError: they cannot be read, or labels are missing for a method that needs them.
        """
        path = Path(name.removeprefix("npz:")).expanduser()
        if not name.startswith("npz:") and path.suffix != ".npz":
            return self.source(name), True
        raw, has_labels = read_samples(path, may_lack_labels=not method.needs_labels)
        return self.source(raw), has_labels


def _seen(calibration: AuditData | None, has_labels: bool, device: str) -> Samples | None:
    if calibration is None:
        return None
    samples = device_samples(calibration, device)
    return samples if has_labels else replace(samples, y=torch.full_like(samples.y, NO_LABEL))


def _one_file(weights: str | Path) -> Path:
    """The one file of weights that a path leads to."""
    files = find_weights(weights)
    if len(files) != 1:
        raise UserError(f"weights: {weights}: found {len(files)} files, expected one; prune one network at a time")
    return files[0]


def _read(make: Callable[[], nn.Module], file: Path, weights_key: str, warn: Callable[[str], None]) -> nn.Module:
    """A network with the weights of one file."""
    structure = structure_of(file)
    if structure is not None:
        raise UserError(
            f"{file}: has another architecture ({structure.name}: fewer channels or heads, or layers of low rank),"
            " expected the network that the factory builds; compress the dense one, with all steps in one chain"
        )
    return filled(make(), file, weights_key, warn)


def _check_alike(data: AuditData, test: AuditData) -> None:
    """Refuses a test set with other input shapes or classes."""
    known = data.classes_known and test.classes_known
    got, wanted = ((part.input_shape, part.num_classes if known else 0) for part in (test, data))
    # Texts may be cut to another length.
    is_alike = test.kind == data.kind and (got[0] == wanted[0] or test.kind == "tokens")
    if not is_alike or got[1] != wanted[1]:
        raise UserError(
            f"test data: got samples {got[0]} of {got[1]} classes, expected {wanted[0]} of {wanted[1]} as in the data"
        )
