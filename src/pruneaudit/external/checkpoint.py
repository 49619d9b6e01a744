"""Pruning a network whose weights are a file and whose architecture is a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from pruneaudit.core.errors import UserError
from pruneaudit.data.population import Population
from pruneaudit.external.collect import device_samples, fed_as, whole_source
from pruneaudit.external.filling import filled, structure_of
from pruneaudit.external.networks import maker_of
from pruneaudit.external.prune import prune, warn_of
from pruneaudit.external.pruned import Pruned
from pruneaudit.external.weight_files import find_weights
from pruneaudit.study.target import working_folder_searched


def prune_checkpoint(
    factory: str | Callable[..., Any],
    weights: str | Path,
    method: str,
    sparsity: float,
    *,
    factory_options: Mapping[str, Any] | None = None,
    weights_key: str = "",
    example_shape: Sequence[int] | None = None,
    initial_weights: str | Path | None = None,
    data: str | None = None,
    test_data: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    data_root: Path | None = None,
    training: Mapping[str, Any] | None = None,
    device: str = "cpu",
    seed: int = 0,
    warn: Callable[[str], None] = warn_of,
    tell: Callable[[str], None] = lambda _: None,
) -> Pruned:
    """Prunes the network of a file, and fine-tunes it if that is asked for.

    Args:
        factory: makes the network: `package.module:function`, or the function; it is given `input_shape` and
            `num_classes` where its signature names them and they are known.
        weights: one file, or a folder with one: `.safetensors`, or what `torch.save` wrote of a state dict.
        method: a pruner and its options, such as "l1structured:target=macs".
        sparsity: fraction to remove, in (0, 1).
        factory_options: further arguments of the function.
        weights_key: where the weights lie in a checkpoint, such as "state_dict.student"; default: what fits.
        example_shape: of one input, without the batch; default: that of the data.
        initial_weights: the file of the weights that training began from, where the method goes back to them.
        data: a source such as "cifar10" or "npz:FILE" to fine-tune on, and to measure accuracy on if there is no
            `test_data`.
        test_data: a source to measure accuracy on.
        mean: per channel (or one for all), what uint8 images are centred on, in units of [0, 1]; default: the source's.
        std: per channel (or one for all), what they are then divided by.
        data_root: folder of data sets.
        training: how it is fine-tuned (epochs, learning_rate, ...; see `prune`); None: not at all.
        device: `cpu`, `cuda` or `cuda:N`.
        seed: of all random draws.
        warn: told what was chosen or left out of a file; and as for `prune`.
        tell: told how samples are fed to the network.

    Returns:
        The pruned network, on the device.

    Raises:
        UserError: something is missing or does not fit.
    """
    if training is not None and data is None:
        raise UserError(f"{next(iter(training), 'training')}: fine-tuning needs samples; give --data")
    sources = [None if given is None else whole_source(given, mean, std, data_root) for given in (data, test_data)]
    known = next((source for source in sources if source is not None), None)
    for source in sources:
        if source is not None:
            tell(fed_as(source, mean is not None or std is not None))
    if sources[0] and sources[1]:
        _check_alike(sources[0], sources[1])
    shape = tuple(example_shape) if example_shape is not None else None if known is None else known.x.shape[1:]
    make = maker_of(factory, factory_options or {}, shape, known.num_classes if known else None)
    network = _read(make, weights, weights_key, warn).to(device)
    tuned, tested = (None if source is None else device_samples(source, device) for source in sources)
    with working_folder_searched():  # the network is asked and trained
        return prune(
            network,
            method,
            sparsity,
            example=shape,
            data=tuned if training is not None else None,
            test=tested if tested is not None else tuned,
            initial=None if initial_weights is None else _read(make, initial_weights, weights_key, warn),
            seed=seed,
            warn=warn,
            **(training or {}),
        )


def _read(
    make: Callable[[], nn.Module], weights: str | Path, weights_key: str, warn: Callable[[str], None]
) -> nn.Module:
    """A network with the weights of one file."""
    files = find_weights(weights)
    if len(files) != 1:
        raise UserError(f"weights: {weights}: found {len(files)} files, expected one; prune one network at a time")
    structure = structure_of(files[0])
    if structure is not None:
        raise UserError(
            f"{files[0]}: has fewer channels already ({structure.name}), expected the network that the factory makes;"
            " prune the dense one, with a higher sparsity"
        )
    return filled(make(), files[0], weights_key, warn)


def _check_alike(data: Population, test: Population) -> None:
    """Refuses a test set of other inputs or labels."""
    known = data.classes_known and test.classes_known
    got, wanted = ((part.x.shape[1:], part.num_classes if known else 0) for part in (test, data))
    if got != wanted:
        raise UserError(
            f"test data: got samples {got[0]} of {got[1]} classes, expected {wanted[0]} of {wanted[1]} as in the data"
        )
