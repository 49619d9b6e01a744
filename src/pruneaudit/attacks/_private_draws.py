"""Makes torch draw from private generators, because the caller and other threads use its global ones.

Torch's layers take no generator, for first weights or for dropout. A torch mode, active only in the calling thread,
passes one to every random operation. It slows each operation down (a forward pass by a third), so
networks of this package pass the generator themselves when they train.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_GLOBAL = threading.Lock()
"""Held while an operation has to use a global generator."""


class PrivateDraws(TorchDispatchMode):
    """Within `with`, operations of this thread without a generator draw from a private one of their device."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}
        self.num_draws = 0
        """Operations that came without a generator."""

    def generator(self, device: torch.device) -> torch.Generator:
        """The generator of a device."""
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs one torch operation."""
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        self.num_draws += 1
        device = _device_of(args, kwargs)
        if any(argument.name == "generator" for argument in func._schema.arguments):
            return func(*args, **kwargs, generator=self.generator(device))
        return self._from_global(func, args, kwargs, device)

    def _from_global(self, func: Any, args: Any, kwargs: Any, device: torch.device) -> Any:
        """Runs an operation that can only use the global generator, and restores that generator afterwards."""
        seed = int(torch.randint(2**62, (), generator=self.generator(torch.device("cpu"))))
        is_cuda = device.type == "cuda"
        with _GLOBAL, torch.random.fork_rng(devices=[device] if is_cuda else []):
            if is_cuda:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
            else:
                torch.default_generator.manual_seed(seed)  # torch.manual_seed would move those of GPUs too
            return func(*args, **kwargs)


def _device_of(args: Any, kwargs: Any) -> torch.device:
    """The device on which an operation draws: that of its first tensor, or the one in its arguments."""
    first = next((value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)), None)
    return first.device if first is not None else torch.device(kwargs.get("device") or "cpu")
