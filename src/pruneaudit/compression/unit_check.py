"""Checks by a trial whether units can be removed: a guess about a network's code can be wrong without an error.

Without some heads or hidden units, the network must give the same outputs as the whole one that does not read them: the
layer behind them has zeros in their columns. The outputs differ, or the network fails, if a guess took half of a head,
assumed a wrong order of channels, or missed another place where the code reads the number of heads.

The check runs on a copy with random parameters and random inputs, so that its result depends on the architecture alone,
and heads of zeros do not hide an error. Units that no output depends on would pass any check; they stay.
"""

# B batch, C outputs

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruneaudit.compression.attention import settings_to_try
from pruneaudit.compression.channel_check import LEAST_EFFECT, PRECISIONS, UNSEEN, randomise
from pruneaudit.compression.channel_choice import KeptWhole
from pruneaudit.compression.channel_graph import shortened
from pruneaudit.compression.linear_layers import is_transposed
from pruneaudit.compression.macs import evaluating
from pruneaudit.compression.parametrized import copied
from pruneaudit.compression.random_inputs import random_inputs
from pruneaudit.compression.smaller_attention import without_shortcuts
from pruneaudit.compression.units import UnitGroup, without_units
from pruneaudit.core.errors import UserError
from pruneaudit.data.inputs import Inputs, answered
from pruneaudit.models._outputs import logits_in

NUM_INPUTS = 4
"""B."""


@dataclass(frozen=True)
class _Whole:
    """The network with random numbers and all its units."""

    network: nn.Module
    x: Inputs
    """B inputs."""
    outputs: Tensor
    """(B, C) float64."""
    tolerance: float
    """Largest difference that is rounding, relative to the largest output."""


class UnitCheck:
    """Checks removals from one network, without changing it.

    Args:
        model: the network.
        example: one input (1, ...); only its shape and type matter.

    Raises:
        UserError: the network does not run on random inputs.
    """

    def __init__(self, model: nn.Module, example: Inputs) -> None:
        self._model, self._example = model, example
        self._tried: list[_Whole | Exception] = []
        """By precision; a network takes much memory, so the second is made only if the first is not enough."""
        if not any(True for _ in self._networks()):
            (failure, *_) = self._tried
            assert isinstance(failure, Exception)
            raise UserError(
                f"units of this network cannot be removed: it fails on random inputs ({shortened(failure)})"
            ) from failure

    def _networks(self) -> Iterator[_Whole]:
        """The random network in each precision in which it computes."""
        for place, (dtype, tolerance) in enumerate(PRECISIONS):
            if place == len(self._tried):
                network = copied(self._model).to(dtype)
                randomise(network, torch.Generator().manual_seed(0))
                try:
                    x = random_inputs(network, self._example, NUM_INPUTS, torch.Generator().manual_seed(0))
                    self._tried.append(_Whole(network, x, _outputs(network, x), tolerance))
                except Exception as error:  # a user's network may fail in any way
                    self._tried.append(error)
            if isinstance(found := self._tried[place], _Whole):
                yield found

    def accepted(self, groups: Sequence[UnitGroup]) -> tuple[tuple[UnitGroup, ...], tuple[KeptWhole, ...]]:
        """Which groups can lose units, and why the others cannot.

        Of groups that overlap, the first that can is accepted. Groups of one unit are in neither: it has to stay.

        Returns:
            The groups with the attributes that have to change; and layers that stay whole.
        """
        good: list[UnitGroup] = []
        reasons: dict[tuple[str, ...], str] = {}  # by the layers of groups that fail
        taken: set[str] = set()
        for group in groups:
            if group.count < 2 or taken.intersection(group.layers):
                continue
            failures = []
            for settings in settings_to_try(self._model, group):
                tried = group.model_copy(update={"settings": settings})
                failures.append(self.failure([tried.without(_some_of(group.count))], must_be_seen=True))
                if not failures[-1]:
                    good.append(tried)
                    taken.update(group.layers)
                    break
            else:
                reasons.setdefault(group.layers, failures[0])
        left = {layers: reason for layers, reason in reasons.items() if not taken.intersection(layers)}
        return tuple(good), tuple(KeptWhole(layers=layers, reason=reason) for layers, reason in left.items())

    def failure(self, groups: Sequence[UnitGroup], must_be_seen: bool = False) -> str:
        """Why the removed units of groups cannot go, as the rest of a sentence; empty if they can.

        Args:
            groups: with the units that go.
            must_be_seen: whether outputs have to depend on them.
        """
        reason = ""
        for whole in self._networks():
            reason = _failure(whole, groups, must_be_seen)
            if not reason:
                break
        return reason


def _failure(whole: _Whole, groups: Sequence[UnitGroup], must_be_seen: bool) -> str:
    with _unread(whole.network, groups):
        want = _outputs(whole.network, whole.x)
    try:
        with without_units(whole.network, groups):
            got = _outputs(whole.network, whole.x)
    except Exception as error:  # a user's network may fail in any way
        return f"the network does not run without some of their units ({shortened(error)})"
    scale = max(float(whole.outputs.abs().max()), float(want.abs().max()))
    apart = float((got - want).abs().max()) if got.shape == want.shape else float("inf")
    if not apart <= whole.tolerance * scale:
        return (
            "without some of their units the network gives other outputs than with these units silent"
            f" (by {apart / scale:.1%} of the largest output)"
        )
    seen = float((want - whole.outputs).abs().max()) > LEAST_EFFECT * scale
    return "" if seen or not must_be_seen else UNSEEN


def _some_of(count: int) -> list[int]:
    """About half of the units, an odd number, at random: a mirrored order could pass with an even number."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()
    return sorted(order[: min(count // 4 * 2 + 1, count - 1)])


@contextmanager
def _unread(network: nn.Module, groups: Sequence[UnitGroup]) -> Iterator[None]:
    """Within the context, the layers that read the units have zeros in their columns."""
    changed: list[tuple[Tensor, Tensor]] = []
    try:
        with torch.no_grad():
            for group in groups:
                for part in (part for part in group.parts if part.side == "inputs"):
                    layer = network.get_submodule(part.layer)
                    weight: Tensor = layer.get_parameter("weight")
                    changed.append((weight, weight.detach().clone()))
                    weight.index_fill_(int(not is_transposed(layer)), group.channels(part).to(weight.device), 0)
        yield
    finally:
        with torch.no_grad():
            for weight, before in reversed(changed):
                weight.copy_(before)


@torch.no_grad()
def _outputs(network: nn.Module, x: Inputs) -> Tensor:
    """Outputs (B, C) in evaluation mode, with fixed random numbers, as float64."""
    with evaluating(network), without_shortcuts(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        outputs: Tensor = logits_in(answered(network, x))
        return outputs.double()
