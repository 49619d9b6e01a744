"""Matches the tensors of a checkpoint with those of a network, by name.

Wrappers around a network add parts to tensor names: DataParallel, Opacus, torch.compile, Lightning,
AveragedModel, and NNI's wrappers around single layers. Such a part is removed only if the names then fit.
Weights that `torch.nn.utils.prune`, `torch.ao.pruning` or NNI store next to their mask are multiplied by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

WRAPPERS = frozenset({"module", "_module", "_orig_mod", "_nni_wrapper"})
"""Parts that wrappers add anywhere in a name."""
PROFILED = frozenset({"total_ops", "total_params"})
"""Buffers that the profiler thop leaves in every layer."""
AVERAGED = "n_averaged"
"""Number of models that `torch.optim.swa_utils.AveragedModel` has averaged; not a weight."""
COUNTED = "num_batches_tracked"
"""A buffer of BatchNorm; files of torch before 0.4.1 lack it, and torch begins at 0."""
MASK, ORIGINAL = "_mask", "_orig"
_SPARSE = re.compile(r"\bparametrizations\.(\w+)\.(original|0\.mask)$")
"""A weight and its mask under `torch.ao.pruning`."""


@dataclass(frozen=True)
class Match:
    """Tensors of a checkpoint by their names in a network."""

    tensors: Mapping[str, Tensor]
    lacking: tuple[str, ...]
    """Names of the network that the checkpoint lacks."""
    unexpected: tuple[str, ...]
    """Names in the checkpoint that the network does not have."""
    dropped: tuple[str, ...] = ()
    """Names of a profiler's buffers."""

    @property
    def fits(self) -> bool:
        """Whether the names are those of the network."""
        return not self.lacking and not self.unexpected


def matched(tensors: Mapping[str, Tensor], names: Iterable[str], further: Mapping[str, str]) -> Match:
    """The best match of tensors with those of a network.

    Args:
        tensors: tensors by their names in the checkpoint.
        names: all names of the network's state dict.
        further: maps further names of the network's shared tensors to their first one; any one of them is enough.
    """
    names = list(names)
    known_ends = {_last(name) for name in names}
    foreign = (PROFILED | {AVERAGED}) - known_ends
    own = {name: tensor for name, tensor in tensors.items() if _last(name) not in foreign}
    dropped = tuple(name for name in tensors if _last(name) in foreign & PROFILED)
    tried: list[Match] = []
    for rename in (_unchanged, _unwrapped):
        expected = {rename(name): name for name in names}
        given = _masked({rename(name): tensor for name, tensor in own.items()}, known_ends)
        if len(expected) < len(names) or len({rename(name) for name in own}) < len(own):
            continue  # two tensors would have one name
        for there, here in _stripped(given, expected):
            match = _compared(there, here, further, dropped)
            if match.fits:
                return match
            tried.append(match)
    return min(tried, key=lambda match: len(match.lacking) + len(match.unexpected))


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _unchanged(name: str) -> str:
    return name


def _unwrapped(name: str) -> str:
    plain = ".".join(part for part in name.split(".") if part not in WRAPPERS)
    return _SPARSE.sub(lambda found: found[1] + (ORIGINAL if found[2] == "original" else MASK), plain)


def _stripped(
    given: Mapping[str, Tensor], expected: Mapping[str, str]
) -> Iterator[tuple[Mapping[str, Tensor], Mapping[str, str]]]:
    """The checkpoint's and the network's tensors by name, without leading parts that all names of one side share."""
    for prefix in _prefixes(given):
        yield {name.removeprefix(prefix): tensor for name, tensor in given.items()}, expected
    for prefix in _prefixes(expected):
        yield given, {key.removeprefix(prefix): name for key, name in expected.items()}


def _prefixes(names: Iterable[str]) -> Iterator[str]:
    """Leading parts that all names share; the empty one first."""
    names, prefix = list(names), ""
    yield prefix
    while names:
        part, dot, _ = names[0][len(prefix) :].partition(".")
        prefix += part + dot
        if not dot or not all(name.startswith(prefix) for name in names):
            return
        yield prefix


def _compared(
    given: Mapping[str, Tensor], expected: Mapping[str, str], further: Mapping[str, str], dropped: tuple[str, ...]
) -> Match:
    found = {expected[key]: tensor for key, tensor in given.items() if key in expected}
    shared = {further.get(name, name) for name in found}
    lacking = [
        name
        for name in expected.values()
        if name not in found and further.get(name, name) not in shared and _last(name) != COUNTED
    ]
    unexpected = [key for key in given if key not in expected]
    return Match(found, tuple(lacking), tuple(unexpected), dropped)


def _masked(tensors: Mapping[str, Tensor], known_ends: set[str]) -> dict[str, Tensor]:
    """Multiplies weights by their masks, unless the network itself has masks of these names."""
    result = dict(tensors)
    for name, mask in tensors.items():
        weight = name.removesuffix(MASK)
        if not name.endswith(MASK) or _last(name) in known_ends:
            continue
        kept = next((key for key in (weight + ORIGINAL, weight) if key in result), None)
        if kept is not None and result[kept].shape == mask.shape:
            original = result.pop(kept)
            result[weight] = original * result.pop(name).to(original.dtype)
    return result
