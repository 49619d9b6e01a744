"""SGD for small networks: torch's fused kernel, without the Python around it.

In a step of a small network, torch's optimizer spends more time around its kernel than in it, and its
first use imports torch's compiler, nearly two seconds of CPU in every process. This one calls the same kernel with the
same numbers, so weights are the same bit for bit.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class LightSGD(torch.optim.SGD):
    """SGD with `fused=True`; checkpoints, hooks and groups of parameters are torch's own."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds parameters, as torch does, but without its guard for compiled optimizers, which imports the compiler."""
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets all gradients."""
        if not set_to_none:
            super().zero_grad(set_to_none=False)
            return
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates all parameters that have a gradient; returns what `closure`, which computes them, returns."""
        if self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks:
            return self.profile_hook_step(LightSGD._stepped)(self, closure)
        return self._stepped(closure)

    step.hooked = True  # type: ignore[attr-defined]  # or torch wraps it, to measure what no one reads here

    def _stepped(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None if closure is None else closure()
        with torch.no_grad():
            for group in self.param_groups:
                self._update(group)
        return loss

    def _update(self, group: dict[str, Any]) -> None:
        has_momentum = group["momentum"] != 0
        alike: dict[tuple[Any, ...], tuple[list[Tensor], list[Tensor], list[Tensor]]]
        alike = defaultdict(lambda: ([], [], []))  # parameters, gradients, momentum: one kernel updates them together
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is None:
                continue
            momentum, is_first = None, False
            if has_momentum:
                state = self.state[parameter]
                momentum = state.get("momentum_buffer")
                if is_first := momentum is None:
                    momentum = state["momentum_buffer"] = torch.empty_like(gradient)
            parameters, gradients, momenta = alike[parameter.device, parameter.dtype, is_first]
            parameters.append(parameter)
            gradients.append(gradient)
            if momentum is not None:
                momenta.append(momentum)
        for (*_, is_first), several in alike.items():
            torch._fused_sgd_(
                *several,
                weight_decay=group["weight_decay"],
                momentum=group["momentum"],
                lr=group["lr"],
                dampening=group["dampening"],
                nesterov=group["nesterov"],
                maximize=group["maximize"],
                is_first_step=is_first,
            )
