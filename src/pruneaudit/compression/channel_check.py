"""Checks by a trial whether channels can be removed, because a dependency graph can lose track of channels.

On random inputs the smaller network must give the same outputs as the dense one with the removed channels silenced.
They are silenced only at their source: filters and biases are zero, and normalisation gives zero for them. Norms across
channels (GroupNorm, LayerNorm) compute over the kept channels, as they will in the smaller network. Layers that read
the channels do not change. The check does not use the dependency graph: before cutting, every number is set to its own
position, so the smaller network itself shows which channels of a layer were removed.

The check runs on copies with random parameters and BatchNorm statistics, so that its result depends only on the
architecture. A check in which silencing has almost no effect shows nothing: it is repeated with other numbers, and if
that fails, the channels stay.
"""

# B batch, C channels, n channels of a group, U units (channels that go together)

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from pruneaudit.compression.channel_choice import Group, KeptWhole
from pruneaudit.compression.channel_graph import Removal, cannot_follow, cut, shortened, unfit
from pruneaudit.compression.channel_silence import Places, num_outputs, output_of_each, silenced
from pruneaudit.compression.macs import evaluating
from pruneaudit.compression.parametrized import copied
from pruneaudit.core.errors import UserError

LEAST_INPUTS, MOST_INPUTS, NUMBERS_IN_ALL = 2, 16, 2**14
"""Numbers of inputs to try, and of values in them all: a unit that is dead for all inputs hides its removal."""
NUM_ATTEMPTS = 10
"""Sets of random numbers to try until silencing changes the outputs: a single unit before a ReLU can be dead for all
inputs."""
PRECISIONS = ((torch.float64, 1e-9), (torch.float32, 1e-4))
"""Precisions, and the largest difference of outputs relative to the largest output; the second if the first fails."""
LEAST_EFFECT = 1e-3
"""Least change of outputs by silencing, relative to the largest output."""
UNSEEN = "no output depends on their channels for random inputs, so a removal cannot be checked"


@dataclass(frozen=True)
class Finding:
    """The result of checking a removal."""

    failure: str = ""
    """Why the channels cannot be removed; empty if they can."""
    unseen: frozenset[str] = frozenset()
    """Layers that lose outputs without an effect."""


@dataclass(frozen=True)
class _Dense:
    """The whole network with random numbers."""

    model: nn.Module
    x: Tensor
    """Inputs (B, ...)."""
    outputs: Tensor
    """Its outputs (B, C)."""
    effects: Mapping[str, Tensor]
    """By layer: the effect of silencing each of its outputs, to first order (n,)."""


class ChannelCheck:
    """Checks removals from one network, without changing it."""

    def __init__(self, model: nn.Module, input_shape: tuple[int, ...]) -> None:
        """Finds the precision in which the network can compute.

        Raises:
            UserError: the network does not run on inputs of that shape.
        """
        self._model, self._input_shape = model, input_shape
        self._drawn: tuple[int, _Dense] | None = None
        """The latest random network, and its seed."""
        self._dtype, self._tolerance = self._precision()

    def accepted(self, groups: Sequence[Group], removed: Removal) -> tuple[tuple[Group, ...], tuple[KeptWhole, ...]]:
        """Which groups can lose these channels, alone and together, and why the others cannot.

        Args:
            groups: the groups to check; those without a channel in `removed` pass.
            removed: by the groups' roots.
        """
        channels, unseen = dict(removed), set[str]()
        good: list[Group] = []
        kept: list[KeptWhole] = []

        def add(part: Sequence[Group]) -> None:
            """Accepts as many as pass: all at once, else half by half."""
            finding = self.finding([(group.root, channels[group.root]) for group in (*good, *part)])
            if not finding.failure:
                good.extend(part)
                unseen.update(finding.unseen)
            elif len(part) == 1:
                kept.append(KeptWhole(layers=part[0].producers, reason=finding.failure))
            else:
                add(part[: len(part) // 2])
                add(part[len(part) // 2 :])

        touched = [group for group in groups if group.root in channels]
        if touched:
            add(touched)
        mute = [group for group in good if unseen.issuperset(group.producers)]
        kept += [KeptWhole(layers=group.producers, reason=UNSEEN) for group in mute]
        left = {group.root for group in good} - {group.root for group in mute}
        return tuple(g for g in groups if g.root in left or g.root not in channels), tuple(kept)

    def finding(self, removed: Removal) -> Finding:
        """Tries a removal and compares the outputs."""
        try:
            smaller, places = self._cut(removed)
        except UserError as error:
            return Finding(cannot_follow(error.__cause__ if isinstance(error.__cause__, Exception) else error))
        unseen: frozenset[str] | None = None
        for attempt in range(NUM_ATTEMPTS):
            dense = self._dense(attempt)
            silent, lost = silenced(dense.model, places)
            _fill(smaller, dense.model, places)
            try:
                got = _outputs(smaller, dense.x).detach()
            except Exception as error:  # a user's network may fail in any way
                return Finding(f"the network does not run without some of their channels ({shortened(error)})")
            want = _outputs(silent, dense.x).detach()
            scale = float(dense.outputs.abs().max())
            apart = float((got - want).abs().max()) if got.shape == want.shape else float("inf")
            if not apart <= self._tolerance * max(scale, float(want.abs().max())):
                return Finding(
                    "without some of their channels the network gives other outputs than with these channels silent"
                    f" (by {apart / scale:.1%} of the largest output)"
                )
            if float((want - dense.outputs).abs().max()) > LEAST_EFFECT * scale:
                mute = {name for name, gone in lost.items() if dense.effects[name][gone].max() <= LEAST_EFFECT * scale}
                unseen = frozenset(mute) if unseen is None else unseen & mute
                if not unseen:
                    break
        return Finding(UNSEEN) if unseen is None else Finding(unseen=unseen)

    def _precision(self) -> tuple[torch.dtype, float]:
        for dtype, tolerance in PRECISIONS:
            self._dtype = dtype
            try:
                self._dense(0)
            except Exception as error:  # a user's network may fail in any way
                failure = error
            else:
                return dtype, tolerance
        raise unfit(failure) from failure

    def _dense(self, seed: int) -> _Dense:
        """A copy with random numbers; the same for the same seed."""
        if self._drawn is None or self._drawn[0] != seed:
            model = _with_factors(copied(self._model)).float()
            randomise(model, torch.Generator().manual_seed(seed))
            number = max(LEAST_INPUTS, min(MOST_INPUTS, NUMBERS_IN_ALL // math.prod(self._input_shape)))
            x = torch.randn(number, *self._input_shape, generator=torch.Generator().manual_seed(seed))  # (B, ...)
            x = x.to(next(model.parameters()).device)
            effects = _effects(model, x)  # to three digits: in float32, whose gradients are fast
            model, x = model.to(self._dtype), x.to(self._dtype)
            self._drawn = seed, _Dense(model, x, _outputs(model, x).detach(), effects)
        return self._drawn[1]

    def _cut(self, removed: Removal) -> tuple[nn.Module, Places]:
        """A smaller copy, and the places that its numbers come from."""
        smaller = _with_factors(copied(self._model))
        cut(smaller, self._input_shape, removed, _number)
        places = {name: tensor.detach().long() for name, tensor in _tensors(smaller)}
        return smaller.to(self._dtype), places


def trial_removal(groups: Sequence[Group]) -> Removal:
    """Channels for a trial removal: about half of each group's units, drawn at random.

    With more than two units, an odd number goes: a mirrored order could pass with an even number.
    """
    generator = torch.Generator().manual_seed(0)
    removed = []
    for group in groups:
        order = torch.randperm(len(group.units), generator=generator).tolist()
        chosen = order[: min(len(order) // 4 * 2 + 1, len(order) - 1)]
        if chosen:
            removed.append((group.root, tuple(sorted(channel for unit in chosen for channel in group.units[unit]))))
    return tuple(removed)


# ------------------------------------------------------------------ random networks


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers of floating-point numbers; shared ones under each of their names."""
    for named in (model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)):
        yield from ((name, tensor) for name, tensor in named if tensor.is_floating_point())


@torch.no_grad()
def _with_factors(model: nn.Module) -> nn.Module:
    """Gives factors to norms without any, in place: they show which channels a norm lost."""
    weight = next(model.parameters())
    for layer in model.modules():
        if isinstance(layer, nn.GroupNorm | nn.LayerNorm) and "weight" not in dict(layer.named_parameters()):
            shape = (layer.num_channels,) if isinstance(layer, nn.GroupNorm) else layer.normalized_shape
            layer.affine = layer.elementwise_affine = True
            layer.weight, layer.bias = (nn.Parameter(weight.new_ones(shape)) for _ in range(2))
    return model


@torch.no_grad()
def randomise(model: nn.Module, generator: torch.Generator) -> None:
    """Draws all parameters and BatchNorm statistics, in place, so that signals keep their magnitude."""

    def fill(tensor: Tensor, values: Tensor) -> None:
        tensor.copy_(values.to(tensor.device, tensor.dtype))

    def around_one(tensor: Tensor) -> Tensor:
        return torch.rand(tensor.shape, generator=generator) + 0.5

    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            normal = torch.randn(parameter.shape, generator=generator)
            fill(parameter, normal * (2 * len(parameter) / max(parameter.numel(), 1)) ** 0.5)
        else:
            signs = torch.randint(2, parameter.shape, generator=generator) * 2 - 1
            scale = 0.5 if name.endswith("bias") else 1.0  # a large bias would make many ReLUs zero for all inputs
            fill(parameter, scale * signs * around_one(parameter))
    for layer in model.modules():
        if isinstance(layer, _NormBase) and layer.running_mean is not None and layer.running_var is not None:
            fill(layer.running_mean, torch.randn(layer.running_mean.shape, generator=generator))
            fill(layer.running_var, around_one(layer.running_var))


@torch.no_grad()
def _number(model: nn.Module) -> None:
    """Sets every number to its own place in its tensor, in float64, which is exact for places."""
    model.double()
    for _, tensor in _tensors(model):
        tensor.copy_(torch.arange(tensor.numel(), dtype=tensor.dtype, device=tensor.device).view(tensor.shape))


@torch.no_grad()
def _fill(smaller: nn.Module, dense: nn.Module, places: Places) -> None:
    """Copies the dense network's numbers into the smaller one."""
    source = dict(_tensors(dense))
    for name, tensor in _tensors(smaller):
        tensor.copy_(source[name].flatten()[places[name]])


def _outputs(model: nn.Module, x: Tensor) -> Tensor:
    """Outputs (B, C) in evaluation mode, with fixed random numbers.

    Gradients are requested, as in tracing: without them torch uses fused kernels that bypass modules.
    """
    devices = [x.device] if x.device.type == "cuda" else []
    with evaluating(model), torch.enable_grad(), torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(0)
        for device in devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(0)
        outputs: Tensor = model(x.clone().requires_grad_())
        return outputs


def _effects(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """By layer, the effect of silencing each of its outputs, to first order: the sum of w dL/dw."""
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, _ConvNd | nn.Linear)}
    layers = {name: layer for name, layer in layers.items() if isinstance(layer.weight, nn.Parameter)}
    weights = [layer.weight.requires_grad_() for layer in layers.values()]
    outputs = _outputs(model, x)
    direction = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(0)).to(outputs)
    gradients = torch.autograd.grad(outputs, weights, direction, allow_unused=True)
    effects = {}
    for (name, layer), weight, gradient in zip(layers.items(), weights, gradients, strict=True):
        of_filter = output_of_each(layer)
        effects[name] = torch.zeros(num_outputs(of_filter), dtype=weight.dtype, device=weight.device)
        if gradient is not None:
            of_weights = weight.detach() * gradient
            by_filter = of_weights.sum(tuple(range(2, weight.ndim))) if weight.ndim > 2 else of_weights
            effects[name].index_add_(0, of_filter.flatten(), by_filter.flatten()).abs_()
    return effects
