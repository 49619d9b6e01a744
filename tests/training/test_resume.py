"""A training that was stopped and goes on from its checkpoint ends with the bits of one that was never stopped."""

# n samples, C classes

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pruneaudit.compression.mask import HoldMask, Masks
from pruneaudit.core.identity import sha256_of
from pruneaudit.study import Training
from pruneaudit.training.hooks import Hook, TrainingState
from pruneaudit.training.loop import train
from pruneaudit.training.resume import POINTER, Checkpoints
from pruneaudit.training.samples import Samples
from pruneaudit.training.selection import BestOnDev
from scripted_hooks import Killed, KillIn

EPOCHS = 3
MakeModel = Callable[..., nn.Module]
MakeHooks = Callable[[nn.Module, Samples], list[Hook]]


class Counting(Hook):
    """Counts the epochs that are really trained."""

    def __init__(self) -> None:
        self.num_epochs = 0

    def epoch_end(self, state: TrainingState) -> None:
        self.num_epochs += 1


def no_hooks(model: nn.Module, samples: Samples) -> list[Hook]:
    return []


def half_masked(model: nn.Module, samples: Samples) -> list[Hook]:
    weights = {name: weight for name, weight in model.named_parameters() if weight.ndim > 1}
    masks = Masks({name: weight.abs() > weight.abs().median() for name, weight in weights.items()})
    masks.apply(model)
    return [HoldMask(model, masks)]


def best_on_dev(model: nn.Module, samples: Samples) -> list[Hook]:
    return [BestOnDev(Samples(samples.stored[:12], samples.y[:12]))]


def masked_and_best(model: nn.Module, samples: Samples) -> list[Hook]:
    return half_masked(model, samples) + best_on_dev(model, samples)


@dataclass(frozen=True)
class Case:
    """One kind of training."""

    model: str = "tinycnn"
    settings: dict[str, Any] = field(default_factory=dict)
    hooks: MakeHooks = no_hooks


STEP = {"schedule": "step", "milestones": (1, 2), "decay": 0.3}
ADAM = {"optimizer": "adam", "learning_rate": 0.01}
CASES = {
    "momentum and decay": Case(),
    "plain sgd": Case("mlp", {"momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}),
    "adam": Case("tinycnn", ADAM),
    "adam, step": Case("mlp", {**ADAM, **STEP}),
    "step": Case("tinycnn", STEP),
    "dropout": Case("dropout"),
    "augmented": Case("tinycnn", {"augment": "crop_flip"}),
    "masked": Case("tinycnn", {}, half_masked),
    "best on dev": Case("tinycnn", {}, best_on_dev),
    "everything": Case("dropout", {**ADAM, **STEP, "augment": "flip"}, masked_and_best),
}


@pytest.fixture
def begin(samples: Samples, make_model: MakeModel) -> Callable[..., tuple[TrainingState, int]]:
    """Trains a case from the same start, in a folder of checkpoints or without: final state, epochs trained."""

    def build(name: str) -> nn.Module:
        if name != "dropout":
            return make_model(name)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Dropout(0.4), nn.Linear(144, 3))

    def run(case: Case, folder: Path | None, kill_in: int = 0) -> tuple[TrainingState, int]:
        model = build(case.model)
        settings = Training(**{"epochs": EPOCHS, "batch_size": 16, "learning_rate": 0.1, **case.settings})
        counting = Counting()
        hooks = [*case.hooks(model, samples), counting, KillIn(kill_in)]
        checkpoints = Checkpoints(folder, every_seconds=0) if folder else None
        generator = torch.Generator().manual_seed(5)
        return train(model, samples, settings, generator, hooks, checkpoints), counting.num_epochs

    return run


Begin = Callable[..., tuple[TrainingState, int]]


def bits(state: TrainingState) -> list[Tensor]:
    """Every tensor that a training leaves behind."""
    optimizer = state.optimizer.state_dict()["state"]
    moments = [value for number in sorted(optimizer) for _, value in sorted(optimizer[number].items())]
    return [*state.model.state_dict().values(), *(m for m in moments if m is not None), state.generator.get_state()]


def assert_same(one: TrainingState, other: TrainingState) -> None:
    assert one.history == other.history
    assert one.step == other.step
    for left, right in zip(bits(one), bits(other), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("name", CASES)
def test_a_training_stopped_in_any_epoch_ends_with_the_same_bits(begin: Begin, tmp_path: Path, name: str) -> None:
    undisturbed, _ = begin(CASES[name], None)
    for epoch in range(1, EPOCHS + 1):
        folder = tmp_path / str(epoch)
        with pytest.raises(Killed):
            begin(CASES[name], folder, kill_in=epoch)
        resumed, num_epochs = begin(CASES[name], folder)
        assert num_epochs == EPOCHS - (epoch - 1)
        assert_same(resumed, undisturbed)


@pytest.mark.parametrize("name", ["momentum and decay", "everything"])
def test_a_training_stopped_again_and_again_ends_with_the_same_bits(begin: Begin, tmp_path: Path, name: str) -> None:
    for epoch in (2, 2, 3, EPOCHS, EPOCHS):
        with pytest.raises(Killed):
            begin(CASES[name], tmp_path, kill_in=epoch)
    assert_same(begin(CASES[name], tmp_path)[0], begin(CASES[name], None)[0])


def test_keeping_checkpoints_changes_no_bit(begin: Begin, tmp_path: Path) -> None:
    assert_same(begin(CASES["everything"], tmp_path)[0], begin(CASES["everything"], None)[0])


def test_only_the_newest_epoch_is_kept(begin: Begin, tmp_path: Path) -> None:
    for epoch in (2, 3):
        with pytest.raises(Killed):
            begin(CASES["adam"], tmp_path, kill_in=epoch)
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names == [POINTER, f"epoch-{epoch - 1:06d}.safetensors"]


def test_checkpoints_are_as_rare_as_was_asked(begin: Begin, samples: Samples, make_model: MakeModel, tmp_path: Path):
    settings = Training(epochs=3, batch_size=16)
    train(make_model(), samples, settings, torch.Generator(), (), Checkpoints(tmp_path, every_seconds=3600))
    assert not list(tmp_path.iterdir())


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def of_another_format(pointer: Path) -> None:
    """As a later version might write it: whole, and not for this one."""
    facts = json.loads(pointer.read_text())["facts"] | {"format": 999}
    pointer.write_text(json.dumps({"facts": facts, "sha256": sha256_of(facts)}))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


DAMAGE: dict[str, Callable[[Path, Path], None]] = {
    "tensors flipped": lambda pointer, tensors: flip(tensors, -3),
    "header flipped": lambda pointer, tensors: flip(tensors, 20),
    "tensors cut": lambda pointer, tensors: cut(tensors),
    "tensors gone": lambda pointer, tensors: tensors.unlink(),
    "facts flipped": lambda pointer, tensors: flip(pointer, pointer.read_text().index('"step": ') + 8),
    "facts cut": lambda pointer, tensors: cut(pointer),
    "facts empty": lambda pointer, tensors: pointer.write_bytes(b""),
    "facts a list": lambda pointer, tensors: pointer.write_text("[1, 2]") and None,
    "facts no text": lambda pointer, tensors: pointer.write_bytes(b"\xff\xfe\x00") and None,
    "another format": lambda pointer, tensors: of_another_format(pointer),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_not_used(begin: Begin, tmp_path: Path, kind: str) -> None:
    case = CASES["best on dev"]
    with pytest.raises(Killed):
        begin(case, tmp_path, kill_in=3)
    DAMAGE[kind](tmp_path / POINTER, tmp_path / "epoch-000002.safetensors")
    with pytest.warns(UserWarning, match="checkpoint not usable"):
        anew, num_epochs = begin(case, tmp_path)
    assert num_epochs == EPOCHS
    assert_same(anew, begin(case, None)[0])


def test_any_flipped_byte_of_the_pointer_is_noticed(begin: Begin, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        begin(CASES["plain sgd"], tmp_path, kill_in=2)
    pointer = tmp_path / POINTER
    original = pointer.read_bytes()
    for position in range(0, len(original), 29):
        pointer.write_bytes(original)
        flip(pointer, position)
        with pytest.warns(UserWarning, match="checkpoint not usable"), pytest.raises(Killed):
            begin(CASES["plain sgd"], tmp_path, kill_in=1)
