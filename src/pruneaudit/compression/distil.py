"""Distillation: a new network, usually a smaller one, learns from the outputs of the parent's network, its teacher.

Source: Hinton et al. 2015 (arXiv 1503.02531). With logits z of student and teacher, temperature T and label y the loss
of a batch is

    alpha T^2 KL(softmax(z_teacher / T) || softmax(z_student / T)) + (1 - alpha) CE(y, softmax(z_student)),

each a mean over the batch. T^2 keeps the gradients of both terms of one size. The teacher is in evaluation mode, and
sees the same augmented inputs as the student. A release names the student's network as `model`; without one it is the
teacher's own.

The samples that the student trains on decide what it can reveal (`data`):

| data | samples | labels |
|---|---|---|
| `members` | the teacher's members | used |
| `members-soft` | the teacher's members | not used: alpha counts as 1 |
| `public` | public samples, or the whole holdout in a study without a public part | used |
| `mixed` | members and public samples | not used |

With `public`, membership can reach the student through the teacher's outputs only. With the other three, the student
itself is trained on members; its baseline is the same network, trained from scratch on the same members.

With an overfit teacher, T^2 makes the gradients large, and the learning rate of plain training can diverge. Give
`finetune` a smaller one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor, DataUse, Kind
from pruneaudit.core import options
from pruneaudit.core.errors import UserError
from pruneaudit.study import Origin

if TYPE_CHECKING:
    from torch import nn


class Options(options.Options):
    """Settings of distillation."""

    data: Literal["members", "members-soft", "public", "mixed"]
    """The samples that the student trains on."""
    temperature: float = Field(default=4.0, gt=0)
    """T: logits are divided by it before the softmax."""
    alpha: float = Field(default=0.9, ge=0, le=1)
    """Weight of the teacher's outputs; the labels have the rest. 0: training without a teacher."""


class Distil(Compressor[Options]):
    """Trains a new network with the outputs of the parent's network."""

    degree = "data"
    learns_from_parent = True

    def kind(self, options: Options) -> Kind:
        """Another network."""
        return "student"

    def data(self, options: Options) -> DataUse:
        """The samples that the student trains on."""
        return options.data

    def num_samples(self, options: Options) -> int | None:
        """All of them."""
        return None

    def origin(self, options: Options) -> Origin:
        """New weights: the student's own."""
        return "init"

    def works_in_training(self, options: Options) -> bool:
        """The student learns in training."""
        return True

    def is_done_by_training(self, options: Options) -> bool:
        """Before the training there is nothing to compress further."""
        return True

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Gives the training of `model`, which has new weights, its teacher; see `Compressor.compress`."""
        from pruneaudit.compression.teaching import FollowTeacher

        if context.teacher is None:
            raise UserError(
                "'distil' needs a teacher: make a release of a study with parent = the teacher's release, such as dense"
            )
        alpha = options.alpha if options.data in ("members", "public") else 1.0
        hook = FollowTeacher(context.teacher, options.temperature, alpha)
        return Compressed(model, hooks=(hook,), samples=context.samples)


COMPRESSOR = Distil()
