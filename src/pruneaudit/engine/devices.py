"""The device of tasks, and how many run at a time."""

from __future__ import annotations

import os

from pruneaudit.core.errors import UserError


def usual_jobs(device: str) -> int:
    """Returns the default number of tasks at a time: one per core; on a GPU one."""
    return usable_cores() if device == "cpu" else 1


def usable_cores() -> int:
    """Returns the number of cores that this process can use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_device(device: str) -> None:
    """Checks that a device can be used; imports torch only for a GPU.

    Raises:
        UserError: the device does not exist.
    """
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise UserError(f"device: got '{device}', expected cpu, cuda, or cuda:N")
    if kind == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UserError("device: got 'cuda', but torch finds no CUDA device here; use --device cpu")
        if index and int(index) >= torch.cuda.device_count():
            raise UserError(f"device: got '{device}', but there are only {torch.cuda.device_count()} CUDA devices")
