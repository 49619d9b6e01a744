"""How networks are trained and fine-tuned."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pruneaudit.core.options import Options, validated
from pruneaudit.study.target import Target

FUNCTION_PARAMETERS = ("model", "x", "y", "generator", "device")
"""What a training function of the user's is called with, by name."""
Milestones = tuple[Annotated[int, Field(ge=1)], ...]


class Training(Options):
    """How one network is trained."""

    epochs: int = Field(default=30, ge=1, le=100_000)
    batch_size: int = Field(default=128, ge=1)
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of SGD; Adam does not use it."""
    weight_decay: float = Field(default=5e-4, ge=0)
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """Learning rate over the steps: cosine to zero, x `decay` at each milestone, or unchanged."""
    milestones: Milestones = ()
    """Epochs after which the step schedule multiplies the learning rate by `decay`."""
    decay: float = Field(default=0.1, gt=0, le=1)
    augment: Literal["none", "flip", "crop_flip"] = "none"
    """Random change of each training image: horizontal flip, or 4-pixel-padded crop and flip."""
    select: Literal["last", "best_dev"] = "last"
    """Which epoch's weights are kept: the last, or the one most accurate on the dev set (public samples)."""
    patience: int | None = Field(default=None, ge=0, le=100_000)
    """With best_dev: training ends once the dev accuracy has not risen above its best for more than so many epochs in
    a row; none: all epochs are trained."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What the forward and backward passes compute in; `bfloat16` is torch's autocast, for GPUs and for processors with
    AMX (there 1.8 to 2.8 times as fast for convolutional networks; on others slower). Weights, optimizer and every
    answer that attacks see are float32 in both. Such a bank is another one."""
    function: Target | None = None
    """A training function of your own, `package.module:train`, called with model, x, y, generator and device in the
    place of the loop wherever a network without pruning or defence is trained from new weights."""

    @property
    def identity(self) -> dict[str, Any]:
        """What shapes the weights, as JSON data.

        The source of a function of the user's stands beside it; to that no other setting matters.
        """
        if self.function is not None:
            return {"function": self.function}
        usual = {"precision"} if self.precision == "float32" else set()  # banks older than the setting keep their names
        return self.model_dump(mode="json", exclude={"function", *usual})

    @model_validator(mode="after")
    def _settings_go_together(self) -> Training:
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError("schedule 'step' needs milestones = [epoch, ...], and no other schedule takes them")
        if self.patience is not None and self.select != "best_dev":
            raise ValueError(f"patience = {self.patience} goes by the dev set: it needs select = 'best_dev'")
        if self.function is not None and self.precision != "float32":
            raise ValueError(
                f"precision = '{self.precision}' is about the loop, and {self.function} takes its place: leave it out"
            )
        if self.function is not None and self.select == "best_dev":
            raise ValueError(
                f"select = 'best_dev' chooses among epochs of the loop, and {self.function} takes its place: choose in"
                " your function, among samples that it holds back, or give select to finetune alone"
            )
        return self


class FineTuning(Options):
    """Training after pruning; what is not given is as in `training`."""

    epochs: int = Field(ge=1, le=100_000)
    batch_size: int | None = Field(default=None, ge=1)
    optimizer: Literal["sgd", "adam"] | None = None
    learning_rate: float | None = Field(default=None, gt=0)
    momentum: float | None = Field(default=None, ge=0, lt=1)
    weight_decay: float | None = Field(default=None, ge=0)
    schedule: Literal["cosine", "step", "constant"] | None = None
    milestones: Milestones | None = None
    decay: float | None = Field(default=None, gt=0, le=1)
    augment: Literal["none", "flip", "crop_flip"] | None = None
    select: Literal["last", "best_dev"] | None = None
    patience: int | None = Field(default=None, ge=0, le=100_000)

    def over(self, training: Training, where: str = "finetune") -> Training:
        """`training` with what is given here put in its place; `where` names it in messages."""
        # Fine-tuning is always the loop's: a mask is held after each of its steps.
        values = training.model_dump() | self.model_dump(exclude_none=True) | {"function": None}
        if values["schedule"] != "step" and self.milestones is None:
            values["milestones"] = ()
        if values["select"] != "best_dev" and self.patience is None:
            values["patience"] = None
        return validated(Training, values, where)
