"""The loop does what a plain loop does, and lets hooks in at the places and in the order it promises."""

# n samples, B batch, C classes

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruneaudit.core.errors import UserError
from pruneaudit.data.augment import AUGMENTATIONS
from pruneaudit.study import Training
from pruneaudit.training.hooks import Hook, Sampler, TrainingState
from pruneaudit.training.loop import DivergedTrainingError, train
from pruneaudit.training.predict import accuracy, predict
from pruneaudit.training.samples import Samples
from pruneaudit.training.selection import BestOnDev

MakeModel = Callable[..., nn.Module]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weights(model: nn.Module) -> list[Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def identical(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


@pytest.mark.parametrize("name", ["mlp", "tinycnn"])
@pytest.mark.parametrize(
    "optimizer", [{"optimizer": "sgd", "learning_rate": 0.1}, {"optimizer": "adam", "learning_rate": 0.01}]
)
def test_a_separable_problem_is_learned(
    samples: Samples, make_model: MakeModel, name: str, optimizer: dict[str, Any]
) -> None:
    model = make_model(name)
    state = train(model, samples, Training(epochs=8, batch_size=16, **optimizer), generator())
    losses = [row["loss"] for row in state.history]
    assert accuracy(model, samples) == 1
    assert losses[-1] < 0.2 * losses[0]
    assert [row["epoch"] for row in state.history] == list(range(1, 9))
    assert state.step == 8 * 3


def sgd_by_hand(parameters: list[Tensor], settings: Training) -> Callable[[float], None]:
    """The textbook's update with momentum and L2 penalty."""
    velocities = [torch.zeros_like(parameter) for parameter in parameters]

    def step(learning_rate: float) -> None:
        for parameter, velocity in zip(parameters, velocities, strict=True):
            assert parameter.grad is not None
            gradient = parameter.grad + settings.weight_decay * parameter.data
            velocity.copy_(settings.momentum * velocity + gradient)
            parameter.data -= learning_rate * velocity

    return step


def adam_by_hand(parameters: list[Tensor], settings: Training) -> Callable[[float], None]:
    """Kingma and Ba 2015 (arXiv 1412.6980), algorithm 1, with L2 penalty."""
    first = [torch.zeros_like(parameter) for parameter in parameters]
    second = [torch.zeros_like(parameter) for parameter in parameters]
    count = 0

    def step(learning_rate: float) -> None:
        nonlocal count
        count += 1
        for parameter, m, v in zip(parameters, first, second, strict=True):
            assert parameter.grad is not None
            gradient = parameter.grad + settings.weight_decay * parameter.data
            m.copy_(0.9 * m + 0.1 * gradient)
            v.copy_(0.999 * v + 0.001 * gradient**2)
            parameter.data -= learning_rate * (m / (1 - 0.9**count)) / ((v / (1 - 0.999**count)).sqrt() + 1e-8)

    return step


@pytest.mark.parametrize("augment", ["none", "crop_flip"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["mlp", "tinycnn"])
def test_it_equals_a_plain_loop(
    samples: Samples, make_model: MakeModel, name: str, optimizer: Any, augment: Any
) -> None:
    settings = Training(
        epochs=2, batch_size=10, optimizer=optimizer, learning_rate=0.01, weight_decay=0.01, augment=augment
    )
    model, plain = make_model(name), make_model(name)
    train(model, samples, settings, generator(5))

    draws = generator(5)
    torch.randint(2**62, (), generator=draws)  # the seed of dropout
    parameters = list(plain.parameters())
    step = (adam_by_hand if optimizer == "adam" else sgd_by_hand)(parameters, settings)
    num_steps = 0
    for _ in range(2):
        order = torch.randperm(48, generator=draws)
        for positions in order.split(10):
            x = samples.stored[positions].permute(0, 3, 1, 2).contiguous()
            loss = cross_entropy(plain(AUGMENTATIONS[augment](x, draws)), samples.y[positions])
            plain.zero_grad()
            loss.backward()
            step(0.01 * 0.5 * (1 + math.cos(math.pi * num_steps / 10)))
            num_steps += 1

    for (key, trained), expected in zip(model.state_dict().items(), weights(plain), strict=True):
        torch.testing.assert_close(trained, expected, atol=1e-6, rtol=1e-5, msg=key)
    assert not identical(model, make_model(name))


def test_training_is_in_training_mode_whatever_the_mode_before(samples: Samples, make_model: MakeModel) -> None:
    model, set_to_evaluation = make_model(), make_model().eval()
    for network in (model, set_to_evaluation):
        train(network, samples, Training(epochs=1), generator())
    assert identical(model, set_to_evaluation)


# ------------------------------------------------------------------ randomness


class Dropping(nn.Module):
    """A linear classifier with dropout."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(128, 3))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


def test_the_generator_decides_everything(samples: Samples) -> None:
    settings = Training(epochs=2, batch_size=16, augment="crop_flip")
    models = [Dropping() for _ in range(4)]
    for number, (model, seed) in enumerate(zip(models, (1, 1, 2, 1), strict=True)):
        torch.manual_seed(number)  # has no part in it
        train(model, samples, settings, generator(seed))
    assert identical(models[0], models[1])
    assert identical(models[0], models[3])
    assert not identical(models[0], models[2])


def test_dropout_drops(samples: Samples) -> None:
    trained, undropped = Dropping(), Dropping()
    undropped.layers[1] = nn.Dropout(0.0)
    for model in (trained, undropped):
        train(model, samples, Training(epochs=1, batch_size=16), generator())
    assert not identical(trained, undropped)


def test_the_global_random_state_is_untouched(samples: Samples) -> None:
    model = Dropping()
    before = torch.random.get_rng_state()
    train(model, samples, Training(epochs=1, augment="flip"), generator())
    assert torch.equal(torch.random.get_rng_state(), before)


# ------------------------------------------------------------------ hooks


class Recording(Hook):
    """Notes every call, and checks what each is given."""

    def __init__(self, name: str, log: list[tuple[str, str, int, int]]) -> None:
        self._name, self._log = name, log

    def _note(self, place: str, state: TrainingState | None = None) -> None:
        self._log.append((self._name, place, state.epoch if state else -1, state.step if state else -1))

    def wrap(self, model: nn.Module, optimizer: Any, sampler: Sampler) -> tuple[nn.Module, Any, Sampler]:
        assert {id(p) for group in optimizer.param_groups for p in group["params"]} == set(map(id, model.parameters()))
        assert sampler.num_batches == 2
        self._note("wrap")
        return model, optimizer, sampler

    def batch(self, state: TrainingState, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        assert x.shape == (24, 2, 8, 8)
        assert y.shape == (24,)
        assert state.model.training
        self._note("batch", state)
        return x, y

    def before_forward(self, state: TrainingState) -> None:
        self._note("before_forward", state)

    def loss(self, state: TrainingState, logits: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        torch.testing.assert_close(loss, cross_entropy(logits, y))
        self._note("loss", state)
        return loss

    def after_backward(self, state: TrainingState) -> None:
        assert all(parameter.grad is not None for parameter in state.model.parameters())
        self._weights = weights(state.model)
        self._note("after_backward", state)

    def after_step(self, state: TrainingState) -> None:
        assert any((a != b).any() for a, b in zip(self._weights, weights(state.model), strict=True))
        self._note("after_step", state)

    def epoch_end(self, state: TrainingState) -> None:
        assert len(state.history) == state.epoch + 1
        assert state.history[-1].keys() == {"epoch", "loss", "learning_rate"}
        self._note("epoch_end", state)

    def finalize(self, state: TrainingState) -> None:
        assert (state.num_epochs, state.steps_per_epoch, len(state.history)) == (2, 2, 2)
        self._note("finalize", state)


def test_hooks_are_called_in_order(samples: Samples, make_model: MakeModel) -> None:
    log: list[tuple[str, str, int, int]] = []
    model = make_model()
    state = train(
        model, samples, Training(epochs=2, batch_size=24), generator(), [Recording("a", log), Recording("b", log)]
    )
    assert state.model is model

    expected = [("wrap", -1, -1)]
    for epoch in range(2):
        for step in (2 * epoch, 2 * epoch + 1):
            expected += [(place, epoch, step) for place in ("batch", "before_forward", "loss", "after_backward")]
            expected.append(("after_step", epoch, step + 1))
        expected.append(("epoch_end", epoch, 2 * epoch + 2))
    expected.append(("finalize", 1, 4))
    assert log == [(name, *call) for call in expected for name in "ab"]


def test_a_hook_that_does_nothing_changes_nothing(samples: Samples, make_model: MakeModel) -> None:
    model, hooked = make_model(), make_model()
    train(model, samples, Training(epochs=1), generator())
    train(hooked, samples, Training(epochs=1), generator(), [Hook(), Hook()])
    assert identical(model, hooked)


class Relabelling(Hook):
    """Shifts every label by one and turns inputs around."""

    def batch(self, state: TrainingState, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return -x, (y + 1) % 3


def test_a_hook_may_change_the_batch(samples: Samples, make_model: MakeModel) -> None:
    model = make_model("mlp")
    train(model, samples, Training(epochs=10, batch_size=16), generator(), [Relabelling()])
    assert accuracy(model, Samples(-samples.stored, (samples.y + 1) % 3)) == 1


class Scaling(Hook):
    """Multiplies the loss."""

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def loss(self, state: TrainingState, logits: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        return self._factor * loss


def test_losses_are_changed_one_after_the_other(samples: Samples, make_model: MakeModel) -> None:
    settings = Training(epochs=1, weight_decay=0, schedule="constant", learning_rate=0.04)
    model, plain = make_model("mlp"), make_model("mlp")
    state = train(model, samples, settings, generator(), [Scaling(2), Scaling(4)])
    same = train(plain, samples, settings.model_copy(update={"learning_rate": 0.32}), generator())
    assert state.history[0]["loss"] == pytest.approx(8 * same.history[0]["loss"])
    for trained, expected in zip(weights(model), weights(plain), strict=True):
        torch.testing.assert_close(trained, expected)


@dataclass
class Poisson:
    """Each sample with probability `rate`, so that batches differ in size and some are empty."""

    num_samples: int
    rate: float
    num_batches: int

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        for _ in range(self.num_batches):
            yield (torch.rand(self.num_samples, generator=generator) < self.rate).nonzero()[:, 0]


class PoissonSampling(Hook):
    """Replaces the sampler, and notes the size of each batch and the step that follows from it."""

    def __init__(self, rate: float, num_batches: int) -> None:
        self._rate, self._num_batches = rate, num_batches
        self.sizes: list[int] = []
        self.moved: list[bool] = []

    def wrap(self, model: nn.Module, optimizer: Any, sampler: Sampler) -> tuple[nn.Module, Any, Sampler]:
        return model, optimizer, Poisson(48, self._rate, self._num_batches)

    def batch(self, state: TrainingState, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        self.sizes.append(len(y))
        self._before = weights(state.model)
        return x, y

    def after_step(self, state: TrainingState) -> None:
        self.moved.append(any((a != b).any() for a, b in zip(self._before, weights(state.model), strict=True)))


def test_a_hook_may_replace_the_sampler_by_one_of_varying_and_empty_batches(
    samples: Samples, make_model: MakeModel
) -> None:
    model, hook = make_model("mlp"), PoissonSampling(0.03, 40)
    settings = Training(epochs=2, momentum=0, weight_decay=0)
    state = train(model, samples, settings, generator(), [hook])
    assert 0 in hook.sizes
    assert len(set(hook.sizes)) > 2
    assert len(hook.sizes) == state.step == 80
    assert state.steps_per_epoch == 40
    assert hook.moved == [size > 0 for size in hook.sizes]
    assert all(math.isfinite(row["loss"]) for row in state.history)


def test_an_epoch_without_a_sample_is_no_divergence(samples: Samples, make_model: MakeModel) -> None:
    model, before = make_model("mlp"), make_model("mlp")
    train(model, samples, Training(epochs=2, weight_decay=0), generator(), [PoissonSampling(0, 3)])
    assert identical(model, before)


class Wrapping(Hook):
    """Puts another module around the model and another optimizer in the place of the first."""

    def wrap(self, model: nn.Module, optimizer: Any, sampler: Sampler) -> tuple[nn.Module, Any, Sampler]:
        return nn.Sequential(model), torch.optim.SGD(model.parameters(), lr=0), sampler


def test_a_hook_may_replace_model_and_optimizer(samples: Samples, make_model: MakeModel) -> None:
    model, before = make_model("mlp"), make_model("mlp")
    state = train(model, samples, Training(epochs=1), generator(), [Wrapping()])
    assert isinstance(state.model, nn.Sequential)
    assert state.model[0] is model
    assert identical(model, before)  # its learning rate is 0


# ------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_divergence_is_an_error_that_names_the_epoch(samples: Samples, make_model: MakeModel, optimizer: Any) -> None:
    settings = Training(epochs=5, batch_size=16, learning_rate=1e20, optimizer=optimizer)
    with pytest.raises(DivergedTrainingError, match=r"loss of epoch [12] is not finite; try a lower") as caught:
        train(make_model("mlp"), samples, settings, generator())
    assert f"epoch {caught.value.epoch} " in str(caught.value)


def test_divergence_late_in_training_names_that_epoch(samples: Samples, make_model: MakeModel) -> None:
    class Spoiling(Hook):
        def loss(self, state: TrainingState, logits: Tensor, y: Tensor, loss: Tensor) -> Tensor:
            return loss * math.inf if state.step == 7 else loss

    with pytest.raises(DivergedTrainingError) as caught:
        train(make_model("mlp"), samples, Training(epochs=9, batch_size=16), generator(), [Spoiling()])
    assert caught.value.epoch == 3


def test_training_on_nothing_is_refused(samples: Samples, make_model: MakeModel) -> None:
    with pytest.raises(UserError, match=r"no training sample at all; raise data\.num_samples"):
        train(make_model(), Samples(samples.stored[:0], samples.y[:0]), Training(), generator())


# ------------------------------------------------------------------ best epoch


class Scripted(Hook):
    """Sets the classifier so that exactly the given share of the dev set is right after each epoch."""

    def __init__(self, dev: Samples, shares: list[float]) -> None:
        self._dev, self._shares = dev, shares
        self.weights: list[list[Tensor]] = []

    @torch.no_grad()
    def epoch_end(self, state: TrainingState) -> None:
        share = self._shares[state.epoch]
        model: Any = state.model
        model.weight.fill_(0)
        model.bias.copy_(torch.tensor([1.0, 0.0]) if share == 0.75 else torch.tensor([0.0, 1.0]))
        model.weight[0, 0] = 1e-3 * state.epoch  # tells epochs apart, decides nothing
        self.weights.append(weights(model))


def test_the_best_epoch_is_kept_the_first_of_equals() -> None:
    x = torch.zeros(8, 2)
    y = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])  # always 0 is right for 75%, always 1 for 25%
    samples, model = Samples(x, y), nn.Linear(2, 2)
    scripted = Scripted(samples, [0.25, 0.75, 0.25, 0.75, 0.25])
    state = train(model, samples, Training(epochs=5), generator(), [scripted, BestOnDev(samples)])
    assert [row["dev_accuracy"] for row in state.history] == [0.25, 0.75, 0.25, 0.75, 0.25]
    assert all(torch.equal(a, b) for a, b in zip(weights(model), scripted.weights[1], strict=True))


def test_keeping_the_best_changes_no_draw_and_restores_buffers(samples: Samples, make_model: MakeModel) -> None:
    seen: list[nn.Module] = []

    class Copying(Hook):
        def epoch_end(self, state: TrainingState) -> None:
            seen.append(copy.deepcopy(state.model))

    dev = Samples(samples.stored[:12], samples.y[:12])
    settings = Training(epochs=4, batch_size=16, learning_rate=0.02)
    best, last = make_model(), make_model()
    state = train(best, samples, settings, generator(), [Copying(), BestOnDev(dev)])
    train(last, samples, settings, generator())
    reached = [row["dev_accuracy"] for row in state.history]
    assert reached == [accuracy(model, dev) for model in seen]
    assert identical(best, seen[reached.index(max(reached))])
    assert identical(last, seen[-1])


# ------------------------------------------------------------------ predict


@pytest.mark.parametrize("mode", [True, False])
def test_predict_answers_in_evaluation_mode_and_leaves_the_modes(
    samples: Samples, make_model: MakeModel, mode: bool
) -> None:
    model: Any = make_model()
    model.train(mode)
    model.features[0].norm.train(not mode)
    before = weights(model)
    logits = predict(model, samples)
    assert model.training is mode
    assert model.features[0].norm.training is not mode
    assert all(torch.equal(a, b) for a, b in zip(weights(model), before, strict=True))

    model.eval()
    with torch.no_grad():
        one_by_one = torch.cat([model(samples.inputs(slice(row, row + 1))) for row in range(len(samples))])
    torch.testing.assert_close(logits, one_by_one, atol=1e-5, rtol=1e-4)
    assert (logits.dtype, logits.shape) == (torch.float32, (48, 3))


def test_predict_in_several_batches_and_with_a_change() -> None:
    x = torch.arange(1100.0)[:, None]
    samples = Samples(x, torch.zeros(1100, dtype=torch.int64))
    model = nn.Linear(1, 2)
    expected = model(2 * x).detach()
    torch.testing.assert_close(predict(model, samples, lambda batch: 2 * batch), expected)


def test_accuracy_is_the_fraction_that_is_right() -> None:
    samples = Samples(torch.eye(4), torch.tensor([0, 1, 2, 0]))
    assert accuracy(nn.Identity(), samples) == 0.75
    assert math.isnan(accuracy(nn.Identity(), Samples(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))))
