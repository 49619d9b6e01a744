"""Loads the weights of a file into a network that the factory built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pruneaudit.compression.structure import replay
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import WEIGHTS_FILE
from pruneaudit.external.matching import Match, matched
from pruneaudit.external.weight_files import structure_of
from pruneaudit.external.weights import Checkpoint, read_checkpoint
from pruneaudit.models._hf import state_in_folder
from pruneaudit.models._hf_folder import CONFIG_FILE
from pruneaudit.study.user_function import working_folder_searched
from pruneaudit.training.checkpoint import further_names, with_further_names

USUAL_KEYS = (
    *("state_dict", "model_state_dict", "model", "net", "network", "params", "weights"),
    *("model_ema", "ema", "ema_model", "state_dict_ema", "params_ema"),
)
"""Usual keys of weights in a checkpoint. If several fit the network, the first is used."""
KEY_OPTION = "--weights-key"


@working_folder_searched()
def filled(
    network: nn.Module,
    path: Path,
    weights_key: str = "",
    note: Callable[[str], None] = lambda _: None,
    key_option: str = KEY_OPTION,
) -> nn.Module:
    """Loads the weights of a file, which must hold exactly the network's tensors in their shapes.

    If the architecture was changed, the structure file beside the weights says how, and the network is changed alike.

    Args:
        network: a new network; changed in place.
        path: the file.
        weights_key: key of the weights in it, with dots between parts; default: the key that fits the network.
        note: called with each choice or omission.
        key_option: how a user gives the key, for messages.

    Raises:
        UserError: the file is not usable, or belongs to another network.
    """
    structure = structure_of(path)
    if structure is not None:
        try:
            network = replay(network, structure.read_text(encoding="utf-8"))
        except (UserError, OSError, UnicodeDecodeError) as error:
            raise UserError(f"{structure}: {error}") from None
    match = _in_folder_of_transformers(network, path, weights_key)
    match = match or _chosen(read_checkpoint(path), network, path, _Key(weights_key, key_option), note)
    if match.dropped:
        note(f"weights: left out the buffers of a profiler ({_some(match.dropped)})")
    _check_kinds(match.tensors, network.state_dict(), path)
    try:
        network.load_state_dict(with_further_names(network, match.tensors))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except RuntimeError as error:
        reason = " ".join(str(error).partition(":")[2].split())[:300]  # after "Error(s) in loading ..."
        raise UserError(f"{path}: does not fit the factory's network ({reason})") from None
    _check_finite(network, path)
    return network


def _in_folder_of_transformers(network: nn.Module, path: Path, weights_key: str) -> Match | None:
    """The tensors of a folder that Transformers wrote, if the network is one of its own whose files have other names.

    None where the names in the file are the network's, or a key is asked for.
    """
    if weights_key or path.name != WEIGHTS_FILE or not (path.parent / CONFIG_FILE).is_file():
        return None
    if set(read_checkpoint(path).tensors) == set(network.state_dict()):
        return None
    state = state_in_folder(network, path.parent)
    return None if state is None else matched(state, list(network.state_dict()), further_names(network))


@dataclass(frozen=True)
class _Key:
    """A key as the user gave it, and how to give another."""

    text: str
    option: str

    def advice(self, keys: str) -> str:
        """Such as `--weights-key state_dict.student`, or `target.weights_key = state_dict.student`."""
        return f"{self.option} {keys}" if self.option.startswith("-") else f"{self.option} = {keys}"


def _chosen(checkpoint: Checkpoint, network: nn.Module, path: Path, asked: _Key, note: Callable[[str], None]) -> Match:
    """The network's tensors: those under the key, or those that fit."""
    key = asked.text
    if key and not checkpoint.under(key):
        raise UserError(f"{path}: has no tensors under '{key}'; {_keys(checkpoint)}")
    tried = _tried(checkpoint, network, [key] if key else checkpoint.containers)
    fitting = [at for at, match in tried.items() if match.fits]
    fitting = [at for at in fitting if _has_shapes(tried[at], network)] or fitting
    if not fitting:
        nearest = min(tried, key=lambda at: len(tried[at].lacking) + len(tried[at].unexpected))
        parts = _parts_that_fit(checkpoint, network)
        advice = f"; this fits: {asked.advice(' or '.join(parts))}" if parts else ""
        raise UserError(_misfit(tried[nearest], nearest, path, advice))
    different: dict[frozenset[int], str] = {}  # by the tensors: a dict with just one dict in it is the same
    for at in fitting:
        different.setdefault(frozenset(map(id, checkpoint.under(at).values())), at)
    first, *others = sorted(different.values(), key=_rank)
    if others and _rank(first) == _rank(others[0]):
        keys = " or ".join([first, *others])
        raise UserError(f"{path}: several keys have weights that fit the network; choose one: {asked.advice(keys)}")
    if others:
        note(
            f"weights: uses those under '{first}'; there are also {_some(others)}; to choose others, use {asked.option}"
        )
    return tried[first]


def _tried(checkpoint: Checkpoint, network: nn.Module, keys: Iterable[str]) -> dict[str, Match]:
    """The tensors under each key, matched with those of the network."""
    names, further = list(network.state_dict()), further_names(network)
    return {key: matched(checkpoint.under(key), names, further) for key in keys}


def _has_shapes(match: Match, network: nn.Module) -> bool:
    own = network.state_dict()
    return all(tensor.shape == own[name].shape for name, tensor in match.tensors.items())


def _rank(container: str) -> int:
    """The position of a container among the usual ones."""
    last = container.rpartition(".")[2]
    return USUAL_KEYS.index(last) if last in USUAL_KEYS else len(USUAL_KEYS)


def _misfit(match: Match, at: str, path: Path, advice: str) -> str:
    """The names that do not fit, and a possible remedy."""
    lacking = f"lacks {_some(match.lacking)}" if match.lacking else ""
    unexpected = f"has {_some(match.unexpected)}, which the network does not have" if match.unexpected else ""
    where = f" under '{at}'" if at else ""
    reason = "; ".join(part for part in (lacking, unexpected) if part)
    if any(".lora_" in name for name in match.unexpected):
        advice = "; merge the adapter first: peft_model.merge_and_unload()"
    return f"{path}: does not fit the factory's network (the file{where} {reason}){advice}"


def _parts_that_fit(checkpoint: Checkpoint, network: nn.Module) -> list[str]:
    """Parts of a checkpoint, such as `state_dict.student`, that would fit."""
    parts = {name[:end] for name in checkpoint.tensors for end in range(len(name)) if name[end] == "."}
    tried = _tried(checkpoint, network, sorted(parts))
    return [part for part, match in tried.items() if match.fits and _has_shapes(match, network)]


def _keys(checkpoint: Checkpoint) -> str:
    """The existing keys, for messages."""
    keys = [key for key in checkpoint.containers if key]
    return f"keys with tensors: {_some(keys)}" if keys else "its tensors are at the top level: leave the key out"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"


def _check_kinds(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path) -> None:
    """Refuses tensors that loading would silently turn into weights: masks, and quantised numbers."""
    for name, tensor in tensors.items():
        if not own[name].is_floating_point() or tensor.is_floating_point():
            continue
        if tensor.dtype == torch.bool:
            raise UserError(f"{path}: '{name}' is a mask (bool), expected weights; give the file with the weights")
        raise UserError(
            f"{path}: '{name}' is {tensor.dtype}, expected floating-point weights; save the network before quantising"
            " it, or dequantise it"
        )


def _check_finite(network: nn.Module, path: Path) -> None:
    """Refuses weights with NaN or infinity; buffers can be infinite, such as attention masks."""
    parameters = {name for name, _ in network.named_parameters()}
    for name, tensor in network.state_dict().items():
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            continue
        broken = ~tensor.isfinite() if name in parameters else tensor.isnan()
        if broken.any():
            raise UserError(
                f"{path}: '{name}' has NaN or infinity at {int(broken.sum()):,} of {tensor.numel():,} places;"
                " leave that model out"
            )
