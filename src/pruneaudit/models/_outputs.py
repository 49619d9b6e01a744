"""Converts outputs of a user's network to logits (B, C) where the conversion is unambiguous.

From a dict, or an object such as Hugging Face's `ModelOutput`, it takes the `logits`; from a tuple the only tensor of
floats (B, C). One output (B, 1) or (B,) for two classes is the logit z of class 1, and becomes [0, z]: its softmax is
sigmoid(z), its cross-entropy the binary one. A tuple with none or several such tensors is refused, because nothing
shows which part holds the logits.
"""

# B batch, C classes

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pruneaudit.core.errors import UserError
from pruneaudit.data.inputs import answered, example_of
from pruneaudit.models._arguments import take_what_it_names

STEADY = 1e-3
"""Largest difference of two outputs for the same inputs, relative to the largest output, that counts as rounding."""
NUM_TRIED = 2
"""Number of zero inputs to test whether a network returns plain logits; BatchNorm needs two."""


def logits_in(output: Any, num_classes: int | None = None) -> Any:
    """The logits in a network's output, or the output itself where it is not clear what they are.

    Args:
        output: a tensor; a dict or an object with `logits`; or a tuple with one float tensor (B, C).
        num_classes: C; None: not known, so a tuple may hold only one float tensor with two dimensions.
    """
    named = _named(output)
    if named is not None:
        return named
    place = _place(output, num_classes)
    return output if place is None else output[place]


def _named(output: Any) -> Tensor | None:
    """A tensor itself, or the `logits` of a dict or an object."""
    if isinstance(output, Tensor):
        return output
    found = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    return found if isinstance(found, Tensor) else None


def _place(output: Any, num_classes: int | None) -> int | None:
    """The place of the logits in a tuple or a list; None if it is not clear, or the output is something else."""
    floats = {
        place: part
        for place, part in enumerate(_parts(output))
        if isinstance(part, Tensor) and part.is_floating_point()
    }
    rows = [place for place, part in floats.items() if part.ndim == 2]
    fitting = [place for place in rows if floats[place].shape[1] == num_classes]
    single = [place for place, part in floats.items() if num_classes == 2 and is_one(part)]
    first = fitting or single or rows
    return first[0] if len(first) == 1 else None


def _parts(output: Any) -> tuple[Any, ...]:
    """The parts of a tuple or a list; none of anything else."""
    return tuple(output) if isinstance(output, tuple | list) else ()


def is_one(output: Any) -> bool:
    """Whether it is a tensor with one output for each sample, (B,) or (B, 1)."""
    return isinstance(output, Tensor) and (output.ndim == 1 or (output.ndim == 2 and output.shape[1] == 1))


def two_classes(one: Tensor) -> Tensor:
    """[0, z] (B, 2), from one logit z for each sample."""
    logit = one.reshape(-1)
    return torch.stack([torch.zeros_like(logit), logit], dim=1)


class LogitsAlone:
    """A forward hook that converts its network's output to logits (B, C).

    The logits keep their place in a tuple: in a copy without some channels, other parts can have their shape.
    """

    def __init__(self, num_classes: int | None, widens: bool = True) -> None:
        """Describes the conversion.

        Args:
            num_classes: C; None: not known.
            widens: whether one logit becomes two, if there can be two classes.
        """
        self._num_classes, self._widens = num_classes, widens and num_classes in (2, None)
        self._places: dict[int, int] = {}
        """By the length of a tuple: where in it the logits were first."""

    def __call__(self, network: nn.Module, inputs: Any, output: Any) -> Any:
        """Returns the logits in the network's output."""
        found = _named(output)
        if found is None:
            parts = _parts(output)
            place = self._places.get(len(parts), _place(output, self._num_classes))
            if place is None:
                return output
            self._places[len(parts)], found = place, parts[place]
        return two_classes(found) if self._widens and is_one(found) else found


class _ForNow(LogitsAlone):
    """Such a hook on a copy of a user's network, and on the copies of that."""


def for_now(network: nn.Module, num_classes: int | None) -> None:
    """Makes a copy of a user's network return its logits as a tensor, until `as_before`; one logit stays one."""
    network.register_forward_hook(_ForNow(num_classes, widens=False))


def as_before(network: nn.Module) -> None:
    """Takes back `for_now` in a network, or in a copy of it."""
    for key, hook in list(network._forward_hooks.items()):
        if isinstance(hook, _ForNow):
            del network._forward_hooks[key]


def with_logits_alone(network: nn.Module, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Makes a network return plain logits, if a test with zeros shows that it returns them in another form.

    Its weights keep their names. A network that returns plain logits does not change.

    Args:
        network: the network, on the CPU.
        input_shape: shape of one sample.
        num_classes: C.
    """
    hook, x = LogitsAlone(num_classes), example_of(input_shape, NUM_TRIED)
    if isinstance(x, Mapping):
        take_what_it_names(network)
    for training in (False, True):  # some networks return more in training
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                output = answered(copy.deepcopy(network).train(training), x)
        except Exception:  # a network that fails on zeros, or cannot be copied; it is tried on its own samples later
            return network
        if hook(network, x, output) is not output:
            network.register_forward_hook(hook)
            return network
    return network


@contextmanager
def as_written(network: nn.Module) -> Iterator[nn.Module]:
    """The network as its author wrote it, for the author's training function."""
    hooks = dict(network._forward_hooks)
    for key, hook in hooks.items():
        if isinstance(hook, LogitsAlone):
            del network._forward_hooks[key]
    try:
        yield network
    finally:
        network._forward_hooks.clear()
        network._forward_hooks.update(hooks)


@contextmanager
def answering(network: nn.Module) -> Iterator[nn.Module]:
    """Within the context, the network returns plain logits; one logit becomes two."""
    handle = network.register_forward_hook(LogitsAlone(None))
    try:
        yield network
    finally:
        handle.remove()


def check_answer(output: Any, num_samples: int, num_classes: int, name: str, may_be_more: bool = False) -> None:
    """Refuses outputs that are not one logit per sample and class.

    Args:
        output: a network's output, after `logits_in`.
        num_samples: B.
        num_classes: C.
        name: the network's name, for messages.
        may_be_more: whether the network may have more classes.

    Raises:
        UserError: an unclear tuple, a dict without logits, or a tensor of another shape; the message names the remedy.
    """
    expected = f"({num_samples}, {num_classes}{' or more' if may_be_more else ''})"
    if not isinstance(output, Tensor):
        one = ", as the only float tensor with two dimensions in it" if isinstance(output, tuple | list) else ""
        raise UserError(
            f"{name}: returned {described_output(output)}, expected a tensor of logits {expected}{one}; return only the"
            " logits, or a dict with the key 'logits'"
        )
    if num_classes == 2 and is_one(output) and len(output) == num_samples:
        return
    shape = tuple(output.shape)
    fits = len(shape) == 2 and shape[0] == num_samples
    if not fits or shape[1] < num_classes or (shape[1] > num_classes and not may_be_more):
        one = f", ({num_samples}, 1) or ({num_samples},)" if num_classes == 2 else ""
        raise UserError(
            f"{name}: got outputs of shape {shape} for {num_samples} samples, expected {expected}{one}: one for each of"
            f" the {num_classes} classes of the data"
        )


def described_output(output: Any) -> str:
    """A network's output, in words."""
    kind = type(output).__name__
    if isinstance(output, Mapping):
        return f"a {kind} with the keys {', '.join(map(str, output))}" if output else f"an empty {kind}"
    parts = [str(tuple(part.shape)) if isinstance(part, Tensor) else type(part).__name__ for part in _parts(output)]
    return f"a {kind} of {len(parts)}: {', '.join(parts)}" if parts else f"a {kind}"


def check_steady(ask: Callable[[], Tensor], name: str) -> None:
    """Refuses a network whose outputs in evaluation mode are random, because randomness hides membership.

    Args:
        ask: returns the outputs for the same few samples each time.
        name: the network's name, for messages.

    Raises:
        UserError: two answers differ.
    """
    first, second = ask().float(), ask().float()
    if not (first.isfinite().all() and second.isfinite().all()):
        return
    difference = float((first - second).abs().max()) if first.numel() else 0.0
    if difference > STEADY * max(1.0, float(first.abs().max())):
        raise UserError(
            f"{name}: two answers to the same samples differ by {difference:.2g} although it is in evaluation mode;"
            " expected equal answers: draw random numbers only in training (nn.Dropout, or F.dropout(x,"
            " training=self.training))"
        )
