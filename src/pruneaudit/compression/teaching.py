"""The hook that makes a network learn from the outputs of another network."""

# B batch, C classes

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax

from pruneaudit.core.errors import UserError
from pruneaudit.data.inputs import Inputs, answered, num_in
from pruneaudit.training.hooks import Hook, TrainingState


class FollowTeacher(Hook):
    """Adds the teacher's outputs to the loss; see `compression.distil`."""

    def __init__(self, teacher: nn.Module, temperature: float, alpha: float) -> None:
        """Sets up the teacher.

        Args:
            teacher: the network to learn from, on the student's device. It does not change.
            temperature: T, above 0.
            alpha: weight of the teacher's outputs, in [0, 1].
        """
        self._teacher = teacher.eval()
        self._temperature, self._alpha = temperature, alpha
        self._logits: Tensor | None = None  # the teacher's, of this batch (B, C)

    @torch.no_grad()
    def batch(self, state: TrainingState, x: Inputs, y: Tensor) -> tuple[Inputs, Tensor]:
        """Queries the teacher with the student's inputs."""
        if self._alpha and num_in(x):
            self._logits = answered(self._teacher, x).float()
        return x, y

    def loss(self, state: TrainingState, logits: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        """The loss with the teacher's outputs."""
        if self._logits is None or not len(logits):
            return loss
        soft = soft_loss(logits, self._logits, self._temperature)
        return self._alpha * soft + (1 - self._alpha) * loss if self._alpha < 1 else soft


def soft_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) at a temperature T, the mean over the batch.

    Args:
        student: (B, C) logits.
        teacher: (B, C) logits.
        temperature: T, above 0.

    Raises:
        UserError: the two have different numbers of classes.
    """
    if student.shape != teacher.shape:
        raise UserError(
            f"distil: the student has {student.shape[-1]} outputs and the teacher {teacher.shape[-1]}; give both the"
            " same classes"
        )
    logs = log_softmax(student / temperature, dim=1), log_softmax(teacher / temperature, dim=1)
    return temperature**2 * kl_div(*logs, reduction="batchmean", log_target=True)
