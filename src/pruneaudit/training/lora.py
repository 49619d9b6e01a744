"""Low-rank adaptation of a network, by PEFT: trains adapted layers and the head, then merges the layers.

Hu et al. 2021 (arXiv 2106.09685): W + (alpha / r) B A, with B = 0 at the start. PEFT changes the network in place. Its
wrapper around a whole network would skip hooks on the network, so only the layers are wrapped here, and unwrapped in
`merged`. Weights then have the names and the shapes that they had before.
"""

# C classes, r rank

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import ADAPTER_CONFIG_FILE, ADAPTER_FILE
from pruneaudit.core.registry import nearest
from pruneaudit.models._head import head_of
from pruneaudit.study.lora import Lora
from pruneaudit.training.checkpoint import save_tensors

USUAL_TARGETS = ("query", "value", "q", "v", "q_proj", "v_proj", "q_lin", "v_lin", "c_attn", "query_key_value", "Wqkv")
"""The last part of the names of projections to queries and values, in networks of Transformers and of the package."""
_PREFIX = "base_model.model."
"""Prefix of the names in a file of PEFT."""
_NAME = "default"


class Adapted:
    """A network whose targets have matrices beside their weights; only these and the head are trained.

    Args:
        network: the network, changed in place.
        settings: rank, scale, dropout and targets.
        num_classes: C, by which the head is found.
        generator: CPU generator that draws the matrices A.

    Raises:
        UserError: PEFT is not installed, a target is unknown or cannot be adapted, or the head is not known.
    """

    def __init__(self, network: nn.Module, settings: Lora, num_classes: int, generator: torch.Generator) -> None:
        if find_spec("peft") is None:
            raise UserError("lora needs PEFT, which is not installed; pip install 'pruneaudit[hf]'")
        self.network = network
        self.targets = targets_of(network, settings.target, num_classes)
        self._settings, self._head = settings, head_of(network, num_classes)
        self._trained_before = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
        self._wrapped = self._wrap(generator)
        for name, parameter in network.named_parameters():
            if name in self._head:
                parameter.requires_grad_(self._trained_before[name])
        self._tensors: dict[str, Tensor] = {}

    def _wrap(self, generator: torch.Generator) -> Any:
        from peft import LoraModel

        with torch.random.fork_rng(devices=[]), _without_remarks():
            torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            return LoraModel(self.network, self._config(), _NAME)

    def _config(self) -> Any:
        from peft import LoraConfig

        return LoraConfig(
            r=self._settings.r,
            lora_alpha=self._settings.alpha,
            lora_dropout=self._settings.dropout,
            target_modules="|".join(map(re.escape, self.targets)),  # the whole name must match
            fan_in_fan_out=any(_is_transposed(self.network.get_submodule(name)) for name in self.targets),
        )

    @property
    def matrices(self) -> dict[str, tuple[Tensor, Tensor]]:
        """A and B of each target, by its name; for a convolution they have its dimensions."""
        layers = {name: self.network.get_submodule(name) for name in self.targets}
        return {
            name: (layer.lora_A[_NAME].weight, layer.lora_B[_NAME].weight)  # type: ignore[index, union-attr]
            for name, layer in layers.items()
        }

    def merge(self) -> None:
        """Adds the products to the weights and makes the layers plain; the tensors are kept for `save`."""
        for name, (a, b) in self.matrices.items():
            self._tensors[f"{_PREFIX}{name}.lora_A.weight"] = a.detach().clone()
            self._tensors[f"{_PREFIX}{name}.lora_B.weight"] = b.detach().clone()
        with _without_remarks():
            self._wrapped.merge_and_unload()
        state = self.network.state_dict()
        self._tensors |= {f"{_PREFIX}{name}": state[name].clone() for name in self._head}
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(self._trained_before[name])

    @property
    def num_trained(self) -> int:
        """The number of trained weights: those of all matrices and of the head; after `merge`."""
        return sum(tensor.numel() for tensor in self._tensors.values())

    def save(self, folder: Path, start: Mapping[str, str]) -> dict[str, Any]:
        """Writes the adapter as PEFT reads it, after `merge`.

        Args:
            folder: where to write the two files.
            start: `name` and `sha256` of the weights that it belongs to.

        Returns:
            Facts about it, as JSON data: rank, number of layers, trained parameters, bytes of its file of tensors.
        """
        save_tensors(self._tensors, folder / ADAPTER_FILE)
        config = self._config().to_dict() | {
            "base_model_name_or_path": start["name"],
            "revision": start["sha256"],
            "target_modules": list(self.targets),
            "modules_to_save": _modules(self._head),
            "inference_mode": True,
            "peft_type": "LORA",
        }
        (folder / ADAPTER_CONFIG_FILE).write_text(json.dumps(config, indent=1, sort_keys=True, default=str) + "\n")
        return {
            "r": self._settings.r,
            "alpha": self._settings.alpha,
            "layers": len(self.targets),
            "parameters": self.num_trained,
            "bytes": (folder / ADAPTER_FILE).stat().st_size,
        }


def targets_of(network: nn.Module, asked: tuple[str, ...], num_classes: int) -> tuple[str, ...]:
    """Returns the names of the layers to adapt, in the order of `named_modules`.

    Args:
        network: the network.
        asked: names, or their last parts; empty: the usual ones.
        num_classes: C, by which the head is found.

    Raises:
        UserError: one of them is no layer that can be adapted, or is trained anyway.
    """
    if any(isinstance(layer, _BatchNorm) and layer.track_running_stats for layer in network.modules()):
        raise UserError(
            "lora: the network has BatchNorm, and its running statistics would change although it is not trained; use "
            "a network with GroupNorm (norm = 'group') or LayerNorm, or leave lora out"
        )
    head = {name.rpartition(".")[0] for name in head_of(network, num_classes)}
    hidden = _inside_attention(network)
    layers = [name for name, layer in network.named_modules() if name and _can_be_adapted(layer) and name not in hidden]
    body = [name for name in layers if name not in head]
    if not asked:
        found = tuple(name for name in body if name.rpartition(".")[2] in USUAL_TARGETS)
        if not found:
            raise UserError(
                "lora: no layer is called query or value, q or v, ..., expected projections of attention; give"
                f" lora.target some of these layers: {_listed(body)}"
            )
        return found
    chosen: set[str] = set()
    for target in asked:
        matching = [name for name in layers if f".{name}".endswith(f".{target}")]
        if not matching:
            _refuse(network, target, body, hidden)
        chosen |= set(matching)
    if both := sorted(chosen & head):
        raise UserError(f"lora: target '{both[0]}' is part of the head, which is trained in full; leave it out")
    return tuple(name for name in layers if name in chosen)


def _refuse(network: nn.Module, target: str, body: list[str], hidden: set[str]) -> None:
    """Refuses a target that cannot be adapted."""
    there = [name for name, _ in network.named_modules() if name and f".{name}".endswith(f".{target}")]
    if not there:
        got, why = f"'{target}'{nearest(target, body)}", ""
    elif there[0] in hidden:
        got, why = f"'{target}'", " (torch's MultiheadAttention reads its weight directly, so matrices have no effect)"
    else:
        got, why = f"'{target}'", f" (a {type(network.get_submodule(there[0])).__name__})"
    raise UserError(f"lora: got target {got}{why}, expected linear layers or convolutions: {_listed(body)}")


def _inside_attention(network: nn.Module) -> set[str]:
    """The names of the modules inside torch's attention."""
    outer = [name for name, layer in network.named_modules() if isinstance(layer, nn.MultiheadAttention)]
    return {name for name, _ in network.named_modules() if any(name.startswith(f"{one}.") for one in outer)}


def _can_be_adapted(layer: nn.Module) -> bool:
    """Whether it is a layer with a weight of its own, which is not computed from other tensors."""
    return (isinstance(layer, nn.Linear | nn.Conv2d) or _is_transposed(layer)) and "weight" in layer._parameters


def _is_transposed(layer: nn.Module) -> bool:
    """Whether it is GPT-2's linear layer, which holds its weight as (inputs, outputs)."""
    return type(layer).__name__ == "Conv1D"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "there are none"


def _modules(names: tuple[str, ...]) -> list[str]:
    """The modules of some tensors, each once."""
    return list(dict.fromkeys(name.rpartition(".")[0] for name in names))


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Within it, no warnings of PEFT about Transformers, or about transposed layers, whose form is known here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
