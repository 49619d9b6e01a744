"""The steps of DP-SGD: random batches, clipped gradients, noise."""

# n samples of one model, B batch

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruneaudit.compression.mask import Masks
from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.data.inputs import Inputs, answered
from pruneaudit.defenses._dp_accounting import Account
from pruneaudit.defenses._dp_check import GradientCheck
from pruneaudit.training.hooks import Hook, Sampler, TrainingState


@dataclass(frozen=True)
class PoissonSampling:
    """Puts each sample into each batch with the same probability, independently."""

    num_samples: int
    batch_size: int
    """The expected size of a batch; from `num_samples` on, every batch has all samples."""

    @property
    def sample_rate(self) -> float:
        """The probability q that a sample is in a batch, in (0, 1]."""
        return min(1.0, self.batch_size / self.num_samples)

    @property
    def num_batches(self) -> int:
        """Steps in one epoch. An epoch draws each sample once on average (q = 2/3: 1.5 steps, rounded to 2)."""
        return max(1, round(self.num_samples / self.batch_size))

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """The batches of one epoch, each as positions (B,) in rising order; B varies and may be 0."""
        for _ in range(self.num_batches):
            draws = torch.rand(self.num_samples, generator=generator, dtype=torch.float64)  # (n,)
            yield (draws < self.sample_rate).nonzero()[:, 0]


def embedding_gradients(layer: nn.Embedding, inputs: list[Tensor], slopes: Tensor) -> dict[Tensor, Tensor]:
    """Each sample's gradient of an embedding's table.

    Args:
        layer: the embedding, of V vectors (D,).
        inputs: ids (B, ...), alone in a list.
        slopes: the loss's slopes towards the outputs (B, ..., D).

    Returns:
        (B, V, D) by the table; zero for the vector of the padding, as without DP-SGD.
    """
    ids = inputs[0].flatten(1) if inputs[0].ndim > 1 else inputs[0][:, None]  # (B, T)
    if not layer.weight.requires_grad:
        return {}
    slopes = slopes.reshape(*ids.shape, layer.embedding_dim)  # (B, T, D)
    if layer.padding_idx is not None:
        slopes = slopes.masked_fill((ids == layer.padding_idx)[..., None], 0)
    gradients = slopes.new_zeros(len(ids), *layer.weight.shape)
    return {layer.weight: gradients.scatter_add_(1, ids[..., None].expand(slopes.shape), slopes)}


class PerSample(GradSampleModule):
    """Computes each sample's gradient for every weight, whatever the memory format of the network.

    Opacus (1.6) assumes that inputs of convolutions lie in memory in the order batch, channel, row, column. For
    channels-last inputs it computes wrong gradients, and reads beyond their end. For embeddings it trains the padding's
    vector, and fails on empty batches; `embedding_gradients` does not.
    """

    GRAD_SAMPLERS: ClassVar[dict[type[nn.Module], Any]] = {
        **GradSampleModule.GRAD_SAMPLERS,
        nn.Embedding: embedding_gradients,
    }

    def capture_activations_hook(self, module: nn.Module, forward_input: Any, _forward_output: Tensor) -> None:
        """Records the inputs of a layer, in that order."""
        super().capture_activations_hook(module, [_in_order(x) for x in forward_input], _forward_output)


def _in_order(x: Tensor) -> Tensor:
    """`x` in that order, copied if it may be channels-last.

    With one channel or one pixel `x` is in both orders at once, but tensors derived from it need not be.
    """
    is_last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return x if x.is_contiguous() and not is_last else x.detach().clone(memory_format=torch.contiguous_format)


def per_sample(model: nn.Module) -> PerSample:
    """Adds hooks to a network's layers, which compute each sample's gradient in a backward pass."""
    # Ids have no gradient, so PyTorch warns about backward hooks on embeddings; those of their tables are right.
    warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)
    return PerSample(model)


def _with_slopes(x: Inputs) -> Inputs:
    """The batch with gradients, without which PyTorch warns about backward hooks on the first layer; ids have none."""
    return x.detach().requires_grad_() if isinstance(x, Tensor) else x


def try_batch(model: nn.Module, x: Inputs, y: Tensor) -> None:
    """Computes each sample's gradient for every parameter of a prepared network, once.

    Raises:
        UserError: a parameter lacks them, or the network's code does not go with the hooks that compute them.
    """
    check = GradientCheck({name: weight for name, weight in model.named_parameters() if weight.requires_grad})
    wrapped = per_sample(model)
    try:
        loss = cross_entropy(answered(model, _with_slopes(x)), y)
        check.before_backward(len(y))
        loss.backward()
        check.after_backward(len(y))
    except RuntimeError as error:
        raise UserError(
            f"defense 'dp' cannot take the gradients of single samples of this network ({in_one_line(error, 150)});"
            " if its forward changes tensors in place, write x = x + y for x += y"
        ) from error
    finally:
        wrapped.to_standard_module()


class PrivateSteps(Hook):
    """Replaces sampler and optimizer by those of DP-SGD, and keeps account of the steps.

    The model object stays the same: the wrapper that takes the gradients of single samples works by hooks on its
    layers. So names, checkpoints and other hooks do not change. `finalize` removes the wrapper.
    """

    def __init__(
        self,
        model: nn.Module,
        sampling: PoissonSampling,
        noise: tuple[float, float],
        account: Account,
        masks: Callable[[], Masks | None],
        generator: torch.Generator,
    ) -> None:
        """Describes the steps.

        Args:
            model: the network, on its device.
            sampling: which samples are in a batch; the training's own generator draws them.
            noise: noise multiplier and largest norm of one sample's gradient.
            account: records each step.
            masks: returns the current pruning masks, or None.
            generator: CPU generator that draws the seed of the noise.
        """
        self._sampling, self._account, self._masks = sampling, account, masks
        self._noise_multiplier, self._max_grad_norm = noise
        self._parameters = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        device = next(iter(self._parameters.values())).device
        seed = int(torch.randint(2**62, (), generator=generator))
        self._noise = torch.Generator(device).manual_seed(seed)  # a generator draws on its own device only
        self._known: Masks | None = None
        self._known_removed: list[tuple[Tensor, Tensor]] = []
        self._removed: list[tuple[Tensor, Tensor]] = []  # of this step: weights, and where they are removed
        self._per_sample: PerSample | None = None
        self._check = GradientCheck(self._parameters)
        self._num_samples = 0  # in this batch

    def spent(self) -> dict[str, Any]:
        """The epsilon spent and the settings behind it, as JSON data; an infinite epsilon is None."""
        epsilon, accountant = self._account.spent()
        return {
            "epsilon": epsilon if math.isfinite(epsilon) else None,
            "delta": self._account.delta,
            "noise_multiplier": self._noise_multiplier,
            "max_grad_norm": self._max_grad_norm,
            "sample_rate": self._sampling.sample_rate,
            "steps": self._account.num_steps,
            "accountant": accountant,
        }

    def wrap(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, sampler: Sampler
    ) -> tuple[nn.Module, torch.optim.Optimizer, Sampler]:
        """The same model, now with gradients of single samples, and an optimizer that clips them."""
        self._per_sample = per_sample(model)
        private = DPOptimizer(
            optimizer,
            noise_multiplier=self._noise_multiplier,
            max_grad_norm=self._max_grad_norm,
            expected_batch_size=self._sampling.sample_rate * self._sampling.num_samples,
            generator=self._noise,
        )
        private.attach_step_hook(self._before_inner_step)
        return model, private, self._sampling

    def batch(self, state: TrainingState, x: Inputs, y: Tensor) -> tuple[Inputs, Tensor]:
        """Requests gradients of the inputs."""
        return _with_slopes(x), y

    def loss(self, state: TrainingState, logits: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        """Counts the samples of the batch; the loss stays."""
        self._num_samples = len(y)
        self._check.before_backward(self._num_samples)
        return loss

    def after_backward(self, state: TrainingState) -> None:
        """Zeroes removed weights in each sample's gradient, before its norm is computed."""
        self._check.after_backward(self._num_samples)
        self._removed = [(weight, gone & (weight == 0)) for weight, gone in self._masked()]
        for weight, gone in self._removed:
            weight.grad_sample.masked_fill_(gone, 0)  # type: ignore[attr-defined]

    def _masked(self) -> list[tuple[Tensor, Tensor]]:
        """The masked weights, and where the mask removes them."""
        masks = self._masks()
        if masks is not self._known:
            self._known = masks
            pairs = [(self._parameters.get(name), mask) for name, mask in (masks or {}).items()]
            self._known_removed = [(weight, ~mask.to(weight.device)) for weight, mask in pairs if weight is not None]
        return self._known_removed

    @torch.no_grad()
    def _before_inner_step(self, optimizer: DPOptimizer) -> None:
        """Records the step, and brings gradients into a form that the inner optimizer can take.

        A fused optimizer reads gradients in memory order, and does not check that it is the weights' order. Noise on
        removed weights is set to zero: it would fill their momentum.
        """
        for weight in optimizer.params:
            if weight.grad.stride() != weight.stride():
                weight.grad = torch.empty_like(weight).copy_(weight.grad)
        for weight, gone in self._removed:
            weight.grad.masked_fill_(gone, 0)  # type: ignore[union-attr]
        self._account.step(self._noise_multiplier, self._sampling.sample_rate)

    def finalize(self, state: TrainingState) -> None:
        """Leaves a plain network."""
        if self._per_sample is None:
            return
        model = self._per_sample.to_standard_module()
        self._per_sample = None
        things: list[Any] = [*model.modules(), *model.parameters()]
        for thing in things:
            for name in ("activations", "max_batch_len", "summed_grad", "grad_sample", "_forward_counter"):
                if name in vars(thing):
                    delattr(thing, name)

    def kept(self) -> dict[str, Tensor]:
        """The state of the noise, and the account."""
        history = torch.tensor(self._account.history, dtype=torch.float64).reshape(-1, 3)
        return {"noise": self._noise.get_state(), "history": history}

    def put_back(self, tensors: dict[str, Tensor]) -> None:
        """Restores noise and account."""
        self._noise.set_state(tensors["noise"])
        self._account.history = [(noise, rate, int(steps)) for noise, rate, steps in tensors["history"].tolist()]
