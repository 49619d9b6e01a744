"""What every defence that is nothing but a change of training keeps to.

Masks hold under it, odd and empty batches are survived, a training that was killed goes on with the same bits, and
what it makes of the same generators is the same again.
"""

# n samples, B batch

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruneaudit.compression.mask import HoldMask, Masks
from pruneaudit.core.options import validated
from pruneaudit.defenses import DEFENSES
from pruneaudit.defenses.defense import DefenseContext
from pruneaudit.study import Training
from pruneaudit.training.hooks import Hook, Sampler, TrainingState
from pruneaudit.training.loop import train
from pruneaudit.training.resume import Checkpoints
from pruneaudit.training.selection import dev_hooks
from scripted_hooks import Killed, KillIn

EPOCHS = 3
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "ppb": ("ppb", {}),
    "adv": ("adv", {"attacker_steps": 2, "attacker_hidden": (8,)}),
    "label_smoothing": ("label_smoothing", {}),
    "relaxloss": ("relaxloss", {}),
    "relaxloss, wrong": ("relaxloss", {"flatten": "wrong"}),
    "early_stopping, patience": ("early_stopping", {"patience": 0}),
    "early_stopping, epochs": ("early_stopping", {"epochs": 2}),
    "strong_regularisation": ("strong_regularisation", {"cutmix_probability": 0.7, "dropout": 0.3}),
}
NAMES = sorted({name for name, _ in CASES.values()})


@dataclass
class Outcome:
    """A finished training."""

    model: nn.Module
    state: TrainingState
    hooks: list[Hook]
    masks: Masks

    def bits(self) -> list[Tensor]:
        """All that it leaves behind, also in hooks."""
        optimizer = self.state.optimizer.state_dict()["state"]
        moments = [value for number in sorted(optimizer) for _, value in sorted(optimizer[number].items())]
        kept = [value for hook in self.hooks for _, value in sorted(hook.kept().items())]
        return [*self.model.state_dict().values(), *moments, *kept, self.state.generator.get_state()]

    def assert_same(self, other: Outcome) -> None:
        assert self.state.history == other.state.history
        assert all(torch.equal(a, b) for a, b in zip(self.bits(), other.bits(), strict=True))


@pytest.fixture
def run(
    make_net: Callable[..., nn.Module], make_defense_context: Callable[..., DefenseContext]
) -> Callable[..., Outcome]:
    """Trains a half-masked network under a case's defence, as a release would be: pruning's hooks first."""

    def trained(
        case: str,
        folder: Path | None = None,
        kill_in: int = 0,
        extra: tuple[Hook, ...] = (),
        net: str = "tinycnn",
        **changed: Any,
    ) -> Outcome:
        name, given = CASES[case]
        defense = DEFENSES.get(name)
        options = validated(defense.Options, given, name)
        training = Training(**{"epochs": EPOCHS, "batch_size": 8, "learning_rate": 0.05, "augment": "flip", **changed})
        settings = defense.settings(options, training)
        model, context = defense.prepare(make_net(net), options), make_defense_context(settings)
        weights = {name: weight for name, weight in model.named_parameters() if weight.ndim > 1}
        masks = Masks({name: weight.abs() > weight.abs().median() for name, weight in weights.items()})
        masks.apply(model)
        hooks: list[Hook] = [HoldMask(model, masks), *extra, *defense.hooks(model, options, context)]
        hooks += dev_hooks(settings, context.public)
        checkpoints = Checkpoints(folder, every_seconds=0) if folder else None
        generator = torch.Generator().manual_seed(5)
        state = train(model, context.members, settings, generator, [*hooks, KillIn(kill_in)], checkpoints)
        return Outcome(model, state, hooks, masks)

    return trained


@pytest.mark.parametrize("case", CASES)
def test_removed_weights_stay_zero(run: Callable[..., Outcome], case: str) -> None:
    outcome = run(case)
    parameters = dict(outcome.model.named_parameters())
    for name, mask in outcome.masks.items():
        assert (parameters[name].detach()[~mask] == 0).all()
        assert (parameters[name].detach()[mask] != 0).any()


@pytest.mark.parametrize("case", CASES)
def test_a_killed_training_ends_with_the_same_bits(run: Callable[..., Outcome], tmp_path: Path, case: str) -> None:
    undisturbed = run(case)
    for epoch in range(1, len(undisturbed.state.history) + 1):
        with pytest.raises(Killed):
            run(case, tmp_path / str(epoch), kill_in=epoch)
        run(case, tmp_path / str(epoch)).assert_same(undisturbed)


@pytest.mark.parametrize("case", CASES)
def test_it_is_its_generators_and_nothing_else_that_decide(run: Callable[..., Outcome], case: str) -> None:
    one = run(case)
    torch.manual_seed(77)
    before = torch.random.get_rng_state()
    run(case).assert_same(one)
    assert torch.equal(torch.random.get_rng_state(), before)


@dataclass
class OfSizes:
    """Batches of these sizes, in this order."""

    sizes: tuple[int, ...]

    @property
    def num_batches(self) -> int:
        return len(self.sizes)

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        for size in self.sizes:
            yield torch.randperm(41, generator=generator)[:size]


class Uneven(Hook):
    """Puts uneven batches in the place of the training's own."""

    def __init__(self, *sizes: int) -> None:
        self._sizes = sizes

    def wrap(self, model: nn.Module, optimizer: Any, sampler: Sampler) -> tuple[nn.Module, Any, Sampler]:
        return model, optimizer, OfSizes(self._sizes)


@pytest.mark.parametrize("case", CASES)
def test_empty_batches_change_nothing_and_single_samples_are_trained_on(
    run: Callable[..., Outcome], make_net: Callable[..., nn.Module], case: str
) -> None:
    common: dict[str, Any] = {"net": "mlp", "augment": "none", "momentum": 0.0}  # BatchNorm takes no single sample
    outcome = run(case, extra=(Uneven(0, 1, 2, 3, 0),), **common)
    assert all(torch.isfinite(value).all() for value in outcome.bits() if value.is_floating_point())
    assert all(torch.isfinite(torch.tensor(row["loss"])) for row in outcome.state.history)
    if case == "strong_regularisation":  # its weight decay works without data, too
        return
    nothing = run(case, extra=(Uneven(0, 0),), weight_decay=0.0, **common)
    before = make_net("mlp")
    nothing.masks.apply(before)
    assert all(torch.equal(a, b) for a, b in zip(nothing.model.parameters(), before.parameters(), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_an_empty_batch_gets_no_term(
    make_net: Callable[..., nn.Module], make_defense_context: Callable[..., DefenseContext], case: str
) -> None:
    name, given = CASES[case]
    defense, model = DEFENSES.get(name), make_net("mlp")
    state = TrainingState(model, torch.optim.SGD(model.parameters()), torch.Generator(), 1, 1)
    loss = torch.tensor(0.5)
    for hook in defense.hooks(model, defense.Options(**given), make_defense_context(Training())):
        assert hook.loss(state, torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), loss) is loss


@pytest.mark.parametrize("case", [case for case in CASES if case not in ("ppb", "adv", "early_stopping, patience")])
def test_members_are_learned_less_by_heart_than_in_plain_training(
    make_net: Callable[..., nn.Module], make_defense_context: Callable[..., DefenseContext], case: str
) -> None:
    """On noise, all that is learned of a member is learned by heart. PPB wants posteriors alike, not unsure."""

    def loss_of_members(defended: bool) -> float:
        name, given = CASES[case]
        defense = DEFENSES.get(name)
        options = validated(defense.Options, given | ({"epochs": 6} if "epochs" in given else {}), name)
        training = Training(epochs=20, batch_size=8, learning_rate=0.05)
        settings = defense.settings(options, training) if defended else training
        model, context = make_net("mlp", hidden=[32]), make_defense_context(settings)
        if defended:
            model = defense.prepare(model, options)
        hooks = defense.hooks(model, options, context) if defended else ()
        train(model, context.members, settings, torch.Generator().manual_seed(5), hooks)
        return float(cross_entropy(model.eval()(context.members.inputs(slice(None))), context.members.y).detach())

    assert loss_of_members(True) > 1.2 * loss_of_members(False)


@pytest.mark.parametrize("case", CASES)
def test_options_survive_json_and_the_main_one_is_among_them(case: str) -> None:
    name, given = CASES[case]
    defense = DEFENSES.get(name)
    options = validated(defense.Options, given, name)
    assert defense.Options.model_validate(json.loads(options.model_dump_json())) == options
    assert defense.main in defense.Options.model_fields


def test_listing_and_options_need_no_torch() -> None:
    program = (
        "import sys\n"
        "from pruneaudit.defenses import DEFENSES\n"
        "from pruneaudit.study import Training\n"
        f"for name in {NAMES}:\n"
        "    assert name in DEFENSES.names() and DEFENSES.summary(name), name\n"
        "    defense = DEFENSES.get(name)\n"
        "    defense.settings(defense.Options(), Training())\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
