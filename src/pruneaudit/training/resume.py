"""Checkpoints of a training on disk, so that a killed training continues instead of starting again.

A checkpoint is one safetensors file (weights, optimizer, generators, the hooks' state) and one JSON
file with its name, its checksum and everything that is not a tensor. The JSON file is replaced
last and in one step, so there is always one complete checkpoint or none. On the CPU, a training that
continues from one gives the same bits as one that was never stopped.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import read_json, write_atomically
from pruneaudit.core.identity import sha256_of
from pruneaudit.training.checkpoint import load_tensors, save_tensors
from pruneaudit.training.hooks import Hook, TrainingState

POINTER = "checkpoint.json"
FORMAT = 1


class Checkpoints:
    """The checkpoints of one training, in its own folder."""

    def __init__(self, folder: Path, every_seconds: float) -> None:
        """Sets folder and frequency.

        Args:
            folder: the training's own folder; created when first needed.
            every_seconds: least time between two checkpoints; they are written at the end of epochs.
        """
        self._folder = folder
        self._every_seconds = every_seconds
        self._last = time.monotonic()

    def save_if_due(self, state: TrainingState, schedule: LRScheduler, hooks: Sequence[Hook]) -> None:
        """Writes a checkpoint after an epoch, if the last one is old enough."""
        if time.monotonic() - self._last < self._every_seconds or state.epoch + 1 == state.num_epochs:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"epoch-{state.epoch + 1:06d}.safetensors"
        save_tensors(_tensors(state, hooks), path)
        facts = {
            "format": FORMAT,
            "file": path.name,
            "file_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "epoch": state.epoch + 1,
            "step": state.step,
            "history": state.history,
            "schedule": schedule.state_dict(),
            "learning_rates": [group["lr"] for group in state.optimizer.param_groups],
        }
        facts = json.loads(json.dumps(facts))
        write_atomically(self._folder / POINTER, json.dumps({"facts": facts, "sha256": sha256_of(facts)}))
        for old in self._folder.glob("epoch-*.safetensors"):
            if old != path:
                old.unlink()
        self._last = time.monotonic()

    def restore(self, state: TrainingState, schedule: LRScheduler, hooks: Sequence[Hook]) -> None:
        """Restores a new training to its checkpoint; changes nothing if there is none.

        A damaged checkpoint is not used: the training starts from the beginning, with a warning.
        """
        if not (self._folder / POINTER).exists():
            return
        try:
            facts, tensors = self._read()
        except (OSError, ValueError, KeyError, TypeError, UserError) as error:
            warnings.warn(f"{self._folder}: checkpoint not usable ({error}); training starts again", stacklevel=2)
            return
        _put_back(tensors, state, hooks)
        schedule.load_state_dict(facts["schedule"])
        for group, learning_rate in zip(state.optimizer.param_groups, facts["learning_rates"], strict=True):
            group["lr"] = learning_rate
        state.epoch, state.step, state.history = facts["epoch"], facts["step"], facts["history"]

    def _read(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The checked contents of the checkpoint."""
        kept = read_json(self._folder / POINTER)
        facts = kept["facts"]
        if sha256_of(facts) != kept["sha256"] or facts["format"] != FORMAT:
            raise ValueError(f"{POINTER} has changed")
        path = self._folder / Path(facts["file"]).name
        if hashlib.sha256(path.read_bytes()).hexdigest() != facts["file_sha256"]:
            raise ValueError(f"{path.name} has changed")
        return facts, load_tensors(path)


def _tensors(state: TrainingState, hooks: Sequence[Hook]) -> dict[str, Tensor]:
    """All tensors that a training needs to continue, by a name that shows their owner."""
    found = {f"model/{name}": value for name, value in state.model.state_dict().items()}
    for number, parameter in enumerate(_parameters(state)):
        for key, value in state.optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                found[f"optimizer/{number}/{key}"] = value
    for number, hook in enumerate(hooks):
        found |= {f"hook/{number}/{name}": value for name, value in hook.kept().items()}
    return found | {"generator": state.generator.get_state(), "global_generator": torch.get_rng_state()}


@torch.no_grad()
def _put_back(tensors: dict[str, Tensor], state: TrainingState, hooks: Sequence[Hook]) -> None:
    """The reverse of `_tensors`."""

    def under(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    state.model.load_state_dict(under("model/"))
    for number, parameter in enumerate(_parameters(state)):
        for key, value in under(f"optimizer/{number}/").items():
            # Momentum must get its parameter's memory format, as when it was created.
            place = torch.empty_like(parameter) if value.shape == parameter.shape else value.to(parameter.device)
            state.optimizer.state[parameter][key] = place.copy_(value) if place is not value else value
    for number, hook in enumerate(hooks):
        hook.put_back(under(f"hook/{number}/"))
    state.generator.set_state(tensors["generator"])
    torch.set_rng_state(tensors["global_generator"])


def _parameters(state: TrainingState) -> list[Tensor]:
    return [parameter for group in state.optimizer.param_groups for parameter in group["params"]]
